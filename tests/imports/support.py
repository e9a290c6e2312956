"""Small sources for the suites, and what any importer must find in them: read with pandas and sqlite3 alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.perch_folder import run as run_script
from cluster.imports.options import ImportOptions
from cluster.imports.report import ImportReport
from cluster.imports.run import import_into_store

# The placeholder's windows: the layout is the same with 64 columns as with 1,536, and twenty times quicker to write.
DIM, WINDOW_S, RATE_HZ, TOP = 64, 2.0, 16_000, 3
WINDOW = 32_000
FILES = {f"/data/2025/A4/20250510_03{m:02d}00.WAV": 20.0 for m in range(0, 30, 5)}


def make(output: Path, files: Mapping[str, float] = FILES, **settings: Any) -> int:
    """What the script leaves for some recordings, in the placeholder's windows."""
    return run_script(output, files, **{"interval": 7, "dim": DIM, "window_s": WINDOW_S, "top": TOP, **settings})


def options(path: Path | str, store: Path | str, **more: Any) -> ImportOptions:
    kind = more.pop("kind", "perch-cpu-inference")
    if kind == "perch-cpu-inference":
        more.setdefault("model", "placeholder")
    return ImportOptions(kind, str(path), str(store), **more)


def do(path: Path | str, store: Path | str, *, dry_run: bool = False, **more: Any) -> ImportReport:
    return import_into_store(options(path, store, **more), dry_run=dry_run)


@dataclass
class Expected:
    """One window as the source has it."""

    vector: np.ndarray
    valid_s: float
    guesses: list[tuple[str, float]] = field(default_factory=list)


def expected_of(source: Path, *, root: str = "/data/2025") -> dict[tuple[str, float], Expected]:
    """Every window of an output folder, by (stored path, start): of several the one in the highest checkpoint, then row."""
    found: dict[tuple[str, float], Expected] = {}
    for output in sorted({p.parents[2] for p in source.rglob("embeddings_partitioned/*/*.parquet")}):
        folders = sorted((output / "embeddings_partitioned").iterdir(), key=lambda p: int(p.name))
        for folder in folders:
            frame = pd.read_parquet(folder / "part-0.parquet")
            columns = [f"emb_{i}" for i in range(sum(c.startswith("emb_") for c in frame.columns))]
            vectors = frame[columns].to_numpy(np.float32)
            csv = output / "predictions_partitioned" / f"checkpoint_{int(folder.name):04d}.csv"
            guesses: dict[tuple[str, int], list[tuple[str, float]]] = {}
            if csv.exists():
                for line in pd.read_csv(csv).to_dict("records"):
                    guesses[line["file_path"], line["chunk_idx"]] = [
                        (line[f"top{i}"], np.float32(line[f"score{i}"])) for i in range(1, 11) if f"top{i}" in line
                    ]
            for i, row in enumerate(frame.to_dict("records")):
                path = row["file_path"].removeprefix(f"{root}/")
                found[path, row["start_time"]] = Expected(
                    vectors[i],
                    row["end_time"] - row["start_time"],
                    guesses.get((row["file_path"], row["chunk_idx"]), []),
                )
    return found


def parts(store: Path | str, dataset: str = "embeddings") -> list[Path]:
    return sorted((Path(store) / dataset).rglob("part-*.parquet"))


def stored(store: Path | str, *, min_valid_s: float = 0.0) -> dict[tuple[str, float], Expected]:
    """Every row of every part of a store (nothing superseded), with its predictions."""
    found: dict[tuple[str, float], Expected] = {}
    for part in parts(store):
        table = pq.read_table(part, partitioning=None).to_pylist()
        for row in table:
            key = row["path"], row["start_s"]
            assert key not in found, "a window twice"
            found[key] = Expected(np.array(row["embedding"], np.float32), row["valid_s"])
    for part in parts(store, "predictions"):
        for row in pq.read_table(part, partitioning=None).to_pylist():
            guesses = found[row["path"], row["start_s"]].guesses
            assert row["rank"] == len(guesses) + 1
            guesses.append((row["label"], np.float32(row["logit"])))
    return found


def assert_same(
    found: Mapping[tuple[str, float], Expected], wanted: Mapping[tuple[str, float], Expected], dtype: str = "float16"
) -> None:
    assert found.keys() == wanted.keys()
    for key, want in wanted.items():
        got = found[key]
        assert np.array_equal(got.vector, want.vector.astype(dtype).astype(np.float32)), key
        assert abs(got.valid_s - want.valid_s) < 1e-4, key
        assert got.guesses == want.guesses, key


def ledger_entries(store: Path | str) -> dict[str, dict[str, Any]]:
    """The newest footer's entry of every recording, by path."""
    from tests.store.kit import footer

    return {f["path"]: f for part in parts(store) for f in footer(part)["files"]}


def data_tree(store: Path | str) -> dict[str, str]:
    """Digest of every file of both datasets, by name: what must be the same however an import went."""
    base = Path(store)
    return {
        str(p.relative_to(base)): hashlib.sha256(p.read_bytes()).hexdigest()
        for name in ("embeddings", "predictions")
        for p in sorted((base / name).rglob("*"))
        if p.is_file()
    }


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
