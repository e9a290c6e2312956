"""Writing an ONNX graph down: nodes, constants, and the model around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 20, 10  # what ONNX Runtime 1.22 and OpenVINO 2026.1 read, too
BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value's name and its shape without the batch."""

    name: str
    shape: tuple[int, ...]


@dataclass
class Graph:
    """Nodes and constants in the order in which they were added."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant, once a name, and return the name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *values: int) -> str:
        """Return a constant list of integers."""
        return self.constant("int64_" + "_".join(map(str, values)), np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Return a constant number."""
        return self.constant(f"float32_{value:g}", np.array(value, np.float32))

    def model(self, inputs: Tensor, outputs: Mapping[str, Tensor], doc: str) -> onnx.ModelProto:
        """Return the model, checked; its outputs get the names they go by in ``outputs``."""
        names = {tensor.name: name for name, tensor in outputs.items()}
        for node in self.nodes:
            for side in (node.input, node.output):
                side[:] = [names.get(name, name) for name in side]
        told = [(inputs.name, inputs.shape), *((name, tensor.shape) for name, tensor in outputs.items())]
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *shape]) for name, shape in told]
        graph = helper.make_graph(self.nodes, "standin", infos[:1], infos[1:], list(self.constants.values()), doc)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="benchmarks.standin",
            doc_string=doc,
        )
