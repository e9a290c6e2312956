"""One recording in five codecs: the same sound at the same time out of each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from embedder.audio import find_audio, open_windows
from sonotheque.core.outcome import Status
from sonotheque.core.windows import WindowRule
from tests.audio.damage import sound, write

RULE = WindowRule(sample_rate_hz=32_000, window_samples=160_000, hop_samples=160_000, valid_samples_min=32_000)
ENDINGS = {".wav": 0.0, ".flac": 1e-6, ".mp3": 0.2, ".ogg": 0.2, ".opus": 0.2}


def codecs_folder() -> Path | None:
    """A folder with one real recording in five codecs: beside the checkout, or where the variable says."""
    here = Path(__file__).resolve().parents[2]
    named = os.environ.get("SONOTHEQUE_TEST_CODECS")
    for folder in (
        [Path(named)] if named else [here / "shared/recordings/codecs", here.parent / "shared/recordings/codecs"]
    ):
        if folder.is_dir():
            return folder
    return None


FOLDER = codecs_folder()
needs_recordings = pytest.mark.skipif(FOLDER is None, reason="no folder shared/recordings/codecs beside the checkout")


def heard(path: str) -> np.ndarray:
    stream = open_windows(path, RULE)
    sound_parts = [frame[:valid] for _, valid, frame in stream]
    assert stream.summary.status is Status.OK, stream.summary
    return np.concatenate(sound_parts)


def lag_of_best_match(a: np.ndarray, b: np.ndarray) -> int:
    """Return by how many samples ``b`` is later than ``a``."""
    n = len(a) + len(b)
    product = np.fft.irfft(np.fft.rfft(b, n) * np.conj(np.fft.rfft(a, n)), n)
    lag = int(product.argmax())
    return lag - n if lag > n // 2 else lag


@needs_recordings
def test_a_real_recording_is_the_same_in_all():
    paths = {os.path.splitext(file.path)[1]: file.path for file in find_audio(str(FOLDER))}
    assert set(paths) == set(ENDINGS)
    reference = heard(paths[".wav"])
    for ending, path in paths.items():
        samples = heard(path)
        assert len(samples) == len(reference), ending
        assert lag_of_best_match(reference, samples) == 0, ending
        assert np.corrcoef(reference, samples)[0, 1] > 1 - ENDINGS[ending] - 1e-6, ending


@pytest.mark.parametrize(
    ("ending", "options", "least"),
    [
        (".flac", {}, 0.999999),
        (".aiff", {}, 0.999999),
        (".mp3", {}, 0.97),
        (".ogg", {"subtype": "VORBIS"}, 0.97),
        (".opus", {"format": "OGG", "subtype": "OPUS"}, 0.97),
    ],
)
def test_a_made_recording_is_the_same_in_all(ending, options, least, tmp_path):
    """Encoders add samples at the start; what comes out must not be late by them."""
    t = np.arange(8 * 48_000) / 48_000
    samples = (0.3 * np.sin(2 * np.pi * (300 * t + 250 * t**2)) + 0.001 * sound(8.0)).astype(np.float32)
    reference = heard(write(tmp_path / "a.wav", samples))
    decoded = heard(write(tmp_path / f"b{ending}", samples, **options))
    assert len(decoded) == len(reference)
    assert lag_of_best_match(reference, decoded) == 0
    assert np.corrcoef(reference, decoded)[0, 1] > least
