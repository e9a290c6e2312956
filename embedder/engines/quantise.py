"""Int8: a float32 ONNX graph with convolutions and products in 8 bits, the ranges taken from windows handed in.

Networks that were not trained for it lose more than half precision does, often too much; whether it is good enough is
for a comparison of the vectors to say, not for this module.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from embedder.engines.base import how_to_install
from embedder.engines.contents import check_inputs, first_lines
from embedder.engines.kept_files import kept, kept_name
from embedder.engines.onnx_engine import import_onnxruntime, onnx_errors
from embedder.engines.onnx_graph import describe
from sonotheque.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OPERATIONS: Final = ("Conv", "Gemm", "MatMul")
_VERSION: Final = 1  # raised when the same call writes another file


def quantised(path: Path, windows: NDArray[np.float32], *, digest: str, rows_max: int = 4) -> Path:
    """Return the path of the int8 version of a graph, made by the first that asks on this machine and kept.

    Weights are rounded per channel to signed 8 bits, what flows between the layers to unsigned 8 bits, with the ranges
    that the calibration windows reach.

    Parameters
    ----------
    path : Path
        A float32 ONNX file with one input.
    windows : NDArray[np.float32]
        float32 (n, ...): what the graph takes, as varied as what it will be given; a few dozen are enough.
    digest : str
        SHA-256 of ``path``, as hex digits.
    rows_max : int
        Windows run at once while calibrating: every inner tensor of them is held. A graph of a fixed number of rows takes
        that number, and as many windows as give whole batches.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: onnxruntime is not installed; or no folder can be written to.
    Invalid
        If the windows do not fit the graph; kind ``invalid_weights`` if the file cannot be quantised.
    """
    facts = describe(path)
    if len(facts.inputs) != 1:
        raise Invalid(
            f"{path} has {len(facts.inputs)} inputs, 1 expected; cut it at one tensor", kind="invalid_weights"
        )
    name, shape = next(iter(facts.inputs.items()))
    windows = check_inputs(windows, shape, str(path))
    batches = [{name: windows[start : start + rows_max]} for start in range(0, len(windows), rows_max)]
    content = hashlib.sha256(windows.tobytes()).hexdigest()
    target = kept_name(digest, ".int8.onnx", "int8", _VERSION, OPERATIONS, rows_max, windows.shape, content)
    return kept(target, lambda unfinished: _quantise(path, batches, unfinished))


def _quantise(path: Path, batches: list[dict[str, Any]], target: Path) -> None:
    import_onnxruntime()
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise Unavailable(
            f"int8 graphs are made with onnxruntime and onnx, which cannot be imported ({error}); "
            f"{how_to_install('engines')} adds them",
            kind="engine_missing",
        ) from error

    class Reader(CalibrationDataReader):
        """Hands out the windows once."""

        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            """Return the next windows, None after the last."""
            return next(self.left, None)

    failures: tuple[type[Exception], ...] = (ValueError, TypeError, KeyError, *onnx_errors())
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises on the root logger to preprocess the graph, which the engines do
    try:
        quantize_static(
            str(path),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,  # float graph with rounding steps in it: OpenVINO and ONNX Runtime both fuse these
            op_types_to_quantize=list(OPERATIONS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    except failures as error:
        raise Invalid(f"{path} cannot be quantised: {first_lines(error)}", kind="invalid_weights") from error
    finally:
        root.setLevel(level)
