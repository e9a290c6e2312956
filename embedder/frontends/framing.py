"""Overlapping frames of a signal, folded about their middle: for what is the same forwards and backwards.

The real part of a Fourier transform under a symmetric window weighs the samples at equal distance from the middle of a
frame alike. Adding them first halves the product that follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]


def check_windows(frames: Float32, window_samples: int) -> None:
    """Refuse what is not (windows, window_samples): a column of one sample would spread over the whole window.

    Raises
    ------
    Invalid
        With both shapes.
    """
    if frames.ndim != 2 or frames.shape[1] != window_samples:
        raise Invalid(f"front end: frames of shape {frames.shape}; expected (windows, {window_samples})")


@dataclass(frozen=True, slots=True)
class Fold:
    """Which samples are added: element (i, j) is ``x[first + i * step + j] + x[first + i * step + span - j]``.

    Attributes
    ----------
    first : int
        Sample of the first frame's first column; what comes before it is padding.
    step : int
        From one frame to the next, in samples of this signal.
    span : int
        From the first column's sample to its partner. If it is even, the sample ``span // 2`` is its own partner, and
        is counted twice.
    columns : int
        Sums a frame, at most ``span // 2 + 1``.
    """

    first: int
    step: int
    span: int
    columns: int


class Mirrored:
    """A signal and its mirror image, so that both halves of a frame are read forwards (backwards is five times slower).

    Parameters
    ----------
    samples : int
        Length of the signal, padding included; zeros until it is written to.
    """

    def __init__(self, samples: int) -> None:
        self.signal: Float32 = np.zeros(samples, dtype=np.float32)
        self._mirror: Float32 = np.zeros(samples, dtype=np.float32)

    def changed(self) -> None:
        """Renew the mirror image, after ``signal`` was written to and before its folds are added."""
        self._mirror[:] = self.signal[::-1]

    def halves(self, fold: Fold, frames: int) -> tuple[Float32, Float32]:
        """Return two views, float32 (frames, columns), whose sum is the fold; they follow the signal.

        Raises
        ------
        ValueError
            If a frame would reach beyond the signal.
        """
        shape, size = (frames, fold.columns), self.signal.itemsize
        # ndarray itself checks the bounds, which as_strided does not, and is ten times faster than a window view.
        ahead = np.ndarray(
            shape, np.float32, buffer=self.signal, offset=fold.first * size, strides=(fold.step * size, size)
        )
        start = len(self.signal) - 1 - fold.first - fold.span
        back = np.ndarray(
            shape, np.float32, buffer=self._mirror, offset=start * size, strides=(-fold.step * size, size)
        )
        return ahead, back
