"""Small ONNX graphs in the shapes that models are published in, made from a few operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

BANDS = 50


class Net:
    """Writes nodes down; every method returns the name of the tensor it makes."""

    def __init__(self, samples: int, *, rows: int | str = "batch", name: str = "inputs", axes: int = 2) -> None:
        self.samples, self.nodes, self.weights = samples, [], []
        shape = [rows, samples] if axes == 2 else [rows, 1, samples]
        self.input = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        self.rng = np.random.default_rng(5)

    def weight(self, value: NDArray[Any]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def dense(self, x: str, n_in: int, n_out: int, out: str = "") -> str:
        matrix = self.rng.normal(0, n_in**-0.5, (n_in, n_out)).astype(np.float32)
        return self.node("MatMul", x, self.weight(matrix), out=out)

    def bands(self) -> str:
        """Mean magnitude of 50 stretches of the window, enough to tell windows apart: (n, 50)."""
        cut = self.node("Reshape", self.input.name, self.weight(np.array([-1, BANDS, self.samples // BANDS], np.int64)))
        loud = self.node("ReduceMean", self.node("Abs", cut), self.weight(np.array([2], np.int64)), keepdims=0)
        return self.node("Log", self.node("Add", loud, self.weight(np.float32([1e-3]))))

    def save(self, path: Path, outputs: dict[str, list[Any]]) -> Path:
        """Write the file; ``outputs`` maps names to shapes without the rows; a length may have a name instead."""
        infos = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]) for name, shape in outputs.items()
        ]
        graph = helper.make_graph(self.nodes, "net", [self.input], infos, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return path


def birdnet_like(
    path: Path,
    *,
    classes: int = 6522,
    dim: int = 1024,
    sigmoid: bool = False,
    embedding: bool = False,
    samples: int = 144_000,
) -> Path:
    """BirdNET as it was converted: one output, the logits (or scores), the embedding being an inner tensor."""
    net = Net(samples, name="INPUT")
    inner = net.node("Relu", net.dense(net.bands(), BANDS, dim))
    logits = net.dense(inner, dim, classes, out="" if sigmoid else "logits")
    outputs: dict[str, list[Any]] = {"logits": [classes]}
    if sigmoid:
        net.node("Sigmoid", logits, out="logits")
    if embedding:
        net.node("Identity", inner, out="features")
        outputs["features"] = [dim]
    return net.save(path, outputs)


def perch_like(path: Path, *, rows: int | str = "batch", dim: int = 1280, classes: int = 10_932, **shapes: Any) -> Path:
    """Perch 1 with the published names; ``shapes`` overrides what is told of an output's shape."""
    net = Net(160_000, rows=rows)
    net.dense(net.node("Relu", net.dense(net.bands(), BANDS, dim), out="embedding"), dim, classes, out="label")
    return net.save(path, {"embedding": [dim], "label": [classes], **shapes})


def write_list(folder: Path, names: list[str], *, file: str = "labels.csv", header: str = "inat2024_fsd50k") -> Path:
    path = folder / file
    path.write_text("".join(f"{name}\n" for name in ([header] if header else []) + names), encoding="utf-8")
    return path
