"""Checks that all engines share: what kind of file this is, which outputs it has, what may be put into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embedder.engines.base import DEVICES
from sonotheque.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Shape = tuple[int | None, ...]
"""Lengths of the axes; None where any length will do. An empty shape means that nothing is known."""

_LITERT_MAGIC = b"TFL3"  # at byte 4, after the offset of a flatbuffer's root
_ONNX_FIRST = b"\x08"  # the tag of ir_version, the first field every writer of protocol buffers puts down


def name_of(content: Path | bytes) -> str:
    """Return how a message calls this network: its path, or that it was made in memory."""
    return str(content) if isinstance(content, Path) else f"the network of {len(content)} bytes made in memory"


def kind_of(content: Path | bytes) -> str:
    """Return ``"onnx"`` or ``"litert"``, by the first bytes.

    Asking first keeps OpenVINO from handing a damaged file to each of its readers, which then write to the terminal.

    Raises
    ------
    NotFound
        Kind ``no_weights``: there is no such file.
    Invalid
        Kind ``invalid_weights``: neither of the two.
    """
    if isinstance(content, Path):
        if not content.is_file():
            raise NotFound(f"there is no network file {content}; give the path of an existing one", kind="no_weights")
        with content.open("rb") as file:
            head = file.read(8)
    else:
        head = content[:8]
    if head[4:8] == _LITERT_MAGIC:
        return "litert"
    if head[:1] == _ONNX_FIRST:
        return "onnx"
    raise Invalid(
        f"{name_of(content)} is neither an ONNX nor a LiteRT (.tflite) file: it begins with {head!r}; "
        "fetch it again, or give the path of the network itself",
        kind="invalid_weights",
    )


def expect_kind(content: Path | bytes, expected: str) -> None:
    """Raise ``Invalid`` (``invalid_weights``) if an engine is given a file that it does not read."""
    kind = kind_of(content)
    if kind != expected:
        titles = {"onnx": "ONNX", "litert": "LiteRT (.tflite)"}
        raise Invalid(
            f"{name_of(content)} is a {titles[kind]} file, this engine reads {titles[expected]} files; choose another engine",
            kind="invalid_weights",
        )


def check_device(device: str) -> str:
    """Return ``device``; raise ``Invalid`` if it is none of ``DEVICES``."""
    if device not in DEVICES:
        raise Invalid(f"there is no device {device!r}; choose one of {', '.join(DEVICES)}")
    return device


def damaged(content: Path | bytes, engine: str, error: Exception) -> Invalid:
    """Return the error for a network that an engine cannot read or compile, with the engine's own words shortened."""
    return Invalid(
        f"{engine} cannot run {name_of(content)}: {first_lines(error)}; fetch the file again or choose another engine",
        kind="invalid_weights",
    )


def first_lines(error: Exception, characters_max: int = 300) -> str:
    """Return the beginning of an engine's message on one line: some run to pages."""
    return " ".join(str(error).split())[:characters_max]


def single_input(names: Sequence[str], content: Path | bytes) -> str:
    """Return the one input's name; raise ``Invalid`` (``invalid_weights``) if there are more or none."""
    if len(names) != 1:
        raise Invalid(
            f"{name_of(content)} has {len(names)} inputs ({', '.join(names)}), 1 expected; cut it at one tensor",
            kind="invalid_weights",
        )
    return names[0]


def chosen_outputs(available: Sequence[str], outputs: tuple[str, ...] | None, content: Path | bytes) -> tuple[str, ...]:
    """Return the outputs to read: all of the graph's in its own order, or those asked for in the order asked for.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``: one of them is not an output of the graph.
    """
    if outputs is None:
        return tuple(available)
    missing = [name for name in outputs if name not in available]
    if missing:
        raise Invalid(
            f"{name_of(content)} has no output {', '.join(missing)}; it has {', '.join(available)}",
            kind="invalid_weights",
        )
    return outputs


def check_inputs(inputs: NDArray[np.float32], shape: Shape, where: str) -> NDArray[np.float32]:
    """Return ``inputs`` in C order if the graph takes them.

    Parameters
    ----------
    inputs : NDArray[np.float32]
        float32 (n, ...).
    shape : Shape
        The graph's own, the first axis being the rows.
    where : str
        What the message calls the graph.

    Raises
    ------
    Invalid
        For another dtype, number of axes or length of an axis, or no rows; both values are named.
    """
    if inputs.dtype != np.float32:
        raise Invalid(f"{where} takes float32, got {inputs.dtype}")
    lengths_differ = inputs.ndim != len(shape) or any(
        wanted is not None and found != wanted for found, wanted in zip(inputs.shape[1:], shape[1:], strict=True)
    )
    if shape and lengths_differ:
        wanted = ", ".join("any" if length is None else str(length) for length in (None, *shape[1:]))
        raise Invalid(f"{where} takes an input of shape ({wanted}), got {inputs.shape}")
    if not inputs.size:
        raise Invalid(f"{where} takes at least one row, got shape {inputs.shape}")
    return np.ascontiguousarray(inputs)


def as_float32(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the same array if it is float32, else a converted copy (a graph in half precision may end in halves)."""
    return np.asarray(values, dtype=np.float32)
