"""``python -m benchmarks.engines_child``: one way to run a model in a process of its own, asked and answered in lines of JSON.

The first line says what to load. Every further one either names a file of windows and one for the answers, or asks for a round of timing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from embedder.models import load_model, model_info
from embedder.models.base import Embedded
from sonotheque.core.errors import SonothequeError

OURS, WHOLE, NO_DELEGATE = "ours", "whole", "no delegate"

Frames = NDArray[np.float32]


class NoDelegate:
    """BirdNET in the interpreter that the ``birdnet`` package sets up: no delegate, one window at a time.

    The embedding is read where that package reads it: from the tensor before the output.
    """

    batch_size = 1

    def __init__(self, weights: str | None) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        from embedder.models.birdnet_weights import find_weights

        self._interpreter = Interpreter(
            model_path=str(find_weights(weights).model),
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self._interpreter.allocate_tensors()
        self._given = self._interpreter.get_input_details()[0]["index"]
        self._wanted = self._interpreter.get_output_details()[0]["index"]

    def embed(self, frames: Frames, *, logits: bool = True) -> Embedded:
        """Return embeddings and logits; both are computed in any case."""
        found = [self._one(frame) for frame in frames]
        return Embedded(np.stack([e for e, _ in found]), np.stack([z for _, z in found]) if logits else None)

    def _one(self, frame: Frames) -> tuple[Frames, Frames]:
        self._interpreter.set_tensor(self._given, frame[None])
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(i)[0].copy() for i in (self._wanted - 1, self._wanted))


def load(asked: dict[str, Any]) -> Any:
    """Return what embeds: the model as the program runs it, its whole graph, or BirdNET without a delegate."""
    info, weights = model_info(asked["model"]), asked["weights"]
    if asked["how"] == NO_DELEGATE:
        return NoDelegate(weights)
    if asked["how"] == WHOLE and asked["engine"] == "litert":
        from embedder.models.birdnet import load_birdnet

        return load_birdnet(info, weights=weights, whole_graph=True)
    if asked["how"] == WHOLE:
        from embedder.models.onnx_model import load_onnx

        return load_onnx(info, weights=weights, engine=asked["engine"], precision=asked["precision"], whole_graph=True)
    return load_model(info.name, weights=weights, engine=asked["engine"], precision=asked["precision"])


def opened(asked: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Load, and tell what was loaded."""
    began = time.perf_counter()
    model = load(asked)
    spec, runtime = getattr(model, "spec", None), getattr(model, "runtime", None)
    info = model_info(asked["model"])
    return model, {
        "load_s": round(time.perf_counter() - began, 2),
        "precision": spec.precision if spec else asked["precision"],
        "runtime": runtime.engine if runtime else "LiteRT without delegate",
        "batch": model.batch_size,
        "window_s": info.window_s,
    }


def timed(model: Any, frames: Frames, *, logits: bool, seconds: float) -> dict[str, Any]:
    """Run full batches, at least one, for so many seconds; return milliseconds a window of processor and clock."""
    size = model.batch_size
    batches = [np.take(frames, range(at, at + size), axis=0, mode="wrap") for at in range(0, len(frames), size)]
    done = at = 0
    began, used = time.perf_counter(), time.process_time()
    while done == 0 or time.perf_counter() - began < seconds:
        model.embed(batches[at % len(batches)], logits=logits)
        done, at = done + size, at + 1
    cpu_s, wall_s = time.process_time() - used, time.perf_counter() - began
    return {"cpu_ms": 1e3 * cpu_s / done, "wall_ms": 1e3 * wall_s / done}


def answered(model: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Embed a file of windows into a file of answers."""
    found = model.embed(np.load(asked["frames"]), logits=asked["logits"])
    arrays = {"embeddings": found.embeddings} | ({} if found.logits is None else {"logits": found.logits})
    np.savez(asked["answers"], **arrays)
    return {}


def main() -> None:
    """Serve the process that started this one until it closes the pipe."""
    answers: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print
    model: Any = None
    frames = np.zeros((0, 0), np.float32)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if model is None:
                model, told = opened(asked)
            elif "answers" in asked:
                frames = np.load(asked["frames"])
                told = answered(model, asked)
            else:
                told = timed(model, frames, logits=asked["logits"], seconds=asked["seconds"])
        except (SonothequeError, ImportError, RuntimeError, ValueError) as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        told["rss_mb"] = psutil.Process().memory_info().rss >> 20
        answers.write(json.dumps(told) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
