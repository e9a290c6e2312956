"""A file's windows against decoding and resampling it whole; zero tails; what a stream promises its user."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from embedder.audio import open_windows
from sonotheque.core.outcome import Outcome, Status
from sonotheque.core.windows import WindowRule
from tests.audio.damage import RATE_HZ, RULE, cut, sound, wav_bytes, write
from tests.audio.test_framing import twin

PERCH = WindowRule(sample_rate_hz=32_000, window_samples=160_000, hop_samples=160_000, valid_samples_min=32_000)
OVERLAP = WindowRule(sample_rate_hz=48_000, window_samples=144_000, hop_samples=50_000, valid_samples_min=48_000)


def run(path, rule=RULE, **options):
    stream = open_windows(str(path), rule, **options)
    return list(stream), stream


def whole(path, rule: WindowRule) -> np.ndarray:
    samples, rate_hz = sf.read(os.fsencode(path), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1, dtype=np.float32)
    return soxr.resample(mono, rate_hz / rule.rate_factor, rule.sample_rate_hz, quality="HQ")


def same(ours, theirs, tolerance=1e-6) -> None:
    assert [(start, valid) for start, valid, _ in ours] == [(start, valid) for start, valid, _ in theirs]
    for (_, _, a), (_, _, b) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=0)


@pytest.mark.parametrize("rule", [RULE, PERCH, OVERLAP], ids=["birdnet", "perch", "overlap"])
@pytest.mark.parametrize(
    "rate_hz", [2_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 250_000, 400_000]
)
def test_streaming_equals_the_whole_file(rate_hz, rule, tmp_path):
    path = write(tmp_path / "a.wav", sound(7.77, rate_hz), rate_hz, subtype="PCM_24")
    windows, stream = run(path, rule)
    same(windows, twin(whole(path, rule), rule), 0.0)
    assert len(windows) == rule.count(stream.n_samples)
    assert stream.summary.status is Status.OK
    assert stream.summary.duration_s == round(7.77 * rate_hz) / rate_hz


@pytest.mark.parametrize(("ending", "options"), [
    ("flac", {}),
    ("mp3", {}),
    ("ogg", {"subtype": "VORBIS"}),
    ("opus", {"format": "OGG", "subtype": "OPUS"}),
    ("aiff", {}),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_every_codec_equals_its_whole_file(ending, options, channels, tmp_path):
    path = write(tmp_path / f"a.{ending}", sound(8.2, channels=channels), **options)
    windows, stream = run(path, PERCH)
    same(windows, twin(whole(path, PERCH), PERCH))
    assert stream.summary.declared_frames == stream.summary.decoded_frames == round(8.2 * RATE_HZ)


@pytest.mark.parametrize("factor", [10.0, 0.1, 2.5])
def test_rate_factor(factor, tmp_path):
    rule = WindowRule(48_000, 144_000, 144_000, 48_000, rate_factor=factor)
    path = write(tmp_path / "a.wav", sound(4.0, 96_000), 96_000)
    windows, stream = run(path, rule)
    same(windows, twin(whole(path, rule), rule), 0.0)
    assert stream.n_samples == pytest.approx(4.0 * 48_000 * factor, abs=1)
    assert stream.summary.duration_s == 4.0


def test_too_short_is_in_true_seconds(tmp_path):
    rule = WindowRule(48_000, 144_000, 144_000, 48_000, rate_factor=0.1)
    path = write(tmp_path / "a.wav", sound(4.0))
    windows, stream = run(path, rule)
    assert windows == []
    assert stream.summary.status is Status.TOO_SHORT
    assert stream.summary.outcome is Outcome.SKIPPED
    assert "4.000 s of sound; a window must hold 10 s" in stream.summary.reason


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.9999, 0), (1.0, 1), (2.9, 1), (3.0, 1), (3.9, 1), (4.0, 2), (6.0, 2)]
)
def test_lengths_around_a_window(seconds, count, tmp_path):
    windows, _ = run(write(tmp_path / "a.wav", sound(seconds)))
    assert len(windows) == count
    if count:
        start, valid, frame = windows[-1]
        assert valid == min(144_000, round(seconds * RATE_HZ) - start)
        assert not frame[valid:].any()


class TestZeroTails:
    def file(self, tmp_path, *runs: tuple[bool, float], rate_hz: int = RATE_HZ) -> str:
        parts = [sound(seconds, rate_hz) if loud else np.zeros(round(seconds * rate_hz)) for loud, seconds in runs]
        return write(tmp_path / "a.wav", np.concatenate(parts).astype(np.float32), rate_hz)

    @pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 96_000])
    @pytest.mark.parametrize("rule", [RULE, PERCH, OVERLAP], ids=["birdnet", "perch", "overlap"])
    def test_tail_is_dropped_and_what_is_before_is_as_it_was(self, rule, rate_hz, tmp_path):
        path = self.file(tmp_path, (True, 7.0), (False, 30.0), rate_hz=rate_hz)
        windows, stream = run(path, rule)
        everything = twin(whole(path, rule), rule)
        same(windows, everything[: len(windows)], 0.0)
        first_dropped_s = everything[len(windows)][0] / rule.sample_rate_hz
        guard_s = 2048 / min(rate_hz, rule.sample_rate_hz)
        assert 7.0 <= first_dropped_s < 7.0 + guard_s + rule.hop_samples / rule.sample_rate_hz
        assert stream.summary.status is Status.ZERO_TAIL
        assert f"30.000 s are exact zeros: {len(everything) - len(windows)} windows" in stream.summary.reason
        assert stream.summary.duration_s == 37.0

    @pytest.mark.parametrize("rate_hz", [44_100, 48_000])
    def test_silence_in_between_is_kept(self, rate_hz, tmp_path):
        path = self.file(tmp_path, (True, 4.0), (False, 20.0), (True, 1.0), (False, 2.0), rate_hz=rate_hz)
        windows, stream = run(path)
        same(windows, twin(whole(path, RULE), RULE), 0.0)
        assert stream.summary.status is Status.OK

    @pytest.mark.parametrize("rate_hz", [44_100, 48_000])
    def test_silence_at_the_start_is_kept(self, rate_hz, tmp_path):
        path = self.file(tmp_path, (False, 20.0), (True, 1.0), rate_hz=rate_hz)
        windows, stream = run(path)
        same(windows, twin(whole(path, RULE), RULE), 0.0)
        assert stream.summary.status is Status.OK

    def test_a_tail_shorter_than_a_window_is_no_allocation(self, tmp_path):
        windows, stream = run(self.file(tmp_path, (True, 5.9), (False, 2.9)))
        assert len(windows) == 3
        assert not windows[-1][2].any()
        assert stream.summary.status is Status.OK

    def test_a_tail_of_a_window_that_no_window_fits_in_drops_nothing(self, tmp_path):
        windows, stream = run(self.file(tmp_path, (True, 3.5), (False, 3.0)))
        assert len(windows) == 2
        assert stream.summary.status is Status.OK

    @pytest.mark.parametrize("rate_hz", [2_000, 44_100, 48_000])
    def test_all_zeros_are_kept(self, rate_hz, tmp_path):
        windows, stream = run(self.file(tmp_path, (False, 10.0), rate_hz=rate_hz))
        assert [(start, valid) for start, valid, _ in windows] == [
            (0, 144_000),
            (144_000, 144_000),
            (288_000, 144_000),
            (432_000, 48_000),
        ]
        assert not any(frame.any() for _, _, frame in windows)
        assert stream.summary.status is Status.SILENT

    def test_negative_zeros_are_zeros(self, tmp_path):
        windows, stream = run(write(tmp_path / "a.wav", np.full(10 * RATE_HZ, -0.0, np.float32), subtype="FLOAT"))
        assert len(windows) == 4
        assert stream.summary.status is Status.SILENT

    def test_one_sample_at_the_very_end_is_sound(self, tmp_path):
        samples = np.zeros(10 * RATE_HZ, np.float32)
        samples[-1] = 0.5
        windows, stream = run(write(tmp_path / "a.wav", samples))
        assert len(windows) == 4
        assert windows[-1][2][windows[-1][1] - 1] == 0.5
        assert stream.summary.status is Status.OK

    def test_with_damage_the_damage_is_the_status(self, tmp_path):
        data = wav_bytes(np.concatenate([sound(4.0), np.zeros(20 * RATE_HZ, np.float32)]))
        path = tmp_path / "a.wav"
        path.write_bytes(data)
        cut(str(path), 0.9)
        windows, stream = run(path)
        assert len(windows) == 2
        assert stream.summary.status is Status.TRUNCATED
        assert "also zero_tail" in stream.summary.reason


class TestStream:
    def test_summary_comes_after_the_last_window(self, tmp_path):
        stream = open_windows(write(tmp_path / "a.wav", sound()), RULE)
        with pytest.raises(RuntimeError, match="after the last window, 0 so far"):
            _ = stream.summary
        windows = iter(stream)
        next(windows)
        with pytest.raises(RuntimeError, match="1 so far"):
            _ = stream.summary
        list(windows)
        assert stream.summary.status is Status.OK

    def test_it_is_read_once(self, tmp_path):
        stream = open_windows(write(tmp_path / "a.wav", sound()), RULE)
        list(stream)
        with pytest.raises(RuntimeError, match="once"):
            iter(stream)

    def test_nothing_is_opened_before_the_first_window(self, tmp_path):
        stream = open_windows(str(tmp_path / "later.wav"), RULE)
        write(tmp_path / "later.wav", sound())
        assert len(list(stream)) == 4

    def test_stages_are_timed(self, tmp_path):
        path = write(tmp_path / "a.flac", sound(20.0, 44_100), 44_100)
        _, stream = run(path)
        assert stream.stages.decode_s > 0
        assert stream.stages.resample_s > 0
        assert stream.stages.infer_s == stream.stages.write_s == 0

    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files through /proc")
    def test_no_file_stays_open(self, tmp_path: Path):
        path = write(tmp_path / "a.wav", sound())
        bad = tmp_path / "bad.wav"
        bad.write_bytes(b"no sound at all")
        for _ in range(20):
            run(path)
            run(bad)
            windows = iter(open_windows(path, RULE))
            next(windows)
            del windows
        gc.collect()
        ours = [
            file
            for file in Path("/proc/self/fd").iterdir()
            if file.is_symlink() and str(tmp_path) in os.path.realpath(file)
        ]
        assert not ours

    def test_facts_of_the_file(self, tmp_path):
        _, stream = run(write(tmp_path / "a.flac", sound(2.0, 44_100, channels=2), 44_100))
        summary = stream.summary
        assert (summary.sample_rate_hz, summary.channels) == (44_100, 2)
        assert (summary.container, summary.codec) == ("FLAC", "PCM_16")
        assert summary.declared_frames == summary.decoded_frames == 88_200
