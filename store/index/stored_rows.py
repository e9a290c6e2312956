"""The vector of a stored window from the index's memory map: its part need not be read for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from store.index.segments import take

if TYPE_CHECKING:
    from store.index.searching import SearchIndex


def indexed_vector(index: SearchIndex, part_id: str, part_row: int) -> NDArray[np.float32] | None:
    """Return the vector of a part's row, float32 (1, dim), as the part holds it; None if it was committed after the index was built."""
    if part_id not in index.parts:
        return None
    row = int(index.firsts[index.parts.index(part_id)]) + part_row
    if row >= index.searched.fresh_first:
        return None
    return take(index.searched.segments, np.array([row]), index.archive.config.model.dim).astype(np.float32)
