"""What it costs that a run is looked after: the heartbeat, and the supervisor of ``embed --supervise``.

Counted, not compared: the processor time of the supervisor itself beside that of the run it looks after, and of one beat by itself. Pairs of
runs with and without them differ by more than a tenth from run to run on a shared machine, and what is asked for is a hundredth.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.telling import telling
from cluster.heart import EVERY_S
from cluster.job import RUNNING, heartbeat, new_job

ASKED = 0.01
RATE_HZ, FILE_S = 16_000, 600.0
# The supervisor, which tells at its end what it used itself and what its child used.
_COUNTED = (
    "import atexit, json, os, sys; from sonotheque.cli.main import main; t = os.times; "
    "atexit.register(lambda: print(json.dumps(t()[:4]), file=sys.stderr)); sys.argv[0] = 'sonotheque'; main()"
)
_HERE = Path(__file__).parents[1]


def run(
    *, runs: int = 3, files: int = 400, quick: bool = False, out: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Measure and write the results.

    Parameters
    ----------
    runs : int
    files : int
        Recordings of ten minutes; all are one file by many names, so that the disk plays no part.
    quick : bool
        Everything small.
    out : str, optional
        File for the results.
    quiet : bool
        Say nothing on the way.
    """
    tell = telling(quiet)
    runs, files = (2, 10) if quick else (runs, files)
    hours = files * FILE_S / 3600
    result = envelope(
        "supervision", f"--runs {runs} --files {files}", f"{hours:,.0f} h of noise, model placeholder, one process"
    )
    folder = SCRATCH / "supervision"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        source = write_files(folder / "source", files)
        found = []
        for number in range(runs):
            found.append(one_run(source, folder / f"store{number}"))
            tell(f"run {number + 1} of {runs}: {words_of(found[-1])}")
        found_beat = beat(folder / "beats", 20 if quick else 400)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result |= {"asked": ASKED, "runs": found, "beat": found_beat, **summary(found, found_beat)}
    return write(result | {"headline": headline(result)}, place(out, "supervision", quick=quick))


def write_files(folder: Path, files: int) -> Path:
    """Write one recording, and give it many names."""
    folder.mkdir(parents=True)
    first = folder / "20240501_000000.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, round(FILE_S * RATE_HZ)).astype(np.float32)
    sf.write(first, noise, RATE_HZ, subtype="PCM_16")
    for number in range(1, files):
        os.link(first, folder / f"{20240501 + number // 144}_{number % 144 // 6:02d}{number % 6}000.wav")
    return folder


def one_run(source: Path, store: Path) -> dict[str, float]:
    """Embed all under supervision; returns the supervisor's own processor seconds, and those of the run below it."""
    arguments = ["embed", str(source), "--store", str(store), "--model", "placeholder", "--workers", "0", "-q"]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _COUNTED, *arguments, "--supervise"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_HERE)},
    )
    wall_s = time.perf_counter() - began
    user, system, below_user, below_system = json.loads(done.stderr.splitlines()[-1])
    return {
        "wall_s": round(wall_s, 3),
        "supervisor_cpu_s": round(user + system, 3),
        "run_cpu_s": round(below_user + below_system, 3),
    }


def beat(store: Path, times: int) -> dict[str, float]:
    """Return what one heartbeat costs, and its share of one core."""
    store.mkdir()
    job = new_job(str(store))
    facts = {"phase": "embedding", "files": 1, "files_total": 2, "audio_s": 3.0, "windows": 4}
    heartbeat(job, RUNNING, **facts)
    began, began_cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        heartbeat(job, RUNNING, **facts)
    each_s, wall_s = (time.process_time() - began_cpu) / times, (time.perf_counter() - began) / times
    return {
        "cpu_s": round(each_s, 6),
        "wall_s": round(wall_s, 6),
        "every_s": EVERY_S,
        "share": round(each_s / EVERY_S, 6),
    }


def words_of(run: dict[str, float]) -> str:
    """Return a run in words."""
    return f"the supervisor {run['supervisor_cpu_s']:.2f} s of processor time, the run {run['run_cpu_s']:.2f} s; {run['wall_s']:.2f} s in all"


def summary(runs: list[dict[str, float]], found_beat: dict[str, float]) -> dict[str, float]:
    """Return the medians: what it costs once, and the share of such a run and of an hour's, beats included."""
    once_s = statistics.median(run["supervisor_cpu_s"] for run in runs)
    share = statistics.median(run["supervisor_cpu_s"] / run["run_cpu_s"] for run in runs)
    return {
        "supervisor_cpu_s": round(once_s, 3),
        "run_cpu_s": round(statistics.median(run["run_cpu_s"] for run in runs), 3),
        "wall_s": round(statistics.median(run["wall_s"] for run in runs), 3),
        "share_of_run": round(share + found_beat["share"], 5),
        "share_of_hour": round(once_s / 3600 + found_beat["share"], 6),
        "least_run_s": round(once_s / (ASKED - found_beat["share"]), 1),
    }


def headline(result: dict[str, Any]) -> str:
    """Return the result in a sentence."""
    return (
        f"a supervisor takes {result['supervisor_cpu_s']:.2f} s of processor time once, to start: {result['share_of_run']:.2%} of a run of "
        f"{result['wall_s']:.0f} s and {result['share_of_hour']:.3%} of one of an hour, beats included; a heartbeat is "
        f"{1000 * result['beat']['cpu_s']:.2f} ms each {result['beat']['every_s']:g} s"
    )


def text(result: dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [result["headline"], "", *(words_of(run) for run in result["runs"]), ""]
    lines.append(f"asked: less than {result['asked']:.0%}; met by every run of more than {result['least_run_s']:.0f} s")
    return "\n".join(lines)
