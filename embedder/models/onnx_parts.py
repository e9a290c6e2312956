"""The networks that one ONNX file is cut into, each opened when it is needed.

The head is run by the engine too. A product of our own, block of classes by block of classes so that what it gives stays in the
cache, was measured beside it: 118 ms a window against 109 (ONNX Runtime) and 107 (OpenVINO), and 60 in bfloat16, of which the
bare matrix product is 103 and 57.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedder.engines import open_network
from embedder.engines.onnx_graph import cut_cached
from embedder.engines.quantise import quantised
from embedder.models.calibration import calibration_windows
from sonotheque.core.ids import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from embedder.engines import Network
    from embedder.models.base import ModelInfo
    from embedder.models.onnx_frontend import FrontEnd
    from embedder.models.onnx_plan import OnnxPlan

    Array = NDArray[np.float32]

INT8 = "int8"
CALIBRATION_ROWS = 4  # at once, where the file does not fix their number: every inner tensor of them is held


@dataclass(slots=True)
class OnnxParts:
    """One file's trunk, and its head once logits have been asked for.

    Attributes
    ----------
    path, digest
        The file and its SHA-256.
    info : ModelInfo
    plan : OnnxPlan
    front_end : FrontEnd
    engine, precision, threads
        As for :func:`embedder.engines.open_network`.
    whole : bool
        Run the published graph as it is: nothing cut off, and the logits computed in any case.
    trunk : Network or None
    head : Network or None
        None too where the logits are an output of the trunk.
    has_label : bool
        Whether the trunk gives the logits.
    """

    path: Path
    digest: str
    info: ModelInfo
    plan: OnnxPlan
    front_end: FrontEnd
    engine: str
    precision: str
    threads: int
    whole: bool = False
    trunk: Network | None = None
    head: Network | None = None
    has_label: bool = False

    @property
    def is_separable(self) -> bool:
        """Whether the head is a network of its own: all it is made from is one tensor, and not the logits themselves."""
        inputs = self.plan.head_inputs
        return len(inputs) == 1 and inputs != (self.plan.label,) and not self.whole

    def run(self, frames: Array, *, logits: bool) -> tuple[Array, Array | None]:
        """Return embedding and logits of what the front end takes, as the engine's own memory: to be copied.

        Parameters
        ----------
        frames : NDArray[np.float32]
            float32 (n, window_samples), n >= 1.
        logits : bool
        """
        trunk = self.open_trunk(with_label=logits and not self.is_separable)
        found = trunk.run(self.front_end(frames))
        if not logits or not self.plan.label:
            return found[0], None
        if not self.is_separable:
            return found[0], found[-1]
        if self.head is None:
            self.head = self._open(self.plan.head_inputs, (self.plan.label,))
        return found[0], self.head.run(found[-1])[0]

    def open_trunk(self, *, with_label: bool = False) -> Network:
        """Return the network from the front end to the embedding, and to what the head needs."""
        with_label = (with_label or self.whole) and bool(self.plan.label)
        if self.trunk is None or (with_label and not self.has_label):
            more = (self.plan.label,) if with_label else self.plan.head_inputs if self.is_separable else ()
            outputs = tuple(dict.fromkeys((self.plan.embedding, *more)))
            self.trunk = self._open((self.front_end.tensor,), outputs)
            self.has_label = with_label
        return self.trunk

    def _open(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Network:
        path = self.path
        if inputs != (self.plan.input,) or not (self._is_whole(outputs) or set(outputs) >= set(self.plan.outputs)):
            path = cut_cached(self.path, self.digest, inputs, outputs)
        if self.precision == INT8:
            rows = self.plan.rows or CALIBRATION_ROWS
            path = quantised(path, self._calibration(inputs), digest=file_sha256(path), rows_max=rows)
        return open_network(self.engine, path, outputs=outputs, precision=self.precision, threads=self.threads)

    def _is_whole(self, outputs: tuple[str, ...]) -> bool:
        """Whether the published file is to run as it is; logits behind a sigmoid must be cut out all the same."""
        return self.whole and set(outputs) <= set(self.plan.outputs)

    def _calibration(self, inputs: tuple[str, ...]) -> Array:
        """Return what this part of the graph is given of varied sound; the windows again from the first to fill the last batch."""
        windows, rows = calibration_windows(self.info), self.plan.rows or 1
        frames = self.front_end(windows[np.arange(-(-len(windows) // rows) * rows) % len(windows)])
        if self.trunk is None or inputs == (self.front_end.tensor,):
            return frames
        trunk = self.trunk
        pieces = [frames[at : at + rows] for at in range(0, len(frames), rows)]
        return np.concatenate([trunk.run(piece)[-1].copy() for piece in pieces])
