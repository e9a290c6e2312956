"""What one window costs by the graph alone: operations and bytes of each kind of node, stage by stage, counted from an ONNX file.

A multiplication and an addition are two operations; an activation function, a comparison or a move of the exponent is one; a Fourier
transform of N real points is 2.5 N log2 N. Bytes are float32. ``moved_bytes`` is what convolutions, products and transforms read and write
of activations: an engine that merges all elementwise nodes into them moves no less than that through the caches. ``all_moved_bytes`` is
what nodes move if each runs by itself. Weights are read once a call, whatever its windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STAGES = ("front end", "backbone", "head")
HEAVY = (
    "convolution 1 x 1",
    "convolution",
    "depthwise convolution",
    "squeeze and excite",
    "product",
    "Fourier transform",
)
_FREE = {"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Shape", "Constant"}
_MOVES = {"Transpose", "Slice", "Concat", "Pad", "Gather", "Expand", "Cast", "Split", "Tile"}
_CONSTANT_BYTES_MAX = 4096  # larger ones are weights: their values say nothing about shapes

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """One node.

    Attributes
    ----------
    stage, kind : str
    operations, weight_bytes, moved_bytes : int
        For one window.
    """

    stage: str
    kind: str
    operations: int
    weight_bytes: int
    moved_bytes: int


def count(path: Path) -> list[Counted]:
    """Count every node of a Perch-like graph for one window.

    Parameters
    ----------
    path : Path
        An ONNX file with the outputs ``embedding`` and, if it has a head, ``label``.

    Raises
    ------
    ValueError
        If a node's shapes do not follow from the input's.
    """
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    # A stand-in with 409 MB of weights is inferred as fast as one without: the weights' shapes are enough.
    weights = {one.name: tuple(one.dims) for one in graph.initializer}
    small = [one for one in graph.initializer if one.ByteSize() <= _CONSTANT_BYTES_MAX]
    large = [one for one in graph.initializer if one.ByteSize() > _CONSTANT_BYTES_MAX]
    graph.input.extend(onnx.helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)) for one in large)
    del graph.initializer[:]
    graph.initializer.extend(small)
    _one_window(graph.input)
    _one_window(graph.output)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes: dict[str, Shape] = dict(weights)
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    stages = stage_of(graph.node, shapes)
    return [_counted(node, stages[node.output[0]], shapes, set(weights)) for node in graph.node]


def stage_of(nodes: Sequence[Any], shapes: dict[str, Shape]) -> dict[str, str]:
    """Return the stage of each node's first output: what the spectrogram needs, what the embedding needs besides, and the rest."""
    made_by = {name: node for node in nodes for name in node.output}
    # Without that output, it is the last of the tensors of its shape: nothing but the image of one channel follows.
    alike = [name for name in made_by if len(shapes.get(name, ())) == 3 and shapes[name][1:] == (500, 128)]
    spectrogram = "spectrogram" if "spectrogram" in made_by else alike[-1] if alike else None
    front = _needed(made_by, [spectrogram] if spectrogram else [])
    trunk = _needed(made_by, ["embedding"])
    return {
        node.output[0]: STAGES[0] if node.output[0] in front else STAGES[1] if node.output[0] in trunk else STAGES[2]
        for node in nodes
    }


def _needed(made_by: dict[str, Any], wanted: Iterable[str]) -> set[str]:
    found: set[str] = set()
    left = [name for name in wanted if name in made_by]
    while left:
        node = made_by[left.pop()]
        if node.output[0] not in found:
            found.add(node.output[0])
            left += [name for name in node.input if name in made_by]
    return found


def _one_window(values: Any) -> None:
    for value in values:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1


def _counted(node: Any, stage: str, shapes: dict[str, Shape], weights: set[str]) -> Counted:
    kind = _kind(node, shapes)
    used = [name for name in node.input if name]
    activations = [*(name for name in used if name not in weights), *node.output]
    missing = [name for name in (*activations, *used) if name not in shapes or 0 in shapes[name]]
    if missing:
        raise ValueError(f"the shape of {', '.join(missing)} does not follow from the graph's input")
    moved = 0 if node.op_type in _FREE else 4 * sum(math.prod(shapes[name]) for name in activations)
    weight_bytes = 4 * sum(math.prod(shapes[name]) for name in used if name in weights)
    return Counted(stage, kind, _operations(node, kind, shapes), weight_bytes, moved)


def _kind(node: Any, shapes: dict[str, Shape]) -> str:
    if node.op_type == "Conv":
        kernel, out = shapes[node.input[1]], shapes[node.output[0]]
        if kernel[1] == 1 and kernel[0] > 1 and shapes[node.input[0]][1] > 1:
            return "depthwise convolution"
        if set(out[2:]) == {1}:
            return "squeeze and excite"
        return "convolution 1 x 1" if set(kernel[2:]) == {1} else "convolution"
    if node.op_type in ("MatMul", "Gemm"):
        return "product"
    if node.op_type in ("DFT", "STFT"):
        return "Fourier transform"
    if node.op_type in _FREE | _MOVES:
        return "moves"
    return "reduction" if node.op_type.startswith("Reduce") else "elementwise"


def _operations(node: Any, kind: str, shapes: dict[str, Shape]) -> int:
    out = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        return 2 * out * math.prod(shapes[node.input[1]][1:])
    if kind == "product":
        return 2 * out * shapes[node.input[0]][-1]
    if kind == "Fourier transform":
        # The transformed axis stands before the last, which holds real and imaginary parts.
        points = shapes[node.input[0]][-2]
        return round(2.5 * points * math.log2(points)) * (math.prod(shapes[node.input[0]]) // points)
    if kind == "moves":
        return 0
    return math.prod(shapes[node.input[0]]) if kind == "reduction" else out


def summed(nodes: Iterable[Counted]) -> list[dict[str, Any]]:
    """Return a row for each stage and kind, the heaviest of a stage first, and a row for each stage as a whole (kind ``all``)."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in nodes:
        for kind in ("all", one.kind):
            row = found.setdefault(
                (one.stage, kind),
                {
                    "stage": one.stage,
                    "kind": kind,
                    "nodes": 0,
                    "operations": 0,
                    "weight_bytes": 0,
                    "moved_bytes": 0,
                    "all_moved_bytes": 0,
                },
            )
            row["nodes"] += 1
            row["operations"] += one.operations
            row["weight_bytes"] += one.weight_bytes
            row["all_moved_bytes"] += one.moved_bytes
            row["moved_bytes"] += one.moved_bytes if one.kind in HEAVY else 0
    return sorted(
        found.values(), key=lambda row: (STAGES.index(row["stage"]), -row["operations"], row["kind"] != "all")
    )
