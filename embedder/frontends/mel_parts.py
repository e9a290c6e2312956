"""How a spectrogram of real parts is cut into products: which samples of a frame each mel band needs to see.

The real part of a Fourier transform and the mel filters after it are linear, so together with the window they are one
matrix from a frame's samples to its bands. Bands that lie low enough get by with every fourth sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedder.frontends.blas import one_blas_thread
from embedder.frontends.decimation import EDGE, FACTOR, LEAD, MARGIN, fit
from embedder.frontends.framing import Fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

# What is lost by leaving samples out, as a share of a band's weights. Rounding a window to float32 loses 1e-7.
RESIDUAL_MAX = 5e-7
_GROUP = 8  # bands are moved in such groups: the processor multiplies that many at once


@dataclass(frozen=True, slots=True)
class Part:
    """One product: some frames and some bands of a spectrogram.

    Attributes
    ----------
    frames, bands : slice
        Rows and columns of the spectrogram it gives.
    coarse : Fold or None
        Sums of the kept samples; None if the part sees all samples only.
    fine : Fold
        Sums of all samples.
    weights : NDArray[np.float32]
        float32 (1 + coarse columns + fine columns, bands). The first row is for the constant part of the sound.
    """

    frames: slice
    bands: slice
    coarse: Fold | None
    fine: Fold
    weights: Float32


def mel_weights(window: Float32, filters: Float32) -> Float64:
    """Return float64 (fft // 2 + 1, bands): from a frame's samples to the real parts, seen through the mel filters.

    Parameters
    ----------
    window : NDArray[np.float32]
        float32 (fft,), zero at sample 0, symmetric about its middle but for rounding.
    filters : NDArray[np.float32]
        float32 (bands, fft // 2 + 1).
    """
    length = len(window)
    at = np.arange(length // 2 + 1)
    cosines = np.cos(2 * np.pi / length * (np.outer(at, at) % length))  # modulo: exact whole turns
    wide = window.astype(np.float64)
    mean = (wide[at] + wide[-at]) / 2  # the cosines see no more of a window that is not quite symmetric
    return np.asarray(cosines @ filters.T.astype(np.float64) * mean[:, None])


@one_blas_thread()
def parts_of(window: Float32, filters: Float32, hop_samples: int, n_frames: int) -> tuple[Part, ...]:
    """Cut a spectrogram into products, of as few samples as do.

    Parameters
    ----------
    window, filters : NDArray[np.float32]
        As for :func:`mel_weights`.
    hop_samples, n_frames : int
        The frames start at samples 0, ``hop_samples``, ... of a signal that has ``LEAD`` zeros in front.
    """
    weights = mel_weights(window, filters)
    half, bands = len(weights) - 1, weights.shape[1]
    # The fold counts every sample of a frame but the first twice, the middle one too.
    constant = 2 * weights.sum(axis=0) - weights[0] - weights[half]
    low, parts = 0, list[Part]()
    if hop_samples % 2 == 0 and half % FACTOR == 0 and half > 2 * EDGE:
        low, parts = _coarse_parts(weights, constant, hop_samples, n_frames)
    if low < bands:
        own = weights[1:, low:].copy()
        own[-1] /= 2
        fine = Fold(LEAD + 1, hop_samples, 2 * half - 2, half)
        rest = slice(low, bands)
        parts.append(Part(slice(0, n_frames), rest, None, fine, _stack(constant[rest], own)))
    return tuple(parts)


def _coarse_parts(weights: Float64, constant: Float64, hop_samples: int, n_frames: int) -> tuple[int, list[Part]]:
    """Return how many of the lowest bands can do with every fourth sample, and their products."""
    half = len(weights) - 1
    cycle = FACTOR // math.gcd(hop_samples, FACTOR)  # frames until one lies on the kept samples as the first does
    fits = [fit(weights, -(start * hop_samples) % FACTOR) for start in range(cycle)]
    good = np.logical_and.reduce([fitted.residual <= RESIDUAL_MAX for fitted in fits])
    low = len(good) if good.all() else int(np.argmin(good)) // _GROUP * _GROUP
    bands = slice(0, low)

    def parts() -> Iterator[Part]:
        for start, fitted in enumerate(fits):
            first = MARGIN + (start * hop_samples + fitted.first) // FACTOR
            span = 2 * (half - fitted.first) // FACTOR
            step = cycle * hop_samples
            yield Part(
                slice(start, n_frames, cycle),
                bands,
                Fold(first, step // FACTOR, span, len(fitted.coarse)),
                Fold(LEAD + 1 + start * hop_samples, step, 2 * half - 2, EDGE),
                _stack(constant[bands], fitted.coarse[:, bands], fitted.edge[:, bands]),
            )

    return low, list(parts()) if low else []


def _stack(constant: Float64, *weights: Float64) -> Float32:
    return np.ascontiguousarray(np.vstack([constant, *weights]), dtype=np.float32)
