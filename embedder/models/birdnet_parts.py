"""The three parts BirdNET's network is run in: front end outside, backbone, last layer. Only the last two are networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from embedder.engines import PRECISIONS, open_network
from embedder.engines.contents import first_lines
from embedder.models.birdnet_graph import UnknownLayout, cut, shape_of
from embedder.models.birdnet_layout import FrontEndFacts, read_front_end
from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedder.engines import Network
    from embedder.frontends import BirdnetSpectrograms
    from embedder.models.birdnet_graph import TfliteGraph

LITERT: Final = "litert"
ENGINE_PRECISIONS: Final = {LITERT: ("fp32",), "openvino": ("fp32", "bf16", "fp16")}
# Largest difference between our spectrograms and the file's own, as a share of their largest value. Rounding alone
# makes 7e-5 of it; a wrong constant or operation makes all of it.
SPECTROGRAM_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Parts:
    """A network, cut.

    Attributes
    ----------
    front_end : BirdnetSpectrograms
        Sound to spectrograms, in NumPy.
    backbone : bytes
        A ``.tflite`` network: spectrograms to the embedding.
    head : bytes
        A ``.tflite`` network of one dense layer: the embedding to logits.
    """

    front_end: BirdnetSpectrograms
    backbone: bytes
    head: bytes


@dataclass(slots=True)
class LazyHead:
    """The last layer, opened at the first call: who stores embeddings alone neither runs nor compiles it.

    It always computes in fp32: it takes a thirtieth of the backbone's time, and its products of 1024 terms would lose
    more in reduced precision than they would gain.
    """

    engine: str
    content: bytes  # let go of once the layer is open
    threads: int
    network: Network | None = None

    def run(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits, float32 (n, n_classes), of float32 (n, dim); valid until the next call."""
        return self.open().run(embeddings)[0]

    def open(self) -> Network:
        """Return the layer's network, opened now if it was not."""
        if self.network is None:
            self.network = open_network(self.engine, self.content, threads=self.threads)
            self.content = b""
        return self.network


def check_engine(engine: str | None, precision: str, *, whole_graph: bool) -> str:
    """Return the engine to use, LiteRT if none is named.

    Raises
    ------
    Invalid
        If BirdNET's file does not run in this engine, or not in this precision; the message says what does.
    """
    engine = engine or LITERT
    if engine not in ENGINE_PRECISIONS:
        raise Invalid(
            f"BirdNET's .tflite file runs in {' or '.join(ENGINE_PRECISIONS)}, not in {engine}; "
            "for that engine give an ONNX file of the model: --weights FILE.onnx"
        )
    if precision not in ENGINE_PRECISIONS[engine]:
        able = [name for name, precisions in ENGINE_PRECISIONS.items() if precision in precisions]
        instead = (
            f"--engine {able[0]} does" if able else f"precisions it has are {', '.join(ENGINE_PRECISIONS[engine])}"
        )
        known = "" if precision in PRECISIONS else f" ({precision!r} is none of {', '.join(PRECISIONS)})"
        raise Invalid(f"{engine} does not run BirdNET's .tflite file in {precision}{known}; {instead}")
    if whole_graph and engine != LITERT:
        raise Invalid(f"BirdNET's network runs whole in {LITERT} alone: {engine} has no RFFT2D operator")
    return engine


def split(graph: TfliteGraph, window_samples: int, *, verify: bool) -> Parts:
    """Cut a network in three.

    Parameters
    ----------
    graph : TfliteGraph
        The published network.
    window_samples : int
        Length of a window of sound.
    verify : bool
        Whether to compare our front end with the file's own on two windows (0.1 s): for files not known by their hash.

    Raises
    ------
    UnknownLayout
        If the file is not laid out as expected, or the two front ends differ or cannot be compared.
    """
    facts = read_front_end(graph)
    front_end = facts.outside(window_samples)
    embedding = shape_of(graph.subgraph.tensors[graph.embedding])
    parts = Parts(
        front_end=front_end,
        backbone=cut(graph, {facts.tensor: (1, *front_end.shape)}, [graph.embedding]),
        head=cut(graph, {graph.embedding: embedding}, [graph.logits]),
    )
    if verify:
        try:
            differs = spectrogram_difference(graph, facts, check_windows(window_samples))
        except (ValueError, RuntimeError) as error:  # LiteRT's own; Invalid is a ValueError
            raise UnknownLayout(f"its own front end could not be run apart: {first_lines(error)}") from error
        if not differs <= SPECTROGRAM_TOLERANCE:  # not-a-number is a difference too
            raise UnknownLayout(f"its spectrograms differ from ours by {differs:.1g} of their largest value")
    return parts


def open_own_front_end(graph: TfliteGraph, facts: FrontEndFacts, window_samples: int) -> Network:
    """Return the file's own front end as a network of its own in LiteRT: sound to spectrograms, to compare with."""
    return open_network(LITERT, cut(graph, {graph.input: (1, window_samples)}, [facts.tensor]))


def spectrogram_difference(graph: TfliteGraph, facts: FrontEndFacts, frames: NDArray[np.float32]) -> float:
    """Return the largest difference between our spectrograms and the file's, as a share of their largest value.

    Parameters
    ----------
    frames : NDArray[np.float32]
        float32 (n, window_samples).
    """
    window_samples = frames.shape[1]
    (theirs,) = open_own_front_end(graph, facts, window_samples).run(frames)
    ours = facts.outside(window_samples)(frames)
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def check_windows(window_samples: int) -> NDArray[np.float32]:
    """Return float32 (2, window_samples): noise about an offset, and a sweep through all frequencies in noise.

    Not a bare sweep: the network raises what it finds to a power near 0.4, so in bands without sound it would be the
    rounding of the two that is compared.
    """
    noise = np.random.default_rng(24).standard_normal((2, window_samples)) * 0.05
    place = np.arange(window_samples) / window_samples
    noise[0] += 0.2
    noise[1] += 0.5 * np.sin(0.5 * np.pi * window_samples * place**2)  # ends at half of the rate
    return noise.astype(np.float32)
