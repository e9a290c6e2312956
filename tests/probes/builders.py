"""Small made-up examples for the tests of probes."""

from __future__ import annotations

from typing import Any

import numpy as np

from probes import Examples
from sonotheque.core.model_spec import ModelSpec


def spec(dim: int = 16, name: str = "toy") -> ModelSpec:
    return ModelSpec(name, "1", "w" * 16, 32_000, 160_000, dim, 0, "c", "rule")


def examples(
    n: int = 200,
    dim: int = 16,
    n_classes: int = 3,
    *,
    seed: int = 0,
    apart: float = 2.0,
    recordings: int | None = None,
    exclusive: bool = True,
    **changes: Any,
) -> Examples:
    """Return rows around one centre a class; ``apart`` is how far these are from each other, in units of the noise."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, dim))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    if exclusive:
        targets = np.eye(n_classes, dtype=np.float32)[rng.integers(n_classes, size=n)]
    else:
        targets = (rng.random((n, n_classes)) < 0.3).astype(np.float32)
    vectors = targets @ centres + rng.normal(size=(n, dim)) / np.sqrt(dim) + 0.5
    of = rng.integers(recordings or max(2, n // 5), size=n)
    values: dict[str, Any] = {
        "vectors": vectors.astype(np.float32),
        "targets": targets,
        "weights": np.ones_like(targets),
        "recording_ids": of.astype(np.int64),
        "start_samples": np.arange(n, dtype=np.int64) * 160_000,
        "paths": np.array([f"site/r{r}.wav" for r in of], object),
        "sites": np.array([f"site{r % 2}" for r in of], object),
        "days": np.array([f"2024-05-{1 + r % 5:02d}" for r in of], object),
        "hours": (of % 24).astype(np.int16),
        "snr_db": np.full(n, np.nan, np.float32),
        "start_s": np.arange(n) * 5.0,
        "end_s": np.arange(n) * 5.0 + 5.0,
    }
    values.update(changes)
    return Examples(tuple(f"class {i}" for i in range(n_classes)), **values)
