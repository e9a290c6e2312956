"""Scores rows against a query: in full, or those that codes put forward; the same exact numbers in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from store.index.eligible import Eligible
from store.index.segments import OpenSegment, take
from store.index.stored import FreshVectors
from store.scoring import QUICK_ERROR, cosines, quick_cosines, quick_cosines_at

Rows = NDArray[np.int64]
_CONTIGUOUS: Final = 0.5  # of a range that is eligible: from here on it is scored where it lies, and the others dropped


@dataclass(frozen=True, slots=True)
class Aim:
    """What rows are scored against.

    Attributes
    ----------
    vectors : float32, (m, dim)
        The query's windows as given: exact scores are of these, for rounding them to length 1 would be seen in the last digit.
    units : float32, (m, dim)
        The same, length 1.
    is_mean : bool
        The score is the mean of the cosines, else the best.
    """

    vectors: NDArray[np.float32]
    units: NDArray[np.float32]
    is_mean: bool

    @property
    def directions(self) -> NDArray[np.float32]:
        """What candidates are looked for with, length 1: each window, or the one direction whose products are the means."""
        if not self.is_mean or len(self.units) == 1:
            return self.units
        middle = self.units.astype(np.float64).mean(axis=0)
        norm = np.linalg.norm(middle)
        direction: NDArray[np.float32] = (middle / norm if norm > 0 else self.units[0]).astype(np.float32)
        return direction[None]

    def joined(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one score a row from those of each window, (m, n) to (n,)."""
        joined: NDArray[np.float32]
        if len(scores) == 1:
            joined = scores[0]
        elif self.is_mean:
            joined = scores.astype(np.float64).mean(axis=0).astype(np.float32)
        else:
            joined = scores.max(axis=0)
        return joined

    def exact(self, vectors: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the exact score of each vector, and which of the query's windows is nearest to it."""
        each = np.stack([cosines(vectors, q) for q in self.vectors])
        return self.joined(each), each.argmax(axis=0)


@dataclass(slots=True)
class Searched:
    """The segments and what was committed since, as one run of rows."""

    segments: Sequence[OpenSegment]
    fresh: FreshVectors
    fresh_first: int
    dim: int

    def take(self, rows: Rows) -> NDArray[Any]:
        """Return the vectors of rows, as stored, in their order."""
        is_fresh = rows >= self.fresh_first
        if self.segments and not is_fresh.any():
            return take(self.segments, rows, self.dim)
        late = self.fresh.take(rows[is_fresh] - self.fresh_first)
        out = np.empty((len(rows), self.dim), late.dtype)
        out[is_fresh] = late
        if not is_fresh.all():
            out[~is_fresh] = take(self.segments, rows[~is_fresh], self.dim)
        return out

    def quick(self, aim: Aim, eligible: Eligible, *, only_fresh: bool = False) -> tuple[Rows, NDArray[np.float32]]:
        """Return all eligible rows and their scores to within ``QUICK_ERROR``."""
        rows: list[Rows] = []
        scores: list[NDArray[np.float32]] = []
        for segment in () if only_fresh else self.segments:
            own = _own(eligible, segment.first, segment.rows)
            if isinstance(own, slice):
                found = np.arange(segment.rows)[own]
                quick = quick_cosines_at(segment.vectors, own, aim.units)
            else:
                found, quick = own, _scored(segment.vectors, own, aim.units)
            rows.append(found + segment.first)
            scores.append(aim.joined(quick))
        n_fresh = int(self.fresh.firsts[-1])
        late = _own(eligible, self.fresh_first, n_fresh)
        wanted = np.arange(n_fresh)[late] if isinstance(late, slice) else late
        for found, vectors in self.fresh.blocks(wanted):
            rows.append(found + self.fresh_first)
            scores.append(aim.joined(quick_cosines(vectors, aim.units)))
        if not rows:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        return np.concatenate(rows), np.concatenate(scores)


def worth_a_look(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the places of all quick scores that may be among the ``k`` best exact ones."""
    if len(scores) <= k:
        return np.arange(len(scores))
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= least - 2 * QUICK_ERROR)


def _own(eligible: Eligible, first: int, rows: int) -> Rows | slice:
    """Return the eligible rows of a segment, counted from its first; a slice if that is all of them."""
    if eligible.mask is None:
        return slice(0, rows)
    return np.flatnonzero(eligible.mask[first : first + rows])


def _scored(vectors: NDArray[Any], rows: Rows, units: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score rows; where most of a range is wanted, the range is scored where it lies."""
    if not len(rows):
        return np.empty((len(units), 0), np.float32)
    low, high = int(rows[0]), int(rows[-1]) + 1
    if len(rows) >= _CONTIGUOUS * (high - low):
        return quick_cosines_at(vectors, slice(low, high), units)[:, rows - low]
    return quick_cosines_at(vectors, rows, units)
