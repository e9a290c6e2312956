"""Windows of made-up sound, as varied as chirps, bursts of noise, stacks of tones and imitated calls are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from benchmarks.standin.frontend import RATE_HZ
from embedder.audio.synthesis import CALLS, compose
from embedder.models.preprocess import peak_normalise

SECONDS = 5
_TIME = np.arange(SECONDS * RATE_HZ) / RATE_HZ


def windows(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return float32 [count, 160000], each kind of sound in turn, centred and at a peak of 0.25."""
    rng = np.random.default_rng(seed)
    kinds = (_chirps, _bursts, _stack, _calls)
    sounds = [
        kinds[i % len(kinds)](rng) + 10 ** rng.uniform(-4, -2) * rng.standard_normal(len(_TIME)) for i in range(count)
    ]
    return peak_normalise(np.stack(sounds).astype(np.float32))


def _chirps(rng: np.random.Generator) -> NDArray[np.float64]:
    start_hz, end_hz, rate = rng.uniform(300, 14_000), rng.uniform(300, 14_000), rng.uniform(0.3, 6)
    phase = _TIME * rate % 1
    hz = start_hz + (end_hz - start_hz) * phase
    return np.sin(2 * np.pi * np.cumsum(hz) / RATE_HZ) * np.sin(np.pi * phase) ** 2


def _bursts(rng: np.random.Generator) -> NDArray[np.float64]:
    low, high = np.sort(rng.uniform(100, 15_000, 2))
    spectrum = np.fft.rfft(rng.standard_normal(len(_TIME)))
    hz = np.fft.rfftfreq(len(_TIME), 1 / RATE_HZ)
    noise = np.fft.irfft(spectrum * ((hz >= low) & (hz <= high + 300)), len(_TIME))
    return noise / np.abs(noise).max() * (_TIME * rng.uniform(0.4, 8) % 1 < rng.uniform(0.1, 0.9))


def _stack(rng: np.random.Generator) -> NDArray[np.float64]:
    base_hz, wobble_hz = rng.uniform(80, 3_000), rng.uniform(0, 12)
    phase = 2 * np.pi * base_hz * _TIME + rng.uniform(0, 20) * np.sin(2 * np.pi * wobble_hz * _TIME)
    tones = range(1, min(int(15_000 // base_hz), int(rng.integers(2, 12))) + 1)
    loudness = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.1, 4) * _TIME)
    return loudness * np.sum([np.sin(k * phase) / k for k in tones], axis=0)


def _calls(rng: np.random.Generator) -> NDArray[np.float64]:
    sound, _ = compose(rng.permutation(list(CALLS)).tolist(), float(SECONDS), rng)
    return np.asarray(resample_poly(sound, 4, 3))  # 24 kHz to 32 kHz
