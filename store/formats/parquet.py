"""Parquet: rows as they are, streamed; for detections also under the names of the ``birdnet`` package."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from store.formats.detections import Detections, Written

BIRDNET: Final = ("input", "start_time", "end_time", "species_name", "confidence")
METADATA_KEY: Final = b"sonotheque.export"
_ROW_GROUP_ROWS: Final = 131_072


def write_parquet(
    blocks: Iterable[pa.RecordBatch], schema: pa.Schema, handle: IO[bytes], *, about: Mapping[str, Any] | None = None
) -> Written:
    """Write blocks of one schema as they are.

    Parameters
    ----------
    blocks : iterable of pyarrow.RecordBatch
    schema : pyarrow.Schema
    handle : binary file
    about : mapping, optional
        What the export is of; goes into the file's metadata as JSON.
    """
    told = {METADATA_KEY: json.dumps(dict(about), default=str).encode()} if about else {}
    rows = 0
    with pq.ParquetWriter(handle, schema.with_metadata(told or None), compression="zstd") as writer:
        for table in row_groups(blocks, schema, _ROW_GROUP_ROWS):
            writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
            rows += table.num_rows
    return Written(rows, 1)


def row_groups(blocks: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Yield tables of so many rows, the last of what is left: row groups do not depend on how the rows came."""
    kept = schema.empty_table()
    for block in blocks:
        table = block if isinstance(block, pa.Table) else pa.Table.from_batches([block])
        kept = pa.concat_tables([kept, table.cast(schema)])
        while kept.num_rows >= rows:
            yield kept.slice(0, rows).combine_chunks()
            kept = kept.slice(rows)
    if kept.num_rows:
        yield kept.combine_chunks()


def write_birdnet_parquet(
    detections: Detections, handle: IO[bytes], *, about: Mapping[str, Any] | None = None
) -> Written:
    """Write the columns of the ``birdnet`` package; times are seconds."""
    schema = pa.schema(zip(BIRDNET, [pa.string(), pa.float64(), pa.float64(), pa.string(), pa.float32()], strict=True))
    values = (pl.col("file"), pl.col("start_s"), pl.col("end_cut_s"), pl.col("label"), pl.col("score").cast(pl.Float32))

    def blocks() -> Iterable[pa.RecordBatch]:
        for frame in detections.frames():
            table = frame.select(v.alias(n) for n, v in zip(BIRDNET, values, strict=True)).to_arrow()
            yield from table.cast(schema).to_batches()

    return write_parquet(blocks(), schema, handle, about=about)
