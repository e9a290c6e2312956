"""A stored window and its vector from the index's memory maps: no SQL and no part need be read for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    return _vector(index, row)


def _vector(index: SearchIndex, row: int) -> NDArray[np.float32]:
    return take(index.searched.segments, np.array([row]), index.archive.config.model.dim).astype(np.float32)


def indexed_window(
    index: SearchIndex, recording_id: int, start_sample: int
) -> tuple[dict[str, Any], NDArray[np.float32]] | None:
    """Return what hits show of a window, by its identity, and its vector, float32 (1, dim).

    None if there is no such window, or if it was committed after the index was built.
    """
    row = index.windows.row_of(recording_id, start_sample)
    if row is None or row >= index.searched.fresh_first:
        return None
    return index.windows.shown(np.array([row]))[0], _vector(index, row)
