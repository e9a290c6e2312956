"""The operations that the network is written in. Each backend keeps images the way its engine likes them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]
Pads = tuple[int, int]


class Ops(Protocol):
    """What a backend does; ``name`` says which weights: ``<name>/kernel`` and ``<name>/bias`` of a convolution."""

    def frames(self, x: Any, count: int, hop: int) -> Any:
        """Cut [n, samples] with half a hop of zeros at both ends into frames of two hops: [n, count, 2 * hop]."""

    def magnitude(self, x: Any) -> Any:
        """Apply the window ``frontend/window``, take the magnitude of the Fourier transform: [n, frames, bins]."""

    def matmul(self, x: Any, name: str, columns: int) -> Any:
        """Multiply [..., rows] by the matrix ``name`` [rows, columns]."""

    def log(self, x: Any, floor: float, scale: float) -> Any:
        """Return ``scale * ln(max(x, floor))``."""

    def image(self, x: Any) -> Any:
        """Make [n, height, width] an image of one channel."""

    def conv(self, x: Any, name: str, filters: int, kernel: int = 1, stride: int = 1, *, same: bool = True) -> Any:
        """Convolve an image; ``same`` pads it as TensorFlow's SAME does."""

    def depthwise(self, x: Any, name: str, kernel: int, stride: int) -> Any:
        """Convolve each channel by itself, padded as TensorFlow's SAME does."""

    def swish(self, x: Any) -> Any:
        """Return ``x * sigmoid(x)``."""

    def sigmoid(self, x: Any) -> Any:
        """Return the sigmoid."""

    def add(self, x: Any, y: Any) -> Any:
        """Return the sum."""

    def multiply(self, x: Any, y: Any) -> Any:
        """Return the product; ``y`` may be an image of one cell."""

    def mean(self, x: Any, *, keep: bool) -> Any:
        """Average an image over its cells: [n, channels], or an image of one cell."""

    def channels_last(self, x: Any) -> Any:
        """Return an image as [n, height, width, channels]."""

    def unit_cells(self, x: Any) -> Any:
        """Make the cells of [n, height, width, channels] vectors of length 1: [n * height * width, channels]."""

    def best_cell(self, x: Any, cells: int) -> Any:
        """Return the largest of each window's cells, [n * cells, columns] -> [n, columns]."""

    def class_sums(self, x: Any, name: str, classes: int) -> Any:
        """Weigh [n, classes * k] by ``<name>/weight``, sum each class's k, add ``<name>/bias``: [n, classes]."""


def same_pads(size: int, kernel: int, stride: int) -> Pads:
    """Return TensorFlow's SAME padding of one axis, before and after: the odd one comes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def channels_first(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn TensorFlow's kernel layout [height, width, in, out] into ONNX's [out, in, height, width]."""
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
