"""Ten thousand small parts through a real scheduler, two workers and a coordinator, each a process of its own, with their memory watched.

Every recording is a part: one of two seconds a site and day, all of them names of one file, so that nothing is measured but the loop. The
model is the placeholder. Memory is sampled from outside as parts are committed; what counts is how much of it is added after the first 500
parts. Descriptors are those at the end beside those after the first parts, and temporary files those left.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.soak_processes import Cluster, Sample, coordinator, ended_well, memory_mb, open_files
from benchmarks.telling import telling

GROWTH_MB_ASKED = 20.0
SETTLED_AFTER = 500
_SITES = 100
_RATE_HZ, _SECONDS = 16_000, 2.0
_LOOK_S = 0.5


def run(*, parts: int = 10_000, quick: bool = False, out: str | None = None, quiet: bool = False) -> dict[str, Any]:
    """Run the soak and write what was seen.

    Parameters
    ----------
    parts : int
        At least 10.
    quick : bool
        300 parts.
    out : str, optional
        File for the results.
    quiet : bool
        Say nothing on the way.
    """
    tell = telling(quiet)
    parts = 300 if quick else max(parts, 10)
    result = envelope(
        "soak", f"--parts {parts}", f"{parts:,} parts of one recording of {_SECONDS:g} s, placeholder, two workers"
    )
    folder = SCRATCH / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        result |= soak(folder, parts, tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return write(result | {"headline": headline(result)}, place(out, "soak", quick=quick))


def soak(folder: Path, parts: int, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Send so many parts through a cluster of its own, and return what was seen of its processes."""
    source, store = folder / "recordings", folder / "store"
    make_recordings(source, parts)
    tell(f"{parts:,} recordings at {_SITES} sites are there; starting a scheduler and two workers")
    began = time.monotonic()
    with Cluster(folder / "cluster", workers=2) as cluster, coordinator(source, store, cluster.address) as process:
        samples = _watch(cluster, process.pid, store, parts, tell)
        ended_well(process)
        wall_s = time.monotonic() - began
        after = {"scheduler": open_files(cluster.scheduler), **cluster.worker_files()}
        tasks = cluster.tasks()
    summary = json.loads((store / "jobs" / "1" / "summary.json").read_text(encoding="utf-8"))
    return {
        "parts": parts,
        "state": summary["state"],
        "files": {key: summary[key] for key in ("files", "done", "skipped", "failed", "pending")},
        "wall_s": round(wall_s, 1),
        "parts_per_s": round(parts / summary["work_s"], 1),
        "asked": {"growth_mb": GROWTH_MB_ASKED},
        "growth_mb": growth(samples),
        "closing_mb": max(s.memory_mb["coordinator"] for s in samples),
        "descriptors": {"first": samples[0].files, "last": samples[-1].files, "after": after},
        "temporary_files": left_behind(store),
        "tasks_left": tasks,
        "samples": [sample.to_json() for sample in thinned(samples)],
    }


def make_recordings(folder: Path, parts: int) -> None:
    """Write one recording, and give it a name at each site on each day: more names than a file system allows one file are other files."""
    import soundfile as sf

    samples = np.random.default_rng(1).normal(0, 0.1, round(_RATE_HZ * _SECONDS)).astype(np.float32)
    folder.mkdir(parents=True)
    first = folder.parent / "sound.wav"
    sf.write(first, samples, _RATE_HZ, subtype="PCM_16")
    for number in range(parts):
        day, site = divmod(number, _SITES)
        target = folder / f"site{site:02d}" / f"{date(2025, 4, 1) + timedelta(days=day):%Y%m%d}_040000.wav"
        target.parent.mkdir(exist_ok=True)
        try:
            os.link(first, target)
        except OSError:
            shutil.copy2(first, target)


def _watch(cluster: Cluster, pid: int, store: Path, parts: int, tell: Callable[[str], None]) -> list[Sample]:
    """Take samples until the coordinator ends."""
    samples: list[Sample] = []
    events, read, done, told = store / "jobs" / "1" / "events.jsonl", 0, 0, 0
    while (memory := memory_mb(pid)) is not None:
        if events.exists():
            with events.open("rb") as handle:
                handle.seek(read)
                new = handle.read()
            new = new[: new.rfind(b"\n") + 1]
            read += len(new)
            done += new.count(b'"event": "part"')
        if done:
            files = {"coordinator": open_files(pid), "scheduler": open_files(cluster.scheduler)}
            seen = {"coordinator": memory, "scheduler": memory_mb(cluster.scheduler) or 0.0}
            if all(files.values()):
                samples.append(Sample(done, seen, {**files, **cluster.worker_files()}))
        if done >= told + 500:
            told = done
            tell(
                f"{done:,} of {parts:,} parts: "
                + ", ".join(f"{k} {v:.0f} MB" for k, v in samples[-1].memory_mb.items())
            )
        time.sleep(_LOOK_S)
    return samples


def growth(samples: list[Sample]) -> dict[str, float]:
    """Return how much the memory of each process grew after the first parts and before the last: the most, less what it had first.

    After the last part the coordinator opens the store to build its catalog, which brings in DuckDB: told apart, in the samples.
    """
    parts = samples[-1].parts
    settled = [s for s in samples if min(SETTLED_AFTER, parts // 2) <= s.parts < parts] or samples
    return {
        name: round(max(s.memory_mb[name] for s in settled) - settled[0].memory_mb[name], 1)
        for name in settled[0].memory_mb
    }


def left_behind(store: Path) -> int:
    """Return how many temporary files are left in a store, words of progress among them."""
    temporary = [*(store / "_tmp").glob("*"), *store.glob("jobs/*/progress/*"), *store.glob("jobs/*/.*")]
    return len(temporary)


def thinned(samples: list[Sample], most: int = 60) -> list[Sample]:
    """Return so many samples at most, the first and the last among them."""
    step = max(1, -(-len(samples) // most))
    return [*samples[:-1:step], samples[-1]]


def text(result: dict[str, Any]) -> str:
    """Return the result for people."""
    grown = ", ".join(f"{name} {value:+.1f} MB" for name, value in result["growth_mb"].items())
    files = result["descriptors"]
    lines = [
        f"{result['parts']:,} parts in {result['wall_s']:,.0f} s, {result['parts_per_s']:,.0f} a second: {result['state']}; {result['files']}",
        f"memory after the first {min(SETTLED_AFTER, result['parts'] // 2)} parts: {grown} (asked: less than {GROWTH_MB_ASKED:g} MB each)",
        f"the coordinator while it closes the run (catalog, DuckDB): up to {result['closing_mb']:.0f} MB",
        f"descriptors: {files['first']} at the first part, {files['last']} at the last, {files['after']} afterwards; "
        f"{result['temporary_files']} temporary files left, {result['tasks_left']} tasks known to the scheduler",
        "",
        "| parts | coordinator, MB | scheduler, MB |",
        "|---:|---:|---:|",
    ]
    for sample in result["samples"][:: max(1, len(result["samples"]) // 12)]:
        memory = sample["memory_mb"]
        lines.append(f"| {sample['parts']:,} | {memory['coordinator']:.1f} | {memory['scheduler']:.1f} |")
    return "\n".join(lines)


def headline(result: dict[str, Any]) -> str:
    """Return the result in a sentence."""
    grown = result["growth_mb"]
    return (
        f"{result['parts']:,} parts through Dask: coordinator {grown['coordinator']:+.1f} MB, scheduler {grown['scheduler']:+.1f} MB "
        f"after the first {SETTLED_AFTER}; {result['temporary_files']} temporary files left"
    )
