"""The rows of a result as JSON, as many as the bounds allow. Runs in the process of the query."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa

from search_api.questions.values import column_values
from sonotheque.core.errors import Limit

EXACT_MAX: Final = 2**53 - 1
"""Greater whole numbers are texts: JavaScript, and every JSON reader like it, would round them."""
IDS: Final = frozenset({"recording_id"})
_ROWS_A_TIME: Final = 1024


def rows_json(batches: Iterable[pa.RecordBatch], rows_max: int, bytes_max: int) -> tuple[bytes, int, bool]:
    """Return the rows of a result as one JSON list of lists.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        Read only as far as rows are wanted.
    rows_max, bytes_max : int

    Returns
    -------
    rows : bytes
        Times in ISO 8601; ``recording_id``, and whole numbers that no float holds, as text; bytes in base64; NaN as null.
    n : int
    truncated : bool
        Whether rows were left out.

    Raises
    ------
    Limit
        If not even one row fits.
    """
    out, n, size = bytearray(b"["), 0, 2
    for block in _blocks(batches, bytes_max):
        for row in zip(*(_values(block, i) for i in range(block.num_columns)), strict=True):
            text = json.dumps(row, separators=(",", ":"), allow_nan=False).encode()
            if n == rows_max or size + len(text) + 1 > bytes_max:
                if n == 0 and rows_max:
                    raise Limit(
                        f"one row of the result is larger than {bytes_max:,} bytes; take fewer columns, or part of a list"
                    )
                return bytes(out + b"]"), n, True
            out += (b"," if n else b"") + text
            n, size = n + 1, size + len(text) + 1
    return bytes(out + b"]"), n, False


def _blocks(batches: Iterable[pa.RecordBatch], bytes_max: int) -> Iterable[pa.RecordBatch]:
    """Yield pieces small enough to become Python objects."""
    for batch in batches:
        if not batch.num_rows:
            continue
        width = max(1, batch.nbytes // batch.num_rows)
        step = max(1, min(_ROWS_A_TIME, bytes_max // width))
        for first in range(0, batch.num_rows, step):
            yield batch.slice(first, step)


def _values(block: pa.RecordBatch, i: int) -> list[Any]:
    column, name = block.column(i), block.schema.field(i).name
    if isinstance(column, pa.ExtensionArray) and not _is_uuid(column.type):
        column = column.storage
    if _is_binary(column.type):
        return [None if v is None else base64.b64encode(v).decode("ascii") for v in column.to_pylist()]
    if pa.types.is_integer(column.type) and name.lower() in IDS:
        return [None if v is None else str(v) for v in column.to_pylist()]
    return [exact(v) for v in column_values(column)]


def exact(value: Any) -> Any:
    """Return a JSON value whose whole numbers are texts where a float could not hold them."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if -EXACT_MAX <= value <= EXACT_MAX else str(value)
    if isinstance(value, list):
        return [exact(v) for v in value]
    if isinstance(value, dict):
        return {k: str(v) if k.lower() in IDS and isinstance(v, int) else exact(v) for k, v in value.items()}
    return value


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _is_uuid(kind: pa.DataType) -> bool:
    return "uuid" in str(kind).lower()
