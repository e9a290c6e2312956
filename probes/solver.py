"""Convex logistic regression with an L2 penalty: all classes in one solve, by Newton's method, until the gradient is nought.

The loss is a weighted mean, so that a penalty means the same for ten rows and for a million. ``multilabel`` solves one sigmoid regression
a class, in step: every product with the features serves all of them, while steps and convergence are each class's own. ``multiclass``
solves one softmax regression. The bias is not penalised. Newton directions come from conjugate gradients (truncated Newton: Nocedal and
Wright, Numerical Optimization, 2nd ed., algorithm 7.1), the step from halving until the loss falls enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logsumexp

from probes.products import Products

Floats = NDArray[np.float64]
TOLERANCE: Final = 1e-7
_TOLERANCE_FLOAT32: Final = 2e-5
_NEWTON_MAX, _CG_MAX, _HALVINGS_MAX = 100, 250, 30
_ENOUGH: Final = 1e-4  # of the decrease that the slope promises (Armijo)
_BIAS_RIDGE: Final = 1e-9  # keeps the system solvable where all probabilities are 0 or 1


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What a solve found.

    Attributes
    ----------
    weights : float64, (d, C)
    bias : float64, (C,)
    iterations : int
        Newton steps.
    gradient : float
        Largest absolute entry of the gradient at the end.
    converged : bool
        Whether that is below the tolerance.
    """

    weights: Floats
    bias: Floats
    iterations: int
    gradient: float
    converged: bool


class _State(NamedTuple):
    loss: Floats  # (C,) or (1,): one for each problem that is solved for itself
    residual: Floats  # (n, C): d loss / d logits
    probability: Floats  # (n, C)


def solve(
    features: Products,
    targets: Floats,
    weights: Floats,
    l2: float,
    *,
    kind: str = "multilabel",
    start: Solution | None = None,
    tolerance: float | None = None,
) -> Solution:
    """Return the minimum of mean loss + l2/2 |W|^2.

    Parameters
    ----------
    features : Products
        (n, d).
    targets : float64, (n, C)
        0 or 1; for ``multiclass`` one 1 a row, where its weight is not 0.
    weights : float64, (n, C)
        Not negative. ``multilabel``: of each row for each class; a class whose weights are all 0 keeps weights of 0.
        ``multiclass``: the first column's hold for the row.
    l2 : float
        Above 0.
    kind : str
    start : Solution, optional
        Where to begin; the result does not depend on it.
    tolerance : float, optional
        Largest absolute entry of the gradient; 1e-7 by default, 2e-5 where features are float32.
    """
    problem = _Multilabel(targets, weights) if kind == "multilabel" else _Multiclass(targets, weights)
    tolerance = tolerance or (TOLERANCE if features.exact else _TOLERANCE_FLOAT32)
    w = start.weights.copy() if start else np.zeros((features.width, targets.shape[1]))
    b = start.bias.copy() if start else problem.first_bias()
    z = features.times(w) + b if start else np.tile(b, (len(targets), 1))
    state = problem.at(z)
    steps, largest = 0, np.inf
    stuck = False
    while True:
        gw, gb = features.transposed_times(state.residual) + l2 * w, state.residual.sum(axis=0)
        largest = max(float(np.abs(gw).max(initial=0)), float(np.abs(gb).max(initial=0)))
        if largest <= tolerance or steps == _NEWTON_MAX or stuck:
            return Solution(w, b, steps, largest, largest <= tolerance)
        pw, pb, pz = _direction(features, problem, state, gw, gb, l2)
        slope = problem.sum(gw * pw, gb * pb)
        before = state.loss + l2 / 2 * problem.sum(w * w)
        step = np.ones_like(slope)
        for _ in range(_HALVINGS_MAX):
            trial = problem.at(z + step * pz)
            after = trial.loss + l2 / 2 * problem.sum((w + step * pw) ** 2)
            # The last bits of a loss are noise: a step that stands still within them is taken.
            short = after > before + _ENOUGH * step * slope + 1e-14 * np.abs(before)
            if not short.any():
                break
            step = np.where(short, step / 2, step)
        else:
            stuck = True
            step = np.where(short, 0.0, step)
            trial = problem.at(z + step * pz)
        w, b, z, state = w + step * pw, b + (step * pb), z + step * pz, trial
        steps += 1


def _direction(
    features: Products, problem: _Multilabel | _Multiclass, state: _State, gw: Floats, gb: Floats, l2: float
) -> tuple[Floats, Floats, Floats]:
    """Return the Newton direction (weights, bias, and what it does to the logits), by conjugate gradients."""
    pw, pb, pz = np.zeros_like(gw), np.zeros_like(gb), np.zeros_like(state.residual)
    rw, rb = -gw, -gb
    dw, db = rw.copy(), rb.copy()
    rr = problem.sum(rw * rw, rb * rb)
    size = np.sqrt(rr)
    enough = np.minimum(0.5, np.sqrt(size)) * size  # superlinear convergence near the end, little work far from it
    for _ in range(_CG_MAX):
        active = rr > enough**2
        if not active.any():
            break
        dz = features.times(dw) + db
        q = problem.curved(state.probability, dz)
        hw, hb = features.transposed_times(q) + l2 * dw, q.sum(axis=0) + _BIAS_RIDGE * db
        curvature = problem.sum(dw * hw, db * hb)
        ok = active & (curvature > 0)
        alpha = np.where(ok, rr / np.where(ok, curvature, 1.0), 0.0)
        pw, pb, pz = pw + alpha * dw, pb + alpha * db, pz + alpha * dz
        rw, rb = rw - alpha * hw, rb - alpha * hb
        new = problem.sum(rw * rw, rb * rb)
        beta = np.where(ok, new / np.where(rr > 0, rr, 1.0), 0.0)
        dw, db = rw + beta * dw, rb + beta * db
        rr = np.where(ok, new, 0.0)
    return pw, pb, pz


class _Multilabel:
    """One sigmoid regression a class, all at once."""

    def __init__(self, targets: Floats, weights: Floats) -> None:
        total = weights.sum(axis=0)
        self._t = targets
        self._s = weights / np.where(total > 0, total, 1.0)

    def first_bias(self) -> Floats:
        share = np.clip((self._s * self._t).sum(axis=0), 1e-6, 1 - 1e-6)
        return np.where(self._s.sum(axis=0) > 0, np.log(share / (1 - share)), 0.0)

    def at(self, z: Floats) -> _State:
        p = expit(z)
        loss = (self._s * (np.logaddexp(0.0, z) - self._t * z)).sum(axis=0)
        return _State(loss, self._s * (p - self._t), p)

    def curved(self, p: Floats, dz: Floats) -> Floats:
        return np.asarray(self._s * p * (1.0 - p) * dz)

    @staticmethod
    def sum(first: Floats, second: Floats | None = None) -> Floats:
        return np.asarray(first.sum(axis=0) + (0.0 if second is None else second))


class _Multiclass:
    """One softmax regression."""

    def __init__(self, targets: Floats, weights: Floats) -> None:
        row = weights[:, 0]
        self._t = targets
        self._s = (row / max(row.sum(), 1e-300))[:, None]

    def first_bias(self) -> Floats:
        share = np.clip((self._s * self._t).sum(axis=0), 1e-6, 1.0)
        logs = np.log(share)
        return np.asarray(logs - logs.mean())

    def at(self, z: Floats) -> _State:
        p = np.exp(log_softmax(z, axis=1))
        loss = float((self._s[:, 0] * (logsumexp(z, axis=1) - (self._t * z).sum(axis=1))).sum())
        return _State(np.array([loss]), self._s * (p - self._t), p)

    def curved(self, p: Floats, dz: Floats) -> Floats:
        return np.asarray(self._s * p * (dz - (p * dz).sum(axis=1, keepdims=True)))

    @staticmethod
    def sum(first: Floats, second: Floats | None = None) -> Floats:
        return np.array([first.sum() + (0.0 if second is None else second.sum())])
