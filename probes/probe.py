"""Probe: a linear head on a model's embeddings, with its classes, its calibration and its thresholds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax

from sonotheque.core.errors import Conflict, Invalid
from sonotheque.core.ids import digest_of
from sonotheque.core.model_spec import ModelSpec

KINDS: Final = ("multilabel", "multiclass")


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A linear probe.

    Attributes
    ----------
    name : str
    version : int
        0 = not stored yet.
    kind : str
        ``multilabel``: every class for itself (a sigmoid each); ``multiclass``: classes exclude each other (softmax).
    classes : tuple of str
        C of them.
    model : ModelSpec
        Of the vectors it may see.
    weights : float32, (dim, C)
        ``logits = unit(vectors) @ weights + bias``.
    bias : float32, (C,)
    slopes, offsets : float64, (C,)
        Platt's calibration: probability = sigmoid(slope x logit + offset). For ``multiclass`` all slopes are one over the temperature,
        offsets are 0, and the probabilities are a softmax.
    thresholds : float64, (C,)
        In probability.
    about : dict
        What it was made from, as JSON.

    Raises
    ------
    Invalid
        If shapes do not fit or a value is not finite.
    """

    name: str
    version: int
    kind: str
    classes: tuple[str, ...]
    model: ModelSpec
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    about: dict[str, Any]

    def __post_init__(self) -> None:
        c = len(self.classes)
        if self.kind not in KINDS:
            raise Invalid(f"probe {self.name}: kind {self.kind!r}; expected {' or '.join(KINDS)}")
        if not c or len(set(self.classes)) != c:
            raise Invalid(
                f"probe {self.name}: {c} classes, {len(set(self.classes))} different ones; expected one or more, each once"
            )
        if self.weights.shape != (self.model.dim, c):
            raise Invalid(f"probe {self.name}: weights {self.weights.shape}; expected ({self.model.dim}, {c})")
        for what in ("bias", "slopes", "offsets", "thresholds"):
            if getattr(self, what).shape != (c,):
                raise Invalid(f"probe {self.name}: {what} {getattr(self, what).shape}; expected ({c},)")
        for what in ("weights", "bias", "slopes", "offsets", "thresholds"):
            if not np.isfinite(getattr(self, what)).all():
                raise Invalid(f"probe {self.name}: a value of its {what} is not finite")

    def logits(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Return one logit a class, float32 (n, C), for vectors (n, dim) of any length but zero.

        A vector of zeros points nowhere; its logits are the bias.

        Raises
        ------
        Invalid
            If a vector has another length than the model's, or is not finite.
        """
        x = np.atleast_2d(np.asarray(vectors, np.float32))
        if x.shape[1] != self.model.dim:
            raise Invalid(
                f"vectors of length {x.shape[1]}; probe {self.name} takes {self.model.dim} ({self.model.name})"
            )
        norms = np.linalg.norm(x, axis=1)
        if not np.isfinite(norms).all():
            raise Invalid(f"vector {int(np.flatnonzero(~np.isfinite(norms))[0])} holds a value that is not finite")
        norms[norms == 0.0] = 1.0
        return np.asarray(x @ self.weights / norms[:, None] + self.bias, np.float32)

    def probabilities(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Return calibrated probabilities, float32 (n, C), of logits (n, C)."""
        z = np.asarray(logits, np.float64) * self.slopes + self.offsets
        return scores_of(z, self.kind).astype(np.float32)

    def require_model(self, spec: ModelSpec) -> None:
        """Raise Conflict, of kind ``model_conflict`` and naming both, unless the vectors are of the probe's own model."""
        mine = self.model
        if mine != spec:
            raise Conflict(
                f"probe {self.name} was trained on {mine.name} {mine.version} (weights {mine.weights_digest[:12]}, {mine.dim} numbers a window); "
                f"these vectors are of {spec.name} {spec.version} (weights {spec.weights_digest[:12]}, {spec.dim} numbers). Train it again on them",
                kind="model_conflict",
            )

    @property
    def digest(self) -> str:
        """SHA-256 of what it computes: arrays, classes, kind and model; not of its name or history."""
        found = hashlib.sha256(digest_of([self.kind, list(self.classes), self.model.to_json()]).encode())
        for what in ("weights", "bias", "slopes", "offsets", "thresholds"):
            found.update(np.ascontiguousarray(getattr(self, what)).tobytes())
        return found.hexdigest()


def scores_of(logits: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Return a sigmoid of each logit (n, C), or a softmax of each row for ``multiclass``."""
    found: NDArray[np.float64] = expit(logits) if kind == "multilabel" else np.exp(log_softmax(logits, axis=1))
    return found
