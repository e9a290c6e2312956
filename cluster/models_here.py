"""The model of this process: loaded once, whoever asks first (the worker plugin, or a task that came before it)."""

from __future__ import annotations

import threading
from dataclasses import replace

from cluster.payload import ModelChoice
from embedder.choosing import choose
from embedder.engines.base import AUTO
from embedder.models import Embedder, load_model
from sonotheque.core.errors import Unavailable

_LOADED: dict[ModelChoice, Embedder] = {}
_LOCK = threading.Lock()


def model_here(choice: ModelChoice) -> Embedder:
    """Return the process's model, loading it on first use."""
    with _LOCK:
        if choice not in _LOADED:
            _LOADED[choice] = _load(choice)
        return _LOADED[choice]


def _load(choice: ModelChoice) -> Embedder:
    engine = choice.engine
    if engine == AUTO:
        engine = choose(
            choice.name, choice.weights, precision=choice.precision, threads=choice.threads, logits=choice.logits
        ).engine
    model = load_model(
        choice.name, weights=choice.weights, threads=choice.threads, engine=engine, precision=choice.precision
    )
    if model.spec.precision != choice.precision:
        raise Unavailable(
            f"{choice.name} was to run in {choice.precision} and runs in {model.spec.precision} on {model.runtime.engine}: "
            "vectors of one would be marked as the other's",
            kind="engine_missing",
        )
    if choice.stamped_as:
        model.spec = replace(model.spec, precision=choice.stamped_as)
    return model
