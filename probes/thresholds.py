"""From which probability on a window is called a hit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes.metrics import PrecisionRecall, precision_recall
from sonotheque.core.errors import Invalid

RULES: Final = ("max_f1", "precision", "false_alarms")
_WITHOUT: Final = 0.5  # where the examples cannot say


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold and what it did on the rows it was chosen on.

    Attributes
    ----------
    threshold : float
        A window is a hit where its probability is at least this.
    precision, recall, f1 : float
        NaN where not defined.
    false_alarms_per_hour : float
        In the sound that the negatives stand for; NaN if none is known.
    note : str
        Empty, or what the rule could not do.
    """

    threshold: float
    precision: float
    recall: float
    f1: float
    false_alarms_per_hour: float
    note: str = ""


def choose(
    rule: str,
    value: float | None,
    truth: NDArray[Any],
    probabilities: NDArray[Any],
    weights: NDArray[Any] | None = None,
    hours_negative: float = float("nan"),
) -> Chosen:
    """Choose the threshold of one class. Candidates are the probabilities that occur.

    Parameters
    ----------
    rule : {'max_f1', 'precision', 'false_alarms'}
        ``max_f1``: the highest F1, and the highest such threshold. ``precision``: the lowest threshold with a precision of
        at least `value`. ``false_alarms``: the best recall with at most `value` false alarms per hour, and the highest
        such threshold.
    value : float or None
        A precision above 0 up to 1, or false alarms per hour, 0 or more; not looked at by ``max_f1``.
    truth : 0 or 1, (n,)
    probabilities : float, (n,)
    weights : float, (n,), optional
        0 leaves a row out; a weak negative is that share of a false alarm.
    hours_negative : float
        Hours of sound the negatives stand for, with the same weights.

    Returns
    -------
    Chosen
        With a note where the rule could not be kept: without positives or negatives the threshold is 0.5; a precision that
        none reaches gives the threshold of the best precision; a rate that none keeps gives one above every probability
        seen; without hours, ``false_alarms`` falls back to ``max_f1``.

    Raises
    ------
    Invalid
        Another rule, a value out of range, probabilities that are not finite.
    """
    value = _checked_value(rule, value)
    steps = precision_recall(truth, probabilities, weights)
    if steps.n_positive <= 0 or steps.n_negative <= 0:
        side = "positives" if steps.n_positive <= 0 else "negatives"
        note = f"there are no {side} to choose a threshold on: it is {_WITHOUT}"
        return _described(steps, _WITHOUT, hours_negative, note)
    if rule == "precision":
        return _by_precision(steps, value, hours_negative)
    if rule == "false_alarms" and hours_negative > 0:
        return _by_false_alarms(steps, value, hours_negative)
    note = (
        "" if rule == "max_f1" else "no hours of negative sound are known: chosen by max_f1 instead of by false alarms"
    )
    return _described(steps, float(steps.thresholds[int(np.argmax(steps.f1))]), hours_negative, note)


def _by_precision(steps: PrecisionRecall, value: float, hours: float) -> Chosen:
    precise = np.flatnonzero((steps.precision >= value) & (steps.found > 0))
    if len(precise):
        return _described(steps, float(steps.thresholds[precise[-1]]), hours, "")
    best = int(np.flatnonzero(steps.precision == steps.precision.max())[-1])
    note = f"no threshold reaches a precision of {value:g}; the best is {steps.precision[best]:.3g}"
    return _described(steps, float(steps.thresholds[best]), hours, note)


def _by_false_alarms(steps: PrecisionRecall, value: float, hours: float) -> Chosen:
    kept = np.flatnonzero((steps.false / hours <= value) & (steps.found > 0))
    if len(kept):
        # Argmax gives the first of equal recalls, which has the fewest false alarms.
        return _described(steps, float(steps.thresholds[kept[int(np.argmax(steps.found[kept]))]]), hours, "")
    above = float(np.nextafter(np.float32(steps.thresholds[0]), np.float32(2)))
    first = int(np.flatnonzero(steps.found > 0)[0])
    note = (
        f"at {value:g} false alarms per hour nothing is found: the best positive comes with {steps.false[first] / hours:.3g}; "
        "the threshold is above every probability seen"
    )
    return _described(steps, above, hours, note)


def _described(steps: PrecisionRecall, threshold: float, hours: float, note: str) -> Chosen:
    n = int(np.count_nonzero(steps.thresholds >= threshold))  # the thresholds fall
    found, false = (float(steps.found[n - 1]), float(steps.false[n - 1])) if n else (0.0, 0.0)
    nan = float("nan")
    return Chosen(
        threshold=threshold,
        precision=found / (found + false) if found + false > 0 else nan,
        recall=found / steps.n_positive if steps.n_positive > 0 else nan,
        f1=2 * found / (steps.n_positive + found + false) if steps.n_positive > 0 else nan,
        false_alarms_per_hour=false / hours if hours > 0 else nan,
        note=note,
    )


def _checked_value(rule: str, value: float | None) -> float:
    if rule not in RULES:
        raise Invalid(f"there is no threshold rule {rule!r}: choose one of {', '.join(RULES)}")
    if rule == "max_f1":
        return 0.0
    if value is None or not math.isfinite(value):
        raise Invalid(f"the threshold rule {rule} needs a value and has {value}: {_EXAMPLES[rule]}")
    if (rule == "precision" and not 0 < value <= 1) or value < 0:
        raise Invalid(f"the threshold rule {rule} cannot have the value {value:g}: {_EXAMPLES[rule]}")
    return float(value)


_EXAMPLES: Final = {
    "precision": "give a precision above 0 and up to 1, such as 0.9",
    "false_alarms": "give false alarms per hour, 0 or more, such as 1",
}
