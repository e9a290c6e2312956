"""Intervals from the bootstrap over whole groups.

Windows of one recording are alike: resampling windows would call many views of one bird many birds, and give intervals
that are too narrow. So recordings are drawn with replacement, and every window of a recording comes with it (the
cluster bootstrap: Davison and Hinkley 1997, section 3.8; percentile interval: Efron and Tibshirani 1993, chapter 13).
With few recordings, percentile intervals are still somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid

COVERAGE = 0.95
_CELLS = 4_000_000  # groups times repeats held at once: 32 MB


def group_numbers(groups: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Return the number of each row's group, int64 (n,), counted from 0, and how many there are."""
    found, numbers = np.unique(np.asarray(groups), return_inverse=True)
    return numbers.astype(np.int64), len(found)


def resamples(n_groups: int, repeats: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw `n_groups` groups with replacement, `repeats` times.

    Yields
    ------
    float64, (n_groups, b)
        How many times each group was drawn in each of the next b repeats. The same seed gives the same draws, however
        they are cut into blocks.

    Raises
    ------
    Invalid
        Fewer than one group, or fewer than 0 repeats.
    """
    if n_groups < 1 or repeats < 0:
        raise Invalid(
            f"{n_groups} groups and {repeats} repeats: there must be at least one group and no negative repeats"
        )
    random = np.random.default_rng(seed)
    step = max(1, _CELLS // n_groups)
    for first in range(0, repeats, step):
        block = np.empty((n_groups, min(step, repeats - first)))
        for column in range(block.shape[1]):
            block[:, column] = np.bincount(random.integers(n_groups, size=n_groups), minlength=n_groups)
        yield block


def percentile_interval(values: NDArray[Any]) -> tuple[float, float]:
    """Return the middle 95 % of the repeats' values; NaN twice where fewer than half of them, or than ten, are defined."""
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    if len(defined) < 10 or 2 * len(defined) < len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)])
    return float(low), float(high)


def bootstrap(
    groups: NDArray[Any],
    statistic: Callable[[NDArray[np.float64]], float],
    n: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a 95 % percentile interval of a statistic, resampling whole groups.

    Parameters
    ----------
    groups : (n_rows,)
        The group (recording) of each row.
    statistic : callable
        Takes how many times each row is taken, float64 (n_rows,), to be used as weights; gives a number, NaN where it
        is not defined.
    n : int
        Repeats.
    seed : int

    Returns
    -------
    low, high : float
        NaN twice where there are fewer than two groups (nothing is known of how they differ), or where the statistic is
        not defined for half of the repeats.

    Raises
    ------
    Invalid
        No rows, or fewer than 0 repeats.

    Examples
    --------
    >>> import numpy as np
    >>> values, groups = np.arange(60.0), np.repeat(np.arange(20), 3)
    >>> low, high = bootstrap(groups, lambda times: np.average(values, weights=times), n=100)
    >>> bool(low < values.mean() < high)
    True
    """
    numbers, n_groups = group_numbers(groups)
    draws = resamples(n_groups, n, seed)
    values = [statistic(block[numbers, column]) for block in draws for column in range(block.shape[1])]
    if n_groups < 2:
        return float("nan"), float("nan")
    return percentile_interval(np.asarray(values))
