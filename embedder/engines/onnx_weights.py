"""What the weights of an ONNX file must be: in the file itself, and of a type that ONNX has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_EXTERNAL = 1  # TensorProto.EXTERNAL: the numbers lie in another file, beside this one


def check_weights(model: Any, known_types: Collection[int], where: str) -> None:
    """Refuse a graph whose weights lie in another file, or are of no type that there is.

    A file is known by its hash, and what was cut out of it is kept under that hash: two networks of the same graph and other
    weights would be one where the weights are not in the file that is hashed.

    Parameters
    ----------
    model : object
        ``onnx.ModelProto``, read without its external data.
    known_types : collection of int
        ``onnx.helper.get_all_tensor_dtypes()``.
    where : str
        What a message calls the file.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``.
    """
    for tensor in _tensors_of(model):
        if tensor.data_location == _EXTERNAL:
            beside = next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
            raise Invalid(
                f"{where} has its weights in another file ({beside}), and such a network cannot be told from another by its hash; "
                'make one file of the two: python -c "import onnx; onnx.save(onnx.load(FILE), ONE_FILE)"',
                kind="invalid_weights",
            )
        if tensor.data_type not in known_types:
            raise Invalid(
                f"{where} is damaged: its weight {tensor.name or '(without a name)'} is of type {tensor.data_type}, which ONNX "
                "has not; fetch it again",
                kind="invalid_weights",
            )


def _tensors_of(model: Any) -> Iterator[Any]:
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)


def _in_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Any) -> Iterator[Any]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for sparse in attribute.sparse_tensors:
            yield from (sparse.values, sparse.indices)
        if attribute.HasField("g"):
            yield from _in_graph(attribute.g)
        for graph in attribute.graphs:
            yield from _in_graph(graph)
