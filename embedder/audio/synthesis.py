"""A small archive of synthetic calls with known truth: for the demo, for tests and for benchmarks that need no recordings.

The calls are tones and glides, made here from nothing. Four of them are close enough to a real bird's call that BirdNET
names it, which is what makes them useful: the answer to "where else does it occur?" is known.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 24_000
_NOISE_LEVEL = 0.02

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Placed:
    """A call in a recording: the truth.

    Attributes
    ----------
    path : str
        Relative to the archive.
    call : str
        A key of ``CALLS``.
    start_s, end_s : float
    """

    path: str
    call: str
    start_s: float
    end_s: float


def _tone(start_hz: float, end_hz: float, duration_s: float, overtone: float = 0.0) -> Signal:
    n = round(duration_s * SAMPLE_RATE_HZ)
    phase = 2 * np.pi * np.cumsum(np.linspace(start_hz, end_hz, n)) / SAMPLE_RATE_HZ
    edge = np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.15 * n))
    tone: Signal = (np.sin(phase) + overtone * np.sin(2 * phase)) * np.sin(edge * np.pi / 2) ** 2
    return tone


def _rest(duration_s: float) -> Signal:
    return np.zeros(round(duration_s * SAMPLE_RATE_HZ))


def _two_notes(k: float) -> Signal:
    call = np.concatenate([_tone(700 * k, 650 * k, 0.18, 0.1), _rest(0.12), _tone(560 * k, 530 * k, 0.28, 0.1)])
    return np.concatenate([call, _rest(0.8), call])


def _see_saw(k: float) -> Signal:
    pair = np.concatenate([_tone(5000 * k, 4900 * k, 0.13), _rest(0.05), _tone(3700 * k, 3650 * k, 0.15), _rest(0.12)])
    return np.tile(pair, 5)


def _hoots(k: float) -> Signal:
    hoot = _tone(1400 * k, 1330 * k, 0.3, 0.08)
    return np.concatenate([hoot, _rest(1.6), hoot])


def _boom(k: float) -> Signal:
    return _tone(170 * k, 160 * k, 0.9, 0.2)


# What each call is meant to sound like, so that a person knows what to expect of a bird model.
CALLS = {
    "two notes": ("Common Cuckoo", _two_notes),
    "see-saw": ("Great Tit", _see_saw),
    "hoots": ("Eurasian Pygmy-Owl", _hoots),
    "boom": ("Great Bittern", _boom),
}

# Who calls where and when: (site, hour of the local day) → calls.
_HABITS: dict[str, dict[int, tuple[str, ...]]] = {
    "forest": {
        0: ("hoots",),
        4: ("hoots", "two notes"),
        6: ("two notes", "see-saw"),
        9: ("see-saw",),
        13: ("see-saw",),
        22: ("hoots",),
    },
    "marsh": {0: ("boom",), 4: ("boom", "two notes"), 6: ("two notes",), 9: ("two notes",), 13: (), 22: ("boom",)},
    "meadow": {0: (), 4: ("two notes",), 6: ("see-saw", "two notes"), 9: ("see-saw",), 13: ("see-saw",), 22: ()},
}
DATES = ("20250510", "20250511")


def background(duration_s: float, rng: np.random.Generator) -> Signal:
    """Return wind-like noise: energy falls with frequency."""
    n = round(duration_s * SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 20.0) / 100.0), n)
    return noise / np.std(noise) * _NOISE_LEVEL


def compose(
    calls: Sequence[str], duration_s: float, rng: np.random.Generator
) -> tuple[Signal, list[tuple[str, float, float]]]:
    """Return a recording with these calls in turn, and where each lies (call, start_s, end_s)."""
    sound = background(duration_s, rng)
    placed = []
    at_s = 1.0 + rng.uniform(0.0, 2.0)
    turn = 0
    while calls:
        name = calls[turn % len(calls)]
        call = CALLS[name][1](rng.uniform(0.98, 1.02)) * rng.uniform(0.15, 0.4)
        start = round(at_s * SAMPLE_RATE_HZ)
        if start + len(call) >= len(sound):
            break
        sound[start : start + len(call)] += call
        end_s = at_s + len(call) / SAMPLE_RATE_HZ
        placed.append((name, at_s, end_s))
        at_s, turn = end_s + rng.uniform(1.5, 4.0), turn + 1
    return sound, placed


def write_archive(folder: str | Path, *, duration_s: float = 30.0, seed: int = 20250510) -> list[Placed]:
    """Write ``<site>/<date>_<time>.flac`` for three sites, two days and six hours each, and ``truth.csv``.

    Parameters
    ----------
    folder : path-like
        Made if it is not there.
    duration_s : float
        Of each recording.
    seed : int

    Returns
    -------
    list of Placed
        Every call that was put in.
    """
    root, rng, truth = Path(folder), np.random.default_rng(seed), []
    for site, hours in _HABITS.items():
        (root / site).mkdir(parents=True, exist_ok=True)
        for date in DATES:
            for hour, calls in hours.items():
                path = f"{site}/{date}_{hour:02d}0000.flac"
                sound, placed = compose(calls, duration_s, rng)
                sf.write(root / path, np.clip(sound, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16")
                truth += [Placed(path, name, start_s, end_s) for name, start_s, end_s in placed]
    with (root / "truth.csv").open("w", encoding="utf-8", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["path", "call", "sounds_like", "start_s", "end_s"])
        table.writerows([p.path, p.call, CALLS[p.call][0], f"{p.start_s:.3f}", f"{p.end_s:.3f}"] for p in truth)
    return truth
