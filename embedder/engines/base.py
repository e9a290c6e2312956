"""What every engine's network looks like, and the words for engines and precisions.

Nothing here imports NumPy or an engine at run time: listing what there is has to be instant.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AUTO: Final = "auto"  # for an engine and for a precision: the fastest that may be used
ENGINES: Final = ("tensorflow", "onnx", "openvino", "litert")
PRECISIONS: Final = ("fp32", "bf16", "fp16", "int8")
DEVICES: Final = ("auto", "cpu", "gpu")


def how_to_install(extra: str) -> str:
    """Return the command that adds an optional engine to the Python that runs this, from the program's own pins."""
    pins = Path(__file__).resolve().parents[2] / "requirements" / f"{extra}.txt"
    return f"`{sys.executable} -m pip install --require-hashes -r {pins}`"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a model really runs on, as observed after loading and not as asked for.

    Attributes
    ----------
    engine : str
        Library, version and kernels: ``LiteRT 2.3.0 XNNPACK``.
    device : str
        ``CPU``, or ``GPU:0 NVIDIA H200``.
    threads : int
        Threads one call may use; 0 if the engine decides.
    """

    engine: str
    device: str
    threads: int


class Network(Protocol):
    """A compiled graph with one input. It belongs to one thread: engines keep state between calls.

    Attributes
    ----------
    runtime : Runtime
        Engine and device in use.
    precision : str
        The arithmetic really used, one of ``PRECISIONS``, as read back from the engine.
    """

    runtime: Runtime
    precision: str

    def run(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Run the graph on n rows.

        Parameters
        ----------
        inputs : NDArray[np.float32]
            float32 (n, ...), n >= 1 and different from call to call as one likes. Not modified.

        Returns
        -------
        tuple of NDArray[np.float32]
            float32 (n, ...) each, in the order asked for on opening. They may be the engine's own memory, valid until
            the next ``run``: a caller that keeps them copies them.

        Raises
        ------
        Invalid
            If the input has another dtype, number of axes or width than the graph, or no rows.
        """
        ...
