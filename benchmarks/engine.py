"""BirdNET's engine: ours (XNNPACK with the embedding grafted onto the outputs) against the no-delegate setting that the
``birdnet`` package uses, in one process, alternating, by CPU time of the thread."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.bare import windows
from benchmarks.engines_child import NoDelegate
from embedder.models import load_model


def engine_ratio(rounds: int = 5, n: int = 24) -> dict[str, Any]:
    """Return medians of CPU milliseconds a window of both, their ratio, and how far their outputs differ."""
    ours = load_model("birdnet_v2.4")
    frames = windows(n, ours.spec.window_samples, ours.spec.sample_rate_hz)
    plain = NoDelegate(None)
    plain.embed(frames)
    ours.embed(frames)
    times: dict[str, list[float]] = {"ours": [], "no_delegate": []}
    for _ in range(rounds):
        began = time.thread_time()
        ours_out = ours.embed(frames)
        times["ours"].append((time.thread_time() - began) / n * 1e3)
        began = time.thread_time()
        plain_out = plain.embed(frames)
        times["no_delegate"].append((time.thread_time() - began) / n * 1e3)
    cosine = np.sum(ours_out.embeddings * plain_out.embeddings, axis=1) / (
        np.linalg.norm(ours_out.embeddings, axis=1) * np.linalg.norm(plain_out.embeddings, axis=1)
    )
    medians = {name: statistics.median(values) for name, values in times.items()}
    mine, theirs = ours_out.logits, plain_out.logits
    ratios = [b / a for a, b in zip(times["ours"], times["no_delegate"], strict=True)]
    return {
        "ms_per_window": {name: round(value, 2) for name, value in medians.items()},
        "ratio": round(statistics.median(ratios), 3),
        "cosine_min": float(cosine.min()),
        "logit_difference_max": float(np.abs(mine - theirs).max()) if mine is not None and theirs is not None else None,
        "rounds": rounds,
        "windows": n,
    }
