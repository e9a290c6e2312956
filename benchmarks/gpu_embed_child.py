"""One engine in one precision: ``python -m benchmarks.gpu_embed_child ENGINE PRECISION FILE DEVICE SECONDS KEPT BATCH...``.

Keeps the embeddings of a few windows in the file KEPT, then prints a JSON line for each batch size, the smallest first: wall time, for the
processor waits while the card works. A first call of each size is not counted: libraries choose or build their kernels in it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bare import windows
from embedder.engines.onnx_engine import import_onnxruntime
from sonotheque.core.errors import Unavailable

RATE_HZ, WINDOW = 32_000, 160_000
SAMPLE = 16
TF32_BITS = {"fp32": "0", "tf32": "1"}

Batch = NDArray[np.float32]
Runner = Callable[[Batch], NDArray[np.float32]]


def tensorflow_runner(path: Path, precision: str, device: str) -> tuple[Runner, str]:
    """Return what runs a SavedModel's signature, and what it runs on."""
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not cards:
        raise Unavailable("TensorFlow sees no GPU: it needs tensorflow[and-cuda]", kind="engine_missing")
    for card in cards:
        tf.config.experimental.set_memory_growth(card, True)
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    model = tf.saved_model.load(str(path))
    signature = model.signatures["serving_default"]

    def run(batch: Batch, held: Any = model) -> NDArray[np.float32]:  # the signature holds its model only weakly
        answer: NDArray[np.float32] = signature(inputs=tf.constant(batch))["embedding"].numpy()
        return answer

    where = tf.config.experimental.get_device_details(cards[0]).get("device_name", "GPU") if device == "gpu" else "CPU"
    return run, f"TensorFlow {tf.__version__} on {where}"


def onnx_runner(path: Path, precision: str, device: str) -> tuple[Runner, str]:
    """Return what runs an ONNX file's embedding, and what it runs on."""
    if precision == "tf32":
        return _tf32_session(path)
    from embedder.engines import open_network

    network = open_network("onnx", path, outputs=("embedding",), precision=precision, threads=0, device=device)
    return lambda batch: network.run(batch)[0], f"{network.runtime.engine} on {network.runtime.device}"


def _tf32_session(path: Path) -> tuple[Runner, str]:
    """Open a session with the rounding that the engine of the program switches off: it is ONNX Runtime's own default on a card."""
    ort = import_onnxruntime()

    wanted = "CUDAExecutionProvider"
    if wanted not in ort.get_available_providers():
        raise Unavailable(
            f"ONNX Runtime {ort.__version__} has no {wanted}: it needs onnxruntime-gpu", kind="engine_missing"
        )
    session = ort.InferenceSession(str(path), providers=[(wanted, {"use_tf32": TF32_BITS["tf32"]})])
    if session.get_providers()[0] != wanted:
        raise Unavailable(
            f"ONNX Runtime {ort.__version__} cannot load {wanted}: libraries of CUDA are missing", kind="engine_missing"
        )
    name = session.get_inputs()[0].name
    return lambda batch: session.run(["embedding"], {name: batch})[0], f"ONNX Runtime {ort.__version__} CUDA on GPU:0"


RUNNERS: dict[str, Callable[[Path, str, str], tuple[Runner, str]]] = {
    "tensorflow": tensorflow_runner,
    "onnx": onnx_runner,
}


def main(engine: str, precision: str, path: Path, device: str, seconds: float, kept: Path, batches: list[int]) -> None:
    """Measure, a line a batch size."""
    run, runs_on = RUNNERS[engine](path, precision, device)
    np.save(kept, run(sample()))
    for batch in sorted(batches):
        frames = windows(batch, WINDOW, RATE_HZ)
        run(frames)
        took: list[float] = []
        ends = time.perf_counter() + seconds
        while len(took) < 3 or time.perf_counter() < ends:
            began = time.perf_counter()
            run(frames)
            took.append(time.perf_counter() - began)
        middle = statistics.median(took)
        row = {
            "batch": batch,
            "ms": round(1e3 * middle, 3),
            "windows_per_s": round(batch / middle, 1),
            "runs_on": runs_on,
        }
        print(json.dumps(row), flush=True)


def sample() -> Batch:
    """Return windows that differ: a tone of another pitch in each, in noise."""
    rng = np.random.default_rng(6)
    t = np.arange(WINDOW) / RATE_HZ
    tones = [0.2 * np.sin(2 * np.pi * (400 + 700 * i) * t) for i in range(SAMPLE)]
    return np.stack(tones).astype(np.float32) + 0.02 * rng.standard_normal((SAMPLE, WINDOW), np.float32)


if __name__ == "__main__":
    which, bits, file, place, length, target, *sizes = sys.argv[1:]
    main(which, bits, Path(file), place, float(length), Path(target), [int(size) for size in sizes])
