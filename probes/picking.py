"""Which windows to judge next: the best, those on the fence, those that differ from each other, a random sample of each score bin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid

BINS_MAX: Final = 20
_POOL_LEAST, _POOL_TIMES = 200, 20
Vectors = NDArray[Any] | Callable[[NDArray[np.int64]], NDArray[Any]]


def top(probabilities: NDArray[Any], k: int, judged: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Return the ``k`` windows with the highest probabilities.

    Parameters
    ----------
    probabilities : float, (n,)
        NaN: the window has no score, and is never picked.
    k : int
    judged : bool, (n,), optional
        Windows to leave out.

    Returns
    -------
    int64, (at most k,)
        Row numbers, best first; equal ones by their row.

    Raises
    ------
    Invalid
        If shapes do not fit, or ``k`` is less than 1.
    """
    rows = _open(probabilities, k, judged)
    return _smallest(rows, -probabilities[rows].astype(np.float64), k)


def margin(
    probabilities: NDArray[Any], k: int, judged: NDArray[np.bool_] | None = None, *, at: float = 0.5
) -> NDArray[np.int64]:
    """Return the ``k`` windows whose probabilities are nearest to ``at``: where yes and no meet. Otherwise as :func:`top`."""
    rows = _open(probabilities, k, judged)
    return _smallest(rows, np.abs(probabilities[rows].astype(np.float64) - at), k)


def pool_of(k: int) -> int:
    """Return how many of the most uncertain windows :func:`uncertain_diverse` chooses among."""
    return max(_POOL_LEAST, _POOL_TIMES * k)


def uncertain_diverse(
    probabilities: NDArray[Any],
    vectors: Vectors,
    k: int,
    judged: NDArray[np.bool_] | None = None,
    *,
    at: float = 0.5,
    pool: int | None = None,
) -> NDArray[np.int64]:
    """Return ``k`` windows that are uncertain and unlike each other.

    The most uncertain one is first; then, among the ``pool`` most uncertain ones, always the one whose nearest picked window is farthest
    (greedy k-centre).

    Parameters
    ----------
    probabilities : float, (n,)
    vectors : float, (n, dim), or callable
        Of all windows; or what gives those of some rows.
    k : int
    judged : bool, (n,), optional
    at : float
        The probability that is uncertain.
    pool : int, optional
        :func:`pool_of` by default.

    Returns
    -------
    int64, (at most k,)
        Row numbers, in the order of choice; equal distances by uncertainty, then row.

    Raises
    ------
    Invalid
        As :func:`top`.
    """
    among = margin(probabilities, max(k, pool_of(k) if pool is None else pool), judged, at=at)
    if k < 1 or len(among) <= 1:
        _open(probabilities, k, judged)
        return among
    x = np.asarray(vectors(among) if callable(vectors) else vectors[among], np.float64)
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    x = np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
    picked = [0]
    apart = 1.0 - x @ x[0]
    while len(picked) < min(k, len(among)):
        apart[picked[-1]] = -np.inf
        picked.append(int(np.argmax(apart)))
        np.minimum(apart, 1.0 - x @ x[picked[-1]], out=apart)
    return among[picked]


def quantile_edges(probabilities: NDArray[Any], bins: int) -> NDArray[np.float64]:
    """Return edges of score bins of which each holds half as many windows as the one below it, and the last as many.

    Calls are rare and score high, so most of the judging goes where they are. Scores that many windows share give fewer bins.

    Parameters
    ----------
    probabilities : float, (n,)
        NaN is left out.
    bins : int

    Returns
    -------
    float64, (at most bins + 1,)
        From 0 to 1, ascending.

    Raises
    ------
    Invalid
        If ``bins`` is not 1 to 20.
    """
    if not 1 <= bins <= BINS_MAX:
        raise Invalid(f"{bins} score bins: expected 1 to {BINS_MAX}")
    values = probabilities[np.isfinite(probabilities)]
    if not len(values):
        return np.array([0.0, 1.0])
    inner = np.quantile(values, 1.0 - 0.5 ** np.arange(1, bins), method="higher").astype(np.float64)
    inner = inner[inner > values.min()]  # else nothing would be below it
    return np.unique(np.concatenate([[0.0], inner, [max(1.0, float(values.max()))]]))


def bin_of(probabilities: NDArray[Any], edges: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each window's bin, ``[edges[i], edges[i + 1])``, the last with its upper edge; -1 outside and for NaN."""
    bounds = np.asarray(edges, np.float64)
    if len(bounds) < 2 or not (np.diff(bounds) > 0).all():
        raise Invalid(f"score bins {', '.join(f'{e:g}' for e in bounds)}: expected at least two edges, ascending")
    values = np.asarray(probabilities, np.float64)
    found = np.searchsorted(bounds, values, side="right") - 1
    found[values == bounds[-1]] = len(bounds) - 2
    found[np.isnan(values) | (found > len(bounds) - 2)] = -1
    return found.astype(np.int64)


def per_bin(
    probabilities: NDArray[Any],
    edges: Sequence[float] | NDArray[np.float64],
    k: int,
    judged: NDArray[np.bool_] | None = None,
    *,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``k`` random windows, the same number of each score bin as far as there are so many.

    Parameters
    ----------
    probabilities : float, (n,)
    edges : float, (b + 1,)
        See :func:`bin_of`.
    k : int
        In all; what does not divide goes to the higher bins.
    judged : bool, (n,), optional
    seed : int
        The same seed, the same windows.

    Returns
    -------
    rows, bins : int64, (at most k,)
        In random order, so that a review that is not finished is a fair sample too.

    Raises
    ------
    Invalid
        As :func:`top` and :func:`bin_of`.
    """
    rows = _open(probabilities, k, judged)
    bins = bin_of(probabilities[rows], edges)
    inside = [rows[bins == b] for b in range(len(edges) - 1)]
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(own, n, replace=False)
        for own, n in zip(inside, shares([len(own) for own in inside], k), strict=True)
    ]
    order = rng.permutation(sum(map(len, drawn)))
    numbers = np.repeat(np.arange(len(drawn)), [len(d) for d in drawn])
    return np.concatenate(drawn)[order].astype(np.int64), numbers[order].astype(np.int64)


def shares(sizes: Sequence[int], k: int) -> list[int]:
    """Return how many of ``k`` each bin gives: as equal as they hold, the higher bins first."""
    given = [0] * len(sizes)
    left = min(k, sum(sizes))
    while left:
        able = [b for b in reversed(range(len(sizes))) if given[b] < sizes[b]]
        each = max(1, min(left // len(able), *(sizes[b] - given[b] for b in able)))
        for b in able[:left]:
            given[b] += each
            left -= each
    return given


def _open(probabilities: NDArray[Any], k: int, judged: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Return the rows that may be picked, ascending."""
    if k < 1:
        raise Invalid(f"{k} windows to judge: expected 1 or more")
    if probabilities.ndim != 1 or (judged is not None and judged.shape != probabilities.shape):
        raise Invalid(
            f"probabilities {probabilities.shape}, judged {None if judged is None else judged.shape}: expected one of each a window"
        )
    may = np.isfinite(probabilities)
    return np.flatnonzero(may if judged is None else may & ~judged)


def _smallest(rows: NDArray[np.int64], keys: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the rows with the ``k`` smallest keys, in order; equal ones as they stand."""
    if k < len(keys):  # sorting ten million for the sake of ten would take seconds
        near = np.flatnonzero(keys <= np.partition(keys, k - 1)[k - 1])
        rows, keys = rows[near], keys[near]
    return rows[np.argsort(keys, kind="stable")[:k]]
