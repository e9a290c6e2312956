"""The ranking metrics of all classes at once, and their means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.examples import Examples
from probes.intervals import group_numbers, percentile_interval, resamples
from probes.ranking import Ranking, checked, padded, rank
from sonotheque.core.errors import Invalid

METRICS = ("map", "cmap", "roc_auc")
PADDING = 5  # of BirdCLEF 2023
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Metrics of C classes under b ways of counting the groups.

    Attributes
    ----------
    average_precision, padded_average_precision, roc_auc : float64, (C, b)
        NaN where not defined.
    """

    average_precision: Floats
    padded_average_precision: Floats
    roc_auc: Floats

    def macro(self, metric: str) -> Floats:
        """Return the mean over the classes where it is defined, float64 (b,), of ``map``, ``cmap`` or ``roc_auc``."""
        values = {"map": self.average_precision, "cmap": self.padded_average_precision, "roc_auc": self.roc_auc}[metric]
        defined = ~np.isnan(values)
        n = defined.sum(axis=0)
        total = np.where(defined, values, 0.0).sum(axis=0)
        return np.where(n > 0, total / np.maximum(n, 1), np.nan)


class ClassRankings:
    """Every class's rows in order of score, sorted once.

    Parameters
    ----------
    examples : Examples
        Rows of weight 0 for a class do not count for it.
    scores : float, (n, C)
        For ``cmap``, not above 1.
    groups : (n,), optional
        What a bootstrap takes whole; all rows are one group without it.

    Raises
    ------
    Invalid
        Scores of another shape, or not finite.
    """

    def __init__(self, examples: Examples, scores: NDArray[Any], groups: NDArray[Any] | None = None) -> None:
        expected = (len(examples), len(examples.classes))
        if np.shape(scores) != expected:
            raise Invalid(f"scores of the shape {np.shape(scores)} for {expected[0]} examples of {expected[1]} classes")
        truth, ranked, weights = checked(examples.targets > 0, scores, examples.weights)
        numbers, self.n_groups = (np.zeros(len(examples), np.int64), 1) if groups is None else group_numbers(groups)
        self._plain: list[Ranking] = []
        self._padded: list[Ranking | None] = []
        for c in range(expected[1]):
            column = truth[:, c], ranked[:, c], weights[:, c]
            self._plain.append(rank(*column, numbers, self.n_groups))
            self._padded.append(padded(*column, numbers, self.n_groups, PADDING) if column[2].any() else None)

    def measure(self, times: Floats | None = None) -> Measured:
        """Return all metrics; `times`, (groups, b), says how often each group is taken: once, without it.

        The padded average precision of a class without positives or negatives is 1, as in the competition; but where a
        repeat of the bootstrap loses a class that is there, the class is left out of that repeat.
        """
        b = 1 if times is None else times.shape[1]
        once = np.ones((self.n_groups, 1)) if times is None else times
        with_padding = np.concatenate([once, np.ones((1, b))])
        ap, area, lifted = (np.full((len(self._plain), b), np.nan) for _ in range(3))
        for c, (plain, more) in enumerate(zip(self._plain, self._padded, strict=True)):
            ap[c], area[c] = plain.measure(once)
            if more is not None:
                values = more.measure(with_padding)[0]
                whole = np.isnan(plain.measure()[0][0])
                lifted[c] = (
                    np.where(np.isnan(values), 1.0, values) if whole else np.where(np.isnan(ap[c]), np.nan, values)
                )
        return Measured(ap, lifted, area)

    def repeats(self, bootstrap: int, seed: int) -> Measured:
        """Return all metrics under `bootstrap` draws of the groups with replacement."""
        empty = np.empty((len(self._plain), 0))
        blocks = [Measured(empty, empty, empty)]
        if len(self._plain):
            blocks += [self.measure(times) for times in resamples(self.n_groups, bootstrap, seed)]
        return Measured(
            np.concatenate([m.average_precision for m in blocks], axis=1),
            np.concatenate([m.padded_average_precision for m in blocks], axis=1),
            np.concatenate([m.roc_auc for m in blocks], axis=1),
        )


def macro_metric(examples: Examples, scores: NDArray[Any], metric: str = "map") -> float:
    """Return ``map``, ``cmap`` or ``roc_auc`` over the classes where it is defined; NaN if none."""
    return float(ClassRankings(examples, scores).measure().macro(_known(metric))[0])


def compare_scores(
    examples: Examples,
    first: NDArray[Any],
    second: NDArray[Any],
    metric: str = "map",
    *,
    bootstrap: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Say how much better the second scores are than the first on the same examples.

    Parameters
    ----------
    examples : Examples
    first, second : float, (n, C)
    metric : {'map', 'cmap', 'roc_auc'}
    bootstrap : int
    seed : int

    Returns
    -------
    dict
        ``metric``, ``first``, ``second``, ``difference`` (second less first) and ``difference_ci``: 95 %, over recordings drawn
        with replacement, the same draw for both, so that what both find hard cancels out. None where not defined.

    Raises
    ------
    Invalid
        Another metric; scores of another shape or not finite; no examples.
    """
    _known(metric)
    sides = [ClassRankings(examples, scores, examples.recording_ids) for scores in (first, second)]
    now = [float(side.measure().macro(metric)[0]) for side in sides]
    interval = (float("nan"), float("nan"))
    if sides[0].n_groups > 1:
        repeats = [side.repeats(bootstrap, seed).macro(metric) for side in sides]
        interval = percentile_interval(repeats[1] - repeats[0])
    return {
        "metric": metric,
        "first": none_if_nan(now[0]),
        "second": none_if_nan(now[1]),
        "difference": none_if_nan(now[1] - now[0]),
        "difference_ci": [none_if_nan(v) for v in interval],
    }


def none_if_nan(value: float) -> float | None:
    """Return a Python number, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)


def _known(metric: str) -> str:
    if metric not in METRICS:
        raise Invalid(f"there is no metric {metric!r} here: choose one of {', '.join(METRICS)}")
    return metric
