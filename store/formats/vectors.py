"""Embeddings as files for Python and R: Parquet, NPY with a table beside it, HDF5, and a wide CSV for few. Streamed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sonotheque.core.errors import Damaged, Invalid
from store.formats.detections import Written
from store.formats.enduring import EnduringFile
from store.formats.parquet import METADATA_KEY, row_groups
from store.formats.text import local_iso, utc_iso, write_csv

DTYPES: Final = ("float32", "float16")
WINDOW_SCHEMA: Final = pa.schema(
    [
        ("recording_id", pa.int64()),
        ("start_sample", pa.int64()),
        ("path", pa.string()),
        ("site", pa.string()),
        ("deployment", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("valid_s", pa.float64()),
        ("local_start", pa.timestamp("us")),
        ("utc_start", pa.timestamp("us", tz="UTC")),
    ]
)
"""What is said of each window, in this order; a block may hold more columns."""

_ROW_GROUP_ROWS: Final = 4096
_CHUNK_BYTES: Final = 1 << 20  # HDF5's own cache of chunks


@dataclass(frozen=True, slots=True)
class Vectors:
    """Windows and their vectors, block by block.

    Attributes
    ----------
    blocks : iterable of (pyarrow.Table or RecordBatch, float32 (n, dim))
        The columns of ``WINDOW_SCHEMA``, row by row those of the vectors. Iterated once.
    dim : int
    about : mapping
        What the file should say of itself: model, version, window_s ... plain values.
    """

    blocks: Iterable[tuple[pa.Table | pa.RecordBatch, NDArray[np.float32]]]
    dim: int
    about: Mapping[str, Any] = field(default_factory=dict)

    def checked(self) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        """Yield the blocks with the columns of ``WINDOW_SCHEMA``.

        Raises
        ------
        Damaged
            If a block's vectors are not those of its windows.
        """
        for windows, vectors in self.blocks:
            if vectors.shape != (windows.num_rows, self.dim):
                raise Damaged(f"vectors of shape {vectors.shape} for {windows.num_rows} windows of {self.dim} values")
            if not windows.num_rows:
                continue
            columns = [
                windows.column(name).cast(kind)
                for name, kind in zip(WINDOW_SCHEMA.names, WINDOW_SCHEMA.types, strict=True)
            ]
            yield pa.table(columns, schema=WINDOW_SCHEMA), np.ascontiguousarray(vectors, np.float32)


def write_vectors_parquet(vectors: Vectors, handle: IO[bytes], *, dtype: str = "float32") -> Written:
    """Write the columns of ``WINDOW_SCHEMA`` and ``embedding``, a fixed-size list.

    Raises
    ------
    Invalid
        If the dtype is none of ``DTYPES``, or a value is beyond float16.
    """
    if dtype not in DTYPES:
        raise Invalid(f"dtype {dtype!r}: expected {' or '.join(DTYPES)}")
    element = pa.float16() if dtype == "float16" else pa.float32()
    kind = pa.list_(pa.field("element", element, nullable=False), vectors.dim)
    told = {METADATA_KEY: json.dumps(dict(vectors.about), default=str).encode()}
    schema = WINDOW_SCHEMA.append(pa.field("embedding", kind, nullable=False)).with_metadata(told)
    rows = 0
    dictionary = ["path", "site", "deployment"]
    with pq.ParquetWriter(handle, schema, compression="zstd", use_dictionary=dictionary) as writer:
        for table in row_groups(_with_vectors(vectors, schema, dtype), schema, _ROW_GROUP_ROWS):
            writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
            rows += table.num_rows
    return Written(rows, 1)


def _with_vectors(vectors: Vectors, schema: pa.Schema, dtype: str) -> Iterator[pa.Table]:
    kind = schema.field("embedding").type
    for windows, block in vectors.checked():
        flat = pa.array(_as_dtype(block, dtype).ravel())
        yield pa.table([*windows.columns, pa.FixedSizeListArray.from_arrays(flat, type=kind)], schema=schema)


def _as_dtype(block: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    if dtype == "float32":
        return block
    with np.errstate(over="ignore"):
        half = block.astype(np.float16)
    if not np.isfinite(half).all():
        raise Invalid(f"a value of {np.abs(block).max():g} is beyond float16, which ends at 65,504: ask for float32")
    return half


def write_npy(vectors: Vectors, array: IO[bytes], table: IO[bytes]) -> Written:
    """Write a float32 array (n, dim), and a CSV table whose row n describes the array's row n, both from 0.

    Parameters
    ----------
    vectors : Vectors
    array : binary file
        Seekable: how many rows there are is written at the end.
    table : binary file
    """
    length = _npy_header(array, 0, vectors.dim)
    write_csv(_table(WINDOW_SCHEMA.empty_table(), 0), table, header=True)
    rows = 0
    for windows, block in vectors.checked():
        array.write(block.astype("<f4", copy=False).data.cast("B"))
        write_csv(_table(windows, rows), table, header=False)
        rows += len(block)
    array.seek(0)
    if _npy_header(array, rows, vectors.dim) != length:
        raise Damaged(f"the header for {rows} rows is not as long as the one for none")
    return Written(rows, 2)


def _npy_header(array: IO[bytes], rows: int, dim: int) -> int:
    """Write the header. NumPy leaves room in it for the first number to grow, so its length does not depend on it."""
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})
    return array.tell()


def _table(windows: pa.Table, first: int) -> pl.DataFrame:
    frame = pl.from_arrow(windows)
    if isinstance(frame, pl.Series):
        raise Damaged("windows are one column")
    return frame.select(
        pl.int_range(first, first + pl.len()).alias("row"),
        "path",
        "site",
        "deployment",
        "start_s",
        "end_s",
        "valid_s",
        local_iso().alias("local_time"),
        utc_iso().alias("utc"),
        "recording_id",
        "start_sample",
    )


def write_vectors_csv(vectors: Vectors, handle: IO[bytes]) -> Written:
    """Write path, start_s, end_s and the vector as columns e1 to eN: readable anywhere, and ten times the size."""
    names = [f"e{i}" for i in range(1, vectors.dim + 1)]
    handle.write((",".join(["path", "start_s", "end_s", *names]) + "\n").encode())
    rows = 0
    for windows, block in vectors.checked():
        place = pl.from_arrow(windows.select(["path", "start_s", "end_s"]))
        values = pl.from_numpy(block, schema=names)
        if isinstance(place, pl.DataFrame):
            write_csv(place.hstack(values), handle, header=False)
        rows += len(block)
    return Written(rows, 1)


def write_hdf5(vectors: Vectors, path: Path) -> Written:
    """Write ``embeddings`` (n, dim) float32 and one dataset a column in ``windows/``, in types that R reads too.

    R has no 64-bit integers: ``recording_id`` is text, ``start_sample`` and ``utc_start`` (seconds since 1970, NaN where
    unknown) are float64, which hold them exactly; ``local_start`` is ISO 8601 text, empty where unknown.

    Parameters
    ----------
    vectors : Vectors
    path : Path
        A new file.
    """
    import h5py

    dim = vectors.dim
    rows = 0
    with EnduringFile(path) as handle, h5py.File(handle, "w") as file:
        chunk = max(1, _CHUNK_BYTES // (4 * max(1, dim)))
        embeddings = file.create_dataset("embeddings", (0, dim), "f4", maxshape=(None, dim), chunks=(chunk, dim))
        embeddings.attrs["units"] = "as the model gave them, not normalised"
        group = file.create_group("windows")
        columns = {}
        for name, (kind, units) in _HDF5_COLUMNS.items():
            stored = h5py.string_dtype() if kind is str else kind
            columns[name] = group.create_dataset(name, (0,), stored, maxshape=(None,), chunks=(4096,))
            columns[name].attrs["units"] = units
        for windows, block in vectors.checked():
            end = rows + len(block)
            embeddings.resize(end, axis=0)
            embeddings[rows:end] = block
            for name, values in _hdf5_values(windows).items():
                columns[name].resize(end, axis=0)
                columns[name][rows:end] = values
            rows = end
            if handle.error is not None:
                break
        file.attrs.update({**vectors.about, "dim": dim, "rows": rows})
    if handle.error is not None:
        raise handle.error
    return Written(rows, 1)


_HDF5_COLUMNS: Final[dict[str, tuple[type, str]]] = {
    "path": (str, "of the recording"),
    "site": (str, "name"),
    "deployment": (str, "name, empty if there is none"),
    "start_s": (float, "seconds from the recording's start"),
    "end_s": (float, "seconds from the recording's start"),
    "valid_s": (float, "seconds of sound in the window"),
    "local_start": (str, "ISO 8601, the site's clock, with its offset from UTC where known"),
    "utc_start": (float, "seconds since 1970-01-01T00:00:00Z, NaN where unknown"),
    "recording_id": (str, "whole number"),
    "start_sample": (float, "samples at the model's rate, a whole number"),
}


def _hdf5_values(windows: pa.Table) -> dict[str, Any]:
    frame = pl.from_arrow(windows)
    if isinstance(frame, pl.Series):
        raise Damaged("windows are one column")
    texts = frame.select(
        *(pl.col(c).fill_null("") for c in ("path", "site", "deployment")),
        local_iso().fill_null("").alias("local_start"),
        pl.col("recording_id").cast(pl.String),
    )
    numbers = frame.select(
        "start_s",
        "end_s",
        "valid_s",
        (pl.col("utc_start").dt.epoch("us") / 1e6).fill_null(float("nan")).alias("utc_start"),
        pl.col("start_sample").cast(pl.Float64),
    )
    return {c: texts[c].to_list() for c in texts.columns} | {c: numbers[c].to_numpy() for c in numbers.columns}
