"""``python -P -m embedder.choosing.measure``: one engine in a process of its own, asked and answered in lines of JSON.

An engine that crashes, or that never comes back, takes this process along and not the one that asks. The first line says
what to load and where the windows lie; every further one asks for a round of timing; the end of stdin ends the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import psutil

from embedder.models import load_model, model_info
from sonotheque.core.errors import SonothequeError

if TYPE_CHECKING:
    import io

    from numpy.typing import NDArray

    from embedder.models import Embedder

_MIB = 2**20


def main() -> None:
    """Serve the process that started this one until it closes the pipe."""
    answers = _answers()
    model: Embedder | None = None
    frames = np.zeros((0, 0), dtype=np.float32)
    asked: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if model is None:
                asked = request
                frames = np.load(asked["frames"])
                model, answer = _load(asked)
                _save(model, frames, asked)
            else:
                answer = _time(model, frames, logits=asked["logits"], seconds=request["seconds"])
        except SonothequeError as error:
            answer = error.to_json()
        answer["rss_mib"] = psutil.Process().memory_info().rss / _MIB
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answers() -> IO[str]:
    """Return the pipe to the parent, and send what libraries print to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Line by line: said only at the end, it would stand after the error that ended the process and be quoted for it.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    return answers


def _load(asked: dict[str, Any]) -> tuple[Embedder, dict[str, Any]]:
    began_s = time.perf_counter()
    model = load(asked)
    return model, {
        "load_s": time.perf_counter() - began_s,
        "runtime": model.runtime.engine,
        "device": model.runtime.device,
        "precision": model.spec.precision,
        "window_s": model.spec.window_s,
        "note": model.note,
    }


def load(asked: dict[str, Any]) -> Embedder:
    """Load what was asked for: a variant, or the reference with nothing of it replaced."""
    name, weights, threads = asked["name"], asked["weights"], asked["threads"]
    if asked["whole"] and asked["engine"] == "litert":
        from embedder.models.birdnet import load_birdnet

        return load_birdnet(model_info(name), weights=weights, threads=threads, whole_graph=True)
    if asked["whole"] and asked["engine"] == "onnx":
        from embedder.models.onnx_model import load_onnx

        return load_onnx(model_info(name), weights=weights, threads=threads, whole_graph=True)
    return load_model(name, weights=weights, threads=threads, engine=asked["engine"], precision=asked["precision"])


def _save(model: Embedder, frames: NDArray[np.float32], asked: dict[str, Any]) -> None:
    found = model.embed(frames, logits=asked["logits"])
    if found.logits is None:
        np.savez(asked["answers"], embeddings=found.embeddings)
    else:
        np.savez(asked["answers"], embeddings=found.embeddings, logits=found.logits)


def _time(model: Embedder, frames: NDArray[np.float32], *, logits: bool, seconds: float) -> dict[str, Any]:
    """Run full batches, at least one, for so many seconds of the clock; return milliseconds a window."""
    size = model.batch_size
    batches = [np.take(frames, range(at, at + size), axis=0, mode="wrap") for at in range(0, len(frames), size)]
    done, at = 0, 0
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    while done == 0 or time.perf_counter() - began_s < seconds:
        model.embed(batches[at % len(batches)], logits=logits)
        done, at = done + size, at + 1
    cpu_s, wall_s = time.process_time() - began_cpu_s, time.perf_counter() - began_s
    return {"cpu_ms": cpu_s * 1000.0 / done, "wall_ms": wall_s * 1000.0 / done, "windows": done}


if __name__ == "__main__":
    main()
