"""A stand-in for a model: band energies, no weights. It knows no animal and is never chosen unless named."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedder.models.arrays import check_frames, sigmoid
from embedder.models.base import Embedded, Runtime
from sonotheque.core.errors import Invalid
from sonotheque.core.model_spec import ModelSpec, classes_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedder.models.base import ModelInfo

VERSION = "1"
CLASSES = ("placeholder:low", "placeholder:mid", "placeholder:high")
_LOW_HZ, _HIGH_HZ = 50.0, 8000.0
_BORDERS_HZ = (500.0, 2000.0)  # low | mid | high
_FLOOR = 1e-10  # power floor, 100 dB below a full-scale sine: silence gets a logarithm too
_OFFSET = 0.1  # added to every coordinate, so that silence has a direction and not the zero vector


@dataclass(slots=True)
class PlaceholderEmbedder:
    """Log energies of 64 bands, spaced evenly in log frequency from 50 Hz to 8 kHz.

    The vector is the bands' log10 power less its mean over bands, so it says shape and not level. A logit is that of
    the share of energy below 500 Hz, between, and above 2 kHz. Each window goes through the same one-dimensional
    operations alone: a matrix product over the batch may round differently with the number of rows.
    """

    spec: ModelSpec
    classes: tuple[str, ...]
    batch_size: int
    runtime: Runtime
    note: str
    edges: NDArray[np.intp]  # (dim + 1,) first FFT bin of each band, and the end of the last
    taper: NDArray[np.float64]  # (window_samples,) Hann

    def embed(self, frames: NDArray[np.float32], *, logits: bool = True) -> Embedded:
        """Embed n windows; see :class:`embedder.models.base.Embedder`."""
        frames = check_frames(frames, self.spec)
        embeddings = np.empty((len(frames), self.spec.dim), dtype=np.float32)
        out = np.empty((len(frames), self.spec.n_classes), dtype=np.float32) if logits else None
        for row, frame in enumerate(frames):
            bands, thirds = self._energies(frame)
            shape = np.log10(bands + _FLOOR)
            embeddings[row] = shape - shape.mean() + _OFFSET
            if out is not None:
                out[row] = np.log((thirds + _FLOOR) / (thirds.sum() - thirds + _FLOOR))
        return Embedded(embeddings, out)

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return sigmoid(logit): the share of the window's energy in that third of the spectrum."""
        return sigmoid(logits)

    def _energies(self, frame: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean power per band (dim,) and the power in the thirds of the spectrum (3,), float64."""
        spectrum = np.fft.rfft(frame * self.taper) / self.taper.sum()
        power = 4.0 * (spectrum.real**2 + spectrum.imag**2)  # 1.0 at the bin of a full-scale sine
        bands = np.add.reduceat(power[: self.edges[-1]], self.edges[:-1]) / np.diff(self.edges)
        bin_hz = self.spec.sample_rate_hz / self.spec.window_samples
        first, second = (round(border / bin_hz) for border in _BORDERS_HZ)
        # From bin 1: the constant part of a signal is no sound.
        thirds = np.array([power[1:first].sum(), power[first:second].sum(), power[second:].sum()])
        return bands, thirds


def load_placeholder(info: ModelInfo, *, weights: str | None = None, threads: int = 1) -> PlaceholderEmbedder:
    """Return the placeholder; ``threads`` changes nothing, NumPy's FFT has one.

    Raises
    ------
    Invalid
        If weights are given: there are none to load, and ignoring them would hide a mistake.
    """
    if weights is not None:
        raise Invalid(f"the placeholder has no weights, got {weights!r}; leave --weights out or name another model")
    bin_hz = info.sample_rate_hz / info.window_samples
    edges = np.round(np.geomspace(_LOW_HZ, _HIGH_HZ, info.dim + 1) / bin_hz).astype(np.intp)
    recipe = f"placeholder {VERSION} {info.sample_rate_hz} {info.window_samples} {edges.tolist()} {_FLOOR} {_OFFSET}"
    spec = ModelSpec(
        name=info.name,
        version=VERSION,
        weights_digest=hashlib.sha256(recipe.encode()).hexdigest(),  # no weights: the recipe stands for them
        sample_rate_hz=info.sample_rate_hz,
        window_samples=info.window_samples,
        dim=info.dim,
        n_classes=len(CLASSES),
        classes_digest=classes_digest(CLASSES),
        score_rule="sigmoid(logit)",
    )
    return PlaceholderEmbedder(
        spec=spec,
        classes=CLASSES,
        batch_size=16,
        runtime=Runtime(engine=f"NumPy {np.__version__}", device="CPU", threads=1),
        note="The placeholder is not a sound model: it tells loud bands apart and nothing else.",
        edges=edges,
        taper=np.hanning(info.window_samples),
    )
