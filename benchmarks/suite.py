"""The suite: `sonotheque bench` without a verb. Every part in turn, within ten minutes on any machine, or within one with ``--quick``.

Each part is a process of its own, so that one that crashes, or whose library is missing, costs the others nothing. Nothing runs beside
it. The time is a promise: a part may take what the others do not need, or some times what it needs itself, and one for which too little
is left then is left out and says so.
The parts are small; their longer selves (`sonotheque bench embed` and so on) write the figures of ``results/`` that are quoted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.calling import is_there
from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.suite_parts import PARTS, Part, Size
from benchmarks.telling import telling

FULL_S, QUICK_S = 590.0, 56.0  # ten minutes and one, less what it takes to start and to end the last part
_PATIENCE = 2.5  # times what a part needs about: on a slow or busy machine the first parts are done, rather than none
_WORTH = 0.8  # of what a part needs about: with less left it is not begun
_ENDING_S = 3.0  # after which a part that was told to end is ended
_SAID = 300  # characters of a failure that are told


def run(
    *,
    quick: bool = False,
    out: str | None = None,
    quiet: bool = False,
    parts: Sequence[Part] = PARTS,
    within_s: float | None = None,
) -> dict[str, Any]:
    """Run every part that there is time and a library for, and write the results.

    Parameters
    ----------
    quick : bool
        A minute instead of ten.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.
    parts : sequence of Part
    within_s : float, optional
        Instead of the minute, or the ten.
    """
    say = telling(quiet)
    within_s = within_s or (QUICK_S if quick else FULL_S)
    result = envelope(
        "", "--quick" if quick else "", "synthetic recordings and generated archives; each part states its own"
    )
    began = time.perf_counter()
    found: dict[str, Any] = {}
    for number, part in enumerate(parts):
        size = _size(part, quick=quick)
        left_s = max(0.0, within_s - (time.perf_counter() - began))
        later_s = sum(_size(p, quick=quick).needs_s for p in parts[number + 1 :])
        limit_s = min(left_s, max(left_s - later_s, _PATIENCE * size.needs_s))
        found[part.name] = {"measures": part.measures, **measured(part, size, left_s, limit_s, quick=quick, say=say)}
    result |= {"quick": quick, "within_s": within_s, "took_s": round(time.perf_counter() - began, 1), "parts": found}
    return write(result, place(out, "suite", quick=quick))


def _size(part: Part, *, quick: bool) -> Size:
    return part.quick if quick else part.full


def measured(
    part: Part, size: Size, left_s: float, limit_s: float, *, quick: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Return the result of a part, or why it has none, with the seconds it took."""
    again = f"`sonotheque bench {part.name}` measures it alone"
    if not is_there(part.module):
        return {"left_out": f"there is no benchmark {part.module} here"}
    if left_s < _WORTH * size.needs_s:
        say(f"{part.name}: left out, {left_s:.0f} s are left and it takes about {size.needs_s} s")
        return {"left_out": f"no time: {left_s:.0f} s were left, and it takes about {size.needs_s} s; {again}"}
    say(f"{part.name}: {part.measures} ...")
    began = time.perf_counter()
    told = _child(part, size, limit_s)
    took = {"seconds": round(time.perf_counter() - began, 1)}
    if told is None:
        say(f"{part.name}: stopped after {took['seconds']:.0f} s")
        return {"left_out": f"stopped: it was not done after {took['seconds']:.0f} s; {again}", **took}
    if "error" in told:
        say(f"{part.name}: failed: {told['error']}")
        return {"left_out": told["error"], **took}
    say(f"{part.name}: {took['seconds']:.0f} s")
    # Machine, commit, time and command are those of the suite, which asks in its own sizes.
    return {
        **took,
        "result": {key: value for key, value in told.items() if key not in ("machine", "commit", "when", "command")},
    }


def _child(part: Part, size: Size, limit_s: float) -> dict[str, Any] | None:
    """Run a part in a process group of its own; None if it had to be stopped."""
    folder = (SCRATCH / "suite").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    target, log = folder / f"{part.name}.told.json", folder / f"{part.name}.log"
    target.unlink(missing_ok=True)
    settings = json.dumps({**size.settings, "out": str(folder / f"{part.name}.json"), "quiet": True})
    command = [
        sys.executable,
        "-m",
        "benchmarks.suite_parts",
        part.module,
        str(target),
        settings,
        json.dumps(size.constants),
    ]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)
    try:
        told: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        return {"error": f"ended with {process.returncode}: {last[0][:_SAID]} (all of it in {log})"}
    if "error" in told:
        told["error"] = " ".join(str(told["error"]).split())[:_SAID]
    return told


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part and all that it started: workers and services of a part that was stopped would run beside the next one."""
    for sign, wait_s in ((signal.SIGTERM, _ENDING_S), (signal.SIGKILL, _ENDING_S)):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            return
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue


def text(result: dict[str, Any]) -> str:
    """Return what the suite found, a line or a few a part."""
    from benchmarks.envelope import provenance
    from benchmarks.headlines import headlines

    size = (
        f"quick, in {result['took_s']:.0f} s: to see that it works, its figures mean little"
        if result["quick"]
        else f"in {result['took_s']:.0f} s"
    )
    lines = [f"{provenance(result)}; {size}", ""]
    for name, part in result["parts"].items():
        if "result" not in part:
            lines += [f"{name}: left out: {part['left_out']}", ""]
            continue
        told = {**part["result"], "machine": result["machine"], "commit": result["commit"], "when": result["when"]}
        lines += [
            f"{name} ({part['seconds']:.0f} s): {part['measures']}",
            *(f"  {words}" for words in headlines(told)),
            "",
        ]
    return "\n".join(lines).rstrip()
