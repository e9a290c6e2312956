"""Every model behind one protocol: windows of sound in, vectors and logits out."""

from __future__ import annotations

from embedder.models.base import Embedded, Embedder, ModelInfo, Runtime, WeightsStatus
from embedder.models.check import CheckResult, check_model
from embedder.models.registry import DEFAULT_MODEL, MODELS, load_model, model_info, require_weights, weights_status

__all__ = [
    "DEFAULT_MODEL",
    "MODELS",
    "CheckResult",
    "Embedded",
    "Embedder",
    "ModelInfo",
    "Runtime",
    "WeightsStatus",
    "check_model",
    "load_model",
    "model_info",
    "require_weights",
    "weights_status",
]
