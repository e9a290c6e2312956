"""Load the model a store was made with, to ask it questions: nothing is measured, a question has to be answered now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from embedder.choosing.candidates import INT8, candidates
from embedder.models.registry import load_model
from sonotheque.core.model_spec import FULL_PRECISION

if TYPE_CHECKING:
    from embedder.models.base import Embedder
    from sonotheque.core.model_spec import ModelSpec


def load_like(spec: ModelSpec, *, weights: str | None = None, threads: int = 1) -> Embedder:
    """Return a model whose vectors may be compared with those of a store.

    It runs at the store's precision where this machine can. Where it cannot, it runs at full precision, which every reduced
    one stays close to by the rules of :mod:`embedder.choosing.fidelity`; its ``note`` then says so. Either way ``spec`` is
    that of the weights found here, with the store's precision: whether they are the store's is for the caller to check.

    Parameters
    ----------
    spec : ModelSpec
        The store's.
    weights, threads
        As for :func:`embedder.models.load_model`, whose errors this raises.
    """
    if spec.precision == FULL_PRECISION:
        return load_model(spec.name, weights=weights, threads=threads)
    ways = [c for c in candidates(spec.name, weights, int8=spec.precision == INT8) if c.precision == spec.precision]
    possible = [c for c in ways if not c.refusal]
    if possible:
        return load_model(
            spec.name, weights=weights, threads=threads, engine=possible[0].engine, precision=spec.precision
        )
    model = load_model(spec.name, weights=weights, threads=threads)
    why = ways[0].refusal if ways else f"these weights have no {spec.precision} form"
    said = f"The archive holds {spec.precision} vectors; this one is made in {model.spec.precision}, which they are close to ({why})."
    model.spec = replace(model.spec, precision=spec.precision)
    model.note = " ".join(filter(None, (model.note, said)))
    return model
