"""Walking through an ONNX graph: what a tensor is made from, and what depends on the sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedder.engines.onnx_graph import describe, read_graph, taken

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from embedder.engines.contents import Shape


@dataclass(slots=True)
class Walk:
    """The nodes of a graph, in an order they can be run in, and the shapes of their tensors.

    Attributes
    ----------
    nodes : list
        ``onnx.NodeProto`` each.
    inputs, outputs : list of str
        Of the whole graph.
    shapes : dict of str to Shape
        Where they are known.
    maker : dict of str to int
        Tensor -> position of the node that gives it.
    """

    nodes: list[Any]
    inputs: list[str]
    outputs: list[str]
    shapes: dict[str, Shape]
    maker: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> Walk:
        """Read a file's graph; raises as :func:`embedder.engines.onnx_graph.read_graph` does."""
        facts = describe(path)
        nodes = list(read_graph(path).graph.node)
        return cls(
            nodes=nodes,
            inputs=list(facts.inputs),
            outputs=list(facts.outputs),
            shapes={**facts.inner, **facts.inputs, **facts.outputs},
            maker={name: i for i, node in enumerate(nodes) for name in node.output if name},
        )

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape; empty if nothing is known of it."""
        return self.shapes.get(name, ())

    def made_by(self, name: str) -> Any | None:
        """Return the node that gives a tensor, or None."""
        i = self.maker.get(name)
        return None if i is None else self.nodes[i]

    def needed(self, outputs: Iterable[str], *, instead: str = "") -> set[int]:
        """Return the nodes that tensors are made by, stopping at the tensor ``instead``."""
        todo, seen = list(outputs), set[int]()
        while todo:
            name = todo.pop()
            i = self.maker.get(name)
            if name == instead or i is None or i in seen:
                continue
            seen.add(i)
            todo += taken(self.nodes[i])
        return seen

    def live(self, source: str) -> set[str]:
        """Return the tensors that depend on ``source``, with itself."""
        found = {source}
        for node in self.nodes:
            if not found.isdisjoint(taken(node)):
                found.update(node.output)
        return found

    def of_length(self, names: Iterable[str], length: int) -> list[str]:
        """Return those that are matrices with rows of this length."""
        return [name for name in names if len(shape := self.shape(name)) == 2 and shape[1] == length]

    def text(self, names: Iterable[str]) -> str:
        """Return tensors and their shapes for a message."""
        return ", ".join(f"{name} {_text(self.shape(name))}" for name in names) or "nothing"


def _text(shape: Shape) -> str:
    return "of unknown shape" if not shape else "(" + ", ".join(str(n) if n else "?" for n in shape) + ")"
