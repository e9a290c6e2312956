"""The main job in the suite: end to end with one worker and with two, start-up apart, by the real command into a store that is new.

`bench embed` does more: it runs in turn with the bare model, repeats, and takes other formats. What is told here is what a user gets.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.corpus import sound_minutes
from benchmarks.envelope import SCRATCH, envelope, write

PERCH = "perch_v2"


def run(
    *, models: Sequence[str], minutes: int, choose: bool, out: str, workers: Sequence[int] = (1, 2)
) -> dict[str, Any]:
    """Embed the same recordings with every model and number of workers, and write the results.

    Parameters
    ----------
    models : sequence of str
        ``perch_v2`` is the stand-in.
    minutes : int
        Of sound.
    choose : bool
        With the engine that is the fastest here, which takes half a minute to find the first time; else with the model's own.
    out : str
        File for the results.
    workers : sequence of int
        More than there are cores are left out.

    Raises
    ------
    RuntimeError
        If no model could be run; with what each said.
    """
    SCRATCH.mkdir(exist_ok=True)
    options = f"--model {models[0]} --minutes {minutes}"
    result = envelope("embed", options, f"{minutes} synthetic FLAC files of 60 s, 48 kHz, 16 bit, mono")
    source = sound_minutes(SCRATCH, minutes, 48_000, "flac")
    rows: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    for model in models:
        try:
            weights = _stand_in() if model == PERCH else None
            if choose:
                once(
                    sound_minutes(SCRATCH, 1, 48_000, "flac"), model, weights, 1, "auto"
                )  # the choice is kept, and is not a part of the job
            for count in sorted(w for w in workers if w <= len(os.sched_getaffinity(0))):
                rows.append(once(source, model, weights, count, "auto" if choose else "reference"))
        except (RuntimeError, ImportError) as error:
            refused[model] = " ".join(str(error).split())
    if not rows:
        raise RuntimeError("; ".join(f"{model}: {why}" for model, why in refused.items()))
    scaling = {row["model"]: _scaling(rows, row["model"]) for row in rows}
    return write(
        result | {"minutes": minutes, "rows": rows, "two_against_one": scaling, "left_out": refused}, Path(out)
    )


def once(source: Path, model: str, weights: str | None, workers: int, engine: str) -> dict[str, Any]:
    """Embed a folder into a new store; returns its figures, those of a run's closing sum.

    Raises
    ------
    RuntimeError
        If the command fails; with what it said.
    """
    store = Path(tempfile.mkdtemp(dir=SCRATCH))
    program = str(Path(sys.executable).parent / "sonotheque")
    command = [program, "embed", str(source), "--store", str(store), "--model", model, "--engine", engine]
    command += ["--workers", str(workers), "--quiet", "--json", *(["--weights", weights] if weights else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")
        told = json.loads(done.stdout)
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(store)
    return {
        "model": model + (" (stand-in: random weights)" if model == PERCH else ""),
        "engine": told.get("engine") or engine,
        "precision": told.get("precision") or "",
        "workers": workers,
        "x_realtime": told["x_realtime"],
        "x_realtime_per_worker": round(told["x_realtime"] / workers, 2),
        "steady_x_realtime": round(told["audio_s"] / told["work_s"], 2),
        "windows_per_s": round(told["windows"] / told["work_s"], 2),
        "startup_s": told["startup_s"],
        "stage_shares": told["stage_shares"],
        "peak_mb": {who: most >> 20 for who, most in told["peak_rss_bytes"].items()},
        "bytes_per_window": round(size / told["windows"], 1),
    }


def _stand_in() -> str:
    from benchmarks.standin import ensure

    return str(ensure(SCRATCH / "standin", saved_model=False).onnx)


def _scaling(rows: Sequence[dict[str, Any]], model: str) -> float | None:
    """Return how many times as fast two workers are, once they are up."""
    by_count = {row["workers"]: row["steady_x_realtime"] for row in rows if row["model"] == model}
    return round(by_count[2] / by_count[1], 3) if {1, 2} <= set(by_count) else None


def text(result: dict[str, Any]) -> str:
    """Return the results as a table."""
    lines = ["| model | engine | workers | x realtime | once they are up | windows/s | start-up s | bytes a window |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
    for row in result["rows"]:
        engine = f"{row['engine']} {row['precision']}".strip()
        lines.append(
            f"| {row['model']} | {engine} | {row['workers']} | {row['x_realtime']:.1f} | {row['steady_x_realtime']:.1f} | "
            f"{row['windows_per_s']:.1f} | {row['startup_s']:.1f} | {row['bytes_per_window']:,.0f} |"
        )
    return "\n".join([*lines, *(f"{model}: not measured: {why}" for model, why in result["left_out"].items())])
