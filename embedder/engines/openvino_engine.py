"""Networks in OpenVINO: ONNX and ``.tflite`` files, in float32 or in what halves the CPU has (bfloat16, float16)."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from embedder.engines.base import Runtime, how_to_install
from embedder.engines.contents import (
    Shape,
    as_float32,
    check_device,
    check_inputs,
    chosen_outputs,
    damaged,
    first_lines,
    kind_of,
    name_of,
    single_input,
)
from sonotheque.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HINTS: Final = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}  # int8 is in the graph, not in a setting
_CAPABILITIES: Final = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}
_OBSERVED: Final = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_HEAVY_LAYERS: Final = ("Convolution", "FullyConnected", "MatMul")


@dataclass(slots=True)
class OpenVINONetwork:
    """A compiled model and one request; see :class:`embedder.engines.Network`. Its outputs are OpenVINO's own memory."""

    runtime: Runtime
    precision: str
    request: Any
    where: str
    input_shape: Shape
    outputs: tuple[Any, ...]

    def run(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Run the graph on n rows; see :class:`embedder.engines.Network`."""
        inputs = check_inputs(inputs, self.input_shape, self.where)
        try:
            found = self.request.infer({0: inputs}, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise Unavailable(
                f"OpenVINO stopped in {self.where} on an input of shape {inputs.shape}: {first_lines(error)}; "
                "try fewer rows at once or another engine"
            ) from error
        return tuple(as_float32(found[output]) for output in self.outputs)


def open_openvino(
    content: Path | bytes,
    *,
    outputs: tuple[str, ...] | None = None,
    precision: str = "fp32",
    threads: int = 1,
    device: str = "auto",
) -> OpenVINONetwork:
    """Open an ONNX or ``.tflite`` network in OpenVINO.

    Parameters
    ----------
    content : Path or bytes
        The file, or what would be in it.
    outputs : tuple of str, optional
        Names of the outputs in the order wanted; all of them by default. All are computed: cut off what is not needed.
    precision : str
        ``"fp32"``; ``"bf16"`` and ``"fp16"`` where the device lists them; ``"int8"`` for a quantised file.
    threads : int
        Threads of one call; 0 lets the engine decide.
    device : str
        ``"gpu"`` for an Intel card; the CPU otherwise.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: openvino is not installed, or there is no such device or precision here.
    NotFound
        Kind ``no_weights``: no such file.
    Invalid
        Kind ``invalid_weights``: not such a file, a damaged one, one with operations that OpenVINO does not have, or
        one without these outputs.
    """
    openvino = _import_openvino()
    target = _target(device)
    reason = precision_refused(precision, device)
    if reason:
        raise Unavailable(f"OpenVINO cannot run in {precision}: {reason}; use fp32", kind="engine_missing")
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if target == "CPU":
        # Workers are processes, each with its own OpenVINO: pinned, all of them would sit on the first core.
        settings["ENABLE_CPU_PINNING"] = False
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
    try:
        model = _read(content)
        compiled = _core().compile_model(model, target, settings)
    except RuntimeError as error:
        raise damaged(content, "OpenVINO", error) from error
    single_input([port.get_any_name() for port in compiled.inputs], content)
    ports = {name: port for port in compiled.outputs for name in port.get_names()}
    wanted = chosen_outputs([port.get_any_name() for port in compiled.outputs], None, content)
    observed = _observed_precision(compiled)
    if precision == "int8" and observed != "int8":
        raise Invalid(
            f"{name_of(content)} ran in {observed}: it is not quantised; make it with embedder.engines.quantise",
            kind="invalid_weights",
        )
    lengths = compiled.inputs[0].get_partial_shape()
    return OpenVINONetwork(
        runtime=Runtime(f"OpenVINO {openvino.__version__.split('-')[0]} {target}", _device_name(target), threads),
        precision=observed,
        request=compiled.create_infer_request(),
        where=name_of(content),
        input_shape=tuple(length.get_length() if length.is_static else None for length in lengths),
        outputs=tuple(
            ports[name] for name in (wanted if outputs is None else chosen_outputs([*ports], outputs, content))
        ),
    )


def precision_refused(precision: str, device: str = "auto") -> str:
    """Return why a device cannot compute in a precision; empty if it can.

    OpenVINO takes any hint and quietly uses another precision (asked for float16, a CPU with bfloat16 alone uses that),
    hence the question beforehand.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: openvino is not installed, or there is no such device.
    """
    target = _target(device)
    capabilities = _core().get_property(target, "OPTIMIZATION_CAPABILITIES")
    if _CAPABILITIES[precision] in capabilities:
        return ""
    arithmetic = {"bf16": "bfloat16", "fp16": "float16", "int8": "int8", "fp32": "float32"}[precision]
    return f"this {target} has no {arithmetic} arithmetic (OpenVINO lists {', '.join(sorted(capabilities))})"


def _read(content: Path | bytes) -> Any:
    """Return OpenVINO's model; it reads ONNX out of memory, ``.tflite`` only from a file."""
    kind = kind_of(content)
    if isinstance(content, Path):
        return _core().read_model(str(content))
    if kind == "onnx":
        return _core().read_model(content)
    with tempfile.TemporaryDirectory(prefix="sonotheque-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "network.tflite"
        path.write_bytes(content)
        return _core().read_model(str(path))


def _observed_precision(compiled: Any) -> str:
    """Return the precision most of the heavy layers really run in; of a graph without any, the setting in force."""
    layers: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        if str(facts["layerType"].astype(str)) in _HEAVY_LAYERS:
            layers[str(facts["runtimePrecision"].astype(str))] += 1
    if layers:
        name = layers.most_common(1)[0][0]
        return _OBSERVED.get(name, name)
    return _OBSERVED.get(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(), "fp32")


def _target(device: str) -> str:
    if check_device(device) != "gpu":
        return "CPU"
    devices = _core().available_devices
    if not any(name.split(".")[0] == "GPU" for name in devices):
        raise Unavailable(
            f"OpenVINO finds no GPU here (it lists {', '.join(devices)}); leave the device to it, or install the driver",
            kind="engine_missing",
        )
    return "GPU"


def _device_name(target: str) -> str:
    if target == "CPU":
        return "CPU"
    with contextlib.suppress(RuntimeError):
        return f"GPU:0 {_core().get_property(target, 'FULL_DEVICE_NAME')}"
    return "GPU:0"


@cache
def _core() -> Any:
    return _import_openvino().Core()


def _import_openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise Unavailable(
            f"OpenVINO cannot be imported ({error}); {how_to_install('engines')} adds it", kind="engine_missing"
        ) from error
    return openvino
