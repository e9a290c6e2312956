"""Try a model on two windows and say what it really runs on."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from embedder.models.registry import load_model
from sonotheque.core.model_spec import FULL_PRECISION

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sonotheque.core.model_spec import ModelSpec


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What :func:`check_model` found.

    Attributes
    ----------
    name : str
        Registry name.
    ok : bool
        True if every number the model gave, for a chirp and for digital silence, is finite.
    engine, device : str
        What the model ran on, as observed.
    precision : str
        Arithmetic of the network, as observed.
    threads : int
        Threads one call may use; 0 if the engine decides.
    load_s : float
        Wall time of loading, seconds, with the engine's import and any download.
    ms_per_window : float
        Wall time of one window in a full batch, milliseconds, after a warm-up.
    batch_size, dim, n_classes : int
        Windows in that batch; lengths of the embedding and of the logits.
    top_class : str
        Class with the highest logit for the chirp; empty for a model without classes.
    top_score : float
        Its score, in [0, 1].
    spec_digest : str
        Digest of the model's spec.
    note : str
        What the user should know; may be empty.
    """

    name: str
    ok: bool
    engine: str
    device: str
    precision: str
    threads: int
    load_s: float
    ms_per_window: float
    batch_size: int
    dim: int
    n_classes: int
    top_class: str
    top_score: float
    spec_digest: str
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def check_model(
    name: str,
    weights: str | None = None,
    threads: int = 1,
    *,
    engine: str | None = None,
    precision: str = FULL_PRECISION,
) -> CheckResult:
    """Load a model, run a chirp and digital silence through it, and time a full batch.

    Parameters
    ----------
    name, weights, threads, engine, precision
        As for :func:`embedder.models.registry.load_model`, whose errors this raises.
    """
    import numpy as np

    started_s = time.perf_counter()
    model = load_model(name, weights=weights, threads=threads, engine=engine, precision=precision)
    load_s = time.perf_counter() - started_s
    spec = model.spec
    chirp = _chirp(spec)
    found = model.embed(np.stack([chirp, np.zeros_like(chirp)]))
    arrays = [found.embeddings] if found.logits is None else [found.embeddings, found.logits]
    top_class, top_score = "", 0.0
    if found.logits is not None and found.logits.shape[1]:
        best = int(found.logits[0].argmax())
        top_class, top_score = model.classes[best], float(model.scores(found.logits[:1])[0, best])
    full = np.tile(chirp, (model.batch_size, 1))
    model.embed(full)  # engines compile or allocate at the first call of a shape
    started_s = time.perf_counter()
    model.embed(full)
    ms_per_window = (time.perf_counter() - started_s) * 1000.0 / model.batch_size
    return CheckResult(
        name=name,
        ok=all(bool(np.isfinite(array).all()) for array in arrays),
        engine=model.runtime.engine,
        device=model.runtime.device,
        precision=spec.precision,
        threads=model.runtime.threads,
        load_s=load_s,
        ms_per_window=ms_per_window,
        batch_size=model.batch_size,
        dim=spec.dim,
        n_classes=spec.n_classes,
        top_class=top_class,
        top_score=top_score,
        spec_digest=spec.digest,
        note=model.note,
    )


def _chirp(spec: ModelSpec) -> NDArray[np.float32]:
    """Return float32 (window_samples,): a sine sweeping from 500 Hz to 7 kHz, amplitude 0.5."""
    import numpy as np

    time_s = np.arange(spec.window_samples) / spec.sample_rate_hz
    low_hz, high_hz = 500.0, 7000.0
    phase = 2.0 * np.pi * (low_hz * time_s + (high_hz - low_hz) / (2.0 * spec.window_s) * time_s**2)
    return (0.5 * np.sin(phase)).astype(np.float32)
