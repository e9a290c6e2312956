"""Perch 2's front end: 5 s of sound to the logarithm of 128 mel bands, 500 times a window.

Source: google-research/perch, ``chirp/models/perch_2.py``, and the paper's appendix A.2, which agrees with the published
graphs where the code does not (floor of the logarithm, padding).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embedder.frontends.banded import banded_product, blocks_of
from embedder.frontends.blas import one_blas_thread
from embedder.frontends.framing import check_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ, WINDOW_SAMPLES = 32_000, 160_000
FRAME, HOP, FFT = 640, 320, 1024  # samples
FRAMES, MELS, BINS = 500, 128, FFT // 2 + 1
LOW_HZ, HIGH_HZ = 60.0, 16_000.0
FLOOR, SCALE = 1e-5, 0.1
PAD = (FRAME - HOP) // 2  # zeros in front, and as many at the end
# Where the filters are cut into blocks. Six times fewer operations than the whole matrix; more blocks gain no more.
EDGES = (32, 48, 64, 80, 96, 112)


def hann_window() -> NDArray[np.float32]:
    """Return float32 (640,): a symmetric Hann window whose sum is 1, so that magnitudes need no division."""
    window = np.hanning(FRAME)
    return np.asarray(window / window.sum(), dtype=np.float32)


def mel_filters() -> NDArray[np.float32]:
    """Return float32 (513, 128): triangles on the HTK mel scale. The bin of the constant part lies below them.

    The lowest bands lie closer than the bins do, and some of them hold none: they always give the floor.
    """
    mel = _mel(np.linspace(0.0, RATE_HZ / 2, BINS))[:, None]
    edges = np.linspace(_mel(np.float64(LOW_HZ)), _mel(np.float64(HIGH_HZ)), MELS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    filters = np.maximum(0.0, np.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)))
    return np.asarray(filters, dtype=np.float32)


def _mel(hz: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(hz / 700.0))


class LogMel:
    """0.1 ln(max(m, 1e-5)) of the mel magnitudes m of windows of 160,000 samples at 32 kHz.

    It keeps constants alone, so one may serve several threads; they take turns.
    """

    window_samples = WINDOW_SAMPLES
    shape = (FRAMES, MELS)

    def __init__(self) -> None:
        window = hann_window()
        self._halves = window[:HOP], window[HOP:]
        self._blocks = blocks_of(mel_filters(), EDGES)

    def __call__(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-mel spectrograms.

        Parameters
        ----------
        frames : NDArray[np.float32]
            float32 (n, 160000), n >= 0, finite: as the network takes them, which is after peak normalisation. Not
            modified.

        Returns
        -------
        NDArray[np.float32]
            float32 (n, 500, 128), fresh, finite; time first, lowest band first. A window's values do not depend on
            the others.

        Raises
        ------
        Invalid
            If the windows have another length, or are not given as (windows, samples).
        """
        check_windows(frames, WINDOW_SAMPLES)
        out = np.empty((len(frames), FRAMES, MELS), dtype=np.float32)
        # Room for one window at a time. Smaller pieces would fit a nearer cache, and were measured to be slower.
        padded = np.zeros(WINDOW_SAMPLES + 2 * PAD, dtype=np.float32)
        wide = np.zeros((FRAMES, FFT), dtype=np.float32)
        magnitudes = np.empty((FRAMES, BINS), dtype=np.float32)
        with one_blas_thread():
            for window, bands in zip(frames, out, strict=True):
                padded[PAD:-PAD] = window
                self._transform(padded, wide, magnitudes)
                banded_product(magnitudes, self._blocks, bands)
                np.maximum(bands, np.float32(FLOOR), out=bands)
                np.log(bands, out=bands)
                np.multiply(bands, np.float32(SCALE), out=bands)
        return out

    def _transform(
        self, padded: NDArray[np.float32], wide: NDArray[np.float32], magnitudes: NDArray[np.float32]
    ) -> None:
        """Write the magnitudes of all frames of a padded window; ``wide`` is zero from column 640 on, and stays so."""
        from scipy.fft import rfft  # in float32, with twice the speed of NumPy's

        hops = padded.reshape(FRAMES + 1, HOP)  # a frame is two hops, so no window view is needed
        np.multiply(hops[:-1], self._halves[0], out=wide[:, :HOP])
        np.multiply(hops[1:], self._halves[1], out=wide[:, HOP:FRAME])
        np.abs(rfft(wide, axis=1), out=magnitudes)
