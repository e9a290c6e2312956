"""Rows of a table of windows as Python values: of the few that are shown, a column at a time is read where it lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.index.columns import values

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
Rows = NDArray[np.int64]


class WindowRows:
    """The columns of one table that hits show.

    Parameters
    ----------
    table : pyarrow.Table
        As :func:`store.index.windows.windows_of` returns it.
    names : sequence of str
    """

    def __init__(self, table: pa.Table, names: Sequence[str]) -> None:
        self._readers = {name: _reader(table[name]) for name in names}

    def at(self, rows: Rows) -> list[dict[str, Any]]:
        """Return some rows, in their order."""
        columns = [reader(rows) for reader in self._readers.values()]
        return [dict(zip(self._readers, row, strict=True)) for row in zip(*columns, strict=True)]


def _reader(column: pa.Array | pa.ChunkedArray) -> Callable[[Rows], list[Any]]:
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.array([], column.type)
    held = _validity(column)
    if pa.types.is_dictionary(column.type):
        codes, words = _raw(column.indices), column.dictionary
        return lambda rows: [
            words[int(c)].as_py() if ok else None for c, ok in zip(codes[rows], held(rows), strict=True)
        ]
    if pa.types.is_timestamp(column.type):
        moments, zero = _raw(column.cast(pa.int64())), _EPOCH_UTC if column.type.tz else _EPOCH
        return lambda rows: [
            zero + timedelta(microseconds=int(m)) if ok else None
            for m, ok in zip(moments[rows], held(rows), strict=True)
        ]
    plain = _raw(column)
    return lambda rows: [v if ok else None for v, ok in zip(plain[rows].tolist(), held(rows), strict=True)]


def _raw(column: pa.Array) -> NDArray[Any]:
    """Return a column's numbers; what stands where it is null means nothing."""
    whole = pa.Array.from_buffers(column.type, len(column), [None, column.buffers()[1]], offset=column.offset)
    return values(whole)


def _validity(column: pa.Array) -> Callable[[Rows], Any]:
    bits, first = column.buffers()[0], column.offset
    if bits is None or not column.null_count:
        return lambda rows: np.ones(len(rows), np.bool_)
    packed = np.frombuffer(bits, np.uint8)
    return lambda rows: (packed[(rows + first) >> 3] >> ((rows + first) & 7) & 1).astype(np.bool_)
