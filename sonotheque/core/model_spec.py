"""ModelSpec: what a vector is a vector of. Stamped on the store and on every part."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sonotheque.core.ids import digest_of

FULL_PRECISION = "fp32"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model, exactly: two vectors may be compared only if their specs are equal.

    Attributes
    ----------
    name : str
        Registry name, as in ``--model`` (``perch_v2``, ``birdnet_v2.4`` ...).
    version : str
        The publisher's version of the weights.
    weights_digest : str
        SHA-256 of the weights (for a folder, of its files' names and digests).
    sample_rate_hz, window_samples : int
        Rate the model wants, and the length of one window at that rate.
    dim : int
        Length of an embedding.
    n_classes : int
        Length of the logits; 0 for a model without classes.
    classes_digest : str
        Digest of the class list, in logit order.
    score_rule : str
        How ``score`` follows from ``logit``, in words: dialects differ between tools, so it is named.
    precision : str
        Arithmetic the network ran in: ``fp32``, ``bf16``, ``fp16`` or ``int8``. Vectors of reduced precision lie close to
        the fp32 ones (``embedder/choosing/fidelity.py``) and are not the same.
    """

    name: str
    version: str
    weights_digest: str
    sample_rate_hz: int
    window_samples: int
    dim: int
    n_classes: int
    classes_digest: str
    score_rule: str
    precision: str = FULL_PRECISION

    @property
    def window_s(self) -> float:
        """Length of one window in seconds of the model's own time."""
        return self.window_samples / self.sample_rate_hz

    @property
    def digest(self) -> str:
        """Digest over every field: part of each part's id."""
        return digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object; full precision is left out, as it was before there was any other.

        So the digest, and with it every part id, of a full-precision store is what it always was.
        """
        value = asdict(self)
        if self.precision == FULL_PRECISION:
            del value["precision"]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ModelSpec:
        """Rebuild a spec from :meth:`to_json`; unknown keys (of a later version) are left out."""
        stated = {"precision": FULL_PRECISION, **value}
        return cls(**{f.name: stated[f.name] for f in fields(cls)})


def classes_digest(classes: tuple[str, ...]) -> str:
    """Return the digest of a class list in logit order; the empty list has one too."""
    return digest_of(list(classes))
