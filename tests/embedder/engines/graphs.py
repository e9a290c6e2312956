"""Small networks with known weights, as ONNX and as LiteRT files, and the same arithmetic in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

WIDTH, DIM, CLASSES = 64, 8, 5
BANDS, FRAMES, CHANNELS = 12, 20, 16
_rng = np.random.default_rng(3)
W1 = (_rng.standard_normal((WIDTH, DIM)) / 8).astype(np.float32)
B1 = _rng.standard_normal(DIM).astype(np.float32)
W2 = _rng.standard_normal((DIM, CLASSES)).astype(np.float32)
B2 = _rng.standard_normal(CLASSES).astype(np.float32)
KERNEL = (_rng.standard_normal((CHANNELS, 1, 3, 3)) / 3).astype(np.float32)
MIX = (_rng.standard_normal((CHANNELS, CHANNELS, 3, 3)) / 12).astype(np.float32)


def rows(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, *(shape or (WIDTH,)))).astype(np.float32)


def twin(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the dense network gives: embedding (n, DIM) and label (n, CLASSES), computed in float64."""
    embedding = np.maximum(x.astype(np.float64) @ W1 + B1, 0)
    return embedding, embedding @ W2 + B2


def dense_onnx(path: Path) -> Path:
    """sound (batch, WIDTH) -> embedding -> label."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        node("MatMul", ["sound", "W1"], ["product"]),
        node("Add", ["product", "B1"], ["sum"]),
        node("Relu", ["sum"], ["embedding"]),
        node("MatMul", ["embedding", "W2"], ["scored"]),
        node("Add", ["scored", "B2"], ["label"]),
    ]
    weights = {"W1": W1, "B1": B1, "W2": W2, "B2": B2}
    graph = onnx.helper.make_graph(
        nodes,
        "dense",
        [info("sound", 1, ["batch", WIDTH])],
        [info("label", 1, ["batch", CLASSES]), info("embedding", 1, ["batch", DIM])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def conv_onnx(path: Path) -> Path:
    """spectrogram (batch, 1, BANDS, FRAMES) -> two convolutions -> embedding (batch, CHANNELS)."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        node("Conv", ["spectrogram", "KERNEL"], ["first"], pads=[1, 1, 1, 1]),
        node("Relu", ["first"], ["bent"]),
        node("Conv", ["bent", "MIX"], ["second"], pads=[1, 1, 1, 1]),
        node("ReduceMean", ["second"], ["embedding"], axes=[2, 3], keepdims=0),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "conv",
        [info("spectrogram", 1, ["batch", 1, BANDS, FRAMES])],
        [info("embedding", 1, ["batch", CHANNELS])],
        [onnx.numpy_helper.from_array(array, name) for name, array in (("KERNEL", KERNEL), ("MIX", MIX))],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def conv_twin(x: np.ndarray) -> np.ndarray:
    def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", patches, kernel)

    return convolve(np.maximum(convolve(x, KERNEL), 0), MIX).mean(axis=(2, 3))


def dense_litert(path: Path) -> Path:
    """The network of :func:`dense_onnx` with the same names, as a ``.tflite`` file."""
    schema = pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="LiteRT is not installed (extra: birdnet)"
    )
    flatbuffers = pytest.importorskip("flatbuffers")
    buffers = [schema.BufferT()]
    tensors = []

    def tensor(name: str, shape: list[int], values: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name, np.array(shape, np.int32), schema.TensorType.FLOAT32
        if values is None:
            made.shapeSignature = np.array([-1, *shape[1:]], np.int32)
        else:
            buffers.append(schema.BufferT())
            buffers[-1].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            made.buffer = len(buffers) - 1
        tensors.append(made)
        return len(tensors) - 1

    def layer(source: int, weight: int, bias: int, target: int, activation: int) -> object:
        made, options = schema.OperatorT(), schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = activation
        made.inputs, made.outputs = np.array([source, weight, bias], np.int32), np.array([target], np.int32)
        made.builtinOptionsType, made.builtinOptions = schema.BuiltinOptions.FullyConnectedOptions, options
        return made

    sound, embedding, label = tensor("sound", [1, WIDTH]), tensor("embedding", [1, DIM]), tensor("label", [1, CLASSES])
    w1, b1 = tensor("W1", [DIM, WIDTH], W1.T), tensor("B1", [DIM], B1)
    w2, b2 = tensor("W2", [CLASSES, DIM], W2.T), tensor("B2", [CLASSES], B2)
    graph, model, code = schema.SubGraphT(), schema.ModelT(), schema.OperatorCodeT()
    activations = schema.ActivationFunctionType
    graph.tensors = tensors
    graph.operators = [
        layer(sound, w1, b1, embedding, activations.RELU),
        layer(embedding, w2, b2, label, activations.NONE),
    ]
    graph.inputs, graph.outputs = np.array([sound], np.int32), np.array([label, embedding], np.int32)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], buffers, [code]
    builder = flatbuffers.Builder(1 << 14)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
