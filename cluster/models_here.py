"""The model of this process: loaded once, whoever asks first (the worker plugin, or a task that came before it)."""

from __future__ import annotations

import threading

from cluster.payload import ModelChoice
from embedder.models import Embedder, load_model

_LOADED: dict[ModelChoice, Embedder] = {}
_LOCK = threading.Lock()


def model_here(choice: ModelChoice) -> Embedder:
    """Return the process's model, loading it on first use."""
    with _LOCK:
        if choice not in _LOADED:
            _LOADED[choice] = load_model(choice.name, weights=choice.weights, threads=choice.threads)
        return _LOADED[choice]
