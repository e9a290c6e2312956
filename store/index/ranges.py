"""Which runs of rows a device scans for a filter: few enough to be worth it, each with or without holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid

RANGES_MAX: Final = 32  # a call of the device for each


@dataclass(frozen=True, slots=True)
class Run:
    """Rows ``[first, end)``; with holes, not all of them are eligible."""

    first: int
    end: int
    has_holes: bool = False

    def within(self, first: int, end: int) -> Run | None:
        """Return what of it lies in ``[first, end)``; None if nothing."""
        low, high = max(self.first, first), min(self.end, end)
        return Run(low, high, self.has_holes) if low < high else None


def eligible_runs(bits: NDArray[np.uint8] | None, rows: int) -> tuple[list[Run], int]:
    """Return at most ``RANGES_MAX`` runs that hold all eligible rows, and how many rows are eligible.

    Parameters
    ----------
    bits : uint8 or None
        One bit a row, lowest first; None: all rows.
    rows : int

    Notes
    -----
    The smallest gaps are closed: a site or a month of an archive that lies in their order is one run without holes.
    """
    if bits is None:
        return ([Run(0, rows)] if rows else []), rows
    if len(bits) != -(-rows // 8):
        raise Invalid(f"the bitmap has {len(bits):,} bytes; {rows:,} rows need {-(-rows // 8):,}")
    known = np.zeros(rows + 2, np.int8)  # framed by zeros, so that every run has two ends
    known[1:-1] = np.unpackbits(bits, count=rows, bitorder="little")
    edges = np.flatnonzero(np.diff(known))
    firsts, ends = edges[::2], edges[1::2]
    if not len(firsts):
        return [], 0
    borders = np.arange(len(firsts) - 1)
    if len(firsts) > RANGES_MAX:
        gaps = firsts[1:] - ends[:-1]
        borders = np.sort(np.argpartition(-gaps, RANGES_MAX - 1)[: RANGES_MAX - 1])
    begins, stops = np.concatenate([[0], borders + 1]), np.concatenate([borders, [len(firsts) - 1]])
    runs = [Run(int(firsts[a]), int(ends[b]), bool(b > a)) for a, b in zip(begins, stops, strict=True)]
    return runs, int((ends - firsts).sum())


def are_eligible(bits: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each row's bit is set."""
    found: NDArray[np.bool_] = (bits[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 == 1
    return found
