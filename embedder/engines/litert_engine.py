"""Networks in LiteRT: ``.tflite`` files with the XNNPACK kernels, float32 only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedder.engines.base import Runtime, how_to_install
from embedder.engines.contents import (
    Shape,
    as_float32,
    check_device,
    check_inputs,
    chosen_outputs,
    damaged,
    expect_kind,
    name_of,
    single_input,
)
from sonotheque.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True)
class LiteRTNetwork:
    """A LiteRT interpreter that stays allocated for the last number of rows; see :class:`embedder.engines.Network`.

    The outputs are copies: a view would forbid the interpreter to allocate for another number of rows.
    """

    runtime: Runtime
    precision: str
    interpreter: Any
    where: str
    input_index: int
    input_shape: Shape
    output_indices: tuple[int, ...]
    rows: int  # the number the interpreter is allocated for

    def run(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Run the graph on n rows; see :class:`embedder.engines.Network`."""
        inputs = check_inputs(inputs, self.input_shape, self.where)
        if len(inputs) != self.rows:
            self.rows = 0  # should allocating fail, the next call does not take the old size for granted
            _allocate(self.interpreter, self.input_index, inputs.shape)
            self.rows = len(inputs)
        self.interpreter.set_tensor(self.input_index, inputs)
        self.interpreter.invoke()
        return tuple(as_float32(self.interpreter.get_tensor(index)) for index in self.output_indices)


def open_litert(
    content: Path | bytes,
    *,
    outputs: tuple[str, ...] | None = None,
    precision: str = "fp32",
    threads: int = 1,
    device: str = "auto",
) -> LiteRTNetwork:
    """Open a ``.tflite`` network.

    Parameters
    ----------
    content : Path or bytes
        The file, or what would be in it.
    outputs : tuple of str, optional
        Names of the outputs in the order wanted; all of them by default.
    precision : str
        ``"fp32"``; the CPU kernels know nothing else for a float32 graph.
    threads : int
        Threads of the interpreter; 0 lets it decide.
    device : str
        ``"auto"`` or ``"cpu"``.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: ai-edge-litert is not installed.
    NotFound
        Kind ``no_weights``: no such file.
    Invalid
        Kind ``invalid_weights``: not a ``.tflite`` file, a damaged one, or one without these outputs; and a precision
        or device that LiteRT does not have.
    """
    if precision != "fp32" or check_device(device) == "gpu":
        raise Invalid(f"LiteRT runs in fp32 on the CPU, asked for {precision} on {device}; choose another engine")
    try:
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise Unavailable(
            f"LiteRT cannot be imported ({error}); {how_to_install('birdnet')} adds it", kind="engine_missing"
        ) from error
    expect_kind(content, "litert")
    source = {"model_content": content} if isinstance(content, bytes) else {"model_path": str(content)}
    try:
        interpreter = Interpreter(**source, num_threads=threads or None)
    except (ValueError, RuntimeError) as error:
        raise damaged(content, "LiteRT", error) from error
    inputs = interpreter.get_input_details()
    single_input([detail["name"] for detail in inputs], content)
    signature = tuple(int(length) for length in inputs[0]["shape_signature"])
    try:
        _allocate(interpreter, inputs[0]["index"], (1, *(max(length, 1) for length in signature[1:])))
    except (ValueError, RuntimeError) as error:
        raise damaged(content, "LiteRT", error) from error
    indices = {detail["name"]: int(detail["index"]) for detail in interpreter.get_output_details()}
    kernels = "XNNPACK" if _is_delegated(interpreter) else "built-in kernels"
    return LiteRTNetwork(
        runtime=Runtime(engine=f"LiteRT {ai_edge_litert.__version__} {kernels}", device="CPU", threads=threads),
        precision="fp32",
        interpreter=interpreter,
        where=name_of(content),
        input_index=int(inputs[0]["index"]),
        # A file made for one row says so in its signature; the rows can be resized all the same.
        input_shape=(None, *(length if length > 0 else None for length in signature[1:])),
        output_indices=tuple(indices[name] for name in chosen_outputs(tuple(indices), outputs, content)),
        rows=1,
    )


def _allocate(interpreter: Any, index: int, shape: tuple[int, ...]) -> None:
    interpreter.resize_tensor_input(index, list(shape))
    interpreter.allocate_tensors()


def _is_delegated(interpreter: Any) -> bool:
    """Tell whether XNNPACK took over at least part of the graph, by the nodes that are left after allocating."""
    return any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
