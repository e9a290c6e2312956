"""The network as ONNX nodes: images are channels first, weights are initialisers in the file."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx

from benchmarks.standin.architecture import BINS, FFT, Architecture, network
from benchmarks.standin.frontend import fourier
from benchmarks.standin.onnx_graph import Graph, Tensor
from benchmarks.standin.ops import Pads, Weights, channels_first, same_pads


def onnx_model(weights: Weights, arch: Architecture, doc: str, *, dft: bool, label: bool) -> onnx.ModelProto:
    """Return the network as an ONNX model: with the DFT operator or the transform as matrices, with the head or not."""
    ops = OnnxOps(weights, dft=dft)
    inputs = Tensor("inputs", (arch.samples,))
    return ops.graph.model(inputs, network(ops, inputs, arch, label=label), doc)


@dataclass
class OnnxOps:
    """Writes nodes down; see :class:`benchmarks.standin.ops.Ops`."""

    weights: Weights
    dft: bool
    graph: Graph = field(default_factory=Graph)

    def weight(self, name: str) -> str:
        return self.graph.constant(name, self.weights[name])

    def frames(self, x: Tensor, count: int, hop: int) -> Tensor:
        g, half = self.graph, hop // 2
        padded = g.node("Pad", x.name, g.integers(0, half, 0, half))
        hops = g.node("Reshape", padded, g.integers(-1, count + 1, hop))
        first = g.node("Slice", hops, g.integers(0), g.integers(count), g.integers(1))
        second = g.node("Slice", hops, g.integers(1), g.integers(count + 1), g.integers(1))
        return Tensor(g.node("Concat", first, second, axis=2), (count, 2 * hop))

    def magnitude(self, x: Tensor) -> Tensor:
        g, (count, length) = self.graph, x.shape
        # As wide as the transform, although these are zeros: the published files multiply them, too.
        windowed = g.node("Mul", x.name, self.weight("frontend/window"))
        padded = g.node("Pad", windowed, g.integers(0, 0, 0, 0, 0, FFT - length))
        if self.dft:
            column = g.node("Unsqueeze", padded, g.integers(-1))
            spectrum = g.node("DFT", column, onesided=1)
            return Tensor(g.node("ReduceL2", spectrum, g.integers(-1), keepdims=0), (count, BINS))
        parts = [
            g.node("MatMul", padded, g.constant(name, matrix))
            for name, matrix in zip(("frontend/cosine", "frontend/sine"), fourier(), strict=True)
        ]
        squares = [g.node("Mul", part, part) for part in parts]
        return Tensor(g.node("Sqrt", g.node("Add", *squares)), (count, BINS))

    def matmul(self, x: Tensor, name: str, columns: int) -> Tensor:
        return Tensor(self.graph.node("MatMul", x.name, self.weight(name)), (*x.shape[:-1], columns))

    def log(self, x: Tensor, floor: float, scale: float) -> Tensor:
        g = self.graph
        return Tensor(g.node("Mul", g.node("Log", g.node("Max", x.name, g.number(floor))), g.number(scale)), x.shape)

    def image(self, x: Tensor) -> Tensor:
        return Tensor(self.graph.node("Unsqueeze", x.name, self.graph.integers(1)), (1, *x.shape))

    def conv(
        self, x: Tensor, name: str, filters: int, kernel: int = 1, stride: int = 1, *, same: bool = True
    ) -> Tensor:
        pads = tuple(same_pads(size, kernel, stride) if same else (0, 0) for size in x.shape[1:])
        return self._convolve(x, name, kernel, stride, pads, filters)

    def depthwise(self, x: Tensor, name: str, kernel: int, stride: int) -> Tensor:
        pads = tuple(same_pads(size, kernel, stride) for size in x.shape[1:])
        return self._convolve(x, name, kernel, stride, pads, x.shape[0], group=x.shape[0])

    def _convolve(
        self, x: Tensor, name: str, kernel: int, stride: int, pads: tuple[Pads, ...], filters: int, group: int = 1
    ) -> Tensor:
        before_after = [pad[0] for pad in pads] + [pad[1] for pad in pads]
        weight = self.graph.constant(f"{name}/kernel", channels_first(self.weights[f"{name}/kernel"]))
        out = self.graph.node(
            "Conv",
            x.name,
            weight,
            self.weight(f"{name}/bias"),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=before_after,
            group=group,
        )
        sizes = [(size + sum(pad) - kernel) // stride + 1 for size, pad in zip(x.shape[1:], pads, strict=True)]
        return Tensor(out, (filters, *sizes))

    def swish(self, x: Tensor) -> Tensor:
        return self.multiply(x, self.sigmoid(x))

    def sigmoid(self, x: Tensor) -> Tensor:
        return Tensor(self.graph.node("Sigmoid", x.name), x.shape)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return Tensor(self.graph.node("Add", x.name, y.name), x.shape)

    def multiply(self, x: Tensor, y: Tensor) -> Tensor:
        return Tensor(self.graph.node("Mul", x.name, y.name), x.shape)

    def mean(self, x: Tensor, *, keep: bool) -> Tensor:
        out = self.graph.node("ReduceMean", x.name, self.graph.integers(2, 3), keepdims=int(keep))
        return Tensor(out, (x.shape[0], 1, 1) if keep else x.shape[:1])

    def channels_last(self, x: Tensor) -> Tensor:
        return Tensor(self.graph.node("Transpose", x.name, perm=[0, 2, 3, 1]), (*x.shape[1:], x.shape[0]))

    def unit_cells(self, x: Tensor) -> Tensor:
        g = self.graph
        cells = g.node("Reshape", x.name, g.integers(-1, x.shape[-1]))
        length = g.node("Max", g.node("ReduceL2", cells, g.integers(-1), keepdims=1), g.number(1e-6))
        return Tensor(g.node("Div", cells, length), x.shape[-1:])

    def best_cell(self, x: Tensor, cells: int) -> Tensor:
        by_window = self.graph.node("Reshape", x.name, self.graph.integers(-1, cells, x.shape[-1]))
        return Tensor(self.graph.node("ReduceMax", by_window, self.graph.integers(1), keepdims=0), x.shape[-1:])

    def class_sums(self, x: Tensor, name: str, classes: int) -> Tensor:
        g = self.graph
        weighed = g.node("Mul", x.name, self.weight(f"{name}/weight"))
        by_class = g.node("Reshape", weighed, g.integers(-1, classes, x.shape[-1] // classes))
        sums = g.node("ReduceSum", by_class, g.integers(2), keepdims=0)
        return Tensor(g.node("Add", sums, self.weight(f"{name}/bias")), (classes,))
