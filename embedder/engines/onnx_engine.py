"""Networks in ONNX Runtime: on the CPU, or on an NVIDIA card where its provider is installed.

On the CPU it computes in float32, or in int8 a graph that :mod:`embedder.engines.quantise` made. Half precision needs
a card: TensorRT converts while it builds, the CUDA provider runs a graph that is converted here.
"""

from __future__ import annotations

import os
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
    first_lines,
    name_of,
    single_input,
)
from embedder.engines.onnx_providers import Attempt, attempts_for
from sonotheque.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True)
class OnnxNetwork:
    """A session of ONNX Runtime; see :class:`embedder.engines.Network`. Its outputs are fresh arrays."""

    runtime: Runtime
    precision: str
    session: Any
    where: str
    input_name: str
    input_shape: Shape
    outputs: tuple[str, ...]

    def run(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Run the graph on n rows; see :class:`embedder.engines.Network`."""
        inputs = check_inputs(inputs, self.input_shape, self.where)
        try:
            found = self.session.run(list(self.outputs), {self.input_name: inputs})
        except onnx_errors() as error:
            raise Unavailable(
                f"ONNX Runtime stopped in {self.where} on an input of shape {inputs.shape}: {first_lines(error)}; "
                "try fewer rows at once or another engine"
            ) from error
        return tuple(as_float32(array) for array in found)


def open_onnx(
    content: Path | bytes,
    *,
    outputs: tuple[str, ...] | None = None,
    precision: str = "fp32",
    threads: int = 1,
    device: str = "auto",
) -> OnnxNetwork:
    """Open an ONNX network in ONNX Runtime.

    Parameters
    ----------
    content : Path or bytes
        The file, or what would be in it.
    outputs : tuple of str, optional
        Names of the outputs in the order wanted; all of them by default. What only other outputs need may be computed
        all the same: cut it off with :func:`embedder.engines.onnx_graph.cut`.
    precision : str
        ``"fp32"``; ``"int8"`` for a quantised file; ``"fp16"`` and ``"bf16"`` on a card.
    threads : int
        Threads of one call; 0 lets the engine decide.
    device : str
        ``"auto"`` takes a card if ONNX Runtime has a provider for one, ``"gpu"`` insists on it, ``"cpu"`` does without.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: onnxruntime is not installed, or has no provider that can do what was asked.
    NotFound
        Kind ``no_weights``: no such file.
    Invalid
        Kind ``invalid_weights``: not an ONNX file, a damaged one, or one without these outputs.
    """
    check_device(device)
    runtime = import_onnxruntime()
    expect_kind(content, "onnx")
    attempts = attempts_for(runtime.get_available_providers(), precision, device)
    failures: list[str] = []
    for attempt in attempts:
        try:
            session = _open_session(runtime, content, attempt, threads)
        except onnx_errors() as error:
            if attempt is attempts[-1]:
                raise damaged(content, "ONNX Runtime", error) from error
            failures.append(f"{attempt.provider}: {first_lines(error)}")
            continue
        provider = session.get_providers()[0]
        if provider == attempt.provider:
            break
        # A provider that is listed and whose libraries are missing is left out of the session without an error.
    else:
        tried = ", ".join(attempt.provider for attempt in attempts) or "none"
        raise Unavailable(
            f"ONNX Runtime {runtime.__version__} cannot run in {precision} on {device} here "
            f"({'; '.join((f'providers tried: {tried}', *failures))}); "
            "use fp32 on the CPU, or install onnxruntime-gpu and the libraries that it names",
            kind="engine_missing",
        )
    inputs = session.get_inputs()
    name = single_input([value.name for value in inputs], content)
    if precision == "int8":
        _expect_quantised(content)
    return OnnxNetwork(
        runtime=Runtime(f"ONNX Runtime {runtime.__version__} {attempt.kernels}", attempt.device, threads),
        precision=precision,
        session=session,
        where=name_of(content),
        input_name=name,
        input_shape=tuple(length if isinstance(length, int) else None for length in inputs[0].shape),
        outputs=chosen_outputs([value.name for value in session.get_outputs()], outputs, content),
    )


def _open_session(runtime: Any, content: Path | bytes, attempt: Attempt, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads  # 0 is ONNX Runtime's own word for "decide yourself"
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # what goes wrong is raised; ONNX Runtime would write it to the terminal as well
    # Workers share the cores: a thread that spins while it waits takes the time of another worker.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = in_halves(content) if attempt.convert else content
    return runtime.InferenceSession(
        source if isinstance(source, bytes) else str(source),
        options,
        providers=attempt.providers,
        enable_fallback=0,  # its own one prints to the terminal, and goes on with providers that nobody asked for
    )


def in_halves(content: Path | bytes) -> bytes:
    """Return a float32 graph converted to float16, its inputs and outputs staying float32.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``: the file is damaged.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from embedder.engines.onnx_graph import read_graph

    converted = convert_float_to_float16(read_graph(content), keep_io_types=True)
    return bytes(converted.SerializeToString())


def _expect_quantised(content: Path | bytes) -> None:
    from embedder.engines.onnx_graph import describe

    if not describe(content).is_quantised:
        raise Invalid(
            f"{name_of(content)} is not quantised, so it cannot be run in int8; make it with embedder.engines.quantise",
            kind="invalid_weights",
        )


def import_onnxruntime() -> Any:
    """Return the module; raise ``Unavailable`` (``engine_missing``) with the command that installs it.

    Its published builds report what they run to their maker, from the first import on, and keep a database for that in
    the home folder. They look at this variable once, when they are imported; whoever has set it is not overruled.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(
            f"ONNX Runtime cannot be imported ({error}); {how_to_install('engines')} adds it", kind="engine_missing"
        ) from error
    return onnxruntime


def onnx_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime, which must be installed, raises: its exceptions have no common base but ``Exception``."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel")
    more = ("NoSuchFile", "NotFound", "NotImplemented", "RuntimeException")
    return (*(getattr(state, name) for name in names + more if hasattr(state, name)), RuntimeError)
