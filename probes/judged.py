"""Decisions against what is known: counts, confusion matrices, and the means that are made of them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes import metrics

NONE_OF_THEM: Final = "none of them"
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def binary_counts(truth: Mask, weights: Floats, found: Mask) -> tuple[float, float, float, float]:
    """Return the weight of what is rightly found, wrongly found, missed, and rightly passed over."""
    sides = (truth & found, ~truth & found, truth & ~found, ~truth & ~found)
    right, wrong, missed, passed = (float(weights[side].sum()) for side in sides)
    return right, wrong, missed, passed


def multiclass_decisions(
    truth: Mask, weights: Floats, values: NDArray[Any], limits: Floats, classes: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Judge the likeliest class of every row whose one class is known.

    Parameters
    ----------
    truth : bool, (n, C)
    weights : float64, (n, C)
    values : float, (n, C)
        Probabilities.
    limits : float64, (C,)
        Not used: the likeliest class is the decision.
    classes : tuple of str

    Returns
    -------
    means : dict
        Accuracy, balanced accuracy and macro F1 with their chance levels.
    confusion : dict
        ``labels`` and ``counts`` (rows of the table are true classes).
    """
    positive = truth & (weights > 0)
    rows = np.flatnonzero(positive.sum(axis=1) == 1)
    true = positive[rows].argmax(axis=1)
    counts = metrics.confusion(true, values[rows].argmax(axis=1), len(classes))
    means = {
        "accuracy": metrics.accuracy(counts),
        "accuracy_chance": metrics.accuracy_chance(counts),
        "balanced_accuracy": metrics.balanced_accuracy(counts),
        "balanced_accuracy_chance": metrics.balanced_accuracy_chance(counts),
        "macro_f1": metrics.macro_f1(counts),
        "macro_f1_chance": metrics.macro_f1_chance(counts),
    }
    return means, {"labels": list(classes), "counts": counts.astype(int).tolist()}


def multilabel_decisions(
    truth: Mask, weights: Floats, values: NDArray[Any], limits: Floats, classes: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Judge each class's decision at its threshold; see :func:`multiclass_decisions`.

    The means are over classes with positives and negatives. Chance: the more frequent answer (accuracy), any guess
    (balanced accuracy: one half), yes to every row (F1).
    """
    found = values >= limits
    per_class: dict[str, list[float]] = {name: [] for name in _MEANS}
    for c in range(len(classes)):
        right, wrong, missed, passed = binary_counts(truth[:, c], weights[:, c], found[:, c])
        n_positive, n_negative = right + missed, wrong + passed
        if n_positive <= 0 or n_negative <= 0:
            continue
        everything = n_positive + n_negative
        numbers = (
            (right + passed) / everything,
            max(n_positive, n_negative) / everything,
            (right / n_positive + passed / n_negative) / 2,
            0.5,
            metrics.f1(right, wrong, missed),
            metrics.f1_chance(n_positive, n_negative),
        )
        for name, number in zip(_MEANS, numbers, strict=True):
            per_class[name].append(number)
    means = {name: float(np.mean(numbers)) if numbers else metrics.NAN for name, numbers in per_class.items()}
    return means, _found_together(truth & (weights > 0), ~truth & (weights > 0), found, classes)


_MEANS: Final = (
    "accuracy",
    "accuracy_chance",
    "balanced_accuracy",
    "balanced_accuracy_chance",
    "macro_f1",
    "macro_f1_chance",
)


def _found_together(positive: Mask, negative: Mask, found: Mask, classes: tuple[str, ...]) -> dict[str, Any]:
    """Count what is found wrongly in windows of each class; rows and columns end with none of the classes."""
    # One column more: no class is there, or none is found. It can be judged in every row that anything is known of.
    nothing, silent = ~positive.any(axis=1), ~found.any(axis=1)
    known = (positive | negative).any(axis=1)
    there = np.column_stack([positive, nothing & known]).astype(np.float64)
    wrong = np.column_stack([found & negative, silent & ~nothing])
    counts = there.T @ wrong
    # A class that is there and found is no confusion: the diagonal counts it.
    diagonal = np.column_stack([positive & found, nothing & known & silent]).sum(axis=0)
    np.fill_diagonal(counts, diagonal)
    return {"labels": [*classes, NONE_OF_THEM], "counts": counts.astype(int).tolist()}
