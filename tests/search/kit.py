"""Small archives whose windows are known: each holds one tone, and who shares a tone sounds alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from store import open_archive
from tests.cluster.support import run

RATE_HZ = 16_000  # the placeholder's
WINDOW_S = 2.0  # the placeholder's
TONES: dict[str, tuple[float, ...]] = {
    "north/20240501_040000.wav": (300.0, 700.0, 1500.0, 3100.0),
    "north/20240501_220000.wav": (310.0, 5200.0, 1900.0),
    "north/20240502_040000.wav": (2300.0, 705.0, 120.0),
    "south/20240501_040000.wav": (702.0, 4100.0, 305.0, 950.0),
    "south/20240502_050000.wav": (1510.0, 3120.0, 2310.0, 450.0),
}
"""Recording -> the tone of each of its windows, in Hz."""


@dataclass(frozen=True)
class Made:
    """Recordings and their store."""

    recordings: Path
    store: str

    def rows(self, query: str) -> list[dict[str, Any]]:
        with open_archive(self.store) as archive:
            found: list[dict[str, Any]] = archive.sql(query).to_pylist()
        return found


def tone(hz: float, seconds: float = WINDOW_S, *, seed: int = 0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A tone with some noise."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return 0.3 * np.sin(2 * np.pi * hz * t) + np.random.default_rng(seed).normal(0, 0.003, len(t))


def write(path: Path, sound: np.ndarray, rate_hz: int = RATE_HZ, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, sound, rate_hz, **more)
    return path


def make(folder: Path) -> Made:
    """Write the recordings of ``TONES`` and embed them."""
    for number, (path, tones) in enumerate(TONES.items()):
        sound = np.concatenate([tone(hz, seed=10 * number + i) for i, hz in enumerate(tones)])
        write(folder / "recordings" / path, sound)
    run(folder / "recordings", folder / "store", timezone="Europe/Paris")
    return Made(folder / "recordings", str(folder / "store"))
