"""The search for a fair split: which groups are tested on, so that every class is both taught and judged.

Wanting each class on both sides is a puzzle when groups hold several classes, and has no solution for some archives
(three classes that share three groups, two each). It is approached as stratification is for several labels (Sechidis,
Tsoumakas and Vlahavas 2011: the rarest class is placed first); what that leaves wrong is mended by moving one group at a time,
as WalkSAT does (Selman, Kautz and Cohen 1994); and a handful of groups is gone through completely.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# What is worse than what, in one number. A class that is not taught, or not judged, outweighs any unevenness.
_MISSING: Final = 1000.0  # a class with at least two groups is not on both sides
_UNTAUGHT: Final = 100.0  # a class with one group stands in the test
_ONE_SIDED: Final = 10.0  # the negatives of a class are not on both sides
_STEPS, _SWEPT, _COMPLETE = 1000, 1000, 14


class _Cost:
    """How bad a choice is: broken wishes first, then how far the shares are from the wanted one."""

    def __init__(self, rows: Floats, positives: Floats, negatives: Floats, share: float) -> None:
        self.n_groups, self.share = len(rows), share
        self.counts = np.concatenate([positives, negatives, rows[:, None]], axis=1)
        self.total = self.counts.sum(axis=0)
        self.there = self.counts > 0
        n_with = self.there.sum(axis=0)
        classes = positives.shape[1]
        price = np.concatenate([np.full(classes, _MISSING), np.full(negatives.shape[1], _ONE_SIDED), [_MISSING * 1e3]])
        self.price_no_test = np.where(n_with > 1, price, 0.0)
        self.price_no_train = self.price_no_test.copy()
        self.price_no_train[:classes][n_with[:classes] == 1] = _UNTAUGHT
        # Shares matter for positives and for rows in all; those of negatives follow.
        self.even = np.concatenate([np.full(classes, 1 / max(classes, 1)), np.zeros(negatives.shape[1]), [1.0]])

    def of(self, tested: Floats) -> Floats:
        """Return the cost of test sides with these counts, (..., columns) -> (...)."""
        no_test, no_train = tested <= 0, tested >= self.total
        off = np.abs(tested / np.maximum(self.total, 1) - self.share)
        found: Floats = no_test @ self.price_no_test + no_train @ self.price_no_train + off @ self.even
        return found

    def flips(self, in_test: Mask, tested: Floats, groups: NDArray[np.int64]) -> Floats:
        """Return the cost after moving each of some groups to the other side."""
        sign = np.where(in_test[groups], -1.0, 1.0)[:, None]
        return self.of(tested + sign * self.counts[groups])


def choose_test_groups(
    rows: Floats, positives: Floats, negatives: Floats, share: float, random: np.random.Generator
) -> Mask:
    """Choose the groups of the test side.

    Parameters
    ----------
    rows : float64, (groups,)
        Rows of each group; at least two groups.
    positives, negatives : float64, (groups, C)
        Rows that are known to hold, or not to hold, each class.
    share : float
        Of the rows and of each class's positives.
    random : numpy.random.Generator

    Returns
    -------
    bool, (groups,)
        Neither all nor none.
    """
    cost = _Cost(rows, positives, negatives, share)
    chosen = _walk(cost, _stratified(positives, share, random), random)
    chosen = _sweep(cost, chosen, random)
    if cost.of(cost.counts[chosen].sum(axis=0)) >= _ONE_SIDED and len(rows) <= _COMPLETE:
        return _complete(cost)
    return chosen


def _stratified(positives: Floats, share: float, random: np.random.Generator) -> Mask:
    """Place the groups of the rarest class first, each time the wanted share of them in the test."""
    n_groups = len(positives)
    in_test, placed = np.zeros(n_groups, bool), np.zeros(n_groups, bool)
    there = positives > 0
    strata = [there[:, c] for c in np.argsort(there.sum(axis=0), kind="stable")]
    for members in [*strata, np.ones(n_groups, bool)]:
        free = random.permutation(np.flatnonzero(members & ~placed))
        n_all = int(members.sum())
        wanted = min(max(round(share * n_all), 1), n_all - 1) - int((in_test & members).sum())
        in_test[free[: max(wanted, 0)]] = True
        placed |= members
    return in_test


def _walk(cost: _Cost, in_test: Mask, random: np.random.Generator) -> Mask:
    """Mend broken wishes one at a time by moving one group of those concerned; return the best seen."""
    in_test = in_test.copy()
    best, best_cost = in_test.copy(), float("inf")
    tested = cost.counts[in_test].sum(axis=0)
    for _ in range(_STEPS):
        now = float(cost.of(tested))
        if now < best_cost:
            best, best_cost = in_test.copy(), now
        broken = np.flatnonzero(
            ((tested <= 0) & (cost.price_no_test > 0)) | ((tested >= cost.total) & (cost.price_no_train > 0))
        )
        if not len(broken):
            break
        concerned = np.flatnonzero(cost.there[:, random.choice(broken)])
        if len(concerned) > 100:
            concerned = random.choice(concerned, 100, replace=False)
        # Now and then any of them: the best move alone goes round in circles.
        move = (
            random.choice(concerned)
            if random.random() < 0.2
            else concerned[np.argmin(cost.flips(in_test, tested, concerned))]
        )
        tested = tested + (-1.0 if in_test[move] else 1.0) * cost.counts[move]
        in_test[move] = not in_test[move]
    return best


def _sweep(cost: _Cost, in_test: Mask, random: np.random.Generator) -> Mask:
    """Move single groups while that brings the shares nearer to what is wanted."""
    in_test = in_test.copy()
    tested = cost.counts[in_test].sum(axis=0)
    now = float(cost.of(tested))
    for g in random.permutation(cost.n_groups)[:_SWEPT]:
        moved = tested + (-1.0 if in_test[g] else 1.0) * cost.counts[g]
        after = float(cost.of(moved))
        if after < now - 1e-12:
            in_test[g], tested, now = not in_test[g], moved, after
    return in_test


def _complete(cost: _Cost) -> Mask:
    """Try every choice: at most 2**14."""
    n = cost.n_groups
    choices = (np.arange(1, 2**n - 1)[:, None] >> np.arange(n)) & 1
    found: Mask = choices[int(np.argmin(cost.of(choices @ cost.counts)))].astype(bool)
    return found
