"""The matrices of Perch 2's front end: window, mel filters, and the Fourier transform as a product of matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.standin.architecture import BINS, FFT, HOP, MELS
from benchmarks.standin.ops import Weights

RATE_HZ, LOW_HZ, HIGH_HZ = 32_000, 60.0, 16_000.0


def frontend_weights() -> Weights:
    """Return the symmetric Hann window, divided by its sum, and the mel filters."""
    window = np.hanning(2 * HOP)
    return {"frontend/window": (window / window.sum()).astype(np.float32), "frontend/mel": mel_filters()}


def mel_filters() -> NDArray[np.float32]:
    """Return [bins, mels]: triangles on the HTK mel scale, as tf.signal makes them; the DC bin counts for nothing."""
    mel = _htk(np.linspace(0, RATE_HZ / 2, BINS))[:, None]
    edges = np.linspace(_htk(np.float64(LOW_HZ)), _htk(np.float64(HIGH_HZ)), MELS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    filters = np.maximum(0.0, np.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)))
    filters[0] = 0.0
    return filters.astype(np.float32)


def fourier() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the cosine and sine matrices, [FFT, bins] each, of a real signal's transform."""
    angle = 2 * np.pi / FFT * (np.outer(np.arange(FFT), np.arange(BINS)) % FFT)
    return np.cos(angle).astype(np.float32), (-np.sin(angle)).astype(np.float32)


def _htk(hz: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(hz / 700.0))
