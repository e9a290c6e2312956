"""Arrow columns as NumPy arrays, read where they lie.

Arrow's own ``to_numpy`` imports pandas where that is installed, which takes five times as long as opening an index.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def values(column: pa.Array | pa.ChunkedArray, missing: Any = 0) -> NDArray[Any]:
    """Return a column of bools or numbers as an array, without copying where it lies in one piece; nulls become ``missing``."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # without chunks there is nothing to combine
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if column.null_count:
        column = pc.fill_null(column, missing)
    data, first, end = column.buffers()[1], column.offset, column.offset + len(column)
    if pa.types.is_boolean(column.type):
        packed = np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8)
        return np.unpackbits(packed, count=end, bitorder="little")[first:].astype(np.bool_)
    kind = np.dtype(column.type.to_pandas_dtype())  # NumPy's name, in spite of its own
    return np.frombuffer(data, kind)[first:end] if data and len(column) else np.empty(0, kind)


def column(rows: NDArray[np.int64]) -> pa.Array:
    """Return row numbers as an Arrow array, without copying."""
    whole = np.ascontiguousarray(rows, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])
