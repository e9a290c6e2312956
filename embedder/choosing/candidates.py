"""Which engines and precisions there are for a model and its weights, and which of them this machine has."""

from __future__ import annotations

from dataclasses import dataclass

from embedder.engines import refusal
from embedder.models.hub import is_onnx
from embedder.models.published import RECOMMENDED
from embedder.models.registry import model_info
from sonotheque.core.errors import Unavailable
from sonotheque.core.model_spec import FULL_PRECISION

INT8 = "int8"  # never unasked: it needs calibration, and what it costs in fidelity depends on the model

# By kind of weights, the natural engine first: it is the reference, and what is used where nothing can be measured.
_PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "savedmodel": (("tensorflow", FULL_PRECISION),),
    "tflite": (
        ("litert", FULL_PRECISION),
        ("openvino", FULL_PRECISION),
        ("openvino", "bf16"),
        ("openvino", "fp16"),
    ),
    "onnx": (
        ("onnx", FULL_PRECISION),
        ("onnx", "bf16"),
        ("onnx", "fp16"),
        ("onnx", INT8),
        ("openvino", FULL_PRECISION),
        ("openvino", "bf16"),
        ("openvino", "fp16"),
        ("openvino", INT8),
    ),
    "built in": (),
}
_ONLY_TENSORFLOW = (
    " The published SavedModel is a StableHLO export, which the usual converters do not take; the published ONNX file "
    f"runs on other engines: --weights {RECOMMENDED.address}"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a model.

    Attributes
    ----------
    engine, precision : str
        As for :func:`embedder.models.load_model`.
    refusal : str
        Why it cannot be had here, a sentence; empty if nothing speaks against it.
    """

    engine: str
    precision: str
    refusal: str = ""

    @property
    def name(self) -> str:
        """Both in words: ``openvino bf16``."""
        return f"{self.engine} {self.precision}"


def weights_kind(name: str, weights: str | None) -> str:
    """Return ``savedmodel``, ``tflite``, ``onnx``, or ``built in`` for a model without weights.

    Raises
    ------
    NotFound
        Kind ``unknown_model``.
    """
    model_info(name)
    if weights is not None and is_onnx(weights):
        return "onnx"
    if name.startswith("perch"):
        return "savedmodel"
    return "tflite" if name.startswith("birdnet") else "built in"


def candidates(name: str, weights: str | None = None, *, int8: bool = False) -> tuple[Candidate, ...]:
    """Return the ways a model can be run, the natural one first; empty if it is built in and has no engine.

    Nothing is loaded; a library is imported only if what this machine can do is its to say.

    Parameters
    ----------
    name, weights
        As for :func:`embedder.models.load_model`.
    int8 : bool
        Whether int8 counts.

    Raises
    ------
    NotFound
        Kind ``unknown_model``.
    """
    pairs = _PAIRS[weights_kind(name, weights)]
    return tuple(
        Candidate(engine, precision, refusal(engine, precision))
        for engine, precision in pairs
        if int8 or precision != INT8
    )


def reference_of(name: str, weights: str | None = None) -> Candidate:
    """Return what all others are compared with: the first at full precision that this machine has.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: there is none.
    """
    full = [c for c in candidates(name, weights) if c.precision == FULL_PRECISION]
    for candidate in full:
        if not candidate.refusal:
            return candidate
    reasons = "; ".join(f"{c.name}: {c.refusal}" for c in full)
    raise Unavailable(f"{name} has nothing here to be compared with. {reasons}", kind="engine_missing")


def faster_hint(name: str, weights: str | None) -> str:
    """Return what to say to somebody whose weights run on one engine alone, though there are faster ones."""
    return f".{_ONLY_TENSORFLOW}" if name == "perch_v2" and weights_kind(name, weights) == "savedmodel" else ""


def not_for_these_weights(name: str, weights: str | None) -> str:
    """Return a sentence on what can run these weights, to end a message with."""
    kind = weights_kind(name, weights)
    ways = ", ".join(f"{engine} {precision}" for engine, precision in _PAIRS[kind])
    if kind == "built in":
        return f"{name} is a few lines of arithmetic and has no engine to choose; leave --engine and --precision out"
    text = f"the weights of {name} ({kind}) run on: {ways}."
    return text + (_ONLY_TENSORFLOW if kind == "savedmodel" and name == "perch_v2" else "")
