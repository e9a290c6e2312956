"""The front ends again, as plainly as they can be written, in float64; and sounds to hold them against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedder.frontends import MelBand

Float64 = NDArray[np.float64]


def frames_of(x: Float64, length: int, hop: int) -> Float64:
    starts = range(0, len(x) - length + 1, hop)
    return np.stack([x[start : start + length] for start in starts])


def mel_triangles(bins: int, rate_hz: float, bands: int, low_hz: float, high_hz: float) -> Float64:
    """(bins, bands), band by band and bin by bin from the definition: 0 at both neighbours' centres, 1 at its own."""
    low, high, *at = 2595.0 * np.log10(1.0 + np.array([low_hz, high_hz, *np.linspace(0, rate_hz / 2, bins)]) / 700.0)
    corners = np.linspace(low, high, bands + 2)
    columns = [np.interp(at, corners[band : band + 3], [0.0, 1.0, 0.0], 0.0, 0.0) for band in range(bands)]
    return np.stack(columns, axis=1)


def perch_magnitudes(x: NDArray[np.float32]) -> Float64:
    """(500, 128): mel magnitudes of one window, before floor and logarithm."""
    padded = np.concatenate([np.zeros(160), x.astype(np.float64), np.zeros(160)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(640) / 639)
    magnitudes = np.abs(np.fft.rfft(frames_of(padded, 640, 320) * window, 1024)) / window.sum()
    filters = mel_triangles(513, 32_000, 128, 60, 16_000)
    filters[0] = 0
    return np.asarray(magnitudes @ filters)


def birdnet_real_parts(x: NDArray[np.float32], band: MelBand, epsilon: float = 1e-6) -> Float64:
    """(bands, frames): mel sums of the real parts of one window, highest band first, before square and power."""
    sound = x.astype(np.float64)
    sound = sound - sound.min()
    sound = (sound / (sound.max() + epsilon) - 0.5) * 2.0
    frames = frames_of(sound, len(band.window), band.hop_samples) * band.window.astype(np.float64)
    return (np.fft.rfft(frames).real @ band.filters.T.astype(np.float64)).T[::-1]


def birdnet_like_bands() -> tuple[MelBand, MelBand]:
    """Sizes and ranges as in BirdNET's file; the numbers are ours."""
    return (
        MelBand(periodic_hann(2048), 278, mel_triangles(1025, 48_000, 96, 0, 3_000).T.astype(np.float32), 0.23),
        MelBand(periodic_hann(1024), 280, mel_triangles(513, 48_000, 96, 500, 15_000).T.astype(np.float32), 0.19),
    )


def periodic_hann(length: int) -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def sounds(samples: int, rate_hz: int) -> dict[str, NDArray[np.float32]]:
    """One window of each kind, float32 (samples,)."""
    rng = np.random.default_rng(11)
    time_s = np.arange(samples) / rate_hz
    noise = rng.standard_normal(samples)
    click = np.zeros(samples)
    click[samples // 3] = 1.0
    last = np.zeros(samples)
    last[[0, 1, -2, -1]] = 0.5
    kinds = {
        "silence": np.zeros(samples),
        "offset": np.full(samples, 0.5),
        "offset and faint noise": 0.5 + 1e-4 * noise,
        "noise": 0.05 * noise,
        "full scale": np.sign(noise),
        "low tone": 0.5 * np.sin(2 * np.pi * 1_000 * time_s),
        "high tone over faint noise": 0.25 * np.sin(2 * np.pi * 0.21 * rate_hz * time_s) + 1e-5 * noise,
        "chirp": 0.4 * np.sin(2 * np.pi * (200 + 0.06 * rate_hz * time_s) * time_s),
        "click": click,
        "edges": last,
        "subnormal": 1e-40 * noise,
    }
    return {name: sound.astype(np.float32) for name, sound in kinds.items()}
