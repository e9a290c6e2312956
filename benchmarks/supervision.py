"""What it costs that a run is looked after: the heartbeat, and the supervisor of ``embed --supervise``.

The same recordings embedded in pairs, one run bare (no beat but the first and the last, no supervisor) and one looked after, in turn first;
then what each part costs by itself: a beat, and a supervisor whose child does nothing. The processor time of all processes is compared
beside the wall time, because it is what does not depend on who else uses the machine.
"""

from __future__ import annotations

import os
import resource
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
from cluster.supervising import Supervisor

ASKED = 0.01
RATE_HZ, FILE_S = 16_000, 600.0
_BARE = (
    "import sys, cluster.heart; cluster.heart.EVERY_S = 1e9; from sonotheque.cli.main import main; "
    "sys.argv[0] = 'sonotheque'; main()"
)
_PLAIN = "import sys; from sonotheque.cli.main import main; sys.argv[0] = 'sonotheque'; main()"
_HERE = Path(__file__).parents[1]


def run(
    *, pairs: int = 5, files: int = 200, quick: bool = False, out: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Measure and write the results.

    Parameters
    ----------
    pairs : int
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
    pairs, files = (2, 10) if quick else (pairs, files)
    hours = files * FILE_S / 3600
    result = envelope(
        "supervision", f"--pairs {pairs} --files {files}", f"{hours:,.0f} h of noise, model placeholder, one process"
    )
    folder = SCRATCH / "supervision"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        source = write_files(folder / "source", files)
        found = []
        for number in range(pairs):
            ways = ("bare", "kept") if number % 2 else ("kept", "bare")
            found.append({way: one_run(source, folder / f"{way}{number}", way) for way in ways})
            tell(f"pair {number + 1} of {pairs}: {shares_of(found[-1])}")
        alone = {"beat": beat(folder / "beats", 20 if quick else 400), "supervisor": supervisor_alone(folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result |= {"asked": ASKED, "pairs": found, "alone": alone, **summary(found, alone)}
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


def one_run(source: Path, store: Path, way: str) -> dict[str, float]:
    """Embed all in processes of their own; returns processor and wall seconds of all of them."""
    arguments = ["embed", str(source), "--store", str(store), "--model", "placeholder", "--workers", "0", "-q"]
    code = _BARE if way == "bare" else _PLAIN
    arguments += ["--supervise"] if way == "kept" else []
    before, began = _cpu_s(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(_HERE)},
    )
    return {"wall_s": round(time.perf_counter() - began, 3), "cpu_s": round(_cpu_s() - before, 3)}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def beat(store: Path, times: int) -> dict[str, float]:
    """Return what one heartbeat costs, and its share of one core."""
    store.mkdir()
    job = new_job(str(store))
    facts = {"phase": "embedding", "files": 1, "files_total": 2, "audio_s": 3.0, "windows": 4}
    heartbeat(job, RUNNING, **facts)
    began = time.process_time()
    for _ in range(times):
        heartbeat(job, RUNNING, **facts)
    each_s = (time.process_time() - began) / times
    return {"cpu_s": round(each_s, 6), "every_s": EVERY_S, "share": round(each_s / EVERY_S, 6)}


def supervisor_alone(folder: Path) -> dict[str, float]:
    """Return a supervisor's own processor time around a child that sleeps: its start, and then nothing."""
    found: dict[str, float] = {}
    for seconds in (0.0, 10.0):
        before = resource.getrusage(resource.RUSAGE_SELF)
        Supervisor([sys.executable, "-S", "-c", f"import time; time.sleep({seconds})"], str(folder / "none")).run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found[f"cpu_s_around_{seconds:g}_s"] = round(used, 4)
    return found


def shares_of(pair: dict[str, dict[str, float]]) -> str:
    """Return a pair in words."""
    bare, kept = pair["bare"], pair["kept"]
    return f"processor {bare['cpu_s']:.2f} s bare, {kept['cpu_s']:.2f} s kept; wall {bare['wall_s']:.2f} s, {kept['wall_s']:.2f} s"


def summary(pairs: list[dict[str, dict[str, float]]], alone: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return medians over the pairs: what a run costs more in all, and the share of a day's run that follows from it."""
    more = {
        what: round(statistics.median(p["kept"][what] - p["bare"][what] for p in pairs), 3)
        for what in ("cpu_s", "wall_s")
    }
    bare = {what: round(statistics.median(p["bare"][what] for p in pairs), 3) for what in ("cpu_s", "wall_s")}
    share = {what: round(more[what] / bare[what], 5) for what in more}
    hour = round(max(more["cpu_s"], 0.0) / 3600 + alone["beat"]["share"], 6)
    return {"bare": bare, "more": more, "share": share, "share_of_an_hour": hour}


def headline(result: dict[str, Any]) -> str:
    """Return the result in a sentence."""
    more, bare, share = result["more"], result["bare"], result["share"]
    return (
        f"a run that takes {bare['wall_s']:.0f} s takes {more['cpu_s']:.2f} s of processor time more under supervision ({share['cpu_s']:.2%}; "
        f"wall {share['wall_s']:.2%}), nearly all of it at the start: {result['share_of_an_hour']:.3%} of an hour's run; a heartbeat is "
        f"{1000 * result['alone']['beat']['cpu_s']:.2f} ms each {result['alone']['beat']['every_s']:g} s"
    )


def text(result: dict[str, Any]) -> str:
    """Return the result for people."""
    lines = [result["headline"], "", *(shares_of(pair) for pair in result["pairs"]), ""]
    lines.append(f"asked: less than {result['asked']:.0%}")
    return "\n".join(lines)
