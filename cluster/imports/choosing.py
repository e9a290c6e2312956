"""One row a window: of rows that a source has twice, the last written that is finite is taken, and the others are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.imports.index import Windows
from cluster.imports.source import Source

BLOCK_ROWS = 2048  # read together: 12 MB of float32 vectors of 1,536


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was taken of some rows, one a window.

    Attributes
    ----------
    kept : int64, (n,)
        Which rows, in order of recording and start.
    vectors : float32, (n, dim)
        All finite.
    dropped : dict
        ``identical``, ``differing``, ``nonfinite`` -> int64, (m,): the recording's number of each row that was left out.
    """

    kept: NDArray[np.int64]
    vectors: NDArray[np.float32]
    dropped: dict[str, NDArray[np.int64]]


def choose(rows: Windows, source: Source) -> Chosen:
    """Read the vectors of rows and leave one a window.

    Parameters
    ----------
    rows : Windows
        All rows of each window that is among them.
    source : Source

    Raises
    ------
    Damaged
        If the source cannot be read.
    """
    vectors = source.vectors(rows.place)
    finite = np.asarray(np.isfinite(vectors).all(axis=1), bool)
    window = np.cumsum(first_rows(rows)) - 1
    order = np.lexsort((rows.place, finite, window))
    best = order[np.append(np.diff(window[order]) != 0, np.ones(min(1, len(order)), bool))]  # by window
    spare = np.ones(len(window), bool)
    spare[best] = False
    identical = np.zeros(len(window), bool)
    bits = vectors.view(np.uint32)  # a NaN is the same as itself here
    identical[spare] = (bits[spare] == bits[best[window[spare]]]).all(axis=1)
    kept = best[finite[best]]
    dropped = {
        "identical": rows.number[identical],
        "differing": rows.number[spare & ~identical],
        "nonfinite": rows.number[best[~finite[best]]],
    }
    return Chosen(kept, vectors if len(kept) == len(vectors) else vectors[kept], dropped)


def first_rows(rows: Windows) -> NDArray[np.bool_]:
    """Tell of each row whether it is the first of its window."""
    first = np.ones(len(rows.start), bool)
    first[1:] = (np.diff(rows.number) != 0) | (np.diff(rows.start) != 0)
    return first


def blocks(rows: Windows) -> Iterator[slice]:
    """Yield slices of rows to read together, which never part the rows of one window."""
    cuts = np.append(np.flatnonzero(first_rows(rows)), len(rows.start))
    begin = 0
    while begin < len(rows.start):
        at = int(np.searchsorted(cuts, begin + BLOCK_ROWS, side="right")) - 1
        end = int(cuts[at]) if cuts[at] > begin else int(cuts[at + 1])
        yield slice(begin, end)
        begin = end


def part_of(rows: Windows, here: slice | NDArray[np.bool_]) -> Windows:
    """Return some of the rows."""
    return Windows(rows.number[here], rows.start[here], rows.valid[here], rows.place[here])
