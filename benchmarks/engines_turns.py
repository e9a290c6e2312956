"""Ways to run a model held in processes of their own: compared with the reference, then timed in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.engines_ways import Way
from embedder.choosing.fidelity import NEIGHBOURS, Fidelity, compare_results
from embedder.models.base import Embedded

ROOT = Path(__file__).parents[1]
_SAID = 300
_ENOUGH = 2 * NEIGHBOURS + 1  # windows: of eleven, everyone's ten neighbours are all the others, whatever the vectors
OUTPUT = {False: "vectors", True: "with_labels"}


class Held:
    """A process of :mod:`benchmarks.engines_child`; a context manager that leaves none behind."""

    def __init__(self, way: Way, log: Path) -> None:
        self._log = log
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.engines_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                cwd=ROOT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
            )
        asked = {"model": way.model, "weights": way.weights, "engine": way.engine, "precision": way.precision}
        self._asked = {**asked, "how": way.how}

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def open(self) -> dict[str, Any]:
        """Load the model; returns what was loaded."""
        return self.ask(self._asked)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one line and return the answer.

        Raises
        ------
        RuntimeError
            What went wrong there; or the process died.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        line = ""
        if stdin is not None and stdout is not None:
            try:
                stdin.write(json.dumps(request) + "\n")
                stdin.flush()
                line = stdout.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"it ended with exit code {self._process.wait()}: {said[0][:_SAID] if said else ''}")
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            raise RuntimeError(told["error"])
        return told


def by_turns(
    ways: Sequence[Way],
    sets: Mapping[str, NDArray[np.float32]],
    *,
    rounds: int,
    round_s: float,
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Compare all ways with the first, and time them in rounds; returns a row each.

    One that is refused or fails says why in ``failed``.

    Raises
    ------
    RuntimeError
        If the first one fails: then there is nothing to compare with.
    """
    rows = {way.key: _row(way) for way in ways}
    with tempfile.TemporaryDirectory(prefix="sonotheque-bench-") as place, ExitStack() as stack:
        folder = Path(place)
        for name, frames in sets.items():
            np.save(folder / f"{name}.npy", frames)
        held: dict[str, Held] = {}
        reference: dict[str, Embedded] = {}
        for way in ways:
            row = rows[way.key]
            if way.refusal:
                row["failed"] = way.refusal
                if way is ways[0]:
                    raise RuntimeError(f"{way.title}: {way.refusal}")
                continue
            tell(f"{way.model}: {way.title}")
            one = stack.enter_context(Held(way, folder / f"{way.key}.log"))
            try:
                row |= one.open()
                answers = {name: _answers(one, way, folder, name) for name in sets}
            except RuntimeError as error:
                row["failed"] = str(error)
                if not reference:
                    raise RuntimeError(f"{way.title}: {error}") from error
                continue
            reference = reference or answers
            row |= compared(way, row["precision"], reference, answers)
            held[way.key] = one
        timed(ways, held, rows, rounds, round_s)
    return list(rows.values())


def _row(way: Way) -> dict[str, Any]:
    words = {"key": way.key, "title": way.title, "engine": way.engine, "precision": way.precision}
    return {**words, "ours": way.is_ours}


def _answers(one: Held, way: Way, folder: Path, name: str) -> Embedded:
    target = folder / "answers.npz"
    one.ask({"frames": str(folder / f"{name}.npy"), "answers": str(target), "logits": way.labels})
    with np.load(target) as arrays:
        return Embedded(arrays["embeddings"], arrays.get("logits"))


def compared(
    way: Way, precision: str, reference: Mapping[str, Embedded], answers: Mapping[str, Embedded]
) -> dict[str, Any]:
    """Return the fidelity on every set, and a verdict over all of them: whether it may be chosen unasked."""
    if precision != way.precision:
        return {"failed": f"it really runs in {precision}"}
    found: dict[str, Fidelity] = {name: compare_results(reference[name], mine) for name, mine in answers.items()}
    short = [f"{name}: {f.shortfall(precision)}" for name, f in found.items() if not f.passes(precision)]
    told = {name: {k: v for k, v in asdict(f).items() if v is not None} for name, f in found.items()}
    for one in told.values():
        if one["n"] < _ENOUGH:
            one.pop("neighbours_at_10")
    return {
        "fidelity": {name: {"windows": f.pop("n"), **f} for name, f in told.items()},
        "verdict": "; ".join(short) or "passes",
    }


def timed(
    ways: Sequence[Way], held: Mapping[str, Held], rows: dict[str, dict[str, Any]], rounds: int, round_s: float
) -> None:
    """Time what runs, in turn; put medians into the rows, and how many times as fast as the first way, round by round."""
    found: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    running = [way for way in ways if way.key in held]
    for _ in range(rounds):
        for way in running:
            for labels in way.outputs if "failed" not in rows[way.key] else ():
                try:
                    told = held[way.key].ask({"seconds": round_s, "logits": labels})
                except RuntimeError as error:
                    rows[way.key]["failed"] = str(error)
                    break
                found.setdefault((way.key, labels), []).append(told)
    first = next((mine for (key, _), mine in found.items() if key == ways[0].key), [])
    for (key, labels), mine in found.items():
        if "failed" in rows[key]:
            continue
        ms = statistics.median(t["cpu_ms"] for t in mine)
        row = rows[key]
        row["rss_mb"] = max(t["rss_mb"] for t in mine)
        row[OUTPUT[labels]] = {
            "ms_per_window": round(ms, 3),
            "wall_ms_per_window": round(statistics.median(t["wall_ms"] for t in mine), 3),
            "x_realtime_per_core": round(1e3 * row["window_s"] / ms, 1),
            "times_faster": round(
                statistics.median(a["cpu_ms"] / b["cpu_ms"] for a, b in zip(first, mine, strict=False)), 3
            ),
        }
