"""Whether a variant of a model says what the reference says: the rules that decide what may be chosen unasked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sonotheque.core.errors import Invalid
from sonotheque.core.model_spec import FULL_PRECISION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedder.models.base import Embedded, Embedder

FP32_COSINE = 0.9999  # median cosine to the reference that a variant at full precision must reach
REDUCED_COSINE = 0.999  # and one at reduced precision
WORST_COSINE = 0.99  # no window may be further off: a median says nothing of the one sound a variant gets wrong
NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How close a variant's answers are to the reference's, over n windows.

    Attributes
    ----------
    n : int
        Windows compared.
    cosine_min, cosine_median : float
        Of a window's embedding to the reference's embedding of the same window; 0 if it, or a logit, is not finite.
    top1_agreement : float or None
        Share of windows with the same highest logit; None without logits.
    neighbours_at_10 : float
        Share of a window's ten nearest others, by cosine, that both name; the mean over windows. With few windows it
        is of fewer than ten.
    logit_difference_max : float or None
        Largest absolute difference of a logit; None without logits.
    """

    n: int
    cosine_min: float
    cosine_median: float
    top1_agreement: float | None
    neighbours_at_10: float
    logit_difference_max: float | None

    def passes(self, precision: str) -> bool:
        """Tell whether a variant of that precision may be chosen unasked."""
        return self.cosine_median >= cosine_asked(precision) and self.cosine_min >= WORST_COSINE

    def shortfall(self, precision: str) -> str:
        """Return what is missing, in words; empty if it passes."""
        if self.cosine_median < cosine_asked(precision):
            return f"median cosine {self.cosine_median:.5f}, {cosine_asked(precision):g} is asked of {precision}"
        if self.cosine_min < WORST_COSINE:
            return f"one window's cosine is {self.cosine_min:.5f}, {WORST_COSINE:g} is asked of every one"
        return ""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Fidelity:
        """Rebuild one from ``dataclasses.asdict``.

        Raises
        ------
        TypeError
            If a field is missing or one too many is there.
        """
        return cls(**value)


def cosine_asked(precision: str) -> float:
    """Return the median cosine that a precision must reach."""
    return FP32_COSINE if precision == FULL_PRECISION else REDUCED_COSINE


def compare(reference: Embedder, variant: Embedder, frames: NDArray[np.float32], k: int = NEIGHBOURS) -> Fidelity:
    """Run both models over the same windows and compare what they say.

    Parameters
    ----------
    reference, variant : Embedder
        Of the same weights.
    frames : NDArray[np.float32]
        float32 (n, window_samples), n >= 1.
    k : int
        Neighbours counted.

    Raises
    ------
    Invalid
        See :func:`compare_results`.
    """
    return compare_results(reference.embed(frames), variant.embed(frames), k)


def compare_results(reference: Embedded, variant: Embedded, k: int = NEIGHBOURS) -> Fidelity:
    """Compare what two models said of the same windows.

    Logits are compared if both have them.

    Raises
    ------
    Invalid
        No windows, or arrays of different shapes: then these are not variants of one model.
    """
    mine, theirs = reference.embeddings, variant.embeddings
    if mine.shape != theirs.shape or not len(mine):
        raise Invalid(
            f"embeddings of shapes {mine.shape} and {theirs.shape} cannot be compared; both must be of one model, "
            "over the same windows, at least one"
        )
    cosine = _cosine(mine, theirs)
    top1, largest = _logits(reference.logits, variant.logits)
    if variant.logits is not None:
        cosine[~np.isfinite(variant.logits).all(axis=1)] = 0.0
    return Fidelity(
        n=len(mine),
        cosine_min=float(cosine.min()),
        cosine_median=float(np.median(cosine)),
        top1_agreement=top1,
        neighbours_at_10=_shared_neighbours(mine, theirs, k),
        logit_difference_max=largest,
    )


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return rows of length 1 in float64; a row that is zero or not finite becomes zero."""
    wide = rows.astype(np.float64)
    wide[~np.isfinite(wide).all(axis=1)] = 0.0
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = wide / np.where(length > 0, length, 1.0)
    return unit


def _cosine(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float64]:
    cosine: NDArray[np.float64] = np.einsum("ij,ij->i", _unit(mine), _unit(theirs))
    cosine[(mine == theirs).all(axis=1)] = 1.0  # also two zero vectors, which have no direction to differ in
    return np.minimum(cosine, 1.0)


def _shared_neighbours(mine: NDArray[np.float32], theirs: NDArray[np.float32], k: int) -> float:
    k = min(k, len(mine) - 1)
    if k < 1:
        return 1.0
    first, second = _nearest(mine, k), _nearest(theirs, k)
    shared = [len(set(a) & set(b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    return sum(shared) / (k * len(shared))


def _nearest(rows: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Return (n, k) the nearest other rows of each row."""
    unit = _unit(rows)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :k]


def _logits(mine: NDArray[np.float32] | None, theirs: NDArray[np.float32] | None) -> tuple[float | None, float | None]:
    """Return top-1 agreement and the largest difference."""
    if mine is None or theirs is None or not mine.shape[1]:
        return None, None
    if mine.shape != theirs.shape:
        raise Invalid(f"logits of shapes {mine.shape} and {theirs.shape} cannot be compared; both must be of one model")
    difference = np.abs(mine.astype(np.float64) - theirs)
    largest = float(np.finfo(np.float32).max)  # for one that is not finite: a number that JSON has
    top1 = float((mine.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    return top1, float(np.nan_to_num(difference, nan=largest, posinf=largest).max())
