"""Recordings to measure with: synthetic, so that anyone can make the same ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from embedder.audio.synthesis import CALLS, SAMPLE_RATE_HZ, compose

MINUTE_S = 60.0
_DISTINCT = 10


def sound_minutes(folder: Path, minutes: int, rate_hz: int, kind: str) -> Path:
    """Write ``minutes`` recordings of a minute each, mono, one site and day; ten are distinct, the rest are links.

    Parameters
    ----------
    folder : Path
        Scratch folder.
    minutes : int
        At most a day.
    rate_hz : int
    kind : str
        ``wav`` and ``flac`` (16 bit), ``ogg`` (Vorbis), ``mp3``; the same sounds in each.

    Returns
    -------
    Path
        The folder that holds the site's folder ``bench``.
    """
    site = folder / f"sound-{kind}-{rate_hz}-{minutes}" / "bench"
    if site.exists() and len(list(site.iterdir())) == minutes:
        return site.parent
    site.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for i in range(minutes):
        target = site / f"20250510_{i // 60:02d}{i % 60:02d}00.{kind}"
        if i >= _DISTINCT:
            if not target.exists():
                os.link(site / f"20250510_00{i % _DISTINCT:02d}00.{kind}", target)
            continue
        sound, _ = compose(tuple(CALLS), MINUTE_S, rng)
        noise = np.random.default_rng([1, i]).standard_normal(round(MINUTE_S * rate_hz)) * 0.002
        if not target.exists():
            whole = np.clip(soxr.resample(sound, SAMPLE_RATE_HZ, rate_hz) + noise, -1, 1)
            unfinished = target.with_name(f".{target.name}")
            form = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "mp3": "MP3"}[kind]
            subtype = "PCM_16" if kind in ("wav", "flac") else None
            with sf.SoundFile(unfinished, "w", rate_hz, 1, subtype, format=form) as file:
                for start in range(0, len(whole), rate_hz):  # Vorbis at once takes more stack than there is
                    file.write(whole[start : start + rate_hz])
            unfinished.rename(target)
    return site.parent


def small_files(folder: Path, count: int) -> Path:
    """Write ``count`` WAV files of 1.2 s at 4 kHz, ten sites, ten days."""
    folder = folder / f"small-{count}"
    if (folder / "done").exists():
        return folder
    rng = np.random.default_rng(2)
    sound = (rng.standard_normal(4800) * 3000).astype(np.int16)
    for i in range(count):
        site = folder / f"site{i % 10}"
        site.mkdir(parents=True, exist_ok=True)
        second = i // 100
        name = f"202505{1 + i // 10 % 10:02d}_{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}.wav"
        sf.write(site / name, np.roll(sound, i), 4000, subtype="PCM_16")
    (folder / "done").touch()
    return folder


def long_file(folder: Path, hours: int) -> Path:
    """Write one WAV file of noise, 8 kHz, 8 bit, so many hours long."""
    target = folder / f"long-{hours}" / "20250510_000000.wav"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    with sf.SoundFile(target, "w", samplerate=8000, channels=1, subtype="PCM_U8", format="WAV") as file:
        block = rng.uniform(-0.5, 0.5, 8000 * 600)
        for _ in range(hours * 6):
            file.write(np.roll(block, int(rng.integers(len(block)))))
    return target
