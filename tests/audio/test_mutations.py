"""Bytes flipped, cut, copied and swapped: whatever comes out, nothing is raised and the numbers agree."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedder.audio import open_windows
from sonotheque.core.outcome import Outcome, Status
from sonotheque.core.windows import WindowRule
from tests.audio.damage import get, mp3_without_length, sound, wav_bytes, write

RULE = WindowRule(sample_rate_hz=8_000, window_samples=4_000, hop_samples=3_000, valid_samples_min=800)
SEEDS = {
    "wav": {},
    "flac": {},
    "aiff": {},
    "w64": {"format": "W64"},
    "rf64": {"format": "RF64"},
    "mp3": {},
    "plain.mp3": {"format": "MP3"},
    "ogg": {"subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
SPECIAL = [0, 1, 0x7F, 0x80, 0xFF]


@functools.cache
def seed_bytes(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        samples = sound(1.3, 8_000, channels=2)
        samples[4_000:6_000] = 0.0
        path = write(Path(folder) / f"a.{kind}", samples, 8_000, **SEEDS[kind])
        return get(mp3_without_length(path) if kind == "plain.mp3" else path)


@st.composite
def mutated(draw, kind: str) -> bytes:
    data = bytearray(seed_bytes(kind))
    header = st.integers(0, 120)
    anywhere = st.integers(0, len(data) - 1)
    for _ in range(draw(st.integers(1, 4))):
        what = draw(st.sampled_from(["flip", "flip", "set", "word", "cut", "splice", "repeat"]))
        at = min(draw(st.one_of(header, header, anywhere)), max(0, len(data) - 1))
        if not data:
            break
        if what == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "set":
            data[at] = draw(st.sampled_from(SPECIAL))
        elif what == "word":
            data[at : at + 4] = draw(st.sampled_from([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]))
        elif what == "cut":
            del data[at:]
        elif what == "splice":
            other = seed_bytes(draw(st.sampled_from(sorted(SEEDS))))
            data = data[:at] + other[draw(st.integers(0, len(other) - 1)) :]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


def check(data: bytes) -> None:
    fd, path = tempfile.mkstemp(suffix=".wav")
    try:
        os.write(fd, data)
        os.close(fd)
        stream = open_windows(path, RULE)
        windows = list(stream)
        summary = stream.summary
        assert summary.status in set(Status)
        assert (summary.outcome is Outcome.DONE) == (len(windows) > 0), summary
        assert all(np.isfinite(frame).all() for _, _, frame in windows)
        expected = RULE.count(stream.n_samples)
        assert len(windows) == expected or "zero_tail" in (summary.status.value + summary.reason)
        assert (summary.status is Status.OK) == (summary.reason == "")
    finally:
        os.unlink(path)


@pytest.mark.parametrize("kind", SEEDS)
def test_mutations_never_raise(kind):
    # The examples are the same each time: a decoder that crashes takes the whole run with it, and that must not come
    # and go by chance.
    @settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(data=mutated(kind))
    def attack(data):
        check(data)

    attack()


@pytest.mark.parametrize("kind", SEEDS)
def test_every_cut_of_the_header(kind):
    data = seed_bytes(kind)
    for length in range(min(len(data), 160)):
        check(data[:length])


def test_every_byte_of_a_wav_header_at_its_limits():
    data = wav_bytes(sound(1.3, 8_000), 8_000)
    for at in range(44):
        for value in SPECIAL:
            mutant = bytearray(data)
            mutant[at] = value
            check(bytes(mutant))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(data=st.binary(max_size=4_000))
def test_any_bytes(data):
    check(data)
