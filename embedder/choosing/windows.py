"""The sounds that every engine is compared on: the same ones at every call, made here, for any rate and length.

They are varied on purpose: calls in wind, glides, trills, stacks of harmonics, clicks, noises of three colours, a nearly
silent window and digital silence. A front end that is wrong at the edges of the scale shows on the last two first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embedder.audio.synthesis import CALLS, SAMPLE_RATE_HZ, background

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Signal = NDArray[np.float64]
    Maker = Callable[[np.random.Generator, float, int], Signal]

N_WINDOWS = 48  # enough for ten neighbours to mean something, few enough for a second or two a candidate
_SEED = 20_250_510
_QUIET = 1e-4  # 80 dB below full scale


def check_windows(sample_rate_hz: int, window_samples: int, n: int = N_WINDOWS) -> NDArray[np.float32]:
    """Return n windows of varied sound, no two alike.

    Parameters
    ----------
    sample_rate_hz, window_samples : int
        The model's.
    n : int
        At least 2: the last two are a nearly silent window and digital silence.

    Returns
    -------
    NDArray[np.float32]
        float32 (n, window_samples), within full scale, the same for the same arguments.
    """
    makers: tuple[Maker, ...] = (_call, _glide, _two_calls, _noise, _trill, _call, _harmonics, _clicks)
    windows = np.zeros((n, window_samples), dtype=np.float32)
    for row in range(n - 1):
        rng = np.random.default_rng([_SEED, row])
        sound = makers[row % len(makers)](rng, float(sample_rate_hz), window_samples)
        hiss = rng.standard_normal(window_samples) * 10 ** rng.uniform(-4.0, -2.0)
        sound = sound + hiss  # up to the highest frequency: calls are made at 24 kHz and leave the top empty
        peak = _QUIET if row == n - 2 else rng.uniform(0.02, 0.95)
        windows[row] = sound * (peak / np.abs(sound).max())
    return windows


def _at_rate(sound: Signal, rate_hz: float) -> Signal:
    """Return a sound made at 24 kHz at another rate; linear, which is good enough for a sound that means nothing."""
    n = round(len(sound) * rate_hz / SAMPLE_RATE_HZ)
    return np.interp(np.arange(n) / rate_hz, np.arange(len(sound)) / SAMPLE_RATE_HZ, sound)


def _wind(rng: np.random.Generator, rate_hz: float, n: int) -> Signal:
    made = _at_rate(background(n / rate_hz + 0.1, rng), rate_hz)
    return made[:n]


def _place(sound: Signal, call: Signal, rng: np.random.Generator) -> None:
    """Add a call somewhere, whole where it fits, else its beginning."""
    start = int(rng.integers(0, max(1, len(sound) - len(call))))
    piece = call[: len(sound) - start]
    sound[start : start + len(piece)] += piece


def _call(rng: np.random.Generator, rate_hz: float, n: int) -> Signal:
    sound = _wind(rng, rate_hz, n) * rng.uniform(0.2, 2.0)
    name = sorted(CALLS)[int(rng.integers(len(CALLS)))]
    _place(sound, _at_rate(CALLS[name][1](rng.uniform(0.7, 1.5)), rate_hz) * rng.uniform(0.1, 0.6), rng)
    return sound


def _two_calls(rng: np.random.Generator, rate_hz: float, n: int) -> Signal:
    return _call(rng, rate_hz, n) + _call(rng, rate_hz, n)


def _seconds(rate_hz: float, n: int) -> Signal:
    return np.arange(n) / rate_hz


def _sweep(frequency_hz: Signal, rate_hz: float) -> Signal:
    """Return a sine whose frequency follows a curve, held below the highest that the rate can carry."""
    swept: Signal = np.sin(2 * np.pi * np.cumsum(np.minimum(frequency_hz, 0.48 * rate_hz)) / rate_hz)
    return swept


def _glide(rng: np.random.Generator, rate_hz: float, n: int) -> Signal:
    low_hz, high_hz = rng.uniform(150.0, 3000.0), rng.uniform(3000.0, 0.4 * rate_hz + 3000.0)
    curve = np.linspace(low_hz, high_hz, n) ** rng.uniform(0.9, 1.0)
    return _sweep(curve if rng.random() < 0.5 else curve[::-1], rate_hz)


def _trill(rng: np.random.Generator, rate_hz: float, n: int) -> Signal:
    wobble = np.sin(2 * np.pi * rng.uniform(5.0, 40.0) * _seconds(rate_hz, n))
    beat = np.sin(2 * np.pi * rng.uniform(0.5, 3.0) * _seconds(rate_hz, n)) > 0
    return _sweep(rng.uniform(1500.0, 7000.0) * (1.0 + 0.15 * wobble), rate_hz) * beat


def _harmonics(rng: np.random.Generator, rate_hz: float, n: int) -> Signal:
    base_hz, sound = rng.uniform(100.0, 900.0), np.zeros(n)
    for k in range(1, 12):
        sound += _sweep(np.full(n, base_hz * k), rate_hz) * rng.uniform(0.0, 1.0) / k
    return sound


def _clicks(rng: np.random.Generator, rate_hz: float, n: int) -> Signal:
    sound = _wind(rng, rate_hz, n)
    click = np.exp(-np.arange(round(0.004 * rate_hz)) / (0.0006 * rate_hz)) * rng.standard_normal(
        round(0.004 * rate_hz)
    )
    for _ in range(int(rng.integers(3, 40))):
        _place(sound, click, rng)
    return sound


def _noise(rng: np.random.Generator, rate_hz: float, n: int) -> Signal:
    """Return white, pink or brown noise with one loud band."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency_hz = np.fft.rfftfreq(n, 1 / rate_hz)
    spectrum /= np.maximum(frequency_hz, 30.0) ** float(rng.choice([0.0, 0.5, 1.0]))
    centre_hz, width_hz = rng.uniform(300.0, 0.4 * rate_hz), rng.uniform(100.0, 2000.0)
    spectrum *= 1.0 + 4.0 * np.exp(-(((frequency_hz - centre_hz) / width_hz) ** 2))
    return np.fft.irfft(spectrum, n)
