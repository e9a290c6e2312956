"""A small archive whose windows hold owls and foxes at known places, and probes that are as good as one likes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from probes import Examples, Probe
from search_api.probes.held_out import examples_table
from search_api.probes.stored import save_trained
from store import Archive, open_archive, read_config
from tests.index import kit

DIM, WINDOWS = 16, 10
CLASSES = ("fox", "owl")
PATHS = tuple(f"{site}/{day}-{n}.wav" for site in ("Oak wood", "Fen") for day in range(3) for n in range(2))
CENTRES = np.random.default_rng(7).normal(size=(len(CLASSES), DIM))


def truth(path: str) -> np.ndarray:
    """Which classes each of a recording's windows holds: (windows, classes)."""
    i = np.arange(WINDOWS) + PATHS.index(path)
    return np.column_stack([i % 5 == 0, i % 4 == 1]).astype(np.float32)


def vectors(path: str) -> np.ndarray:
    rng = np.random.default_rng(PATHS.index(path))
    found = truth(path) @ CENTRES + rng.normal(size=(WINDOWS, DIM)) * 0.9
    return found.astype(np.float16).astype(np.float32)


def make_store(folder: Path) -> str:
    parts = [{p: vectors(p) for p in PATHS if p.startswith(site)} for site in ("Oak wood", "Fen")]
    return kit.new_store(folder, parts, kit.config_of(DIM))[0]


def probe(
    root: str, quality: float, *, classes: tuple[str, ...] = CLASSES, name: str = "owl", seed: int = 3, **about: Any
) -> Probe:
    """A probe whose weights point from noise (quality 0) to the truth (1)."""
    rng = np.random.default_rng(seed)
    centres = np.array([CENTRES[CLASSES.index(c)] if c in CLASSES else rng.normal(size=DIM) for c in classes])
    weights = quality * centres.T + (1 - quality) * rng.normal(size=(DIM, len(classes)))
    c, one = len(classes), np.ones(len(classes))
    said = {"experiment": {"metric": "map", "split": {"by": "recording"}, "shots": [1, 2], "annotators": []}, **about}
    return Probe(
        name,
        0,
        "multilabel",
        classes,
        read_config(root).model,
        weights.astype(np.float32),
        np.zeros(c, np.float32),
        2 * one,
        0 * one,
        one / 2,
        said,
    )


def examples(
    archive: Archive, paths: Iterable[str], *, classes: tuple[str, ...] = CLASSES, windows: Iterable[int] | None = None
) -> Examples:
    """Windows of recordings, all of them by default, as annotated by somebody who knows."""
    rows = archive.sql("SELECT * FROM windows ORDER BY path, start_sample").to_pylist()
    number = dict.fromkeys(PATHS, 0)
    kept, targets = [], []
    for row in rows:
        i = number[row["path"]]
        number[row["path"]] += 1
        if row["path"] in paths and (windows is None or i in windows):
            kept.append(row)
            of = dict(zip(CLASSES, truth(row["path"])[i], strict=True))
            targets.append([of.get(c, 0.0) for c in classes])
    table = pa.table(
        {
            k: pa.array([r[k] for r in kept])
            for k in ("part_id", "part_row", "recording_id", "start_sample", "start_s", "end_s")
        }
    )
    target = np.array(targets, np.float32).reshape(len(kept), len(classes))
    return Examples(
        classes,
        archive.vectors_of(table.set_column(1, "part_row", table["part_row"].cast(pa.int32()))),
        target,
        np.ones_like(target),
        table["recording_id"].to_numpy(),
        table["start_sample"].to_numpy(),
        np.array([r["path"] for r in kept], object),
        np.array([r["site"] for r in kept], object),
        np.array([str(r["local_start"] or "")[:10] for r in kept], object),
        np.array([r["local_start"].hour if r["local_start"] else -1 for r in kept], np.int16),
        np.array([np.nan if i % 2 else i for i in range(len(kept))], np.float32),
        table["start_s"].to_numpy(),
        table["end_s"].to_numpy(),
    )


def report(made: Probe, **more: Any) -> dict[str, Any]:
    """As much of a training's report as the versions look at."""
    per_class = {"ap": 0.8, "roc_auc": 0.9, "n_positive": 4, "precision": None, "recall": 0.5}
    return {
        "probe": made.name,
        "version": 0,
        "created_utc": "2025-06-01T12:00:00Z",
        "code_version": "0.1.0",
        "split": {"by": "recording", "train": {"rows": 60, "recordings": 6}, "test": {"rows": 60, "recordings": 6}},
        "solver": {"l2": 0.1, "iterations": 9, "gradient": 1e-9, "seconds": 0.25},
        "test": {
            "macro": {"map": 0.8, "map_ci": [0.7, 0.9], "cmap": 0.85, "roc_auc": 0.9, "accuracy": None},
            "classes": {c: dict(per_class) for c in made.classes},
        },
        "learning_curve": [{"shots": 1, "map": 0.4, "roc_auc": 0.6}, {"shots": "all", "map": 0.8, "roc_auc": 0.9}],
        **more,
    }


def train(
    root: str,
    quality: float,
    *,
    trained_on: Iterable[str] = PATHS[:6],
    tested_on: Iterable[str] = PATHS[6:],
    **more: Any,
) -> int:
    """Keep a probe as if it had been trained on some recordings and judged by others."""
    made = probe(root, quality, **more)
    with open_archive(root) as archive:
        table = examples_table(*(examples(archive, tuple(p), classes=made.classes) for p in (trained_on, tested_on)))
    return save_trained(root, made, report(made), f"name: {made.name}\n", table)
