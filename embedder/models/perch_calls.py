"""The ways a Perch SavedModel wants to be called, found by looking at it and not at its name.

=============  =======================================  ==================================================
shape          call                                     answer
=============  =======================================  ==================================================
``signature``  ``signatures["serving_default"](inputs=  Perch 2: dict with ``embedding``, ``label`` (logits),
               x)``; there is no ``infer_tf``           ``spectrogram``, ``spatial_embedding``
``dict``       ``infer_tf(x)``, any batch               Perch 1 release 8: dict with ``embedding``, ``label``,
                                                        the spectrogram, and other heads' logits
``pair``       ``infer_tf(x)``, one window a call       Perch 1 releases 1 to 4: tuple (logits, embedding)
               unless the signature's batch is open
=============  =======================================  ==================================================

Source: perch-hoplite, ``zoo/taxonomy_model_tf.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

EMBEDDING_KEY, LOGITS_KEY = "embedding", "label"


@dataclass(frozen=True, slots=True)
class PerchCall:
    """One way of calling a loaded SavedModel.

    Attributes
    ----------
    family : str
        Registry name of the models called this way.
    version : str
        The publisher's version, as far as the shape of the call tells it.
    batchable : bool
        Whether more than one window may go into a call.
    run : callable
        Tensor float32 (n, window_samples) -> tensors (embeddings (n, dim), logits (n, n_classes)).
    """

    family: str
    version: str
    batchable: bool
    run: Callable[[Any], tuple[Any, Any]]


def detect_call(model: Any, probe: Any, where: str) -> PerchCall:
    """Find out how a SavedModel is called.

    Parameters
    ----------
    model : Any
        What ``tf.saved_model.load`` returned.
    probe : tf.Tensor
        float32 (1, window_samples); run once where the answer's type decides.
    where : str
        The folder, for messages.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``: none of the three shapes, or a signature for windows of another length.
    """
    signature = model.signatures.get("serving_default") if hasattr(model, "signatures") else None
    if signature is not None:
        _check_width(signature, int(probe.shape[1]), where)
    if not hasattr(model, "infer_tf"):
        return _signature_call(signature, where)
    answer = model.infer_tf(probe)
    if isinstance(answer, dict):
        _check_keys(answer, where)
        return PerchCall("perch_v1", "1 (release 8)", True, lambda x: _pick(model.infer_tf(x)))
    if isinstance(answer, (tuple, list)) and len(answer) == 2:
        batchable = signature is not None and signature.inputs[0].shape[0] is None
        return PerchCall("perch_v1", "1 (release 4 or earlier)", batchable, lambda x: _swap(model.infer_tf(x)))
    raise Invalid(
        f"{where}: infer_tf answered {type(answer).__name__}; "
        "a Perch model answers a dict, or a pair (logits, embedding)",
        kind="invalid_weights",
    )


def _signature_call(signature: Any, where: str) -> PerchCall:
    if signature is None:
        raise Invalid(
            f"{where} has neither infer_tf nor the signature serving_default: not a Perch model", kind="invalid_weights"
        )
    names = sorted(signature.structured_input_signature[1])
    if names != ["inputs"]:
        raise Invalid(
            f"{where}: serving_default takes {', '.join(names) or 'nothing'}, Perch 2's takes inputs",
            kind="invalid_weights",
        )
    _check_keys(signature.structured_outputs, where)
    batchable = signature.inputs[0].shape[0] is None
    return PerchCall("perch_v2", "2", batchable, lambda x: _pick(signature(inputs=x)))


def _check_width(signature: Any, samples: int, where: str) -> None:
    shape = signature.inputs[0].shape
    if shape.rank == 2 and shape[1] not in (None, samples):
        raise Invalid(
            f"{where} takes windows of {shape[1]} samples, Perch's are {samples}: not a Perch model",
            kind="invalid_weights",
        )


def _check_keys(answer: Any, where: str) -> None:
    missing = [key for key in (EMBEDDING_KEY, LOGITS_KEY) if key not in answer]
    if missing:
        raise Invalid(
            f"{where}: the model answers {', '.join(sorted(answer))}, "
            f"without {' and '.join(missing)}: not a Perch model",
            kind="invalid_weights",
        )


def _pick(answer: Any) -> tuple[Any, Any]:
    return answer[EMBEDDING_KEY], answer[LOGITS_KEY]


def _swap(answer: Any) -> tuple[Any, Any]:
    return answer[1], answer[0]
