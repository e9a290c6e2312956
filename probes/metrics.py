"""How good scores and decisions are, and what chance alone would reach.

Every metric is NaN where it is not defined: a class without positives or without negatives says nothing about a
detector, neither 0 nor 1. Ties and weights are counted as scikit-learn does.

Sources
-------
Average precision: Salton and McGill (1983), the uninterpolated form. ROC-AUC: Hanley and McNeil (1982), the share of
pairs in the right order. Padded cmAP: the evaluation page of the BirdCLEF 2023 competition (LifeCLEF, Kahl et al. 2023,
"Overview of BirdCLEF 2023"). Balanced accuracy: Brodersen et al. (2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.ranking import checked, padded, rank
from sonotheque.core.errors import Invalid

Floats = NDArray[np.float64]
NAN = float("nan")


def average_precision(truth: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """Return the area under the precision-recall steps of one class.

    Parameters
    ----------
    truth : 0 or 1, (n,)
    scores : float, (n,)
        Higher means more likely.
    weights : float, (n,), optional
        0 leaves a row out.

    Returns
    -------
    float
        NaN without positives or without negatives.

    Raises
    ------
    Invalid
        Scores that are not finite, shapes that differ, negative weights.
    """
    return float(rank(*checked(truth, scores, weights)).measure()[0][0])


def average_precision_chance(truth: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """Return the average precision of one score for all: the weighted share of positives; NaN as above."""
    n_positive, n_negative = _sides(truth, weights)
    return n_positive / (n_positive + n_negative) if n_positive > 0 and n_negative > 0 else NAN


def roc_auc(truth: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """Return the share of (positive, negative) pairs in the right order, ties one half; see `average_precision`."""
    return float(rank(*checked(truth, scores, weights)).measure()[1][0])


def roc_auc_chance(truth: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """Return 0.5, or NaN where the ROC-AUC is not defined."""
    return 0.5 if min(_sides(truth, weights)) > 0 else NAN


def padded_cmap(
    truth: NDArray[Any], scores: NDArray[Any], padding: int = 5, weights: NDArray[Any] | None = None
) -> float:
    """Return the class-mean average precision of BirdCLEF 2023.

    `padding` positives with the score 1 are added to every class, then the average precisions of all classes are
    averaged. The padding keeps rare classes from deciding the mean; it also lifts the value, so read it beside its chance
    level.

    Parameters
    ----------
    truth, scores : (n, C)
        Scores are probabilities.
    padding : int
    weights : (n, C), optional

    Returns
    -------
    float
        Over the classes with a row of weight above 0, also those without positives, as in the competition; NaN if none.

    Raises
    ------
    Invalid
        As :func:`average_precision`; a padding below 1.
    """
    if padding < 1:
        raise Invalid(f"padding is {padding}; it must be at least 1 (BirdCLEF 2023 has 5)")
    right, ranked, weighed = checked(truth, scores, weights)
    groups = np.zeros(len(right), np.int64)
    values = [
        padded_average_precision(right[:, c], ranked[:, c], weighed[:, c], groups, 1, padding)[0]
        for c in range(right.shape[1])
        if weighed[:, c].any()
    ]
    return float(np.mean(values)) if values else NAN


def padded_average_precision(
    truth: NDArray[np.bool_],
    scores: NDArray[Any],
    weights: Floats,
    groups: NDArray[np.int64],
    n_groups: int,
    padding: int,
    times: Floats | None = None,
) -> Floats:
    """Return one class's padded average precision for each way of counting the groups (float64, (repeats,)).

    The inputs are checked ones; see :meth:`probes.ranking.Ranking.measure` for `times`, (groups, repeats).
    A repeat without negatives has 1, as in the competition.
    """
    times = np.ones((n_groups, 1)) if times is None else times
    ranking = padded(truth, scores, weights, groups, n_groups, padding)
    values = ranking.measure(np.concatenate([times, np.ones((1, times.shape[1]))]))[0]
    return np.where(np.isnan(values), 1.0, values)


def padded_cmap_chance(truth: NDArray[Any], padding: int = 5, weights: NDArray[Any] | None = None) -> float:
    """Return the padded cmAP of one score below 1 for all rows: the padding is found first, the rest by chance."""
    values = []
    truth = np.asarray(truth)
    weighed = np.ones(truth.shape) if weights is None else np.asarray(weights)
    for c in range(truth.shape[1]):
        n_positive, n_negative = _sides(truth[:, c], weighed[:, c])
        if n_positive + n_negative > 0:
            share = padding / (n_positive + padding)
            values.append(share + (1 - share) * (n_positive + padding) / (n_positive + n_negative + padding))
    return float(np.mean(values)) if values else NAN


def _sides(truth: NDArray[Any], weights: NDArray[Any] | None) -> tuple[float, float]:
    positive = np.asarray(truth) > 0
    weighed = np.ones(positive.shape) if weights is None else np.asarray(weights, np.float64)
    return float(weighed[positive].sum()), float(weighed[~positive].sum())


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """What each threshold would find, from the highest threshold to the lowest; a row is found at score >= threshold.

    Attributes
    ----------
    thresholds : float64, (k,)
        The different scores.
    found, false : float64, (k,)
        Weight of the positives found, and of the negatives taken for positives.
    n_positive, n_negative : float
        Weight of all.
    """

    thresholds: Floats
    found: Floats
    false: Floats
    n_positive: float
    n_negative: float

    @property
    def precision(self) -> Floats:
        """Share of what is found that is right, float64 (k,)."""
        return self.found / (self.found + self.false)

    @property
    def recall(self) -> Floats:
        """Share of the positives that is found, float64 (k,); NaN without positives."""
        return self.found / self.n_positive if self.n_positive > 0 else np.full(len(self.found), np.nan)

    @property
    def f1(self) -> Floats:
        """Harmonic mean of both, float64 (k,); NaN without positives."""
        if self.n_positive <= 0:
            return np.full(len(self.found), np.nan)
        return 2 * self.found / (self.n_positive + self.found + self.false)


def precision_recall(truth: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any] | None = None) -> PrecisionRecall:
    """Return what each threshold would find; see :func:`average_precision` for the parameters and errors."""
    right, ranked, weighed = checked(truth, scores, weights)
    kept = np.flatnonzero(weighed > 0)
    order = kept[np.argsort(-ranked[kept], kind="stable")]
    sorted_scores = ranked[order].astype(np.float64)
    last = np.append(sorted_scores[1:] != sorted_scores[:-1], True)[: len(order)]
    found = np.cumsum(weighed[order] * right[order])
    false = np.cumsum(weighed[order] * ~right[order])
    n_positive, n_negative = (float(side[-1]) if len(order) else 0.0 for side in (found, false))
    return PrecisionRecall(sorted_scores[last], found[last], false[last], n_positive, n_negative)


def confusion(
    truth: NDArray[Any], predicted: NDArray[Any], n_classes: int, weights: NDArray[Any] | None = None
) -> Floats:
    """Return weighted counts, float64 (classes, classes): [i, j] is what is i and was taken for j.

    Raises
    ------
    Invalid
        A class number out of range, or shapes that differ.
    """
    true, said = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    weighed = np.ones(true.shape) if weights is None else np.asarray(weights, np.float64)
    if not true.shape == said.shape == weighed.shape:
        raise Invalid(
            f"{true.shape} true classes, {said.shape} predicted ones, {weighed.shape} weights: give as many of each"
        )
    both = np.concatenate([true, said])
    if len(both) and not 0 <= both.min() <= both.max() < n_classes:
        raise Invalid(f"class numbers go from {both.min()} to {both.max()}; they must lie in 0 to {n_classes - 1}")
    counts = np.bincount(true * n_classes + said, weights=weighed, minlength=n_classes**2)
    return counts.astype(np.float64).reshape(n_classes, n_classes)


def accuracy(counts: Floats) -> float:
    """Return the share of rows on the diagonal of a confusion matrix; NaN without rows."""
    total = counts.sum()
    return float(np.trace(counts) / total) if total > 0 else NAN


def accuracy_chance(counts: Floats) -> float:
    """Return the accuracy of always naming the most frequent class."""
    total = counts.sum()
    return float(counts.sum(axis=1).max() / total) if total > 0 else NAN


def balanced_accuracy(counts: Floats) -> float:
    """Return the mean recall of the classes that occur; NaN where fewer than two do."""
    occurs = counts.sum(axis=1)
    there = occurs > 0
    return float(np.mean(np.diag(counts)[there] / occurs[there])) if there.sum() > 1 else NAN


def balanced_accuracy_chance(counts: Floats) -> float:
    """Return one over the number of classes that occur: what any guess that does not look at the sound reaches."""
    there = int((counts.sum(axis=1) > 0).sum())
    return 1 / there if there > 1 else NAN


def macro_f1(counts: Floats) -> float:
    """Return the mean F1 of the classes that occur; NaN where fewer than two do."""
    occurs, said = counts.sum(axis=1), counts.sum(axis=0)
    there = occurs > 0
    return float(np.mean(2 * np.diag(counts)[there] / (occurs + said)[there])) if there.sum() > 1 else NAN


def macro_f1_chance(counts: Floats) -> float:
    """Return the macro F1 of naming each class as often as it occurs, at random: the mean share of the classes."""
    return balanced_accuracy_chance(counts)


def f1(found: float, false: float, missed: float) -> float:
    """Return the F1 of one class; NaN where there is nothing to find."""
    return 2 * found / (2 * found + false + missed) if found + missed > 0 else NAN


def f1_chance(n_positive: float, n_negative: float) -> float:
    """Return the F1 of saying yes to every row, the best that can be had without looking."""
    return 2 * n_positive / (2 * n_positive + n_negative) if n_positive > 0 else NAN
