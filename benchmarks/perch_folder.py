"""Makes what perch-cpu-inference's ONNX script leaves behind: the layout, the columns and the habits, with made-up vectors.

The habits are those of the script as it was observed: rows are written every so many batches whether a recording is finished
or not, a recording that was not finished is done again after a resume, and the checkpoint's number counts on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from numpy.typing import NDArray

WINDOW_S = 5.0
DIM = 1536
CLASSES = tuple(f"Genus species{i:05d}" for i in range(14_795))
TOP = 10


@dataclass(frozen=True)
class Row:
    """One window of one recording."""

    file_path: str
    chunk_idx: int
    start_time: float
    end_time: float


def rows_of(file_path: str, duration_s: float, window_s: float = WINDOW_S) -> list[Row]:
    """Return the windows of a recording; the last one ends where the sound does."""
    count = int(np.ceil(duration_s / window_s))
    return [Row(file_path, i, i * window_s, min((i + 1) * window_s, duration_s)) for i in range(count)]


def _rng(row: Row, seed: int) -> np.random.Generator:
    digest = hashlib.blake2b(f"{row.file_path}|{row.chunk_idx}|{seed}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def vector_of(row: Row, seed: int = 0, dim: int = DIM) -> NDArray[np.float32]:
    """Return a window's vector: normal, standard deviation 0.1 -- unique floats that no encoding can shrink."""
    return (0.1 * _rng(row, seed).standard_normal(dim, np.float32)).astype(np.float32)


def guesses_of(row: Row, seed: int = 0, top: int = TOP) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the classes and logits of a window, best first."""
    rng = _rng(row, seed + 1)
    logits = -np.sort(-rng.normal(9.0, 2.0, top)).astype(np.float32)
    return rng.choice(len(CLASSES), top, replace=False), logits


def write_embeddings(
    output: Path, checkpoint: int, rows: Sequence[Row], *, float16: bool = False, seed: int = 0, dim: int = DIM
) -> Path:
    """Write one checkpoint's Parquet file the way the script does: pandas, a data set partitioned by a plain folder, snappy."""
    vectors = np.stack([vector_of(row, seed, dim) for row in rows])
    if float16:
        vectors = vectors.astype(np.float16)
    columns: dict[str, Any] = {
        "file": [f"{Path(row.file_path).stem}_{row.chunk_idx}" for row in rows],
        "file_path": [row.file_path for row in rows],
        "chunk_idx": [row.chunk_idx for row in rows],
        "start_time": [row.start_time for row in rows],
        "end_time": [row.end_time for row in rows],
    }
    columns |= {f"emb_{i}": vectors[:, i] for i in range(dim)}
    columns["checkpoint_id"] = np.full(len(rows), checkpoint)
    form = ds.ParquetFileFormat()
    ds.write_dataset(
        pa.Table.from_pandas(pd.DataFrame(columns)),
        output / "embeddings_partitioned",
        format=form,
        partitioning=["checkpoint_id"],
        existing_data_behavior="overwrite_or_ignore",
        file_options=form.make_write_options(compression="snappy"),
    )
    return output / "embeddings_partitioned" / str(checkpoint) / "part-0.parquet"


def write_predictions(output: Path, checkpoint: int, rows: Sequence[Row], *, seed: int = 0, top: int = TOP) -> Path:
    """Write one checkpoint's CSV file."""
    lines = []
    for row in rows:
        classes, logits = guesses_of(row, seed, top)
        lines.append(
            {
                "file": f"{Path(row.file_path).stem}_{row.chunk_idx}",
                "file_path": row.file_path,
                "chunk_idx": row.chunk_idx,
                "start_time": row.start_time,
                "end_time": row.end_time,
                "checkpoint_id": checkpoint,
                **{f"top{i + 1}": CLASSES[c] for i, c in enumerate(classes)},
                **{f"score{i + 1}": float(v) for i, v in enumerate(logits)},
            }
        )
    folder = output / "predictions_partitioned"
    folder.mkdir(exist_ok=True)
    path = folder / f"checkpoint_{checkpoint:04d}.csv"
    pd.DataFrame(lines).to_csv(path, index=False)
    return path


def run(
    output: Path,
    files: Mapping[str, float],
    *,
    batch: int = 4,
    interval: int = 200,
    kill_after: int | None = None,
    resume: bool = True,
    float16: bool = False,
    seed: int = 0,
    dim: int = DIM,
    window_s: float = WINDOW_S,
    top: int = TOP,
) -> int:
    """Do what a run of the script does.

    Parameters
    ----------
    output : Path
    files : mapping
        Path as the script sees it -> seconds of sound.
    batch, interval : int
        Windows a batch, batches a checkpoint.
    kill_after : int, optional
        Be killed after so many checkpoints.
    resume : bool
        Go on where ``.checkpoint.json`` says.
    float16, seed, dim, window_s
        Of the vectors.
    top : int
        Classes a window; the script writes ten.

    Returns
    -------
    int
        Rows written.
    """
    output.mkdir(parents=True, exist_ok=True)
    note = output / ".checkpoint.json"
    state = {"processed_files": [], "checkpoint_id": 0}
    if resume and note.exists():
        state = json.loads(note.read_text())
    finished, checkpoint = set(state["processed_files"]), state["checkpoint_id"]
    todo = [rows_of(path, files[path], window_s) for path in sorted(files) if path not in finished]
    rows = [row for one in todo for row in one]
    ends = np.cumsum([len(one) for one in todo]).tolist()
    step, written = batch * interval, 0
    for saved, first in enumerate(range(0, len(rows), step), 1):
        block = rows[first : first + step]
        write_embeddings(output, checkpoint, block, float16=float16, seed=seed, dim=dim)
        write_predictions(output, checkpoint, block, seed=seed, top=top)
        written += len(block)
        checkpoint += 1
        done = first + len(block)
        finished |= {one[0].file_path for one, end in zip(todo, ends, strict=True) if one and end <= done}
        note.write_text(json.dumps({"processed_files": sorted(finished), "checkpoint_id": checkpoint}))
        if kill_after == saved:
            return written
    note.unlink(missing_ok=True)
    return written
