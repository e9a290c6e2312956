"""The main job, measured: end-to-end speed, its share of the bare model's, two workers against one, formats, memory, size.

Everything that is compared is run in turn in one session, several times; medians are reported. Perch 2 without weights of its own is the
stand-in of :mod:`benchmarks.standin`: for speed and size only.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.corpus import long_file, small_files, sound_minutes
from benchmarks.embed_runs import Job, chosen, formats, medians, once, pair
from benchmarks.embed_text import text
from benchmarks.engine import engine_ratio
from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.size import bytes_per_window
from benchmarks.telling import telling

__all__ = ["run", "text"]

PERCH = "perch_v2"
NATIVE_HZ = {"birdnet_v2.4": 48_000}
NATIVE_HZ_ELSE = 32_000
KIND = {"birdnet_v2.4": "flac"}  # what the main comparison reads; of Perch WAV
BARE_S, QUICK_BARE_S = 5.0, 0.5
_PLACEHOLDER = Job("placeholder")


def memory_by_files(counts: tuple[int, ...]) -> dict[str, dict[str, int]]:
    """Return peak memory of worker and coordinator for archives of so many short files."""
    found = {}
    for count in counts:
        run = once(_PLACEHOLDER, small_files(SCRATCH, count), 1)
        found[str(count)] = {k: v >> 20 for k, v in run["peak_rss_bytes"].items()} | {"files": run["files"]}
    return found


def memory_of_a_long_file(hours: int) -> dict[str, Any]:
    """Return the worker's peak memory on one long file, the placeholder model being next to nothing."""
    run = once(_PLACEHOLDER, long_file(SCRATCH, hours).parent, 1)
    return {
        "hours": hours,
        "windows": run["windows"],
        "worker_mb": run["peak_rss_bytes"]["workers"] >> 20,
        "x_realtime": run["x_realtime"],
    }


def help_s(times: int = 9) -> float:
    """Return the median wall time of ``sonotheque --help``."""
    command = [str(Path(sys.executable).parent / "sonotheque"), "--help"]
    took = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        took.append(time.perf_counter() - began)
    return round(statistics.median(took), 3)


def run(
    *,
    model: str = PERCH,
    weights: str | None = None,
    minutes: float = 60.0,
    pairs: int = 3,
    quick: bool = False,
    out: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure and write the results.

    Parameters
    ----------
    model : str
    weights : str, optional
        For ``perch_v2`` the stand-in, built if it is not there.
    minutes : float
        Of sound for the main comparison; labels take half of them, formats a third.
    pairs : int
        Repetitions of the main comparison.
    quick : bool
        Two minutes, once, with the model's own engine, and of the rest only the beginning.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.
    """
    tell = telling(quiet)
    SCRATCH.mkdir(exist_ok=True)
    minutes, pairs = (2, 1) if quick else (max(3, round(minutes)), pairs)
    options = f"--model {model}" + (f" --weights {weights}" if weights else "")
    options += " --quick" if quick else f" --minutes {minutes} --pairs {pairs}"
    native_hz = NATIVE_HZ.get(model, NATIVE_HZ_ELSE)
    kind = KIND.get(model, "wav")
    data = f"{minutes} synthetic recordings of 60 s, {kind.upper()}, {native_hz // 1000} kHz, mono"
    result = envelope("embed", options, data) | {"model": model, "pairs": pairs}
    if model == PERCH and weights is None:
        weights = _stand_in(tell)
        result |= {"stand_in": "Perch 2 is a stand-in with random weights: for speed and size only, never for quality."}
    source = sound_minutes(SCRATCH, int(minutes), native_hz, kind)
    main, other = (_job(model, weights, labels, quick, tell) for labels in (model != PERCH, model == PERCH))
    measured = []
    for number in range(pairs):
        tell(f"{model}, {main.output}: bare model and pipeline in turn, {number + 1} of {pairs}")
        measured.append(pair(main, source, QUICK_BARE_S if quick else BARE_S, whole=not quick))
    result |= {**_told(main), "median": medians(measured), "all": measured}
    if not quick:
        tell(f"{model}, {other.output}")
        half = sound_minutes(SCRATCH, int(minutes) // 2, native_hz, kind)
        result["other_output"] = _told(other) | {"median": medians([pair(other, half, BARE_S, whole=True)])}
        tell("formats")
        vectors = other if main.logits else main
        result["formats"] = formats(vectors, native_hz, int(minutes) // 3, max(1, pairs - 1))
        result |= _rest(model, tell)
    else:
        result |= {"memory_mb_by_files": memory_by_files((100,)), "help_s": help_s(1)}
    return write(result, place(out, f"embed-{model}", quick=quick))


def _rest(model: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return what has to do with memory and size."""
    tell("memory and size")
    found: dict[str, Any] = {
        "memory_mb_by_files": memory_by_files((100, 1000, 10_000)),
        "memory_long_file": memory_of_a_long_file(24),
        "bytes_per_window_1536_float16": bytes_per_window(),
        "help_s": help_s(),
    }
    return found | ({"engine_beside_no_delegate": engine_ratio(7)} if model.startswith("birdnet") else {})


def _job(model: str, weights: str | None, labels: bool, quick: bool, tell: Callable[[str], None]) -> Job:
    if quick or model == "placeholder":  # to choose takes half a minute the first time
        return Job(model, weights, logits=labels)
    return chosen(model, weights, logits=labels, tell=tell)


def _told(job: Job) -> dict[str, Any]:
    return {"engine": job.engine or "reference", "precision": job.precision, "output": job.output}


def _stand_in(tell: Callable[[str], None]) -> str:
    from benchmarks.standin import ensure

    tell("building what is missing of the stand-in of Perch 2")
    return str(ensure(SCRATCH / "standin", saved_model=False).onnx)
