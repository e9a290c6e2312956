"""Networks behind one protocol, whichever library runs them: arrays in, arrays out. Knows no model and no sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedder.engines.available import check_names, installed_engines, refusal
from embedder.engines.base import DEVICES, ENGINES, PRECISIONS, Network, Runtime, how_to_install
from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DEVICES",
    "ENGINES",
    "PRECISIONS",
    "Network",
    "Runtime",
    "how_to_install",
    "installed_engines",
    "open_network",
    "refusal",
]


def open_network(
    engine: str,
    content: Path | bytes,
    *,
    outputs: tuple[str, ...] | None = None,
    precision: str = "fp32",
    threads: int = 1,
    device: str = "auto",
) -> Network:
    """Open a network in an engine.

    Parameters
    ----------
    engine : str
        ``"onnx"`` (ONNX files), ``"openvino"`` (ONNX and ``.tflite``) or ``"litert"`` (``.tflite``).
    content : Path or bytes
        The file, or what would be in it. The graph has one input, float32, its first axis being the rows.
    outputs : tuple of str, optional
        Names of the outputs in the order wanted; all of them in the file's order by default.
    precision : str
        One of ``PRECISIONS``; ask :func:`refusal` first. ``"int8"`` wants a quantised file.
    threads : int
        Threads of one call; 0 lets the engine decide.
    device : str
        One of ``DEVICES``.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: the library is not installed, or cannot do this here.
    NotFound
        Kind ``no_weights``: no such file.
    Invalid
        No such engine, precision or device; kind ``invalid_weights`` for a file that the engine cannot run.
    """
    check_names(engine, precision)
    if engine == "onnx":
        from embedder.engines.onnx_engine import open_onnx

        return open_onnx(content, outputs=outputs, precision=precision, threads=threads, device=device)
    if engine == "openvino":
        from embedder.engines.openvino_engine import open_openvino

        return open_openvino(content, outputs=outputs, precision=precision, threads=threads, device=device)
    if engine == "litert":
        from embedder.engines.litert_engine import open_litert

        return open_litert(content, outputs=outputs, precision=precision, threads=threads, device=device)
    raise Invalid("TensorFlow runs whole SavedModels, not networks out of one file; choose onnx, openvino or litert")
