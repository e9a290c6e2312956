"""How many windows hold the call, and how sure is that: from a review of random windows of each score bin.

The idea is that of Navine, Denton, Weldy and Hart (2024), "All thresholds barred: direct estimation of call density in bioacoustic
data", Frontiers in Bird Science 3: instead of counting what is above a threshold, some windows of every score bin are judged, and each
bin counts with its share of all windows. The interval differs: where no window of a bin was found to hold the call, its low end takes
the bin as empty (Brown, Cai and DasGupta 2001, "Interval estimation for a binomial proportion"). A prior alone would put calls into
every bin that has none, and of a rare call the interval would then most often lie above the truth (simulated: 29 to 98 % covered
instead of 95).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid

DRAWS: Final = 20_000
_TAIL: Final = 2.5  # percent on either side
_PRIOR: Final = 0.5  # Jeffreys


@dataclass(frozen=True, slots=True)
class Stratum:
    """A score bin with what was found in it.

    Attributes
    ----------
    low, high : float
        Edges.
    windows : int
        From which windows were drawn at random.
    positive, negative : int
        Of those drawn and judged.
    known_positive, known_negative : int
        Judged before the draw, and not among ``windows``.
    picked : int
        Drawn, judged or not.

    Raises
    ------
    Invalid
        If more were judged than there are.
    """

    low: float
    high: float
    windows: int
    positive: int = 0
    negative: int = 0
    known_positive: int = 0
    known_negative: int = 0
    picked: int = 0

    def __post_init__(self) -> None:
        counts = (self.windows, self.positive, self.negative, self.known_positive, self.known_negative)
        if min(counts) < 0 or self.judged > self.windows:
            raise Invalid(
                f"score bin {self.low:g} to {self.high:g}: {self.judged:,} windows judged of {self.windows:,}; expected no more than that"
            )

    @property
    def judged(self) -> int:
        """Windows drawn and judged."""
        return self.positive + self.negative

    @property
    def known(self) -> int:
        """Windows judged before."""
        return self.known_positive + self.known_negative


@dataclass(frozen=True, slots=True)
class Density:
    """An estimate.

    Attributes
    ----------
    windows : int
        In all.
    judged : int
        Drawn and judged.
    known : int
        Judged before; they count as they are.
    count, share : float or None
        Windows with the call; None if nothing was judged.
    count_ci, share_ci : (float, float)
        95 % interval; everything that is possible if nothing was judged.
    roc_auc : float or None
        Chance that a window with the call is in a higher bin than one without, half of it for the same bin; None if one of them is
        missing.
    roc_auc_ci : (float, float) or None
    bins : list of dict
        ``low, high, windows, picked, judged, positive, known, known_positive, share, count, share_ci``.
    notes : tuple of str
    """

    windows: int
    judged: int
    known: int
    count: float | None
    count_ci: tuple[float, float]
    share: float | None
    share_ci: tuple[float, float]
    roc_auc: float | None
    roc_auc_ci: tuple[float, float] | None
    bins: list[dict[str, Any]]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        named = {name: getattr(self, name) for name in self.__slots__ if name != "notes"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in named.items()}


def estimate(strata: Sequence[Stratum], *, draws: int = DRAWS, seed: int = 0) -> Density:
    """Estimate how many windows hold the call.

    Parameters
    ----------
    strata : sequence of Stratum
        By score, ascending. Those judged are a random sample of their bin's windows.
    draws : int
        Of the simulation behind the intervals.
    seed : int

    Returns
    -------
    Density
        A bin of which nothing was judged takes its point from its neighbours, and lies anywhere from 0 to all of its windows in the
        interval; a note says so. The interval has no width only if every window was judged.

    Raises
    ------
    Invalid
        If there is no stratum.
    """
    if not strata:
        raise Invalid("no score bin is given: expected at least one")
    n, k = (np.array([getattr(s, a) for s in strata], np.int64) for a in ("judged", "positive"))
    size = np.array([s.windows for s in strata], np.int64)
    before, before_yes = (np.array([getattr(s, a) for s in strata], np.int64) for a in ("known", "known_positive"))
    total = int(size.sum() + before.sum())
    share = _shares(n, k, size)
    low, high = _drawn(n, k, size, draws, seed)
    counts = (float(_percentile(low.sum(axis=1), _TAIL)), float(_percentile(high.sum(axis=1), 100 - _TAIL)))
    count = float(share @ size) if share is not None else None
    sure = int(before_yes.sum())
    interval = _spanning(count, counts)
    nothing = total == 0
    auc, auc_interval = _auc(share, size, before, before_yes, low, high)
    return Density(
        total,
        int(n.sum()),
        int(before.sum()),
        None if count is None else count + sure,
        (interval[0] + sure, interval[1] + sure),
        None if count is None or nothing else (count + sure) / total,
        (0.0, 1.0) if nothing else ((interval[0] + sure) / total, (interval[1] + sure) / total),
        auc,
        auc_interval,
        [_bin(s, share, i, low, high) for i, s in enumerate(strata)],
        tuple(_notes(strata, n, size)),
    )


def auc_of_bins(positive: NDArray[Any], negative: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ROC-AUC of windows known by their bins alone: (..., b) counts, bins ascending; NaN where a side is empty.

    Two windows of one bin count half, so it is a little nearer to 0.5 than that of the scores themselves.
    """
    yes, no = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    below = np.cumsum(no, axis=-1) - no
    pairs = yes.sum(axis=-1) * no.sum(axis=-1)
    wins = (yes * (below + 0.5 * no)).sum(axis=-1)
    return np.asarray(np.divide(wins, pairs, out=np.full(np.shape(pairs), np.nan), where=pairs > 0))


def _shares(n: NDArray[np.int64], k: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the share of positives of each bin; of one without judgements that of its neighbours, or None if there is none at all."""
    told = np.flatnonzero(n)
    if not size.any():
        return np.zeros(len(n))
    if not len(told):
        return None
    return np.asarray(np.interp(np.arange(len(n)), told, k[told] / n[told]), np.float64)


def _drawn(
    n: NDArray[np.int64], k: NDArray[np.int64], size: NDArray[np.int64], draws: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return positives of each bin as they may be, (draws, b): for the low end of an interval, and for the high one."""
    rng = np.random.default_rng(seed)
    p = rng.beta(k + _PRIOR, n - k + _PRIOR, (draws, len(n)))
    drawn = k + rng.binomial(size - n, p)  # what was judged is known; only the rest of the bin is uncertain
    return np.where(k > 0, drawn, 0), np.where(k < n, drawn, size)


def _percentile(values: NDArray[Any], q: float) -> Any:
    # Nearest ranks outwards: counts are whole, and an interval may only be too wide.
    return np.percentile(values, q, axis=0, method="lower" if q < 50 else "higher")


def _spanning(point: float | None, interval: tuple[float, float]) -> tuple[float, float]:
    return interval if point is None else (min(interval[0], point), max(interval[1], point))


def _auc(
    share: NDArray[np.float64] | None,
    size: NDArray[np.int64],
    before: NDArray[np.int64],
    before_yes: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
) -> tuple[float | None, tuple[float, float] | None]:
    if share is None:
        return None, None
    every = size + before
    yes = share * size + before_yes
    found = float(auc_of_bins(yes, every - yes))
    if np.isnan(found):
        return None, None
    both = [auc_of_bins(c + before_yes, every - c - before_yes) for c in (low, high)]
    # A bin that may hold nothing or anything moves the AUC either way, by where it lies: both ways of drawing are asked.
    known = [b[~np.isnan(b)] for b in both]
    if not all(map(len, known)):
        return found, (0.0, 1.0)
    ends = [(float(np.percentile(b, _TAIL)), float(np.percentile(b, 100 - _TAIL))) for b in known]
    return found, _spanning(found, (min(e[0] for e in ends), max(e[1] for e in ends)))


def _bin(
    s: Stratum, share: NDArray[np.float64] | None, i: int, low: NDArray[np.int64], high: NDArray[np.int64]
) -> dict[str, Any]:
    ends = (0.0, 0.0)
    if s.windows:
        ends = (
            float(_percentile(low[:, i], _TAIL)) / s.windows,
            float(_percentile(high[:, i], 100 - _TAIL)) / s.windows,
        )
    point = float(share[i]) if share is not None else None
    return {
        "low": s.low,
        "high": s.high,
        "windows": s.windows,
        "picked": s.picked,
        "judged": s.judged,
        "positive": s.positive,
        "known": s.known,
        "known_positive": s.known_positive,
        "share": point,
        "count": None if point is None else point * s.windows + s.known_positive,
        "share_ci": list(_spanning(point, ends)),
    }


def _notes(strata: Sequence[Stratum], n: NDArray[np.int64], size: NDArray[np.int64]) -> list[str]:
    empty = [s for s, judged, windows in zip(strata, n, size, strict=True) if windows and not judged]
    if len(empty) == sum(bool(s) for s in size) and empty:
        return ["no drawn window was judged: nothing is known of how many hold the call"]
    if empty:
        which = ", ".join(f"{s.low:.3g} to {s.high:.3g}" for s in empty)
        held = sum(s.windows for s in empty)
        return [
            f"no window of the score bin{'s' if len(empty) > 1 else ''} {which} was judged: from none to all of its {held:,} windows may hold "
            "the call, and the interval is that much wider"
        ]
    return []
