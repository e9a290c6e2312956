"""What building an index would mean, before it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sonotheque.core.errors import Invalid
from store import Archive

if TYPE_CHECKING:
    from store.index import IndexWishes, Recipe


def planned_index(archive: Archive, wishes: IndexWishes) -> Recipe:
    """Return how an archive's index would be made; nothing is written.

    Raises
    ------
    Invalid
        If the archive has no windows, or the memory is too small.
    """
    from store.index import plan_index

    rows = sum(part.rows for part in archive.live_parts)
    if not rows:
        raise Invalid(f"{archive.root} has no windows in snapshot {archive.snapshot.number}: there is nothing to index")
    itemsize = np.dtype(archive.config.dtype).itemsize
    return plan_index(rows, archive.config.model.dim, wishes, itemsize=itemsize)
