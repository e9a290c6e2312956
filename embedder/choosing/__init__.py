"""Which engine and precision a model runs with here: the fastest that says what the reference says."""

from __future__ import annotations

from embedder.choosing.choose import choose, require_possible
from embedder.choosing.fidelity import FP32_COSINE, REDUCED_COSINE, Fidelity, compare
from embedder.choosing.like import load_like
from embedder.choosing.records import Choice, Measured
from embedder.engines.base import AUTO

__all__ = [
    "AUTO",
    "FP32_COSINE",
    "REDUCED_COSINE",
    "Choice",
    "Fidelity",
    "Measured",
    "choose",
    "compare",
    "load_like",
    "require_possible",
]
