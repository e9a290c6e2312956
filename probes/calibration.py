"""From logits to probabilities that mean what they say.

Platt scaling (Platt 1999, "Probabilistic outputs for support vector machines") fits a line through the logits of windows
that the probe was not trained on, with targets pulled in from 0 and 1 so that few examples do not end in certainty. It is
solved by Newton's method with backtracking, as Lin, Lin and Weng (2007, "A note on Platt's probabilistic outputs for
support vector machines") have it. For classes that exclude each other it is one temperature for all (Guo, Pleiss, Sun and
Weinberger 2017, "On calibration of modern neural networks"), with targets pulled in in the same way.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logsumexp, softmax

from sonotheque.core.errors import Invalid

LEAST_ROWS: Final = 3  # of positives and of negatives; with fewer, logits are left as they are
SLOPE_MIN: Final = (
    0.01  # a detector that ranks worse than chance is called uninformative; its order is not turned round
)
_SLOPE_MAX: Final = 100.0
_STEPS: Final = 100
_RIDGE: Final = 1e-12  # keeps the Hessian invertible
Floats = NDArray[np.float64]


def fit_platt(logits: NDArray[Any], truth: NDArray[Any], weights: NDArray[Any] | None = None) -> tuple[float, float]:
    """Fit the probability of one class as sigmoid(slope x logit + offset).

    Parameters
    ----------
    logits : float, (n,)
        Of rows the probe was not trained on, such as those of cross-validation.
    truth : 0 or 1, (n,)
    weights : float, (n,), optional
        0 leaves a row out; weak negatives count with their weight.

    Returns
    -------
    slope, offset : float
        The slope is at least 0.01, so a higher logit is always a higher probability. (1, 0), logits as they are, with fewer
        than three positives or three negatives.

    Raises
    ------
    Invalid
        Logits that are not finite, or shapes that differ.
    """
    z, right, w = _checked(logits, truth, weights, columns=None)
    right = right > 0
    if min(int(right.sum()), int((~right).sum())) < LEAST_ROWS:
        return 1.0, 0.0
    n_positive, n_negative = float(w[right].sum()), float(w[~right].sum())
    target = np.where(right, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    # Logits of one size make the Newton steps well scaled; the slope is turned back at the end.
    scale = float(np.abs(z).max()) or 1.0
    slope, offset = _newton(z / scale, target, w, (0.0, float(np.log((n_positive + 1) / (n_negative + 1)))))
    slope /= scale
    if slope < SLOPE_MIN:
        slope = SLOPE_MIN
        offset = _newton_offset(SLOPE_MIN * z, target, w)
    return float(slope), float(offset)


def _loss(margin: Floats, target: Floats, w: Floats) -> float:
    return -float(w @ (target * log_expit(margin) + (1 - target) * log_expit(-margin)))


def _newton(z: Floats, target: Floats, w: Floats, start: tuple[float, float]) -> Floats:
    """Minimise the log loss over (slope, offset): convex, so the one minimum."""
    at = np.array(start)
    features = np.stack([z, np.ones(len(z))], axis=1)
    now = _loss(features @ at, target, w)
    for _ in range(_STEPS):
        p = expit(features @ at)
        gradient = features.T @ (w * (p - target))
        if np.abs(gradient).max() <= 1e-10 * w.sum():
            break
        hessian = features.T @ (features * (w * p * (1 - p))[:, None]) + _RIDGE * np.eye(2)
        step = -np.linalg.solve(hessian, gradient)
        length = 1.0
        while length > 1e-10:
            after = _loss(features @ (at + length * step), target, w)
            if after <= now + 1e-4 * length * float(gradient @ step):
                break
            length /= 2
        else:
            break  # no step makes it smaller: as near as floating point gets
        at, now = at + length * step, after
    return at


def _newton_offset(margin: Floats, target: Floats, w: Floats) -> float:
    """Minimise the log loss over the offset alone: its gradient rises with the offset, so halve an interval."""
    low, high = -50.0, 50.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if float(w @ (expit(margin + middle) - target)) > 0:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def fit_temperature(logits: NDArray[Any], truth_class: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """Fit the temperature T of softmax(logits / T) for classes that exclude each other.

    Parameters
    ----------
    logits : float, (n, C)
        Of rows the probe was not trained on.
    truth_class : int, (n,)
        Column of each row's class.
    weights : float, (n,), optional

    Returns
    -------
    float
        Between 0.01 and 100; 1 with fewer than three rows, or with rows of one class alone.

    Raises
    ------
    Invalid
        Logits that are not finite, shapes that differ, or a class that is no column.
    """
    z = np.asarray(logits, np.float64)
    if z.ndim != 2:
        raise Invalid(f"logits have the shape {z.shape}; a temperature needs one column for each class")
    z, chosen, w = _checked(z, truth_class, weights, columns=z.shape[1])
    chosen = chosen.astype(np.int64)
    n_classes = z.shape[1]
    if len(z) < LEAST_ROWS or len(np.unique(chosen)) < 2:
        return 1.0
    # Platt's rule for two classes, (N + 1) / (N + 2), is Laplace's rule of succession; this is the same for C.
    n_rows = np.bincount(chosen, weights=w, minlength=n_classes)
    sure = ((n_rows + 1) / (n_rows + n_classes))[chosen]
    target = np.repeat(((1 - sure) / (n_classes - 1))[:, None], n_classes, axis=1)
    target[np.arange(len(z)), chosen] = sure
    low, high = 1 / _SLOPE_MAX, _SLOPE_MAX
    for _ in range(_STEPS):
        middle = float(np.sqrt(low * high))
        # The loss is convex in 1 / T; its slope there is the mean logit expected less the mean logit of the targets.
        rise = float(w @ ((softmax(middle * z, axis=1) - target) * z).sum(axis=1))
        low, high = (low, middle) if rise > 0 else (middle, high)
    return 1 / float(np.sqrt(low * high))


def log_loss(
    logits: NDArray[Any],
    truth: NDArray[Any],
    weights: NDArray[Any] | None = None,
    slope: float = 1.0,
    offset: float = 0.0,
) -> float:
    """Return the mean log loss (natural logarithm) of sigmoid(slope x logit + offset); NaN without rows."""
    z, right, w = _checked(logits, truth, weights, columns=None)
    return _loss(slope * z + offset, (right > 0).astype(np.float64), w) / float(w.sum()) if len(z) else float("nan")


def log_loss_classes(
    logits: NDArray[Any], truth_class: NDArray[Any], weights: NDArray[Any] | None = None, temperature: float = 1.0
) -> float:
    """Return the mean log loss of softmax(logits / temperature); NaN without rows."""
    z = np.asarray(logits, np.float64)
    z, chosen, w = _checked(z, truth_class, weights, columns=z.shape[1])
    if not len(z):
        return float("nan")
    z = z / temperature
    losses = logsumexp(z, axis=1) - z[np.arange(len(z)), chosen.astype(np.int64)]
    return float(w @ losses / w.sum())


def _checked(
    logits: NDArray[Any], truth: NDArray[Any], weights: NDArray[Any] | None, *, columns: int | None
) -> tuple[Floats, NDArray[Any], Floats]:
    """Return the rows of weight above 0; truth is 0 or 1 without `columns`, the number of a column with them."""
    z, right = np.asarray(logits, np.float64), np.asarray(truth)
    w = np.ones(len(z)) if weights is None else np.asarray(weights, np.float64)
    if len(z) != len(right) or right.shape != w.shape or z.ndim != (1 if columns is None else 2):
        raise Invalid(f"logits {z.shape}, truth {right.shape}, weights {w.shape}: give one of each for every row")
    if not np.isfinite(z).all():
        raise Invalid(
            f"{int((~np.isfinite(z)).sum()):,} of {z.size:,} logits are not finite: look for NaN among the vectors or in the probe's weights"
        )
    if not (np.isfinite(w) & (w >= 0)).all():
        raise Invalid("weights must be finite and not negative; 0 leaves a row out")
    kept = w > 0
    if len(right[kept]) and not 0 <= right[kept].min() <= right[kept].max() < (columns or 2):
        raise Invalid(f"truth goes from {right[kept].min()} to {right[kept].max()}; expected 0 to {(columns or 2) - 1}")
    return z[kept], right[kept], w[kept]
