"""Which rows teach and which rows judge: whole recordings, days or sites, never single windows.

Neighbouring windows hold the same bird in the same weather. A split by window would put one of them on each side, and the
test would ask what the training has told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.examples import Examples
from probes.grouping import whole_groups
from probes.leaks import leaks
from probes.sides import choose_test_groups
from sonotheque.core.errors import Invalid

__all__ = ["folds", "leaks", "split"]

_OTHER_WAYS = {
    "recording": "annotate windows of a second recording",
    "day": "split by recording, or annotate a second day",
    "site": "split by day or by recording, or annotate a second site",
}


def split(
    examples: Examples, by: str = "recording", test_share: float = 0.25, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Share whole groups out to training and test.

    Parameters
    ----------
    examples : Examples
    by : {'recording', 'day', 'site'}
        See :func:`probes.grouping.whole_groups`.
    test_share : float
        Wanted share of the rows, and of each class's positives, on the test side; whole groups seldom hit it exactly.
    seed : int
        The same examples, share and seed give the same split.

    Returns
    -------
    train, test : int64
        Row numbers, rising; together all rows; neither is empty. Each class whose positives come from at least two
        groups has some on both sides, where such a split was found: classes that share their only groups may allow none, and
        then the test side goes without. A class with one group is taught rather than judged.

    Raises
    ------
    Invalid
        A share outside 0 to 1, or fewer than two groups.
    """
    if not 0 < test_share < 1:
        raise Invalid(
            f"a test share of {test_share:g} leaves one side empty: give a number between 0 and 1, such as 0.25"
        )
    group, n_groups = whole_groups(examples, by)
    _require_two(examples, by, n_groups)
    rows = np.bincount(group, minlength=n_groups).astype(np.float64)
    in_test = choose_test_groups(rows, *_counts(examples, group, n_groups), test_share, np.random.default_rng(seed))
    tested = in_test[group]
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def folds(examples: Examples, by: str, n_folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Share whole groups out to folds, each class as evenly as its groups allow.

    Parameters
    ----------
    examples : Examples
    by : {'recording', 'day', 'site'}
    n_folds : int
        As many as there are groups, if there are fewer.
    seed : int

    Returns
    -------
    int64, (n,)
        The fold of each row, from 0; none is empty.

    Raises
    ------
    Invalid
        Fewer than two folds or two groups.
    """
    if n_folds < 2:
        raise Invalid(f"{n_folds} folds: there must be at least 2")
    group, n_groups = whole_groups(examples, by)
    _require_two(examples, by, n_groups)
    positives, _ = _counts(examples, group, n_groups)
    rows = np.bincount(group, minlength=n_groups).astype(np.float64)
    n_folds = min(n_folds, n_groups)
    fold = np.full(n_groups, -1, np.int64)
    load, size = np.zeros((n_folds, positives.shape[1])), np.zeros((n_folds, 2))  # positives; groups and rows
    tie = np.random.default_rng(seed).random(n_groups)
    for place, (g, c) in enumerate(_rarest_first(positives, rows, tie)):
        # The last groups are kept for folds that have none yet.
        free = size[:, 0] == 0 if n_groups - place <= int((size[:, 0] == 0).sum()) else np.ones(n_folds, bool)
        wanted = np.lexsort((size[:, 1], load[:, c] if c >= 0 else size[:, 1], ~free))
        fold[g] = wanted[0]
        load[fold[g]] += positives[g]
        size[fold[g]] += (1, rows[g])
    return fold[group]


def _rarest_first(
    positives: NDArray[np.float64], rows: NDArray[np.float64], tie: NDArray[np.float64]
) -> Iterator[tuple[int, int]]:
    """Yield (group, class it is placed for): classes of few groups first, big groups first; -1 without a class."""
    left = np.ones(len(rows), bool)
    for c in np.argsort((positives > 0).sum(axis=0), kind="stable"):
        there = np.flatnonzero(left & (positives[:, c] > 0))
        for g in there[np.lexsort((tie[there], -positives[there, c]))]:
            yield int(g), int(c)
        left[there] = False
    rest = np.flatnonzero(left)
    for g in rest[np.lexsort((tie[rest], -rows[rest]))]:
        yield int(g), -1


def _counts(
    examples: Examples, group: NDArray[np.int64], n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many positive and negative rows each group has of each class, two times float64 (groups, C)."""
    known = examples.weights > 0
    sides: list[NDArray[np.float64]] = []
    for side in (known & (examples.targets > 0), known & (examples.targets <= 0)):
        counts = np.zeros((n_groups, side.shape[1]))
        for c in range(side.shape[1]):
            counts[:, c] = np.bincount(group, weights=side[:, c], minlength=n_groups)
        sides.append(counts)
    return sides[0], sides[1]


def _require_two(examples: Examples, by: str, n_groups: int) -> None:
    if not len(examples):
        raise Invalid("there are no examples to share out: annotate some windows first")
    if n_groups < 2:
        alone: Any = {"recording": examples.paths, "site": examples.sites, "day": examples.days}[by][0]
        raise Invalid(
            f"all {len(examples):,} examples come from one {by} ({alone or 'unknown'}), which must not stand on both sides of a test: "
            f"{_OTHER_WAYS[by]}"
        )
