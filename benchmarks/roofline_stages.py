"""Milliseconds a window of each stage of Perch 2's graph, in each engine and precision: ``python -m benchmarks.roofline_stages MODEL SECONDS``.

One process, one thread, CPU time, windows already in memory. Where OpenVINO runs, its own clock tells which kinds of nodes take how long.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bare import windows
from benchmarks.roofline_peak import seconds_of

RATE_HZ, WINDOW = 32_000, 160_000
BATCHES, QUICK_BATCHES = (1, 4, 8), (4,)
PAIRS = (("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "fp16"))
CUTS = {
    "front end": ("inputs", "spectrogram"),
    "backbone": ("spectrogram", "embedding"),
    "head": ("spatial_embedding", "label"),
}

Batch = NDArray[np.float32]


def main(model: Path, seconds: float, batches: Sequence[int]) -> dict[str, Any]:
    """Measure every stage."""
    frames = windows(max(batches), WINDOW, RATE_HZ)
    rows = [_own_front_end(frames, seconds)]
    profiles = []
    for stage, path, given in _parts(model, frames):
        for engine, precision in _possible():
            row, network = _best(stage, engine, precision, path, given, seconds, batches)
            rows.append(row)
            if engine == "openvino" and "failed" not in row:
                profiles += profile(stage, path, precision, given[: row["batch"]])
            del network
    return {"stages": rows, "kinds": profiles}


def _possible() -> list[tuple[str, str]]:
    from embedder.engines import installed_engines, refusal

    return [(e, p) for e, p in PAIRS if e in installed_engines() and not refusal(e, p)]


def _parts(model: Path, frames: Batch) -> Iterator[tuple[str, Path, Batch]]:
    """Yield each stage with its part of the graph, and what goes into it."""
    from embedder.engines import open_network
    from embedder.engines.onnx_graph import cut_cached
    from sonotheque.core.ids import file_sha256

    digest = file_sha256(model)
    source, spatial = open_network("onnx", model, outputs=("spectrogram", "spatial_embedding")).run(frames)
    inputs = {"inputs": frames, "spectrogram": np.array(source), "spatial_embedding": np.array(spatial)}
    for stage, (first, last) in CUTS.items():
        yield stage, cut_cached(model, digest, (first,), (last,)), inputs[first]


def _own_front_end(frames: Batch, seconds: float) -> dict[str, Any]:
    from embedder.frontends import LogMel

    own = LogMel()
    ms = 1e3 * seconds_of(lambda: own(frames), seconds) / len(frames)
    return {
        "stage": "front end, outside the graph",
        "engine": "scipy",
        "precision": "fp32",
        "batch": len(frames),
        "ms": round(ms, 3),
    }


def _best(
    stage: str, engine: str, precision: str, path: Path, given: Batch, seconds: float, batches: Sequence[int]
) -> tuple[dict[str, Any], Any]:
    """Return the fastest batch size's row."""
    from embedder.engines import open_network
    from sonotheque.core.errors import SonothequeError

    row: dict[str, Any] = {"stage": stage, "engine": engine, "precision": precision}
    try:
        network = open_network(engine, path, precision=precision, threads=1, device="cpu")
        took = {n: 1e3 * seconds_of(lambda n=n: network.run(given[:n]), seconds) / n for n in batches}  # type: ignore[misc]
    except SonothequeError as error:
        return row | {"failed": error.message}, None
    batch = min(took, key=lambda n: took[n])
    by_batch = {str(n): round(ms, 3) for n, ms in took.items()}
    return row | {
        "precision": network.precision,
        "batch": batch,
        "ms": by_batch[str(batch)],
        "ms_by_batch": by_batch,
    }, network


def profile(stage: str, path: Path, precision: str, given: Batch, times: int = 5) -> list[dict[str, Any]]:
    """Return the milliseconds a window of each kind of node, by OpenVINO's own clock: medians of some runs.

    The clock is that of the wall, so that only the shares of the kinds are told by it on a machine that is shared.
    """
    import openvino

    hint = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[precision]
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "PERF_COUNT": True,
    }
    request = openvino.Core().compile_model(str(path), "CPU", settings).create_infer_request()
    seen: dict[str, list[float]] = {}
    for _ in range(times):
        request.infer({0: given})
        by_kind: dict[str, float] = {}
        for node in request.get_profiling_info():
            kind = kind_of(node.node_type, node.exec_type)
            by_kind[kind] = by_kind.get(kind, 0.0) + 1e3 * node.real_time.total_seconds() / len(given)
        for kind, ms in by_kind.items():
            seen.setdefault(kind, []).append(ms)
    medians = {kind: float(np.median(ms)) for kind, ms in seen.items() if max(ms) > 0}
    whole = sum(medians.values())
    return [
        {"stage": stage, "engine": "openvino", "precision": precision, "kind": kind, "share": round(ms / whole, 4)}
        for kind, ms in sorted(medians.items(), key=lambda item: -item[1])
    ]


def kind_of(node_type: str, exec_type: str) -> str:
    """Return the kind of a node that OpenVINO ran, by the names it gives to types and kernels."""
    if "Convolution" in node_type:
        if "_dw_" in exec_type or node_type.startswith("Group"):
            return "depthwise convolution"
        return "convolution 1 x 1" if "_1x1_" in exec_type else "convolution"
    if node_type in ("MatMul", "FullyConnected"):
        return "product"
    if node_type.startswith("Reduce"):
        return "reduction"
    if node_type in ("Reorder", "Reshape", "Transpose", "Concat", "Pad", "StridedSlice", "Slice", "Split", "Convert"):
        return "moves"
    return "elementwise"


if __name__ == "__main__":
    few = float(sys.argv[2]) < 1
    print(json.dumps(main(Path(sys.argv[1]), float(sys.argv[2]), QUICK_BATCHES if few else BATCHES)))
