"""What is in an ONNX file, and parts of it as files of their own.

The published file of Perch 2 is 400 MB, nine tenths of it for the classes. It is read once a machine: what was cut out
is kept (:func:`cut_cached`), and shapes are inferred on a copy without the weights.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from embedder.engines.base import how_to_install
from embedder.engines.contents import Shape, expect_kind, first_lines, name_of
from embedder.engines.kept_files import kept, kept_name, made
from embedder.engines.onnx_weights import check_weights
from sonotheque.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

_TRANSFORMS: Final = ("DFT", "STFT")
_QUANTISED: Final = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul")
_SMALL_BYTES: Final = 4096  # shapes and axes lie in small constants, and inference needs their values
_CUT_VERSION: Final = 1  # raised when the same cut is written differently


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a graph holds.

    Attributes
    ----------
    inputs, outputs : dict of str to Shape
        In the file's order. Weights that are listed among the inputs, as old files do, are left out.
    inner : dict of str to Shape
        Every other tensor whose shape is known, in the order in which it is computed.
    opset : int
        Version of ONNX's own operations.
    ops : dict of str to int
        How often each operation occurs.
    initializer_bytes : int
        Size of the weights.
    """

    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    inner: dict[str, Shape]
    opset: int
    ops: dict[str, int]
    initializer_bytes: int

    @property
    def has_fourier(self) -> bool:
        """Whether it holds a Fourier transform as one operation, which OpenVINO and the cards refuse."""
        return any(op in self.ops for op in _TRANSFORMS)

    @property
    def is_quantised(self) -> bool:
        """Whether it holds int8 arithmetic."""
        return any(op in self.ops for op in _QUANTISED)


def read_graph(content: Path | bytes) -> Any:
    """Return the file as an ``onnx.ModelProto``, weights and all.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: onnx is not installed.
    NotFound
        Kind ``no_weights``: no such file.
    Invalid
        Kind ``invalid_weights``: not an ONNX file, a damaged one, or one whose weights lie in another file.
    """
    onnx = _import_onnx()
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
    from onnx.checker import ValidationError

    expect_kind(content, "onnx")
    try:
        model = (
            onnx.load_model_from_string(content)
            if isinstance(content, bytes)
            else onnx.load(str(content), load_external_data=False)
        )
    except (DecodeError, ValidationError, ValueError, OSError) as error:
        raise Invalid(
            f"{name_of(content)} is damaged or cut short: {first_lines(error)}; fetch it again", kind="invalid_weights"
        ) from error
    if not model.graph.node:
        raise Invalid(f"{name_of(content)} holds no ONNX graph; fetch it again", kind="invalid_weights")
    check_weights(model, onnx.helper.get_all_tensor_dtypes(), name_of(content))
    return model


def describe(content: Path | bytes) -> GraphFacts:
    """Return what an ONNX file holds; raises as :func:`read_graph` does. The file is read once."""
    model = read_graph(content)
    tensors = _inferred(model)
    weights = {weight.name for weight in model.graph.initializer}
    inputs = {value.name: _shape(value) for value in model.graph.input if value.name not in weights}
    outputs = {value.name: _shape(tensors.get(value.name, value)) for value in model.graph.output}
    computed = [name for node in model.graph.node for name in node.output if name in tensors and name not in outputs]
    return GraphFacts(
        inputs=inputs,
        outputs=outputs,
        inner={name: _shape(tensors[name]) for name in computed},
        opset=max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0),
        ops=dict(Counter(node.op_type for node in model.graph.node)),
        initializer_bytes=sum(_weight_bytes(weight) for weight in model.graph.initializer),
    )


def cut(content: Path | bytes, inputs: tuple[str, ...], outputs: tuple[str, ...], target: Path) -> Path:
    """Write the part of a graph between some tensors as a file of its own.

    Parameters
    ----------
    content : Path or bytes
        The whole graph.
    inputs : tuple of str
        Tensors that the part begins at: inputs of the graph, or inner tensors that are handed in from then on.
    outputs : tuple of str
        Tensors that it gives, in this order.
    target : Path
        Written whole or not at all; replaced if it is there.

    Returns
    -------
    Path
        ``target``.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``: there is no such tensor, or an output needs an input that is not among ``inputs``;
        and as of :func:`read_graph`.
    OSError
        If ``target`` cannot be written.
    """
    model = part_of(read_graph(content), inputs, outputs, name_of(content))
    return made(target, lambda path: _save(model, path))


def cut_cached(path: Path, digest: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Path:
    """Return the path of :func:`cut`'s file, made by the first that asks on this machine and kept.

    Parameters
    ----------
    path : Path
        The whole graph; not read if the part is there.
    digest : str
        SHA-256 of that file, as hex digits.
    inputs, outputs : tuple of str
        As for :func:`cut`.

    Raises
    ------
    Unavailable
        If neither the folder of kept files nor a temporary one can be written to.
    Invalid
        As of :func:`cut`.
    """

    def make(unfinished: Path) -> None:
        _save(part_of(read_graph(path), inputs, outputs, name_of(path)), unfinished)

    return kept(kept_name(digest, ".onnx", "cut", _CUT_VERSION, inputs, outputs), make)


def part_of(model: Any, inputs: tuple[str, ...], outputs: tuple[str, ...], where: str) -> Any:
    """Return ``model`` with all removed that lies outside the part; raises as :func:`cut` does.

    The model given is changed and must not be used any more: a copy of the weights would double the memory.
    """
    graph = model.graph
    tensors = _inferred(model)
    weights = {weight.name for weight in graph.initializer}
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    given = {value.name for value in graph.input} - weights
    missing = [name for name in (*inputs, *outputs) if name not in makers and name not in given]
    if missing:
        raise Invalid(f"{where} has no tensor {', '.join(missing)} to cut at", kind="invalid_weights")
    nodes, used = _needed(graph, makers, set(inputs), outputs)
    unmet = sorted((used & given) - set(inputs))
    if unmet:
        raise Invalid(
            f"{where} cannot be cut at {', '.join(inputs)}: {', '.join(outputs)} also needs {', '.join(unmet)}",
            kind="invalid_weights",
        )
    _keep(graph.node, [index in nodes for index in range(len(graph.node))])
    _keep(graph.initializer, [weight.name in used for weight in graph.initializer])
    for field, names in ((graph.input, inputs), (graph.output, outputs)):
        del field[:]
        field.extend(tensors.get(name) or _of_any_shape(name) for name in names)
    del graph.value_info[:]  # of tensors that are gone; engines infer them anyway
    return model


def _needed(graph: Any, makers: dict[str, int], inputs: set[str], outputs: Iterable[str]) -> tuple[set[int], set[str]]:
    """Return the nodes on the way to ``outputs``, looking no further back than ``inputs``, and all tensors they take."""
    nodes: set[int] = set()
    used: set[str] = set()
    open_names = list(outputs)
    while open_names:
        name = open_names.pop()
        if name in used:
            continue
        used.add(name)
        index = makers.get(name)
        if name not in inputs and index is not None and index not in nodes:
            nodes.add(index)
            open_names.extend(taken(graph.node[index]))
    return nodes, used


def taken(node: Any) -> list[str]:
    """Return the tensors that a node takes, with those its branches and loops take from outside."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names += [name for inner in graph.node for name in taken(inner)]
            names += [value.name for value in graph.output]  # a branch may hand an outer tensor straight through
    return names


def _keep(items: Any, wanted: list[bool]) -> None:
    """Delete all other items of a repeated field in place, from the end so that the indices stay right."""
    for index in range(len(items) - 1, -1, -1):
        if not wanted[index]:
            del items[index]


def _inferred(model: Any) -> dict[str, Any]:
    """Return the type and shape of every tensor where they can be inferred, without copying the large weights."""
    onnx = _import_onnx()
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    bare.graph.name = model.graph.name
    for field in ("node", "input", "output", "value_info"):
        getattr(bare.graph, field).extend(getattr(model.graph, field))
    for weight in model.graph.initializer:
        if _weight_bytes(weight) <= _SMALL_BYTES:
            bare.graph.initializer.append(weight)
        else:
            bare.graph.initializer.add(name=weight.name, data_type=weight.data_type, dims=weight.dims)
    try:
        bare = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise Invalid(
            f"the shapes of the ONNX graph do not fit: {first_lines(error)}", kind="invalid_weights"
        ) from error
    values = (*bare.graph.input, *bare.graph.value_info, *bare.graph.output)
    return {value.name: value for value in values if value.type.HasField("tensor_type")}


def _weight_bytes(weight: Any) -> int:
    """Return the size of a weight from its shape: asking the message for its own size would write it out to count."""
    item_bytes = _import_onnx().helper.tensor_dtype_to_np_dtype(weight.data_type).itemsize
    return int(math.prod(weight.dims) * item_bytes)


def _shape(value: Any) -> Shape:
    axes = value.type.tensor_type.shape.dim
    return tuple(axis.dim_value if axis.HasField("dim_value") and axis.dim_value > 0 else None for axis in axes)


def _of_any_shape(name: str) -> Any:
    onnx = _import_onnx()
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def _save(model: Any, path: Path) -> None:
    _import_onnx().save(model, str(path))


def _import_onnx() -> Any:
    try:
        import onnx
        import onnx.shape_inference
    except ImportError as error:
        raise Unavailable(
            f"ONNX files cannot be read: onnx cannot be imported ({error}); {how_to_install('engines')} adds it",
            kind="engine_missing",
        ) from error
    return onnx
