"""BirdNET's ``.tflite`` file as a graph: read once, cut into the parts that are worth running apart.

The file is a flatbuffer; it is parsed with LiteRT's own schema, and no interpreter is needed for that. Cutting keeps the
numbers of the tensors and only drops operators and the constants that nobody reads any more, so a part is small.
"""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.models.base import how_to_install
from sonotheque.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

EMBEDDING_TENSOR = "model/GLOBAL_AVG_POOL/Mean"
_NUMPY_TYPES = {0: np.float32, 1: np.float16, 2: np.int32}  # TensorType of the schema; the front end has no others


class UnknownLayout(Invalid):
    """The file is BirdNET's, but not laid out as expected: it cannot be cut, and runs whole."""


@dataclass(frozen=True, slots=True)
class TfliteGraph:
    """A parsed file.

    Attributes
    ----------
    path : Path
        The published file; it is never changed.
    model : object
        ``ModelT`` of LiteRT's schema. Treat as read-only: every cut is made of it.
    kinds : tuple of str
        Name of each operator of the first subgraph, in order of execution (``CONV_2D``).
    makers : dict of int to int
        Operator that makes a tensor; constants and inputs have none.
    """

    path: Path
    model: Any
    kinds: tuple[str, ...]
    makers: dict[int, int]

    @property
    def subgraph(self) -> Any:
        """``SubGraphT`` of the network; the file has no other."""
        return self.model.subgraphs[0]

    @property
    def embedding(self) -> int:
        """Number of the tensor that holds the embedding."""
        return next(at for at, tensor in enumerate(self.subgraph.tensors) if tensor.name == EMBEDDING_TENSOR.encode())

    @property
    def logits(self) -> int:
        """Number of the one output of the published file."""
        return int(self.subgraph.outputs[0])

    @property
    def input(self) -> int:
        """Number of the one input: sound, [n, 144000]."""
        return int(self.subgraph.inputs[0])

    def sources(self, tensor: int) -> tuple[str, list[int]]:
        """Return the kind and the input tensors of the operator that makes a tensor; ``("", [])`` if none does."""
        maker = self.makers.get(tensor)
        if maker is None:
            return "", []
        return self.kinds[maker], [int(source) for source in self.subgraph.operators[maker].inputs]

    def constant(self, tensor: int) -> NDArray[Any] | None:
        """Return a constant in its own shape and type; None if the tensor is computed, or of a type not read here."""
        facts = self.subgraph.tensors[tensor]
        data, kind = self.model.buffers[facts.buffer].data, _NUMPY_TYPES.get(int(facts.type))
        if data is None or kind is None:
            return None
        return np.frombuffer(bytes(data), dtype=kind).reshape(shape_of(facts))


def read_graph(path: Path, schema: Any = None) -> TfliteGraph:
    """Parse a ``.tflite`` file that should be BirdNET V2.4.

    Parameters
    ----------
    path : Path
        The published file.
    schema : module, optional
        ``ai_edge_litert.schema_py_generated``; imported if not given.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: LiteRT's schema cannot be imported.
    Invalid
        Kind ``invalid_weights``: not a LiteRT file, a damaged one, or a network without the embedding's tensor.
    """
    schema = schema or import_schema()
    raw = path.read_bytes()
    if raw[4:8] != b"TFL3":
        raise Invalid(f"{path} is not a LiteRT (.tflite) file", kind="invalid_weights")
    try:
        model = schema.ModelT.InitFromPackedBuf(raw, 0)
    except (struct.error, IndexError, ValueError, TypeError) as error:
        raise Invalid(f"{path} is damaged or cut short: {error}", kind="invalid_weights") from error
    graph = _network(model, path)
    found = any(tensor.name == EMBEDDING_TENSOR.encode() for tensor in graph.tensors)
    if not found or len(graph.outputs) != 1 or len(graph.inputs) != 1:
        raise Invalid(
            f"{path} is not BirdNET V2.4: it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs "
            f"(1 of each expected) and {'a' if found else 'no'} tensor {EMBEDDING_TENSOR}",
            kind="invalid_weights",
        )
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    # Files of before 2020 keep the code in the older, one-byte field; in newer ones the larger of the two is right.
    codes = [names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?") for code in model.operatorCodes]
    makers = {int(made): at for at, op in enumerate(graph.operators) for made in op.outputs}
    read = TfliteGraph(path, model, tuple(codes[op.opcodeIndex] for op in graph.operators), makers)
    ends = (read.input, read.logits)
    if not all(0 <= at < len(graph.tensors) for at in ends) or not shape_of(graph.tensors[read.logits]):
        raise Invalid(f"{path} is damaged: its input or its output is no tensor of it", kind="invalid_weights")
    return read


def _network(model: Any, path: Path) -> Any:
    """Return the first subgraph, if it has all of its parts; what a file leaves out is None."""
    graph = model.subgraphs[0] if model.subgraphs else None
    whole = graph is not None and not any(
        part is None
        for part in (graph.tensors, graph.operators, graph.inputs, graph.outputs, model.operatorCodes, model.buffers)
    )
    if graph is None or not whole or not all(_is_whole(op, model) for op in graph.operators):
        raise Invalid(f"{path} holds no whole LiteRT network; fetch it again", kind="invalid_weights")
    return graph


def _is_whole(op: Any, model: Any) -> bool:
    return op.inputs is not None and op.outputs is not None and op.opcodeIndex < len(model.operatorCodes)


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Return a tensor's shape in the file, where a dynamic axis has length 1; scalars have none."""
    return tuple(int(size) for size in tensor.shape) if tensor.shape is not None else ()


def cut(graph: TfliteGraph, inputs: dict[int, tuple[int, ...]], outputs: Sequence[int]) -> bytes:
    """Return the part of a graph between some tensors as the content of a ``.tflite`` file of its own.

    Parameters
    ----------
    graph : TfliteGraph
        The whole; it is not changed.
    inputs : dict of int to tuple of int
        Tensors the part starts from, with the shape of one window, batch axis included: ``(1, 96, 511, 2)``.
    outputs : sequence of int
        Tensors to give, in this order.

    Returns
    -------
    bytes
        Tensors keep their numbers. The batch axis of the inputs is dynamic.

    Raises
    ------
    UnknownLayout
        If the sound reaches an output by a way past these inputs.
    """
    whole = graph.subgraph
    part = copy.copy(whole)
    part.tensors = list(whole.tensors)
    for tensor, shape in inputs.items():
        facts = part.tensors[tensor] = copy.copy(whole.tensors[tensor])
        facts.shape = np.array(shape, dtype=np.int32)
        facts.shapeSignature = np.array((-1, *shape[1:]), dtype=np.int32)
    needed, kept = set(outputs) - set(inputs), []
    for op in reversed(whole.operators):
        if needed & {int(made) for made in op.outputs}:
            kept.append(op)
            needed |= {int(source) for source in op.inputs if source >= 0} - set(inputs)
    if graph.input in needed:
        raise UnknownLayout(f"tensors {sorted(inputs)} do not separate it: its sound reaches {list(outputs)} past them")
    part.operators = kept[::-1]
    part.inputs, part.outputs = np.array(list(inputs), dtype=np.int32), np.array(outputs, dtype=np.int32)
    model = copy.copy(graph.model)
    model.subgraphs, model.signatureDefs = [part], []
    model.metadata, model.metadataBuffer = None, None
    read = {0} | {int(whole.tensors[tensor].buffer) for tensor in needed}
    empty = type(model.buffers[0])()
    model.buffers = [buffer if at in read else empty for at, buffer in enumerate(model.buffers)]
    return pack(model)


def graft(graph: TfliteGraph) -> bytes:
    """Return the whole network as the content of a file with two outputs, embedding and logits.

    The published file has one output, the logits, and with the default XNNPACK kernels inner tensors cannot be read.
    Extending the list of outputs in memory is nearly twice as fast as switching XNNPACK off, a fifth faster than
    keeping every tensor, and bit-identical.
    """
    model, part = copy.copy(graph.model), copy.copy(graph.subgraph)
    part.outputs = np.array([graph.embedding, graph.logits], dtype=np.int32)
    model.subgraphs = [part]
    return pack(model)


def graft_output(path: Path, schema: Any = None) -> tuple[bytes, int]:
    """Return a file's content as :func:`graft` gives it, and a tensor that tells which kernels ran.

    Parameters
    ----------
    path, schema
        As for :func:`read_graph`, whose errors this raises.

    Returns
    -------
    content : bytes
        The extended file.
    inner : int
        The tensor before the embedding: only kernels other than XNNPACK leave it readable.
    """
    graph = read_graph(path, schema)
    return graft(graph), graph.sources(graph.embedding)[1][0]


def pack(model: Any) -> bytes:
    """Return a ``ModelT`` as the content of a file."""
    import flatbuffers

    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + (1 << 18))  # the first size fits, so the buffer is never doubled
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def import_schema() -> Any:
    """Return ``ai_edge_litert.schema_py_generated``.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``, with the command that installs it.
    """
    try:
        import flatbuffers  # noqa: F401 - needed to write a part, checked here so that one message covers both
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise Unavailable(
            f"BirdNET's file is read with LiteRT, which cannot be imported ({error}); "
            f"{how_to_install('birdnet')} adds it",
            kind="engine_missing",
        ) from error
    return schema_py_generated
