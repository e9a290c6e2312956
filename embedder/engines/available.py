"""Which engines are installed, and what keeps one from a precision on this machine."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Final

from embedder.engines.base import ENGINES, PRECISIONS, how_to_install
from sonotheque.core.errors import Invalid, SonothequeError

MODULES: Final = {"tensorflow": "tensorflow", "onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}
EXTRAS: Final = {"tensorflow": "perch", "onnx": "engines", "openvino": "engines", "litert": "birdnet"}


def installed_engines() -> tuple[str, ...]:
    """Return the engines whose library is installed, in the order of ``ENGINES``; nothing is imported."""
    return tuple(engine for engine in ENGINES if importlib.util.find_spec(MODULES[engine]) is not None)


def check_names(engine: str, precision: str) -> None:
    """Raise ``Invalid`` if there is no such engine or precision at all."""
    if engine not in ENGINES:
        raise Invalid(f"there is no engine {engine!r}; choose one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise Invalid(f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}")


@cache
def refusal(engine: str, precision: str) -> str:
    """Return why this machine cannot run an engine in a precision: a sentence, or nothing if it can.

    The library is imported, where only that answers the question.

    Parameters
    ----------
    engine : str
        One of ``ENGINES``.
    precision : str
        One of ``PRECISIONS``.

    Raises
    ------
    Invalid
        If there is no such engine or precision.
    """
    check_names(engine, precision)
    if engine not in installed_engines():
        return f"{MODULES[engine]} is not installed; {how_to_install(EXTRAS[engine])} adds it"
    if engine in ("tensorflow", "litert"):
        title = {"tensorflow": "TensorFlow", "litert": "LiteRT"}[engine]
        return "" if precision == "fp32" else f"{title} runs these networks in fp32 only"
    try:
        if engine == "openvino":
            from embedder.engines.openvino_engine import precision_refused

            return precision_refused(precision)
        return _onnx_refusal(precision)
    except SonothequeError as error:  # installed, and does not import
        return error.message


def _onnx_refusal(precision: str) -> str:
    from embedder.engines.onnx_engine import import_onnxruntime
    from embedder.engines.onnx_providers import attempts_for

    available = import_onnxruntime().get_available_providers()
    if attempts_for(available, precision, "auto"):
        return ""
    return (
        f"ONNX Runtime computes in {precision} on an NVIDIA card only, and this one has no provider for any "
        f"(it lists {', '.join(available)})"
    )
