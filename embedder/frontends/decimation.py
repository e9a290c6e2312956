"""Every fourth sample of a low-passed signal, and how weights for all samples become weights for those.

A band below a sixteenth of the sampling rate needs no sample in full. If the whole signal is low-passed once, with
every fourth sample kept, then each of its overlapping frames has a quarter of the samples to weigh. That changes what
the weights have to be, and the best ones follow from least squares: the weights of the few samples, each spread out by
the filter, must add up to the weights of all samples. How far they do not is known when they are made, in
:class:`Fitted`, and holds for any sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

FACTOR = 4
REACH = 40  # taps on either side of the middle one
ATTENUATION_DB = 140.0  # of what would be folded into the bands: below the rounding of float32
MARGIN = 8  # kept samples beyond either end of a frame, where the filter reaches into it
# A Hann window has a kink at either end that few samples cannot follow: so many of all samples are weighed there too.
EDGE = 24
LEAD = FACTOR * MARGIN + REACH  # zeros in front of a signal and behind it
_KEPT = 16  # samples kept by one row of the product that filters: fewest operations before it gets too narrow


def low_pass() -> Float64:
    """Return float64 (81,): a Kaiser-windowed low pass, half of it at an eighth of the sampling rate, sum 1."""
    at = np.arange(-REACH, REACH + 1)
    taps = np.sinc(at / FACTOR) * np.kaiser(2 * REACH + 1, 0.1102 * (ATTENUATION_DB - 8.7))
    return np.asarray(taps / taps.sum())


class Decimator:
    """Filters and keeps every fourth sample, as one product with a banded matrix.

    Parameters
    ----------
    samples : int
        Length of the signal, without padding.

    Attributes
    ----------
    samples_in : int
        Length of what is filtered: the signal after ``LEAD`` zeros, with at least as many behind it.
    samples_out : int
        Kept samples. The one at index ``MARGIN`` is the signal's first.
    """

    def __init__(self, samples: int) -> None:
        rows = -(-(samples + 2 * FACTOR * MARGIN + 1) // (_KEPT * FACTOR))
        self.samples_out = rows * _KEPT
        self._shape = (rows, _KEPT * FACTOR + 2 * REACH)
        self.samples_in = (rows - 1) * _KEPT * FACTOR + self._shape[1]
        taps = low_pass().astype(np.float32)
        self._matrix = np.zeros((self._shape[1], _KEPT), dtype=np.float32)
        for kept in range(_KEPT):
            self._matrix[kept * FACTOR : kept * FACTOR + len(taps), kept] = taps

    def room(self) -> Float32:
        """Return what :meth:`keep` works in: BLAS takes no overlapping rows, and fresh memory for a copy is dear."""
        return np.empty(self._shape, dtype=np.float32)

    def keep(self, padded: Float32, room: Float32, out: Float32) -> None:
        """Write float32 (samples_out,) of float32 (samples_in,)."""
        strides = (_KEPT * FACTOR * padded.itemsize, padded.itemsize)
        room[:] = np.ndarray(self._shape, np.float32, buffer=padded, strides=strides)
        np.matmul(room, self._matrix, out=out.reshape(-1, _KEPT))


@dataclass(frozen=True, slots=True)
class Fitted:
    """Weights for the kept samples of a frame and for the outermost of all samples.

    Attributes
    ----------
    first : int
        Place of the first kept sample relative to the frame's start, in samples of the signal; negative.
    coarse : NDArray[np.float64]
        float64 (columns, bands): of sums of two kept samples at equal distance from the middle.
    edge : NDArray[np.float64]
        float64 (EDGE, bands): of sums of two samples, from the frame's sample 1 on.
    residual : NDArray[np.float64]
        float64 (bands,): root of the summed squares of what is left, relative to that of the weights themselves.
    """

    first: int
    coarse: Float64
    edge: Float64
    residual: Float64


def fit(weights: Float64, phase: int) -> Fitted:
    """Find the weights that do on few samples what ``weights`` do on all.

    Parameters
    ----------
    weights : NDArray[np.float64]
        float64 (frame // 2 + 1, bands): the first half of a frame and its middle. The other half mirrors it; the
        sample 0, which has no partner, must have the weight 0.
    phase : int
        Place of the kept samples relative to the frame's start, modulo 4: 0, or 2 for a frame that starts between.
    """
    half, taps = len(weights) - 1, low_pass()
    kept = np.arange(phase - FACTOR * MARGIN, half + 1, FACTOR)
    rows = np.arange(kept[0] - REACH, half + 1)[:, None]

    def spread(places: NDArray[np.int64]) -> Float64:
        distance = rows - places
        inside = np.abs(distance) <= REACH
        return np.where(inside, taps[np.clip(distance + REACH, 0, 2 * REACH)], 0.0)

    edge = (rows == np.arange(1, EDGE + 1)).astype(np.float64)
    terms = np.hstack([spread(kept) + spread(2 * half - kept), edge])
    wanted = np.zeros((len(rows), weights.shape[1]))
    wanted[-half - 1 :] = weights
    # Every row stands for two samples, but the middle one for itself.
    importance = np.where(rows == half, 1.0, np.sqrt(2.0))
    found = np.linalg.lstsq(terms * importance, wanted * importance, rcond=None)[0]
    left = np.linalg.norm((terms @ found - wanted) * importance, axis=0)
    norm = np.linalg.norm(wanted * importance, axis=0)
    residual = np.divide(left, norm, out=np.zeros_like(left), where=norm > 0)
    return Fitted(int(kept[0]), found[: len(kept)], found[len(kept) :], residual)
