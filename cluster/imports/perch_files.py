"""The files of perch-cpu-inference's output folders: which there are, and what is wrong with them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sonotheque.core.errors import NotFound

EMBEDDINGS, PREDICTIONS = "embeddings_partitioned", "predictions_partitioned"
SMALL: Final = ("file_path", "chunk_idx", "start_time", "end_time")
_TFLITE = "embeddings.parquet"
_NUMBER = re.compile(r"(\d+)(?:\.|$)")
_APART_S = 1e-6


class Faulty(Exception):  # noqa: N818 - caught where files are listed
    """A source file that cannot be used, and why."""


@dataclass(frozen=True, slots=True)
class WideFile:
    """One Parquet file of an output folder.

    Attributes
    ----------
    output : int
        Number of the output folder.
    checkpoint : int
        -1 if its folder is not a number.
    path : str
    predictions : str
        The checkpoint's CSV file, there or not.
    size_bytes, mtime_ns : int
    """

    output: int
    checkpoint: int
    path: str
    predictions: str
    size_bytes: int
    mtime_ns: int


def find_outputs(folder: str) -> list[str]:
    """Return the output folders in and below a folder, sorted.

    Raises
    ------
    NotFound
        If there is none.
    """
    top = Path(folder)
    if not top.is_dir():
        raise NotFound(f"{folder} is not a folder: give the output folder of perch-cpu-inference")
    found = []
    for here, folders, files in os.walk(folder):
        if EMBEDDINGS in folders:
            found.append(here)
            folders[:] = [f for f in folders if f not in (EMBEDDINGS, PREDICTIONS)]
        elif _TFLITE in files:
            raise NotFound(
                f"{here}/{_TFLITE} was written by perch-cpu-inference's TFLite script, whose output is not read: its failed files are "
                f"rows of silence that cannot be told from others. Only the ONNX script's {EMBEDDINGS}/ is"
            )
    if not found:
        raise NotFound(
            f"{folder} holds no output of perch-cpu-inference: looked for a folder {EMBEDDINGS}/ in it and in all its sub-folders"
        )
    return sorted(found)


def wide_files(output: str, number: int) -> list[WideFile]:
    """Return the Parquet files of an output folder in the order in which they were written: by checkpoint."""
    found = []
    for path in (Path(output) / EMBEDDINGS).rglob("*.parquet"):
        match = _NUMBER.search(path.parent.name.removeprefix("checkpoint_id="))
        checkpoint = int(match[1]) if match and path.parent.name != EMBEDDINGS else -1
        stat = path.stat()
        csv = Path(output) / PREDICTIONS / f"checkpoint_{checkpoint:04d}.csv"
        found.append(WideFile(number, checkpoint, str(path), str(csv), stat.st_size, stat.st_mtime_ns))
    return sorted(found, key=lambda f: (f.checkpoint, f.path))


def embedding_columns(names: list[str]) -> list[str]:
    """Return the vector's columns in order, however they stand in the file.

    Raises
    ------
    Faulty
        If there is none, or one in between is missing.
    """
    held = set(names)
    numbers = sorted(int(name[4:]) for name in held if name.startswith("emb_") and name[4:].isdigit())
    if not numbers or numbers[-1] != len(numbers) - 1:
        raise Faulty(
            f"its columns emb_0, emb_1 ... are not complete: {len(numbers):,} of them, the last emb_{numbers[-1] if numbers else '?'}"
        )
    return [f"emb_{i}" for i in numbers]


def open_wide(path: str) -> tuple[pq.ParquetFile, list[str]]:
    """Open a file and look at its columns.

    Returns
    -------
    file, columns of the vector

    Raises
    ------
    Faulty
        If it is no Parquet file of this kind.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise Faulty(f"is not a whole Parquet file ({_brief(error)})") from error
    schema: Any = file.schema_arrow
    missing = [name for name in SMALL if name not in schema.names]
    if missing:
        raise Faulty(f"has no column {', '.join(missing)}")
    columns = embedding_columns(schema.names)
    other = [name for name in columns if not pa.types.is_floating(schema.field(name).type)]
    if other:
        raise Faulty(f"its column {other[0]} holds {schema.field(other[0]).type}, not floats")
    return file, columns


@dataclass(frozen=True, slots=True)
class SmallColumns:
    """The small columns of some rows: paths as codes into ``names``, samples as int64 (n,)."""

    names: list[str]
    code: NDArray[np.int64]
    chunk: NDArray[np.int64]
    start: NDArray[np.int64]
    valid: NDArray[np.int64]


def read_small(file: pq.ParquetFile, group: int, rate_hz: int, window_samples: int) -> SmallColumns:
    """Read the small columns of a row group, and check them.

    Raises
    ------
    Faulty
        Naming the row and its values.
    """
    try:
        table = file.read_row_group(group, columns=list(SMALL))
        paths = table["file_path"].combine_chunks().cast(pa.string()).dictionary_encode()
        chunk = table["chunk_idx"].cast(pa.int64())
        start_s, end_s = (table[name].cast(pa.float64()) for name in ("start_time", "end_time"))
    except (OSError, pa.ArrowException) as error:
        raise Faulty(f"its small columns cannot be read ({_brief(error)})") from error
    for name in SMALL:
        if table[name].null_count:
            row = pc.index(pc.is_null(table[name]), True).as_py()
            raise Faulty(f"row {row:,} of row group {group} has no {name}")
    chunks, starts, ends = (c.to_numpy() for c in (chunk, start_s, end_s))
    window_s = window_samples / rate_hz
    valid = np.rint((ends - starts) * rate_hz)
    wrong = (np.abs(starts - chunks * window_s) > _APART_S) | (chunks < 0) | ~((valid >= 0) & (valid <= window_samples))
    if wrong.any():
        row = int(wrong.argmax())
        raise Faulty(
            f"row {row:,} of row group {group} has chunk_idx {chunks[row]}, start_time {starts[row]:g} and end_time {ends[row]:g}, which "
            f"do not go together for windows of {window_s:g} s"
        )
    names = paths.dictionary.to_pylist()
    if "" in names:
        raise Faulty("it has a row whose file_path is empty")
    code = paths.indices.to_numpy().astype(np.int64)
    return SmallColumns(names, code, chunks, np.rint(starts * rate_hz).astype(np.int64), valid.astype(np.int64))


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
