"""The sounds that engines are compared on: made-up ones, and real recordings where there are some."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedder.audio import find_audio, open_windows
from embedder.choosing.windows import check_windows
from embedder.models import ModelInfo
from sonotheque.core.windows import WindowRule

VARIABLE = "SONOTHEQUE_RECORDINGS"

Windows = NDArray[np.float32]


def recordings_folder() -> Path | None:
    """Return the folder of real recordings: what the environment names, or ``shared/recordings`` beside the checkout; None without."""
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "recordings"
    return folder if folder.is_dir() else None


def recordings(folder: Path) -> list[str]:
    """Return the recordings of a folder, one of each name: the same sound in five codecs would be its own five neighbours."""
    found: dict[tuple[str, str], str] = {}
    for item in find_audio(str(folder)):
        path = Path(item.path)
        found.setdefault((str(path.parent), path.stem), item.path)
    return sorted(found.values())


def real_windows(files: list[str], info: ModelInfo, most: int) -> Windows:
    """Return up to so many windows that are sound from end to end, evenly chosen, float32 (n, window_samples) at the model's rate."""
    rule = WindowRule(info.sample_rate_hz, info.window_samples, info.window_samples, info.window_samples)
    frames = [frame for path in files for _, _, frame in open_windows(path, rule)]
    if not frames or most < 1:
        return np.zeros((0, info.window_samples), np.float32)
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    return np.stack([frames[i] for i in chosen])


def sets(info: ModelInfo, synthetic: int, real: int) -> dict[str, Windows]:
    """Return the windows to compare on: ``synthetic`` always, ``recordings`` where there are some."""
    found = {"synthetic": check_windows(info.sample_rate_hz, info.window_samples, synthetic)}
    folder = recordings_folder()
    frames = real_windows(recordings(folder), info, real) if folder is not None else np.zeros((0, 0), np.float32)
    return found | ({"recordings": frames} if len(frames) else {})
