"""The kernel of the ranking metrics: scores are sorted once, then weighed as often as wanted.

A bootstrap repeat takes every recording some number of times. It changes no score, so it changes no order: only how
much each place of the order weighs. One sort and one sparse product therefore serve all repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid

_DENSE_MAX = 2  # groups; with more, most of a place's weights are 0
_CELLS = 2_000_000  # places times repeats that are worked out at once: 16 MB an array


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """One class's rows in falling order of score, summed to places.

    A place is all rows of one score, if there is a positive among them, or all negatives between two such scores:
    no ranking metric tells those apart.

    Attributes
    ----------
    positive, negative : float64, (places, groups)
        Weight of each group's positive and negative rows at each place; scipy sparse if there are several groups.
    """

    positive: Any
    negative: Any

    def measure(self, times: NDArray[np.float64] | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return average precision and ROC-AUC for each way of counting the groups.

        Parameters
        ----------
        times : float64, (groups, repeats), optional
            How many times each group is taken; once, without it.

        Returns
        -------
        average_precision, roc_auc : float64, (repeats,)
            NaN where there is no positive or no negative. The average precision is the sum over scores of
            (rise of recall) x precision, without interpolation; in the ROC-AUC, pairs of equal score count one half.
            Both are scikit-learn's definitions.
        """
        if times is None:
            times = np.ones((self.positive.shape[1], 1))
        step = max(1, _CELLS // max(1, self.positive.shape[0]))
        pieces = [self._measure(times[:, first : first + step]) for first in range(0, times.shape[1], step)]
        return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])

    def _measure(self, times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        hits, misses = self.positive @ times, self.negative @ times
        hits_to, misses_to = np.cumsum(hits, axis=0), np.cumsum(misses, axis=0)
        n_positive, n_negative = hits_to[-1], misses_to[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(hits > 0, hits_to / (hits_to + misses_to), 0.0)
            average = np.einsum("kb,kb->b", hits, precision) / n_positive
            below = n_negative - misses_to + misses / 2
            area = np.einsum("kb,kb->b", hits, below) / (n_positive * n_negative)
        missing = ~((n_positive > 0) & (n_negative > 0))
        average[missing] = np.nan
        area[missing] = np.nan
        return average, area


def rank(
    truth: NDArray[np.bool_],
    scores: NDArray[Any],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
    n_groups: int = 1,
) -> Ranking:
    """Sort one class's rows by falling score.

    Parameters
    ----------
    truth : bool, (n,)
    scores : float, (n,)
        Finite; checked by the caller.
    weights : float64, (n,)
        Rows of weight 0 are left out.
    groups : int64, (n,), optional
        Number of the group of each row, below `n_groups`; all rows are one group without it.
    n_groups : int
    """
    from scipy.sparse import csr_array

    kept = np.flatnonzero(weights > 0)
    order = kept[np.argsort(-scores[kept], kind="stable")]
    ranked, right = scores[order], truth[order]
    if not len(order):
        return Ranking(np.zeros((1, n_groups)), np.zeros((1, n_groups)))
    first = np.concatenate([[True], ranked[1:] != ranked[:-1]])
    has_positive = np.logical_or.reduceat(right, np.flatnonzero(first))
    opens = has_positive.copy()
    opens[1:] |= has_positive[:-1]
    opens[0] = False
    place = np.cumsum(opens)[np.cumsum(first) - 1]
    group = np.zeros(len(order), np.int64) if groups is None else groups[order]
    shape = (int(place[-1]) + 1, n_groups)

    def spread(rows: NDArray[np.bool_]) -> Any:
        if n_groups <= _DENSE_MAX:
            cells = place[rows] * n_groups + group[rows]
            return np.bincount(cells, weights[order][rows], shape[0] * n_groups).reshape(shape)
        return csr_array((weights[order][rows], (place[rows], group[rows])), shape=shape, dtype=np.float64)

    return Ranking(spread(right), spread(~right))


def padded(
    truth: NDArray[np.bool_],
    scores: NDArray[Any],
    weights: NDArray[np.float64],
    groups: NDArray[np.int64],
    n_groups: int,
    padding: int,
) -> Ranking:
    """Return :func:`rank` with `padding` positives of score 1 added, as one more group (the last)."""
    return rank(
        np.append(truth, True),
        np.append(scores, 1.0),
        np.append(weights, float(padding)),
        np.append(groups, n_groups),
        n_groups + 1,
    )


def checked(
    truth: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any] | None
) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[np.float64]]:
    """Return truth as bool, scores, and weights as float64 (1 without them), all of one shape.

    Raises
    ------
    Invalid
        Shapes that differ, a score that is not finite, a truth that is neither 0 nor 1, a weight that is negative or
        not finite.
    """
    truth, scores = np.asarray(truth), np.asarray(scores)
    weighed = np.ones(truth.shape) if weights is None else np.asarray(weights, np.float64)
    if not truth.shape == scores.shape == weighed.shape:
        raise Invalid(
            f"truth has the shape {truth.shape}, the scores {scores.shape}, the weights {weighed.shape}: "
            "give one of each for every row and class"
        )
    wrong = int(np.count_nonzero(~np.isfinite(scores)))
    if wrong:
        raise Invalid(
            f"{wrong:,} of {scores.size:,} scores are not finite (NaN or infinite) and cannot be ranked: "
            "look for NaN among the vectors or in the probe's weights"
        )
    if not np.isin(truth, (0, 1)).all():
        raise Invalid("truth must be 0 or 1 in every row; give entries that are not known the weight 0")
    if not (np.isfinite(weighed) & (weighed >= 0)).all():
        raise Invalid("weights must be finite and not negative; 0 leaves a row out")
    return truth.astype(bool), scores, weighed
