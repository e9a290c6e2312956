"""Small sounds to listen to and to look at, and pictures taken apart."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from PIL import Image

from search_api.listening import HeldSound, Piece, RecordedSound
from search_api.listening.pieces import HeldSamples
from search_api.locating import Locator

RATE_HZ = 16_000


def held(samples: np.ndarray, rate_hz: int = RATE_HZ, **more: Any) -> Piece:
    """A piece of samples in memory: the whole, unless told otherwise."""
    samples = np.asarray(samples, np.float32)
    duration = len(samples) / rate_hz
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    values = {"start_s": 0.0, "end_s": duration, "name": "clip", **more}
    return Piece(HeldSound("0" * 32, samples), duration_s=duration, rate_hz=rate_hz, channels=channels, **values)


def source_of(piece: Piece) -> HeldSamples:
    return HeldSamples(piece, piece.sound)


def recorded(path: Path, root: Path, start_s: float = 0.0, end_s: float | None = None, **more: Any) -> Piece:
    """A piece of a file, as the archive would know it."""
    info = sf.info(path)
    duration = info.frames / info.samplerate
    return Piece(
        RecordedSound(str(path.relative_to(root)), path.stat().st_size),
        start_s,
        duration if end_s is None else end_s,
        duration,
        info.samplerate,
        info.channels,
        path.stem,
        info.subtype,
        **more,
    )


def locator(root: Path) -> Locator:
    return Locator(((str(root), ""),))


def tone(hz: float, seconds: float, rate_hz: int = RATE_HZ, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def noise(seconds: float, rate_hz: int = RATE_HZ, level: float = 0.01, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * rate_hz)).astype(np.float32)


def pixels(png: bytes) -> np.ndarray:
    """The colour numbers of a PNG, (height, width), the top row first."""
    image = Image.open(BytesIO(png))
    assert image.mode == "P" and image.format == "PNG"
    return np.asarray(image)


def read(data: bytes, **more: Any) -> tuple[np.ndarray, int]:
    return sf.read(BytesIO(data), always_2d=True, **more)
