"""Which of ONNX Runtime's providers to try for a precision and a device, in which order and with which settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to open a session. It has worked if the session's first provider is this one.

    Attributes
    ----------
    provider : str
        ONNX Runtime's name of the provider that shall do the work.
    settings : dict
        Its settings.
    convert : bool
        Whether the graph has to be converted to float16 first.
    """

    provider: str
    settings: dict[str, Any]
    convert: bool = False

    @property
    def providers(self) -> list[tuple[str, dict[str, Any]] | str]:
        """What a session takes: this provider, and the CPU for operations that it lacks."""
        return [CPU] if self.provider == CPU else [(self.provider, self.settings), CPU]

    @property
    def device(self) -> str:
        """The device's name in :class:`embedder.engines.Runtime`."""
        return "CPU" if self.provider == CPU else "GPU:0"

    @property
    def kernels(self) -> str:
        """The kernels' name in :class:`embedder.engines.Runtime`."""
        return {CPU: "MLAS", CUDA: "CUDA", TENSORRT: "TensorRT"}[self.provider]


def attempts_for(available: list[str], precision: str, device: str) -> list[Attempt]:
    """Return the ways to open a session, the best first; none if this ONNX Runtime cannot do it at all.

    Parameters
    ----------
    available : list of str
        Providers this ONNX Runtime was built with; their libraries may be missing nevertheless.
    precision : str
        One of ``PRECISIONS``.
    device : str
        ``"auto"``, ``"cpu"`` or ``"gpu"``.
    """
    on_card: list[Attempt] = []
    if precision in ("fp16", "bf16"):
        # TensorRT keeps single layers in float32 where halves would overflow, so it goes before a converted graph.
        on_card.append(Attempt(TENSORRT, _tensorrt(precision)))
    if precision in ("fp32", "fp16"):
        # TF32 rounds the factors to 10 bits: it is on by default, and would not be what "fp32" says.
        on_card.append(Attempt(CUDA, {"use_tf32": "0"}, convert=precision == "fp16"))
    attempts = [] if device == "cpu" else on_card
    if device != "gpu" and precision in ("fp32", "int8"):
        attempts.append(Attempt(CPU, {}))
    return [attempt for attempt in attempts if attempt.provider in available]


def _tensorrt(precision: str) -> dict[str, Any]:
    from embedder.engines.kept_files import cache_folder

    return {
        f"trt_{precision}_enable": True,
        # Building takes minutes, so what was built is kept. A first call with more rows than any before builds again.
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache_folder() / "tensorrt"),
        "trt_timing_cache_enable": True,
    }
