"""The recordings that every program in `bench peers` is given: minutes as recorders write them, and the stand-in's files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from embedder.audio.synthesis import CALLS, SAMPLE_RATE_HZ, compose

MINUTE_S = 60.0
_DISTINCT = 10
_NOISE = 0.002


def minutes_of(folder: Path, minutes: int, rate_hz: int, kind: str) -> Path:
    """Write so many recordings of a minute into one folder of one site; ten are distinct, the rest are links.

    Parameters
    ----------
    folder : Path
        Scratch folder.
    minutes : int
        At most a day.
    rate_hz : int
    kind : str
        ``wav`` or ``flac``, 16 bit.

    Returns
    -------
    Path
        The folder that holds the site's folder ``bench``.
    """
    top = folder / f"peers-{kind}-{rate_hz}-{minutes}"
    site = top / "bench"
    site.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    first: list[Path] = []
    for i in range(minutes):
        path = site / f"20250510_{i // 60:02d}{i % 60:02d}00.{kind}"
        if i < _DISTINCT:
            first.append(path)
            sound, _ = compose(tuple(CALLS), MINUTE_S, rng)
            noise = rng.standard_normal(round(MINUTE_S * rate_hz)) * _NOISE
            if not path.exists():
                sf.write(path, np.clip(soxr.resample(sound, SAMPLE_RATE_HZ, rate_hz) + noise, -1, 1), rate_hz, "PCM_16")
        elif not path.exists():
            os.link(first[i % _DISTINCT], path)
    return top
