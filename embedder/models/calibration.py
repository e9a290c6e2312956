"""The sounds that an int8 graph's ranges are taken from: none of those that engines are later compared on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embedder.audio.synthesis import CALLS, SAMPLE_RATE_HZ, background
from embedder.models.preprocess import peak_normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedder.models.base import ModelInfo

N_WINDOWS = 24
_SEED = 7001


def calibration_windows(info: ModelInfo, n: int = N_WINDOWS) -> NDArray[np.float32]:
    """Return windows of calls in wind, glides, hiss and silence, as the network takes them; the same at every call.

    Parameters
    ----------
    info : ModelInfo
        The model's rate and window; Perch's are brought to its peak.
    n : int

    Returns
    -------
    NDArray[np.float32]
        float32 (n, window_samples).
    """
    rng = np.random.default_rng(_SEED)
    windows = np.stack([_window(rng, info, row) for row in range(n)]).astype(np.float32)
    return peak_normalise(windows) if info.name.startswith("perch") else windows


def _window(rng: np.random.Generator, info: ModelInfo, row: int) -> NDArray[np.float64]:
    time_s = np.arange(info.window_samples) / info.sample_rate_hz
    hiss = 10 ** rng.uniform(-4, -1) * rng.standard_normal(info.window_samples)
    if row % 8 == 7:
        return 0.0 * time_s
    if row % 4 == 2:
        return hiss
    if row % 4 == 3:
        start_hz, rate = rng.uniform(200, 6000), rng.uniform(-0.5, 1.5) * 1000
        swept: NDArray[np.float64] = 0.5 * np.sin(2 * np.pi * (start_hz + rate * time_s) * time_s) + hiss
        return swept
    sound = background(info.window_s, rng)
    call = CALLS[sorted(CALLS)[row % len(CALLS)]][1](rng.uniform(0.7, 1.5))[: len(sound)]
    at = int(rng.integers(0, len(sound) - len(call) + 1))
    sound[at : at + len(call)] += rng.uniform(0.1, 0.8) * call
    return np.interp(time_s, np.arange(len(sound)) / SAMPLE_RATE_HZ, sound) + 0.1 * hiss
