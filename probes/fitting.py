"""From examples to a linear head: features, weights of rows, one solve."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from probes.examples import Examples
from probes.products import few_threads, products_of
from probes.solver import Solution, solve

Floats = NDArray[np.float64]
_FEW: Final = 1.5  # times as many dimensions as rows: then turning them costs less than it saves
ROUGH: Final = 1e-4  # a gradient at which a ranking has settled; float32 reaches it


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Unit vectors, moved to their mean and scaled so that their mean square length is 1: a penalty then means the same for every model.

    Attributes
    ----------
    values : float32, (n, dim), or (n, n) in the basis
    mean : float64, (dim,)
    scale : float
    basis : float32, (dim, n), or None
        Where rows are few, all that can be learnt lies in the space they span: its orthonormal basis.
    """

    values: NDArray[np.float32]
    mean: Floats
    scale: float
    basis: NDArray[np.float32] | None = None

    def head(self, solution: Solution) -> tuple[Floats, Floats]:
        """Return weights (dim, C) and bias (C,) that give the same logits for unit vectors."""
        turned = solution.weights
        if self.basis is not None:
            turned = np.asarray(self.basis @ solution.weights.astype(np.float32), np.float64)
        weights = turned / self.scale
        return weights, solution.bias - self.mean @ weights


def features_of(vectors: NDArray[Any]) -> Features:
    """Return the features of vectors (n, dim); a vector of zeros stays one."""
    units = unit_rows(vectors)
    mean = units.mean(axis=0, dtype=np.float64)
    units -= mean.astype(np.float32)
    scale = float(np.sqrt(np.einsum("ij,ij->", units, units, dtype=np.float64) / max(len(units), 1)))
    scale = scale if scale > 1e-6 else 1.0  # all vectors are the same: nothing to scale
    units /= np.float32(scale)
    if len(units) * _FEW > units.shape[1] or not len(units):
        return Features(units, mean, scale)
    with few_threads(units):
        basis, turned = qr(units.T, mode="economic", check_finite=False)
    return Features(np.ascontiguousarray(turned.T), mean, scale, basis)


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return a copy of vectors (n, dim) with length 1; zeros stay zeros."""
    units = np.array(vectors, np.float32, copy=True)
    norms = np.linalg.norm(units, axis=1)
    norms[norms == 0.0] = 1.0
    units /= norms[:, None]
    return units


def row_weights(targets: NDArray[Any], weights: NDArray[Any], class_weights: str, kind: str) -> Floats:
    """Return what each row counts for each class.

    Parameters
    ----------
    targets, weights : float, (n, C)
    class_weights : str
        ``balanced``: positives and negatives of a class (for ``multiclass``: the classes) have the same sum; ``none``: as given.
    kind : str
        ``multiclass``: all columns are the same, and rows without a positive count for nothing.
    """
    t, s = targets.astype(np.float64), weights.astype(np.float64)
    if kind == "multiclass":
        row = np.where(
            t.sum(axis=1) == 1, (s * t).max(axis=1, initial=0.0), 0.0
        )  # two classes at once have no least loss
        if class_weights == "balanced":
            sums = (row[:, None] * t).sum(axis=0)
            row = row * (t / np.where(sums > 0, sums, 1.0)).sum(axis=1)
        return np.repeat(row[:, None], t.shape[1], axis=1)
    if class_weights == "none":
        return s
    positive, negative = (s * t).sum(axis=0), (s * (1 - t)).sum(axis=0)
    both = (positive > 0) & (negative > 0)
    share = np.where(t > 0, 1.0 / np.where(both, positive, 1.0), 1.0 / np.where(both, negative, 1.0))
    return np.where(both, s * share, 0.0)


def fit_rows(
    features: Features,
    rows: NDArray[np.int64] | None,
    targets: NDArray[Any],
    weights: NDArray[Any],
    l2: float,
    *,
    kind: str,
    class_weights: str,
    device: str = "auto",
    start: Solution | None = None,
    tolerance: float | None = None,
    is_guarded: bool = False,
) -> Solution:
    """Solve on some rows of the features, or on all; ``targets`` and ``weights`` are of all.

    ``is_guarded``: the caller has set the number of threads, which is the process's own: several threads must not set it at once.
    """
    values = features.values if rows is None else features.values[rows]
    t, s = (targets, weights) if rows is None else (targets[rows], weights[rows])
    counted = row_weights(t, s, class_weights, kind)
    rough = tolerance is not None and tolerance >= ROUGH
    with contextlib.nullcontext() if is_guarded else few_threads(values):
        products = products_of(values, device, rough=rough)
        return solve(products, t.astype(np.float64), counted, l2, kind=kind, start=start, tolerance=tolerance)


def fit(
    examples: Examples,
    *,
    kind: str = "multilabel",
    l2: float,
    class_weights: str = "balanced",
    device: str = "auto",
    rough: bool = False,
    features: Features | None = None,
) -> tuple[Floats, Floats, Solution]:
    """Return weights (dim, C) and bias (C,) for unit vectors, and how the solve went.

    ``rough``: to a gradient of 1e-4 only; ``features``: those of the examples, if they are made already.
    """
    features = features or features_of(examples.vectors)
    solution = None
    for until in (ROUGH,) if rough else (ROUGH, None):  # most of the way in float32
        solution = fit_rows(
            features,
            None,
            examples.targets,
            examples.weights,
            l2,
            kind=kind,
            class_weights=class_weights,
            device=device,
            start=solution,
            tolerance=until,
        )
    if solution is None:
        raise ValueError("no solve was made")
    return *features.head(solution), solution
