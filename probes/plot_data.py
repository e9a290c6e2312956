"""What the report draws of one class: a precision-recall curve and a histogram of probabilities."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes.metrics import precision_recall

CURVE_POINTS: Final = 200
_BINS: Final = 20


def curve(truth: NDArray[np.bool_], probabilities: NDArray[Any], weights: NDArray[Any]) -> dict[str, list[float]]:
    """Return a precision-recall curve from the highest threshold down, thinned to at most 200 points.

    Parameters
    ----------
    truth : bool, (n,)
    probabilities : float, (n,)
    weights : float, (n,)

    Returns
    -------
    dict
        ``recall``, ``precision``, ``threshold``; empty lists without positives or negatives.
    """
    steps = precision_recall(truth, probabilities, weights)
    if steps.n_positive <= 0 or steps.n_negative <= 0:
        return {"recall": [], "precision": [], "threshold": []}
    recall, last = steps.recall, len(steps.thresholds) - 1
    kept = np.arange(last + 1)
    if len(kept) > CURVE_POINTS:
        # Evenly over recall, which is the axis that is looked at; the ends always.
        at = np.searchsorted(recall, np.linspace(0, recall[-1], CURVE_POINTS - 2))
        kept = np.unique(np.concatenate([[0], np.minimum(at, last), [last]]))
    return {
        "recall": recall[kept].tolist(),
        "precision": steps.precision[kept].tolist(),
        "threshold": steps.thresholds[kept].tolist(),
    }


def histogram(
    truth: NDArray[np.bool_], probabilities: NDArray[Any], weights: NDArray[Any]
) -> dict[str, list[float] | list[int]]:
    """Count rows by probability, in 20 bins: ``edges`` (21), and ``positive``, ``negative``, ``weak`` (rows, not weights)."""
    edges = np.linspace(0, 1, _BINS + 1)
    weak = ~truth & (weights > 0) & (weights < 1)
    sides = {"positive": truth & (weights > 0), "negative": ~truth & (weights >= 1), "weak": weak}
    counts = {name: np.histogram(probabilities[rows], bins=edges)[0].tolist() for name, rows in sides.items()}
    return {"edges": edges.tolist(), **counts}
