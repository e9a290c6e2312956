"""How many examples are enough: the test metrics of probes trained on 1, 2, 4 and more positives a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.examples import Examples
from probes.macro import ClassRankings, none_if_nan
from sonotheque.core.errors import Invalid

FitAndScore = Callable[[Examples, Examples], NDArray[Any]]


def learning_curve(
    train: Examples,
    test: Examples,
    fit_and_score: FitAndScore,
    *,
    shots: Sequence[int] = (1, 2, 4, 8, 16, 32),
    repeats: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Train on few positives again and again, always judged by the same test examples.

    Parameters
    ----------
    train, test : Examples
    fit_and_score : callable
        Takes training examples and test examples, gives scores of the test examples, float (n_test, C).
    shots : sequence of int
        Positives a class. Stops before the first number that no class has.
    repeats : int
        Draws for each number.
    seed : int
        The same seed draws the same examples, whatever other shots are asked for.

    Returns
    -------
    list of dict
        ``shots`` (a number, ``"all"`` in the last row), ``map`` and ``roc_auc`` (means of the repeats), ``map_low`` and ``map_high``
        (lowest and highest repeat), ``classes`` (how many have that many positives; the others give all they have), ``repeats``. None
        where no class of the test has positives and negatives.

    Raises
    ------
    Invalid
        Shots or repeats below 1; whatever `fit_and_score` raises.
    """
    if repeats < 1 or any(k < 1 for k in shots):
        raise Invalid(f"shots {list(shots)} and {repeats} repeats: all must be at least 1")
    available = _positive(train).sum(axis=0)
    rows = []
    for k in sorted(set(shots)):
        enough = int((available >= k).sum())
        if not enough:
            break
        draws = [few_shots(train, k, np.random.default_rng([seed, k, r])) for r in range(repeats)]
        rows.append(_row(k, enough, [_measured(test, fit_and_score(few, test)) for few in draws]))
    rows.append(_row("all", int((available > 0).sum()), [_measured(test, fit_and_score(train, test))]))
    return rows


def few_shots(examples: Examples, shots: int, random: np.random.Generator) -> Examples:
    """Draw `shots` positives of each class, from as many recordings as possible, and keep the negatives.

    Returns
    -------
    Examples
        In the order given. A window with several classes counts for those it was drawn for, and is not known for the others; rows
        with a positive of some class that were drawn for none are left out.
    """
    positive = _positive(examples)
    drawn = np.zeros_like(positive)
    for c in range(positive.shape[1]):
        drawn[_spread(np.flatnonzero(positive[:, c]), examples.recording_ids, shots, random), c] = True
    kept = np.flatnonzero(drawn.any(axis=1) | ~positive.any(axis=1))
    weights = np.where(positive & ~drawn, np.float32(0), examples.weights)
    return replace(examples, weights=weights).take(kept)


def _spread(
    rows: NDArray[np.int64], recordings: NDArray[np.int64], n: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Take n rows at random, but no second one of a recording before every recording has given one, and so on."""
    rows = random.permutation(rows)
    _, number = np.unique(recordings[rows], return_inverse=True)
    order = np.argsort(number, kind="stable")
    first = np.searchsorted(number[order], number[order], side="left")
    turn = np.empty(len(rows), np.int64)
    turn[order] = np.arange(len(rows)) - first
    return rows[np.argsort(turn, kind="stable")[:n]]


def _positive(examples: Examples) -> NDArray[np.bool_]:
    return (examples.targets > 0) & (examples.weights > 0)


def _measured(test: Examples, scores: NDArray[Any]) -> tuple[float, float]:
    measured = ClassRankings(test, scores).measure()
    return float(measured.macro("map")[0]), float(measured.macro("roc_auc")[0])


def _row(shots: int | str, classes: int, values: list[tuple[float, float]]) -> dict[str, Any]:
    precision, area = np.array(values).T
    return {
        "shots": shots,
        "map": none_if_nan(float(precision.mean())),
        "map_low": none_if_nan(float(precision.min())),
        "map_high": none_if_nan(float(precision.max())),
        "roc_auc": none_if_nan(float(area.mean())),
        "classes": classes,
        "repeats": len(values),
    }
