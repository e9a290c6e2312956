"""Any table as CSV: every column under its own name, times as ISO 8601, lists as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import polars as pl
import pyarrow as pa

from sonotheque.core.errors import Invalid
from store.formats.detections import Written
from store.formats.text import local_iso, utc_iso, write_csv


def write_plain_csv(blocks: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema, handle: IO[bytes]) -> Written:
    """Write blocks of one schema.

    Local times (``local_start``) carry their offset where the row's ``utc_start`` is known; other times are as they are,
    those with a zone in UTC.

    Parameters
    ----------
    blocks : iterable of pyarrow.RecordBatch
    schema : pyarrow.Schema
    handle : binary file
    """
    write_csv(_readable(schema.empty_table()), handle, header=True)
    rows = 0
    for block in blocks:
        write_csv(_readable(block), handle, header=False)
        rows += block.num_rows
    return Written(rows, 1)


def _readable(block: pa.RecordBatch | pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(block)
    if isinstance(frame, pl.Series):
        raise Invalid("expected a table of rows, got one column")
    return frame.with_columns(_text(name, frame) for name in frame.columns)


def _text(name: str, frame: pl.DataFrame) -> pl.Expr:
    kind = frame.schema[name]
    if isinstance(kind, pl.Datetime):
        if kind.time_zone:
            return utc_iso(name)
        utc = name.replace("local", "utc")
        return local_iso(name, utc).alias(name) if utc != name and utc in frame.columns else _naive(name)
    if isinstance(kind, pl.List):
        return pl.col(name).cast(pl.List(pl.String)).list.join("; ")
    if kind == pl.Float32:
        return pl.col(name).cast(pl.Float64).round(6)
    return pl.col(name)


def _naive(name: str) -> pl.Expr:
    return pl.col(name).dt.round("1ms").dt.to_string("%Y-%m-%dT%H:%M:%S%.3f")
