"""Cross-validation by groups: the penalty, and scores of examples that the scoring fit had not learnt from."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax
from threadpoolctl import threadpool_limits

from probes.examples import Examples
from probes.experiment import Experiment
from probes.fitting import ROUGH, Features, features_of, fit_rows
from probes.grouping import whole_groups
from probes.metrics import average_precision, padded_cmap, roc_auc
from probes.products import usable_cores
from probes.solver import Solution
from probes.splitting import folds

L2_TRIED: Final = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # from smooth to sharp: each solve begins where the last ended
L2_DEFAULT: Final = 1e-4  # where nothing can be left out to choose by
_ROWS_MAX: Final = 20_000  # rows that a penalty is chosen on; all positives are among them
_CLOSE: Final = 0.001  # of the metric: penalties this near to the best are as good


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What cross-validation found.

    Attributes
    ----------
    l2 : float
    tried : list of dict
        ``l2``, ``score`` (the experiment's metric, macro) and ``log_loss`` of each.
    rows : int64, (m,)
        Rows that were scored by a fit that had not seen their group.
    logits : float64, (m, C)
        Their scores; NaN for a class that the fit could not learn.
    stands_for : float64, (m,)
        How many examples each of them stands for: more than 1 where some were drawn of many.
    notes : list of str
    """

    l2: float
    tried: list[dict[str, float | None]]
    rows: NDArray[np.int64]
    logits: NDArray[np.float64]
    stands_for: NDArray[np.float64]
    notes: list[str] = field(default_factory=list)


def select(examples: Examples, experiment: Experiment, features: Features | None = None) -> Selection:
    """Choose the penalty, and score every example by a fit that did not learn from its group; ``features``: of all of them."""
    penalties = L2_TRIED if experiment.l2 is None else (experiment.l2,)
    none = np.empty((0, len(examples.classes)))
    _, n_groups = whole_groups(examples, experiment.split.by)
    if n_groups < 2:
        l2 = experiment.l2 or L2_DEFAULT
        told = f"all examples are of one {experiment.split.by}: nothing can be left out, so probabilities are not calibrated and thresholds are 0.5"
        return Selection(l2, [], np.empty(0, np.int64), none, np.empty(0), [told])
    rows, stands_for = _some_rows(examples, experiment.seed)
    part = examples.take(rows)
    part = replace(part, weights=(part.weights * stands_for[:, None]).astype(np.float32))
    fold = folds(part, experiment.split.by, min(experiment.folds, n_groups), experiment.seed)
    features = features if features and len(part) == len(examples) else features_of(part.vectors)
    logits = {l2: np.full(part.targets.shape, np.nan) for l2 in penalties}

    def score(number: int) -> None:
        held, kept = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        _score_fold(features, part, experiment, kept, held, logits)

    # Folds write to rows of their own, and their products run without Python's lock, on one thread each.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(min(experiment.folds, usable_cores())) as pool:
        list(pool.map(score, np.unique(fold)))
    tried = [_judged(l2, logits[l2], part, experiment) for l2 in penalties]
    l2 = _best(tried, experiment.l2)
    return Selection(l2, tried, rows, logits[l2], stands_for)


def _some_rows(examples: Examples, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return rows, at most ``_ROWS_MAX``, as many positives as there are up to half of them; and how many rows each stands for."""
    n = len(examples)
    if n <= _ROWS_MAX:
        return np.arange(n), np.ones(n)
    positive = ((examples.targets > 0) & (examples.weights > 0)).any(axis=1)
    rng = np.random.default_rng(seed)
    few, many = np.flatnonzero(positive), np.flatnonzero(~positive)
    n_few = min(len(few), max(_ROWS_MAX // 2, _ROWS_MAX - len(many)))
    drawn = [rng.choice(few, n_few, replace=False), rng.choice(many, min(_ROWS_MAX - n_few, len(many)), replace=False)]
    stands_for = [np.full(len(d), len(of) / max(len(d), 1)) for d, of in zip(drawn, (few, many), strict=True)]
    rows = np.concatenate(drawn)
    order = np.argsort(rows)
    return rows[order], np.concatenate(stands_for)[order]


def _score_fold(
    features: Features,
    part: Examples,
    experiment: Experiment,
    kept: NDArray[np.int64],
    held: NDArray[np.int64],
    logits: dict[float, NDArray[np.float64]],
) -> None:
    t, s = part.targets[kept], part.weights[kept]
    learnt = ((t * s).sum(axis=0) > 0) & (((1 - t) * s).sum(axis=0) > 0)
    if experiment.kind == "multiclass":
        learnt = (t * s).sum(axis=0) > 0
    start: Solution | None = None
    for l2, scored in logits.items():
        start = fit_rows(
            features,
            kept,
            part.targets,
            part.weights,
            l2,
            kind=experiment.kind,
            class_weights=experiment.class_weights,
            device=experiment.device,
            start=start,
            tolerance=ROUGH,
            is_guarded=True,
        )
        found = features.values[held] @ start.weights + start.bias
        scored[held] = np.where(learnt, found, np.nan)


def _judged(l2: float, logits: NDArray[np.float64], part: Examples, experiment: Experiment) -> dict[str, float | None]:
    """Return the macro metric and the mean log loss of a penalty, classes weighing the same."""
    scores, losses = [], []
    counted = logits
    if experiment.kind == "multiclass":
        logits = log_softmax(np.where(np.isfinite(logits), logits, -30.0), axis=1)
    for c in range(len(part.classes)):
        known = (part.weights[:, c] > 0) & np.isfinite(logits[:, c])
        t, z, s = part.targets[known, c], logits[known, c], part.weights[known, c].astype(np.float64)
        if not ((t > 0).any() and (t == 0).any()):
            continue
        scores.append(_metric(experiment.metric, t, z, s))
        half = np.where(t > 0, s / s[t > 0].sum(), s / s[t == 0].sum()) / 2
        losses.append(float((half * (np.logaddexp(0.0, z) - t * z)).sum()))
    loss = float(np.mean(losses)) if losses else None
    if experiment.kind == "multiclass":
        loss = _softmax_loss(counted, part) if losses else None
    return {"l2": l2, "score": float(np.nanmean(scores)) if scores else None, "log_loss": loss}


def _softmax_loss(logits: NDArray[np.float64], part: Examples) -> float | None:
    z = np.where(np.isfinite(logits), logits, -30.0)
    counted = (part.targets * part.weights).max(axis=1) > 0
    rows = -(log_softmax(z, axis=1) * part.targets).sum(axis=1)[counted]
    of = part.targets[counted].argmax(axis=1)
    return float(np.mean([rows[of == c].mean() for c in np.unique(of)])) if len(rows) else None


def _metric(name: str, truth: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any]) -> float:
    if name == "roc_auc":
        return float(roc_auc(truth, scores, weights))
    if name == "cmap":
        return float(padded_cmap(truth[:, None], expit(scores)[:, None], weights=weights[:, None]))
    return float(average_precision(truth, scores, weights))


def _best(tried: list[dict[str, float | None]], given: float | None) -> float:
    if given is not None:
        return given
    known = [(row["score"], row["l2"]) for row in tried if row["score"] is not None and row["l2"] is not None]
    if not known:
        return L2_DEFAULT
    top = max(score for score, _ in known)
    near = [l2 for score, l2 in known if score >= top - _CLOSE]
    # With few examples all penalties often look perfect: then what suits most archives decides.
    return min(near, key=lambda l2: (abs(math.log(l2 / L2_DEFAULT)), l2))
