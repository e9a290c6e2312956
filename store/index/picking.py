"""Makes hits different from each other: the best of each recording, site or day; no near-duplicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.search import SearchQuery
from store.scoring import cosines, unit

_ROUNDING = 1e-5  # of a product in float32, with room to spare


@dataclass(frozen=True, slots=True)
class Found:
    """Rows found, best first.

    Attributes
    ----------
    rows : int64, (n,)
    scores : float32, (n,)
    windows : int64, (n,)
        Which of the query's windows is nearest.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    windows: NDArray[np.int64]

    @classmethod
    def none(cls) -> Self:
        """Nothing."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: NDArray[Any]) -> Found:
        """Return some of them."""
        return Found(self.rows[places], self.scores[places], self.windows[places])

    def head(self, count: int) -> Found:
        """Return the first ones."""
        return self.at(np.arange(min(count, len(self))))


def picked(
    found: Found,
    query: SearchQuery,
    groups: NDArray[np.int64] | None,
    take: Callable[[NDArray[np.int64]], NDArray[Any]],
) -> Found:
    """Leave out hits that are of the group of a better one, or too much like a better one.

    Parameters
    ----------
    found : Found
    query : SearchQuery
        ``k`` and ``distinct``.
    groups : int64, (n,) or None
    take : callable
        Returns the vectors of rows.
    """
    if groups is not None:
        _, firsts = np.unique(groups, return_index=True)
        found = found.at(np.sort(firsts))
    if query.distinct is None or not len(found):
        return found
    stored = take(found.rows)
    vectors = unit(stored)
    kept: list[int] = []
    for place in range(len(found)):
        if not kept or not _is_like(stored, vectors, kept, place, query.distinct):
            kept.append(place)
            if len(kept) == query.k:
                break
    return found.at(np.array(kept))


def _is_like(stored: NDArray[Any], vectors: NDArray[np.float32], kept: list[int], place: int, least: float) -> bool:
    """Tell whether a vector's cosine with one of others is at least so much; by the exact score where rounding could decide."""
    near = vectors[kept] @ vectors[place]
    if float(near.max()) >= least + _ROUNDING:
        return True
    close = [kept[i] for i in np.flatnonzero(near > least - _ROUNDING)]
    return bool(close and stored[place].any() and cosines(stored[close], stored[place]).max() >= least)
