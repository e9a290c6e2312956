"""A filter as a bitmap over the rows of a snapshot: what a search inside a filter needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from store.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class RowBitmap:
    """Which rows are meant.

    Attributes
    ----------
    bits : uint8, (ceil(size / 8),)
        Bit ``i % 8`` of byte ``i // 8`` is row ``i``, lowest bit first, as FAISS selectors read them.
    size : int
        Rows of the snapshot, superseded ones included: row ``i`` of a part is the sum of the rows of the parts before
        it in the snapshot, plus ``i``.
    count : int
        Bits set.
    """

    bits: NDArray[np.uint8]
    size: int
    count: int

    @classmethod
    def of(cls, snapshot: Snapshot, rows: pa.Table) -> Self:
        """Set the rows of a table with ``part_id`` and ``part_row``."""
        firsts, size = {}, 0
        for part in snapshot.parts:
            firsts[part.part_id] = size
            size += part.rows
        mask = np.zeros(size, np.bool_)
        if rows.num_rows:
            coded = rows["part_id"].combine_chunks().dictionary_encode()
            offsets = np.array([firsts[name] for name in coded.dictionary.to_pylist()], np.int64)
            mask[offsets[coded.indices.to_numpy()] + rows["part_row"].to_numpy()] = True
        return cls(np.packbits(mask, bitorder="little"), size, int(mask.sum()))

    def mask(self) -> NDArray[np.bool_]:
        """Return it as bool, (size,)."""
        return np.unpackbits(self.bits, count=self.size, bitorder="little").astype(np.bool_)

    def rows(self) -> NDArray[np.int64]:
        """Return the row numbers set, ascending; int64, (count,)."""
        return np.flatnonzero(self.mask())
