"""Random weights through which sounds stay apart: every convolution is scaled to what arrives at it.

The network runs once, an operation at a time, on a few windows. Each convolution's weights are drawn when its turn comes,
then scaled, and given a bias, so that every channel has a chosen mean and spread over those windows. Without that, a hundred
random layers would make all sounds one, or blow the differences up until rounding decides.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.special import expit

from benchmarks.standin.architecture import FFT, Architecture, network
from benchmarks.standin.frontend import frontend_weights
from benchmarks.standin.onnx_graph import IR_VERSION, OPSET
from benchmarks.standin.ops import Pads, Weights, channels_first, same_pads
from benchmarks.standin.sounds import windows
from embedder.engines.onnx_engine import import_onnxruntime

Array = NDArray[np.float32]
WINDOWS, LOGIT_MEAN, LOGIT_STD = 8, 2.0, 2.0
# Mean and spread of each convolution's channels. Around 0 a swish lets large signals pass more easily than small ones, and loud
# windows grow from layer to layer, some a thousandfold; around 1 it is the other way round. Gates are mostly open for the same
# reason. What is added to a block's input only refines it: else rounding to bfloat16 grows to a fifth of the vector.
TARGETS = {
    "stem": (1.0, 1.0),
    "expand": (1.0, 1.0),
    "depthwise": (1.0, 1.0),
    "squeeze": (0.0, 1.0),
    "excite": (2.0, 0.2),
    "project": (0.0, 1.0),
    "refine": (0.0, 0.15),
    "top": (0.0, 1.0),
}
LEAST_SPREAD = 0.5  # of the usual spread; a channel with less is not raised to the full one, it would be mostly noise
SMOOTHING = 0.1  # added to depthwise kernels: more of it keeps sounds further apart, and lets rounding grow


def make_weights(arch: Architecture, seed: int) -> Weights:
    """Return the weights of the network; the same for the same seed."""
    ops = Calibration(seed, frontend_weights())
    network(ops, windows(WINDOWS, seed), arch)
    return ops.weights


@dataclass
class Calibration:
    """Computes each operation, channels first, and makes the weights on the way; see :class:`benchmarks.standin.ops.Ops`."""

    seed: int
    weights: Weights = field(default_factory=dict)

    def normal(self, name: str, *shape: int) -> Array:
        """Draw numbers that depend on the seed and the name alone."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())]).standard_normal(shape, np.float32)

    def frames(self, x: Array, count: int, hop: int) -> Array:
        hops = np.pad(x, ((0, 0), (hop // 2, hop // 2))).reshape(len(x), count + 1, hop)
        return np.concatenate([hops[:, :-1], hops[:, 1:]], axis=2)

    def magnitude(self, x: Array) -> Array:
        return np.abs(np.fft.rfft(x * self.weights["frontend/window"], FFT)).astype(np.float32)

    def matmul(self, x: Array, name: str, columns: int) -> Array:
        if name not in self.weights:
            matrix = self.normal(name, x.shape[-1], columns)
            matrix /= np.sqrt(np.einsum("rc,rc->c", matrix, matrix))
            self.weights[name] = matrix
        return x @ self.weights[name]

    def log(self, x: Array, floor: float, scale: float) -> Array:
        return np.float32(scale) * np.log(np.maximum(x, np.float32(floor)))

    def image(self, x: Array) -> Array:
        return x[:, None]

    def conv(self, x: Array, name: str, filters: int, kernel: int = 1, stride: int = 1, *, same: bool = True) -> Array:
        weight = self.normal(name, kernel, kernel, x.shape[1], filters)
        pads = [same_pads(size, kernel, stride) if same else (0, 0) for size in x.shape[2:]]
        return self._scaled(name, weight, _convolve(x, channels_first(weight), stride, pads))

    def depthwise(self, x: Array, name: str, kernel: int, stride: int) -> Array:
        weight = SMOOTHING + self.normal(name, kernel, kernel, 1, x.shape[1])
        pads = [same_pads(size, kernel, stride) for size in x.shape[2:]]
        return self._scaled(name, weight, _convolve(x, channels_first(weight), stride, pads, group=x.shape[1]))

    def _scaled(self, name: str, weight: Array, out: Array) -> Array:
        mean, spread = out.mean(axis=(0, 2, 3)), out.std(axis=(0, 2, 3))
        common = np.sqrt(np.mean(spread**2))
        # A gate has one value a window: too few to tell each channel's spread, so they share one.
        one_cell = out.shape[2:] == (1, 1)
        to_mean, to_spread = TARGETS[name.rsplit("/", 1)[-1]]
        scale = (np.full_like(spread, common) if one_cell else np.maximum(spread, LEAST_SPREAD * common)) / to_spread
        self.weights[f"{name}/kernel"] = weight / scale
        self.weights[f"{name}/bias"] = to_mean - mean / scale
        out /= scale[:, None, None]
        out += self.weights[f"{name}/bias"][:, None, None]
        return out

    def swish(self, x: Array) -> Array:
        return x * expit(x)

    def sigmoid(self, x: Array) -> Array:
        return np.asarray(expit(x))

    def add(self, x: Array, y: Array) -> Array:
        return x + y

    def multiply(self, x: Array, y: Array) -> Array:
        return x * y

    def mean(self, x: Array, *, keep: bool) -> Array:
        return x.mean(axis=(2, 3), keepdims=keep)

    def channels_last(self, x: Array) -> Array:
        return x.transpose(0, 2, 3, 1)

    def unit_cells(self, x: Array) -> Array:
        cells = x.reshape(-1, x.shape[-1])
        return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-6)

    def best_cell(self, x: Array, cells: int) -> Array:
        return x.reshape(-1, cells, x.shape[-1]).max(axis=1)

    def class_sums(self, x: Array, name: str, classes: int) -> Array:
        weight = 1 + 0.2 * np.abs(self.normal(name, x.shape[-1]))
        sums = (x * weight).reshape(len(x), classes, -1).sum(axis=2)
        scale = np.float32(LOGIT_STD / sums.std())
        self.weights[f"{name}/weight"] = weight * scale
        self.weights[f"{name}/bias"] = np.full(classes, LOGIT_MEAN - sums.mean() * scale, np.float32)
        return sums * scale + self.weights[f"{name}/bias"]


def _convolve(x: Array, weight: Array, stride: int, pads: list[Pads], group: int = 1) -> Array:
    before_after = [pad[0] for pad in pads] + [pad[1] for pad in pads]
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[stride, stride], pads=before_after, group=group)
    x_info, w_info, y_info = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in "xwy")
    model = helper.make_model(
        helper.make_graph([node], "conv", [x_info, w_info], [y_info]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    session = import_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.ascontiguousarray(x), "w": weight})
    return np.asarray(y)
