"""A plan of 10^6 files: how long from the command to the first task, and how much memory, each time in a process of its own.

Three ways: a fresh store and a synthetic listing (names, sizes, times and headers that are on no disk), the same where the store has all of
it (a ledger of 9,300 parts: the run ends without a task), and real tiny files on this disk, walked and their headers read.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.planning_listing import PER_DAY, SITES, listing
from benchmarks.telling import telling

WALL_S_ASKED, PEAK_MB_ASKED = 60.0, 1000.0
_HERE = Path(__file__).parents[1]


def run(
    *, files: int = 1_000_000, real: int = 100_000, quick: bool = False, out: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Measure and write the results.

    Parameters
    ----------
    files : int
        Of the synthetic listing.
    real : int
        Files written to this disk and planned for real.
    quick : bool
        Everything small.
    out : str, optional
        File for the results.
    quiet : bool
        Say nothing on the way.
    """
    tell = telling(quiet)
    files, real = (20_000, 2000) if quick else (files, real)
    result = envelope(
        "planning",
        f"--files {files} --real {real}",
        f"{files:,} files of 65 s at {SITES} sites, {PER_DAY} a day, listed and described without a disk; {real:,} real files of 44 ms",
    )
    folder = SCRATCH / "planning"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        result |= {
            "asked": {"wall_s": WALL_S_ASKED, "peak_rss_mb": PEAK_MB_ASKED},
            **measure(folder, files, real, tell),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return write(result | {"headline": headline(result)}, place(out, "planning", quick=quick))


def measure(folder: Path, files: int, real: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return what each way took."""
    source, store = folder / "source", folder / "store"
    source.mkdir(parents=True)
    tell(f"{files:,} files, a fresh store")
    found = {"fresh": _child(source, folder / "fresh", files)}
    tell("the store of the same season, done")
    found["made"] = _child(source, store, files, "--make")
    tell("the same command on it")
    found["settled"] = _child(source, store, files)
    tell(f"{real:,} real files")
    write_files(folder / "real", real)
    found["real"] = _child(folder / "real", folder / "real-store", real, "--on-disk")
    return found


def _child(source: Path, store: Path, files: int, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.planning_child", str(source), str(store), "--files", str(files), *more]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PYTHONPATH": str(_HERE)}
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def write_files(folder: Path, files: int) -> None:
    """Write small WAVs under the names of the listing: a header, and as much sound as makes one block of a disk."""
    import soundfile as sf

    first = folder.parent / "first.wav"
    sf.write(first, np.random.default_rng(1).normal(0, 0.1, 2100).astype(np.float32), 48_000, subtype="PCM_16")
    data = first.read_bytes()
    for found in listing(str(folder), files):
        target = Path(found.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        os.utime(target, ns=(found.mtime_ns, found.mtime_ns))


def text(result: dict[str, Any]) -> str:
    """Return the results for people."""
    asked = result["asked"]
    lines = [
        f"{result['data']}",
        f"asked: {asked['wall_s']:g} s and {asked['peak_rss_mb']:,.0f} MB; load before {result['machine']['load_before'][0]:g}, "
        f"on {result['machine']['cores']} cores",
        "",
        "| files | until | wall, s | CPU, s | peak memory, MB |",
        "|---|---|---:|---:|---:|",
    ]
    for name in ("fresh", "settled", "real"):
        told = result[name]
        what = f"{told['files']:,}, {'a fresh store' if name == 'fresh' else 'all settled' if name == 'settled' else 'on this disk'}"
        for until, step in told["steps"].items():
            lines.append(
                f"| {what} | {until} | {step['wall_s']:.1f} | {step['cpu_s']:.1f} | {step['peak_rss_mb']:,.0f} |"
            )
    return "\n".join(
        [
            *lines,
            "",
            f"A process that has imported everything and done nothing: {result['fresh']['rss_mb_at_start']:.0f} MB.",
        ]
    )


def headline(result: dict[str, Any]) -> str:
    """Return the results in a sentence."""
    ends = [list(result[name]["steps"].values())[-1] for name in ("fresh", "settled")]
    return (
        f"a plan of {result['fresh']['files']:,} files: {ends[0]['cpu_s']:.0f} s of CPU and {ends[0]['peak_rss_mb']:,.0f} MB; "
        f"with all of them settled {ends[1]['cpu_s']:.0f} s and {ends[1]['peak_rss_mb']:,.0f} MB"
    )
