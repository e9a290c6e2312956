"""What this machine can do at most: ``python -m benchmarks.roofline_peak SECONDS``, one process, one thread.

Prints ``ready``, waits for a line, measures, and prints one JSON line: products of matrices through the same engines and precisions that
run the networks, and the memory's bandwidth over arrays far larger than the caches.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_measure import THREADS

SHAPES = ((1024, 2048, 2048), (512, 1536, 8192))  # rows, inner, columns; the faster one counts
ARRAY_BYTES = 256 << 20
PAIRS = (("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "fp16"), ("onnx", "fp32"))


def product_graph(inner: int, columns: int) -> bytes:
    """Return an ONNX graph that multiplies rows by a constant matrix."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(1).standard_normal((inner, columns), np.float32) / np.sqrt(np.float32(inner))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", inner])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return made


def seconds_of(work: Callable[[], Any], seconds: float) -> float:
    """Return the median CPU seconds of a call, repeated for so long and at least three times."""
    return statistics.median(repeated_s(work, seconds))


def repeated_s(work: Callable[[], Any], seconds: float) -> list[float]:
    """Return the CPU seconds of calls after a first one, for so long and at least three times."""
    work()
    took: list[float] = []
    ends = time.perf_counter() + seconds
    while len(took) < 3 or time.perf_counter() < ends:
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return took


def products(seconds: float) -> dict[str, dict[str, float]]:
    """Return the most operations a second of a large product by engine and precision; only what this machine can do natively."""
    from embedder.engines import installed_engines, open_network, refusal

    pairs = [(e, p) for e, p in PAIRS if e in installed_engines() and not refusal(e, p)]
    found: dict[str, dict[str, float]] = {"numpy": {"fp32": 0.0}}
    for rows, inner, columns in SHAPES:
        sides = np.random.default_rng(2).standard_normal((rows, inner), np.float32)
        works = {("numpy", "fp32"): _numpy_product(sides, columns)}
        content = product_graph(inner, columns)
        for engine, precision in pairs:
            network = open_network(engine, content, precision=precision, threads=1, device="cpu")
            works[engine, precision] = partial(network.run, sides)
        for (engine, precision), work in works.items():
            reached = (
                2e-9 * rows * inner * columns / min(repeated_s(work, seconds))
            )  # a peak is the best, not the middle
            by = found.setdefault(engine, {})
            by[precision] = max(by.get(precision, 0.0), reached)
    return found


def _numpy_product(sides: NDArray[np.float32], columns: int) -> Callable[[], Any]:
    weights = np.random.default_rng(3).standard_normal((sides.shape[1], columns), np.float32)
    return lambda: sides @ weights


def bandwidth(seconds: float) -> dict[str, float]:
    """Return GB/s of reading one array, and of copying one to another (bytes read and bytes written)."""
    one = np.ones(ARRAY_BYTES // 4, np.float32)
    other = np.zeros_like(one)
    return {
        "read": ARRAY_BYTES / min(repeated_s(lambda: np.dot(one, one), seconds)) / 1e9,
        "copy": 2 * ARRAY_BYTES / min(repeated_s(lambda: np.copyto(other, one), seconds)) / 1e9,
    }


def measured(processes: int, seconds: float) -> dict[str, Any]:
    """Measure in so many processes at once; the sums of what they reach."""
    command = [sys.executable, "-m", "benchmarks.roofline_peak", str(seconds)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    running = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[1],
        )
        for _ in range(processes)
    ]
    told = []
    for child in running:
        child.stdout.readline()  # type: ignore[union-attr]
    for child in running:
        child.stdin.write("go\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
    for child in running:
        said, complained = child.communicate()
        if child.returncode:
            raise RuntimeError(f"{' '.join(command[1:])}: exit {child.returncode}: {complained[-2000:]}")
        told.append(json.loads(said.splitlines()[-1]))
    first = told[0]
    return {
        "processes": processes,
        "gflops": {
            engine: {precision: round(sum(t["gflops"][engine][precision] for t in told), 1) for precision in by}
            for engine, by in first["gflops"].items()
        },
        "gb_s": {kind: round(sum(t["gb_s"][kind] for t in told), 1) for kind in first["gb_s"]},
    }


def main(seconds: float) -> None:
    """Measure once told to."""
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps({"gflops": products(seconds), "gb_s": bandwidth(seconds)}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
