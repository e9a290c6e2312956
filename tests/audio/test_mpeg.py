"""MP3 files that do not say their length: all of them is decoded, and the same samples as otherwise."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile as sf

from embedder.audio import BlockReader
from embedder.audio.mpeg import length_frame
from tests.audio.damage import get, mp3_without_length, sound, write

ID3 = b"ID3\x03\0\0\0\0\x10\0" + bytes(2_048)


def decoded(path: str) -> tuple[np.ndarray, BlockReader]:
    with BlockReader(path) as reader:
        return np.concatenate([block.copy() for block in reader]), reader


def added(path: str):
    with open(path, "rb") as file:
        return length_frame(file, os.path.getsize(path))


@pytest.mark.parametrize("rate_hz", [8_000, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("before", [b"", ID3], ids=["plain", "id3"])
def test_all_of_it_is_decoded(before, channels, rate_hz, tmp_path):
    samples = sound(12.0, rate_hz, channels)
    samples[: rate_hz * 3] *= 0.001  # a quiet start has small frames, or large ones: either way the guess is wrong
    path = write(tmp_path / "a.mp3", samples, rate_hz)
    expected, _ = decoded(path)
    assert added(path) is None
    data = before + get(mp3_without_length(path))
    with open(path, "wb") as file:
        file.write(data)
    assert added(path)[0] == len(before)
    ours, reader = decoded(path)
    assert reader.findings == []
    assert reader.declared_frames is None
    assert (reader.container, reader.codec) == ("MP3", "MPEG_LAYER_III")
    # The frame that was taken away also said how much the encoder had put before and after the sound.
    assert 0 <= len(ours) - len(expected) < 4 * 1_152
    lag = (len(ours) - len(expected)) // 2
    errors = [np.abs(ours[at : at + len(expected)] - expected).max() for at in range(2 * lag + 1)]
    assert min(errors) < 1e-6


def test_libsndfile_alone_would_leave_much_of_it_out(tmp_path):
    """If this fails, libsndfile has learnt to count, and the module may go."""
    path = mp3_without_length(write(tmp_path / "a.mp3", sound(20.0)))
    assert sf.info(path).frames < 15 * 48_000
    assert len(decoded(path)[0]) >= 20 * 48_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ID3",
        b"\xff\xfb",
        bytes(300),
        ID3,
        b"\xff\xfd\x94\xc4" + bytes(300),  # layer II
        b"\xff\xeb\x94\xc4" + bytes(300),  # a version that is not
        b"\xff\xfb\x9c\xc4" + bytes(300),  # a rate that is not
        b"\xff\xfb\x94\xc4" + bytes(32) + b"VBRI" + bytes(300),
        b"ID3\x03\0\0\x7f\x7f\x7f\x7f" + bytes(300),
    ],
)
def test_what_is_left_as_it_is(data, tmp_path):
    (tmp_path / "a.mp3").write_bytes(data)
    assert added(str(tmp_path / "a.mp3")) is None


def test_rot_in_such_a_file(tmp_path):
    path = mp3_without_length(write(tmp_path / "a.mp3", sound(12.0)))
    data = bytearray(get(path))
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    with open(path, "wb") as file:
        file.write(data)
    samples, _ = decoded(path)
    assert 5 * 48_000 < len(samples) <= 13 * 48_000
    assert np.isfinite(samples).all()
