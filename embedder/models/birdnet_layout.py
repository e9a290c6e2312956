"""What BirdNET's own front end does to the sound, read out of the network: two spectrograms and their constants.

Nothing is assumed of the numbers: windows, hops, mel matrices and exponents come from the file. The *order of
operations* is assumed, and checked operator by operator; a release that is laid out otherwise is told apart here, and
then runs whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embedder.frontends.birdnet import BirdnetSpectrograms, MelBand
from embedder.models.birdnet_graph import UnknownLayout
from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedder.models.birdnet_graph import TfliteGraph

CONCAT_TENSOR = "model/concatenate/concat"
# From one channel of the concatenation back to the normalised sound. The number is the input that the chain follows.
_BAND = (
    "EXPAND_DIMS", "TRANSPOSE", "REVERSE_V2", "POW", "MUL", "RESHAPE", "FULLY_CONNECTED", "RESHAPE", "CAST", "SQUEEZE",
    "RFFT2D", "EXPAND_DIMS", "MUL", "RESHAPE", "GATHER", "RESHAPE", "STRIDED_SLICE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FrontEndFacts:
    """All constants of the front end.

    Attributes
    ----------
    tensor : int
        The spectrograms in the graph, [n, n_mels, n_frames, 2]: where front end and backbone are cut apart.
    epsilon, centre, gain : float
        The sound x becomes ``((x - min) / (max(x - min) + epsilon) - centre) * gain``, window by window.
    bands : tuple of MelBand
        One for each spectrogram, in the order of the last axis. The mel matrix is applied to the real part of the
        transform alone, and the square of what comes out is raised to the exponent.
    """

    tensor: int
    epsilon: float
    centre: float
    gain: float
    bands: tuple[MelBand, ...]

    def outside(self, window_samples: int) -> BirdnetSpectrograms:
        """Return the same front end in NumPy.

        Raises
        ------
        UnknownLayout
            If it cannot be had with these constants: spectrograms of different sizes, a lopsided window.
        """
        try:
            return BirdnetSpectrograms(
                self.bands, window_samples=window_samples, epsilon=self.epsilon, centre=self.centre, gain=self.gain
            )
        except Invalid as error:
            raise UnknownLayout(error.message) from error


def read_front_end(graph: TfliteGraph) -> FrontEndFacts:
    """Find the front end of a network and take its constants out.

    Parameters
    ----------
    graph : TfliteGraph
        As :func:`embedder.models.birdnet_graph.read_graph` gives it.

    Raises
    ------
    UnknownLayout
        If an operator is not the expected one, with its name, or has not what belongs to it: such a file runs whole.
    """
    try:
        return _read(graph)
    except UnknownLayout:
        raise
    except (IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UnknownLayout(f"a part of its front end is not whole: {error}") from error


def _read(graph: TfliteGraph) -> FrontEndFacts:
    names = [tensor.name for tensor in graph.subgraph.tensors]
    if CONCAT_TENSOR.encode() not in names:
        raise UnknownLayout(f"it has no tensor {CONCAT_TENSOR}")
    tensor = names.index(CONCAT_TENSOR.encode())
    bands, sounds = [], set()
    for source in _follow(graph, tensor, "CONCATENATION", n_inputs=2):
        band, sound = _read_band(graph, source)
        bands.append(band)
        sounds.add(sound)
    if len(sounds) != 1:
        raise UnknownLayout("its two spectrograms are not of the same sound")
    epsilon, centre, gain = _read_normalisation(graph, sounds.pop())
    return FrontEndFacts(tensor, epsilon, centre, gain, tuple(bands))


def _read_band(graph: TfliteGraph, tensor: int) -> tuple[MelBand, int]:
    """Return a spectrogram's constants and the tensor of the normalised sound it was made of."""
    seen: list[list[int]] = []
    for kind in _BAND:
        seen.append(_follow(graph, tensor, kind))
        tensor = seen[-1][0]
    axis, order, flipped, power, square, _, dense, _, _, _, transform, _, windowed, _, gathered, _, _ = seen
    window, filters = _constant(graph, windowed[1]), _constant(graph, dense[1])
    n_fft = int(_constant(graph, transform[1])[-1])
    turned = (
        _constant(graph, order[1]).tolist() == [0, 2, 1]
        and _constant(graph, flipped[1]).tolist() == [2]
        and _scalar(graph, axis[1]) in (-1, 3)
    )
    if window.shape != (n_fft,) or not turned or square[0] != square[1] or (len(dense) > 2 and dense[2] >= 0):
        raise UnknownLayout(f"a spectrogram of {n_fft} samples has another window or axis, or a bias")
    # Overlapping frames are gathered from short pieces that tile the sound, so a hop is a number of pieces.
    piece_samples = int(graph.subgraph.tensors[gathered[0]].shape[-1])
    exponent = _scalar(graph, power[1])
    return MelBand(window, _pieces_a_hop(graph, gathered[1]) * piece_samples, filters, exponent), tensor


def _pieces_a_hop(graph: TfliteGraph, tensor: int) -> int:
    """Return the pieces between two frames: the factor by which the numbers of the frames are multiplied."""
    starts, _ = _follow(graph, tensor, "ADD", n_inputs=2)
    numbers, _ = _follow(graph, starts, "RESHAPE", n_inputs=2)
    counted, step = _follow(graph, numbers, "MUL", n_inputs=2)
    first, _, by = _follow(graph, counted, "RANGE", n_inputs=3)
    if _scalar(graph, first) != 0 or _scalar(graph, by) != 1:
        raise UnknownLayout("its frames are not counted from 0 by 1")
    return int(_scalar(graph, step))


def _read_normalisation(graph: TfliteGraph, tensor: int) -> tuple[float, float, float]:
    """Return epsilon, centre and gain, having checked that they are applied to the input in this order."""
    centred, gain = _follow(graph, tensor, "MUL", n_inputs=2)
    scaled, centre = _follow(graph, centred, "SUB", n_inputs=2)
    raised, span = _follow(graph, scaled, "DIV", n_inputs=2)
    highest, epsilon = _follow(graph, span, "ADD", n_inputs=2)
    sound, lowest = _follow(graph, raised, "SUB", n_inputs=2)
    over_time = [_follow(graph, highest, "REDUCE_MAX", n_inputs=2), _follow(graph, lowest, "REDUCE_MIN", n_inputs=2)]
    axes = {_scalar(graph, axis) for _, axis in over_time}
    if [source for source, _ in over_time] != [raised, sound] or sound != graph.input or not axes <= {1, -1}:
        raise UnknownLayout("its sound is normalised otherwise")
    return _scalar(graph, epsilon), _scalar(graph, centre), _scalar(graph, gain)


def _follow(graph: TfliteGraph, tensor: int, kind: str, *, n_inputs: int | None = None) -> list[int]:
    """Return the inputs of the operator that makes a tensor, if it is of the expected kind."""
    found, sources = graph.sources(tensor)
    if found != kind or (n_inputs is not None and len(sources) != n_inputs):
        name = graph.subgraph.tensors[tensor].name.decode(errors="replace")
        raise UnknownLayout(f"tensor {name} comes of {found or 'no operator'}, expected {kind}")
    return sources


def _scalar(graph: TfliteGraph, tensor: int) -> float:
    found = _constant(graph, tensor)
    if found.size != 1:
        raise UnknownLayout(f"a constant of {found.size} numbers where 1 is expected")
    return float(found.item())


def _constant(graph: TfliteGraph, tensor: int) -> NDArray[Any]:
    found = graph.constant(tensor)
    if found is None:
        name = graph.subgraph.tensors[tensor].name.decode(errors="replace")
        raise UnknownLayout(f"tensor {name} is no constant of a known type")
    return np.asarray(found)
