"""Stand-ins for a training, for worker processes: what a row's name begins with says what becomes of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from probes.experiment import Experiment
from sonotheque.core.errors import Invalid

MACRO = {
    "balanced_accuracy": 0.75,
    "balanced_accuracy_chance": 0.5,
    "macro_f1": 0.6,
    "macro_f1_chance": 0.2,
    "map": 0.8,
    "map_chance": 0.1,
}


def pretend(root: str, experiment: Experiment) -> dict[str, Any]:
    """Raise, die, or give a report; every call leaves a file, so that calls can be counted."""
    calls = Path(root) / "calls"
    calls.mkdir(exist_ok=True)
    (calls / f"{experiment.name}.{time.monotonic_ns()}").write_text(os.environ.get("OMP_NUM_THREADS", ""))
    kind = experiment.name.partition("-")[0]
    if kind == "wrong":
        raise Invalid(f"class {experiment.name!r} has no positive example")
    if kind == "bug":
        raise ZeroDivisionError("nothing to divide by")
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "leaves":
        os._exit(5)
    if kind == "odd":
        return {"version": 1, "report": {}, "seconds": 0.1}
    if kind == "waits":
        begun = calls / "waiting"
        begun.touch()
        end = time.monotonic() + 20
        while time.monotonic() < end and not (calls / "go").exists():
            time.sleep(0.02)
    report = {"test": {"macro": MACRO, "classes": {name: {"n": 7} for name in experiment.classes}}}
    return {"version": 1, "report": report, "seconds": 0.25}


def called(root: str, name: str) -> int:
    """How often a row was trained."""
    return len(list((Path(root) / "calls").glob(f"{name}.*")))
