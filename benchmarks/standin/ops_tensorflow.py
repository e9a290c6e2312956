"""The network as TensorFlow operations, and the SavedModel folder of it. The only module here that needs TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.standin.architecture import FFT, Architecture, network
from benchmarks.standin.ops import Weights


def save_model(weights: Weights, arch: Architecture, folder: Path) -> None:
    """Write the SavedModel, called as Perch 2 is: ``signatures["serving_default"](inputs=x)``."""
    module = tf.Module()
    module.weights = {name.replace("/", "_"): tf.Variable(value, trainable=False) for name, value in weights.items()}
    ops = TensorFlowOps({name: module.weights[name.replace("/", "_")] for name in weights})

    @tf.function(input_signature=[tf.TensorSpec([None, arch.samples], tf.float32, name="inputs")])
    def serve(inputs: Any) -> dict[str, Any]:
        return network(ops, inputs, arch)

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


class TensorFlowOps:
    """Traces operations, channels last; see :class:`benchmarks.standin.ops.Ops`."""

    def __init__(self, weights: dict[str, Any]) -> None:
        self.weights = weights

    def frames(self, x: Any, count: int, hop: int) -> Any:
        hops = tf.reshape(tf.pad(x, [[0, 0], [hop // 2, hop // 2]]), [-1, count + 1, hop])
        return tf.concat([hops[:, :-1], hops[:, 1:]], axis=2)

    def magnitude(self, x: Any) -> Any:
        return tf.abs(tf.signal.rfft(x * self.weights["frontend/window"], [FFT]))

    def matmul(self, x: Any, name: str, columns: int) -> Any:
        matrix = self.weights[name]
        return tf.ensure_shape(tf.linalg.matmul(x, matrix), [*x.shape[:-1], columns])

    def log(self, x: Any, floor: float, scale: float) -> Any:
        return scale * tf.math.log(tf.maximum(x, floor))

    def image(self, x: Any) -> Any:
        return x[..., None]

    def conv(self, x: Any, name: str, filters: int, kernel: int = 1, stride: int = 1, *, same: bool = True) -> Any:
        weight = tf.ensure_shape(self.weights[f"{name}/kernel"], [kernel, kernel, x.shape[-1], filters])
        out = tf.nn.conv2d(x, weight, stride, "SAME" if same else "VALID")
        return tf.nn.bias_add(out, self.weights[f"{name}/bias"])

    def depthwise(self, x: Any, name: str, kernel: int, stride: int) -> Any:
        # TensorFlow has a depthwise kernel as [height, width, channels, 1].
        weight = tf.reshape(self.weights[f"{name}/kernel"], [kernel, kernel, x.shape[-1], 1])
        out = tf.nn.depthwise_conv2d(x, weight, [1, stride, stride, 1], "SAME")
        return tf.nn.bias_add(out, self.weights[f"{name}/bias"])

    def swish(self, x: Any) -> Any:
        return x * tf.sigmoid(x)

    def sigmoid(self, x: Any) -> Any:
        return tf.sigmoid(x)

    def add(self, x: Any, y: Any) -> Any:
        return x + y

    def multiply(self, x: Any, y: Any) -> Any:
        return x * y

    def mean(self, x: Any, *, keep: bool) -> Any:
        return tf.reduce_mean(x, axis=[1, 2], keepdims=keep)

    def channels_last(self, x: Any) -> Any:
        return x

    def unit_cells(self, x: Any) -> Any:
        cells = tf.reshape(x, [-1, x.shape[-1]])
        return cells / tf.maximum(tf.norm(cells, axis=1, keepdims=True), 1e-6)

    def best_cell(self, x: Any, cells: int) -> Any:
        return tf.reduce_max(tf.reshape(x, [-1, cells, x.shape[-1]]), axis=1)

    def class_sums(self, x: Any, name: str, classes: int) -> Any:
        weighed = tf.reshape(x * self.weights[f"{name}/weight"], [-1, classes, x.shape[-1] // classes])
        return tf.reduce_sum(weighed, axis=2) + self.weights[f"{name}/bias"]
