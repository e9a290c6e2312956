"""What an import costs and saves: perch-cpu-inference's output before, a store after.

The source is made by ``perch_folder``: recordings of 60 s, checkpoints of 800 rows (batches of 4, 200 of them, as the program's
authors ran it), 1,541 columns, snappy; one site in four was killed part-way and resumed, so it holds rows twice. Vectors are
normal with a standard deviation of 0.1: like a network's embeddings their floats do not repeat, which is what decides
how far they can be packed; real ones, being partly near zero, pack a little better on both sides.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.envelope import write
from benchmarks.machine import machine
from benchmarks.perch_folder import run as make_output

SCRATCH = Path(".bench")
RESULTS = Path(__file__).parent / "results"
RATIO_ASKED, COSINE_ASKED = 0.36, 0.9999
_BATCH, _INTERVAL, _SITES, _FILE_S = 4, 200, 4, 60.0


def make_source(folder: Path, windows: int, *, float16: bool = False) -> int:
    """Make an output folder of about so many windows at four sites; returns the rows written."""
    shutil.rmtree(folder, ignore_errors=True)
    per_site = max(1, round(windows / 12 / _SITES))
    rows = 0
    for site in range(_SITES):
        files = {
            f"/data/2025/S{site}/202505{10 + i // 1440:02d}_{i // 60 % 24:02d}{i % 60:02d}00.WAV": _FILE_S
            for i in range(per_site)
        }
        settings: dict[str, Any] = {"batch": _BATCH, "interval": _INTERVAL, "float16": float16}
        if site == 0:
            rows += make_output(folder / f"S{site}", files, kill_after=1, **settings)
        rows += make_output(folder / f"S{site}", files, **settings)
    return rows


def measure(source: Path, *options: str) -> dict[str, Any]:
    """Import a folder into a fresh store with the real command; returns its report, and the process's peak memory."""
    store = SCRATCH / "import-store"
    shutil.rmtree(store, ignore_errors=True)
    command = [str(Path(sys.executable).parent / "sonotheque"), "import", "perch-cpu-inference", str(source)]
    command += ["--store", str(store), "--timezone", "Europe/London", "--json", "--quiet", *options]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}: {output[-2000:]}")
    report: dict[str, Any] = json.loads(output)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    shutil.rmtree(store)
    return {
        **report,
        "process_s": round(time.perf_counter() - began, 2),
        "peak_rss_mb": _peak_mb(usage),
        "again": {key: json.loads(again.stdout)[key] for key in ("new", "settled", "parts_written", "wall_s")},
    }


def _peak_mb(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss >> (20 if sys.platform == "darwin" else 10)


def run(*, windows: int, quick: bool, out: str | None) -> dict[str, Any]:
    """Measure and write the results.

    Parameters
    ----------
    windows : int
        Of the source, about.
    quick : bool
        Everything small.
    out : str, optional
        File for the results.
    """
    SCRATCH.mkdir(exist_ok=True)
    windows = 3200 if quick else windows
    where = machine()
    source = SCRATCH / "perch-output"
    rows = make_source(source, windows)
    float32 = measure(source)
    memory = {str(float32["windows"]): float32["peak_rss_mb"]}
    if not quick:
        make_source(source, 4 * windows)
        larger = measure(source, "--no-check")
        memory[str(larger["windows"])] = larger["peak_rss_mb"]
    make_source(source, windows, float16=True)
    float16 = measure(source)
    shutil.rmtree(source)
    keys = (
        "rows",
        "windows",
        "duplicates",
        "bytes_before",
        "bytes_after",
        "ratio",
        "bytes_per_window",
        "check",
        "wall_s",
        "again",
    )
    result = {
        "what": "sonotheque bench import",
        "command": f"sonotheque bench import --windows {windows}{' --quick' if quick else ''}",
        "data": f"{rows} rows at {_SITES} sites in checkpoints of {_BATCH * _INTERVAL}; recordings of 60 s; vectors normal(0, 0.1), 1,536-d",
        "machine": where,
        "asked": {"ratio": RATIO_ASKED, "cosine_min": COSINE_ASKED},
        "from_float32": {key: float32[key] for key in keys},
        "from_float16": {key: float16[key] for key in keys},
        "windows_per_s": round(float32["windows"] / float32["wall_s"]),
        "peak_rss_mb_by_windows": memory,
    }
    target = Path(out) if out else (SCRATCH / "imports.json" if quick else RESULTS / "imports.json")
    return write(result, target)


def text(result: dict[str, Any]) -> str:
    """Return the results for people."""
    lines = [f"{result['data']}; {result['machine']['cpu']}, {result['machine']['cores']} cores", ""]
    for name, key in (("float32 source (the program's default)", "from_float32"), ("float16 source", "from_float16")):
        r = result[key]
        lines.append(
            f"{name}: {r['bytes_before']['total'] / 1e6:,.1f} MB before, {r['bytes_after'] / 1e6:,.1f} MB after: {r['ratio']:.3f}; "
            f"cosine at least {r['check']['cosine_min']:.7f}, median {r['check']['cosine_median']:.7f}; {r['wall_s']:.1f} s"
        )
    return "\n".join(
        [
            *lines,
            f"asked: at most {result['asked']['ratio']} of the size, cosine at least {result['asked']['cosine_min']}",
            f"{result['windows_per_s']:,} windows/s; the same command again: {result['from_float32']['again']['wall_s']:.1f} s",
            f"peak memory (MB) by windows: {json.dumps(result['peak_rss_mb_by_windows'])}",
        ]
    )
