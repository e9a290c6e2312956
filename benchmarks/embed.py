"""The main job, measured: end-to-end speed, its share of the bare model's, two workers against one, memory, size.

Everything that is compared is run in turn in one session, several times; medians are reported.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bare import bare_x_realtime
from benchmarks.corpus import flac_minutes, long_file, small_files
from benchmarks.engine import engine_ratio
from benchmarks.machine import machine
from benchmarks.size import bytes_per_window

SCRATCH = Path(".bench")
RESULTS = Path(__file__).parent / "results"


def sonotheque(*arguments: str) -> dict[str, Any]:
    """Run the real command with ``--json`` and return its document."""
    command = [str(Path(sys.executable).parent / "sonotheque"), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-2000:]}")
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def end_to_end(source: Path, model: str, workers: int) -> dict[str, Any]:
    """Embed a folder into a fresh store; returns the run's closing sum."""
    store = Path(tempfile.mkdtemp(dir=SCRATCH))
    try:
        return sonotheque(
            "embed", str(source), "--store", str(store), "--model", model, "--workers", str(workers), "--quiet"
        )
    finally:
        shutil.rmtree(store)


def pair(source: Path, model: str, bare_s: float) -> dict[str, float]:
    """Measure the bare model and the pipeline, with one worker and with two, one after the other."""
    out: dict[str, float] = {}
    for workers in (2, 1):
        before = bare_x_realtime(model, workers, bare_s)
        run = end_to_end(source, model, workers)
        # The bare model before and after: a neighbour's load that comes or goes shows, and half of it cancels.
        bare = (before + bare_x_realtime(model, workers, bare_s)) / 2
        steady = run["audio_s"] / run["work_s"]  # like the bare model, from ready to done
        out |= {
            f"bare_{workers}": bare,
            f"end_to_end_{workers}": run["x_realtime"],
            f"steady_{workers}": steady,
            f"efficiency_{workers}": run["x_realtime"] / bare,
            f"steady_efficiency_{workers}": steady / bare,
            f"startup_s_{workers}": run["startup_s"],
        }
        out |= {f"share_{stage}_{workers}": share for stage, share in run["stage_shares"].items()}
    out["two_against_one"] = out["end_to_end_2"] / out["end_to_end_1"]
    out["bare_two_against_one"] = out["bare_2"] / out["bare_1"]
    return out


def memory_by_files(counts: tuple[int, ...]) -> dict[str, dict[str, int]]:
    """Return peak memory of worker and coordinator for archives of so many short files."""
    found = {}
    for count in counts:
        run = end_to_end(small_files(SCRATCH, count), "placeholder", 1)
        found[str(count)] = {k: v >> 20 for k, v in run["peak_rss_bytes"].items()} | {"files": run["files"]}
    return found


def memory_of_a_long_file(hours: int) -> dict[str, Any]:
    """Return the worker's peak memory on one long file, the placeholder model being next to nothing."""
    run = end_to_end(long_file(SCRATCH, hours).parent, "placeholder", 1)
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


def run(*, model: str, minutes: float, pairs: int, quick: bool, out: str | None) -> dict[str, Any]:
    """Measure and write the results.

    Parameters
    ----------
    model : str
    minutes : float
        Of FLAC.
    pairs : int
        Repetitions of each comparison.
    quick : bool
        Everything small.
    out : str, optional
        File for the results.
    """
    SCRATCH.mkdir(exist_ok=True)
    minutes, pairs, bare_s = (4, 1, 2.0) if quick else (round(minutes), pairs, 20.0)
    where = machine()
    source = flac_minutes(SCRATCH, int(minutes))
    measured = [pair(source, model, bare_s) for _ in range(pairs)]
    medians = {key: round(statistics.median(m[key] for m in measured), 3) for key in measured[0]}
    result = {
        "what": "sonotheque bench embed",
        "command": f"sonotheque bench embed --model {model} --minutes {minutes} --pairs {pairs}{' --quick' if quick else ''}",
        "data": f"{minutes} synthetic FLAC files of 60 s, 48 kHz, 16 bit, mono",
        "machine": where,
        "model": model,
        "pairs": pairs,
        "median": medians,
        "all": measured,
        "memory_mb_by_files": memory_by_files((100, 1000) if quick else (100, 1000, 10_000)),
        "memory_long_file": memory_of_a_long_file(1 if quick else 24),
        "bytes_per_window_1536_float16": bytes_per_window(),
        "help_s": help_s(),
    }
    if model.startswith("birdnet"):
        result["engine"] = engine_ratio(2 if quick else 7)
    target = Path(out) if out else (SCRATCH if quick else RESULTS) / f"embed-{model}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def text(result: dict[str, Any]) -> str:
    """Return the results for people."""
    m, engine = result["median"], result.get("engine")
    lines = [
        f"{result['model']} on {result['data']}; medians of {result['pairs']}; {result['machine']['cpu']}, {result['machine']['cores']} cores",
        "",
        "                         1 worker   2 workers",
        f"bare model, x realtime   {m['bare_1']:8.1f}   {m['bare_2']:9.1f}",
        f"end to end, x realtime   {m['end_to_end_1']:8.1f}   {m['end_to_end_2']:9.1f}   ({m['two_against_one']:.2f} x)",
        f"pipeline efficiency      {m['efficiency_1']:8.3f}   {m['efficiency_2']:9.3f}   start-up included",
        f"  once workers are up    {m['steady_efficiency_1']:8.3f}   {m['steady_efficiency_2']:9.3f}",
        f"start-up, s              {m['startup_s_1']:8.1f}   {m['startup_s_2']:9.1f}",
        "",
        f"memory by number of files (MB): {json.dumps(result['memory_mb_by_files'])}",
        f"one file of {result['memory_long_file']['hours']} h: worker {result['memory_long_file']['worker_mb']} MB",
        f"bytes per window, 1536-d float16, random-like, all told: {result['bytes_per_window_1536_float16']}",
        f"sonotheque --help: {result['help_s']} s",
    ]
    if engine:
        lines.append(
            f"BirdNET engine: {engine['ms_per_window']['ours']} ms a window against {engine['ms_per_window']['no_delegate']} without delegate: "
            f"{engine['ratio']} x, cosine >= {engine['cosine_min']:.6f}"
        )
    return "\n".join(lines)
