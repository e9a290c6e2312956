"""BirdNET's engine: ours (XNNPACK with the embedding grafted onto the outputs) against the no-delegate setting that the
``birdnet`` package uses, in one process, alternating, by CPU time of the thread."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.bare import windows
from embedder.models import load_model
from embedder.models.birdnet_weights import find_weights


def engine_ratio(rounds: int = 5, n: int = 24) -> dict[str, Any]:
    """Return medians of CPU milliseconds a window of both, their ratio, and how far their outputs differ."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    ours = load_model("birdnet_v2.4")
    frames = windows(n, ours.spec.window_samples, ours.spec.sample_rate_hz)
    plain = Interpreter(
        model_path=str(find_weights(None).model),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    plain.allocate_tensors()
    given, wanted = plain.get_input_details()[0]["index"], plain.get_output_details()[0]["index"]

    def run_plain() -> tuple[Any, Any]:
        embeddings, logits = [], []
        for frame in frames:
            plain.set_tensor(given, frame[None])
            plain.invoke()
            logits.append(plain.get_tensor(wanted)[0].copy())
            embeddings.append(
                plain.get_tensor(wanted - 1)[0].copy()
            )  # the tensor before the output, as that package reads it
        return np.stack(embeddings), np.stack(logits)

    run_plain()
    ours.embed(frames)
    times: dict[str, list[float]] = {"ours": [], "no_delegate": []}
    for _ in range(rounds):
        began = time.thread_time()
        ours_out = ours.embed(frames)
        times["ours"].append((time.thread_time() - began) / n * 1e3)
        began = time.thread_time()
        plain_embeddings, plain_logits = run_plain()
        times["no_delegate"].append((time.thread_time() - began) / n * 1e3)
    cosine = np.sum(ours_out.embeddings * plain_embeddings, axis=1) / (
        np.linalg.norm(ours_out.embeddings, axis=1) * np.linalg.norm(plain_embeddings, axis=1)
    )
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = [b / a for a, b in zip(times["ours"], times["no_delegate"], strict=True)]
    return {
        "ms_per_window": {name: round(value, 2) for name, value in medians.items()},
        "ratio": round(statistics.median(ratios), 3),
        "cosine_min": float(cosine.min()),
        "logit_difference_max": float(np.abs(ours_out.logits - plain_logits).max()),
        "rounds": rounds,
        "windows": n,
    }
