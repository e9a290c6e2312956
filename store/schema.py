"""Arrow schemas of the two datasets, and how they are encoded (FORMAT.md sections 3 and 4)."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

ROW_GROUP_ROWS = 1024
COMPRESSION_LEVEL = 3
LEDGER_KEY = b"sonotheque.part"
HIVE_TYPES = {"site": "VARCHAR", "date": "DATE"}

_WINDOW = [
    pa.field("recording_id", pa.int64(), nullable=False),
    pa.field("path", pa.string(), nullable=False),
    pa.field("start_sample", pa.int64(), nullable=False),
    pa.field("start_s", pa.float64(), nullable=False),
    pa.field("end_s", pa.float64(), nullable=False),
]
_TIME = [pa.field("utc_start", pa.timestamp("us", tz="UTC")), pa.field("local_start", pa.timestamp("us"))]


def embeddings_schema(dim: int, dtype: str) -> pa.Schema:
    """Return the schema of an embeddings file.

    Parameters
    ----------
    dim : int
        Length of a vector.
    dtype : str
        ``float16`` or ``float32``.
    """
    element = pa.float16() if dtype == "float16" else pa.float32()
    return pa.schema(
        [
            *_WINDOW,
            pa.field("valid_s", pa.float64(), nullable=False),
            *_TIME,
            pa.field("embedding", pa.list_(pa.field("element", element, nullable=False), dim), nullable=False),
        ]
    )


def predictions_schema() -> pa.Schema:
    """Return the schema of a predictions file."""
    return pa.schema(
        [
            *_WINDOW,
            *_TIME,
            pa.field("rank", pa.int16(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("logit", pa.float32(), nullable=False),
            pa.field("score", pa.float32(), nullable=False),
        ]
    )


def writer_options(dtype: str | None) -> dict[str, Any]:
    """Return the ParquetWriter options: of an embeddings file for a dtype, of a predictions file for None.

    Measured: dictionary encoding makes vector columns larger and slower, and DuckDB 2.0 refuses float16 with
    BYTE_STREAM_SPLIT, so only float32 vectors use it.
    """
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": COMPRESSION_LEVEL,
        "store_schema": True,
        "write_page_index": False,
    }
    if dtype is None:
        return {
            **options,
            "use_dictionary": [
                "path",
                "label",
                "recording_id",
                "start_sample",
                "start_s",
                "end_s",
                "utc_start",
                "local_start",
            ],
        }
    vector = "embedding.list.element"
    plain = {"use_dictionary": ["path", "recording_id", "valid_s"], "write_statistics": _metadata_columns()}
    return {**options, **plain, "use_byte_stream_split": [vector] if dtype == "float32" else False}


def _metadata_columns() -> list[str]:
    return ["recording_id", "path", "start_sample", "start_s", "end_s", "valid_s", "utc_start", "local_start"]
