"""Every file of the corpus: status, windows, and what holds whatever a file is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from embedder.audio import SEVERITY, find_audio, open_windows
from embedder.audio.findings import Finding, combine
from sonotheque.core.outcome import MEANING, Outcome, Status
from tests.audio.damage import DAMAGE, RULE, SECONDS


@pytest.mark.parametrize("name", DAMAGE)
def test_status_and_windows(name, tmp_path: Path):
    damage = DAMAGE[name]
    path = damage.make(tmp_path)
    began = time.perf_counter()
    stream = open_windows(path, RULE)
    windows = list(stream)
    assert time.perf_counter() - began < 10.0
    summary = stream.summary
    assert (summary.status, len(windows)) == (damage.status, damage.windows), summary.reason
    assert stream.n_windows == len(windows)
    assert (summary.reason == "") == (summary.status is Status.OK)
    assert (summary.outcome is Outcome.DONE) == (len(windows) > 0)
    assert summary.duration_s < SECONDS + 0.1  # ADPCM and some encoders fill their last block
    for number, (start, valid, frame) in enumerate(windows):
        assert start == number * RULE.hop_samples
        assert RULE.valid_samples_min <= valid <= RULE.window_samples
        assert frame.shape == (RULE.window_samples,)
        assert frame.dtype == np.float32
        assert frame.flags.owndata
        assert np.isfinite(frame).all()
        assert not frame[valid:].any()


@pytest.mark.parametrize("name", DAMAGE)
def test_the_same_again(name, tmp_path: Path):
    """A second reading gives the same bytes: parts are named after their inputs."""
    path = DAMAGE[name].make(tmp_path)
    first, second = open_windows(path, RULE), open_windows(path, RULE)
    for (start_a, valid_a, frame_a), (start_b, valid_b, frame_b) in zip(first, second, strict=True):
        assert (start_a, valid_a) == (start_b, valid_b)
        assert frame_a.tobytes() == frame_b.tobytes()
    assert first.summary == second.summary


def test_the_walk_finds_all_of_it(tmp_path: Path):
    made = [damage.make(tmp_path) for damage in DAMAGE.values()]
    problems: list = []
    found = [file.path for file in find_audio(str(tmp_path), problems)]
    assert len(set(made)) == len(made)
    assert sorted(found, key=os.fsencode) == sorted(made, key=os.fsencode)
    assert problems == []


def test_every_status_of_decoding_is_in_the_corpus():
    by_others = {Status.DECODER_CRASH, Status.TIMEOUT, Status.MODEL_ERROR}  # found outside this package
    by_the_disk = {Status.VANISHED, Status.CHANGED, Status.IO_ERROR}  # not in a file's bytes: test_decode
    assert {damage.status for damage in DAMAGE.values()} == set(Status) - by_others - by_the_disk


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wav_cut", ["1056000", "527978"]),
        ("wav_size_0", ["0 bytes", "1056000", "528000 frames"]),
        ("wav_size_44_zero_tail", ["44 bytes", "also zero_tail", "6.000 s", "2 windows"]),
        ("flac_rot", ["5.461 s of 11.000 s"]),
        ("mp3_cut", ["528000", "267311"]),
        ("wav_tiny", ["0.140 s", "1 s"]),
        ("wav_cut_tiny", ["0.100 s", "also truncated"]),
        ("wav_nan_inf", ["12 of 528000"]),
        ("wav_all_nan", ["also silent"]),
        ("wav_65_channels", ["65 channels", "64"]),
        ("wav_rate_999", ["999 Hz", "1000"]),
        ("text", ["libsndfile: Format not recognised"]),
    ],
)
def test_reasons_hold_the_values(name, words, tmp_path: Path):
    stream = open_windows(DAMAGE[name].make(tmp_path), RULE)
    list(stream)
    for word in words:
        assert word in stream.summary.reason


def test_severity_names_each_status_once_and_losses_first():
    assert len(set(SEVERITY)) == len(SEVERITY)
    lost = [MEANING[status].outcome is not Outcome.DONE for status in SEVERITY]
    assert lost == sorted(lost, reverse=True)


def test_combine_takes_the_worst_and_names_the_others():
    findings = [Finding(Status.ZERO_TAIL, "tail"), Finding(Status.CORRUPT, "rot"), Finding(Status.NONFINITE, "nan")]
    assert combine(findings) == (Status.CORRUPT, "rot; also nonfinite: nan; also zero_tail: tail")
    assert combine([]) == (Status.OK, "")
