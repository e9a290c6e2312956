"""Streaming against the whole file at once, and against librosa."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import soxr

from embedder.audio import QUALITY, Resampler
from embedder.audio.resample import RINGING_SAMPLES
from tests.audio.damage import sound

RATES_HZ = [2_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000, 256_000, 384_000, 400_000]


def stream(samples: np.ndarray, resampler: Resampler, block: int) -> np.ndarray:
    parts = [resampler.process(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate([*parts, resampler.flush()])


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("target_hz", [32_000, 48_000])
def test_streaming_equals_the_whole(rate_hz, target_hz):
    samples = sound(3.3, rate_hz)
    ours = stream(samples, Resampler(rate_hz, target_hz), rate_hz)
    whole = soxr.resample(samples, rate_hz, target_hz, quality=QUALITY)
    assert len(ours) == len(whole) == round(len(samples) * target_hz / rate_hz)
    np.testing.assert_array_equal(ours, whole)


@pytest.mark.parametrize("block", [1, 77, 4_096, 44_100, 10**6])
def test_block_size_changes_nothing(block):
    samples = sound(0.5, 44_100)
    expected = soxr.resample(samples, 44_100, 32_000, quality=QUALITY)
    np.testing.assert_array_equal(stream(samples, Resampler(44_100, 32_000), block), expected)


def test_equal_rates_pass_through():
    resampler = Resampler(48_000, 48_000)
    block = sound(0.1)
    assert resampler.process(block) is block
    assert resampler.flush().size == 0
    assert resampler.ringing_samples == 0


@pytest.mark.parametrize(("rate_hz", "factor", "target_hz"), [(384_000, 10, 48_000), (2_000, 0.1, 32_000)])
def test_rate_factor_is_another_input_rate(rate_hz, factor, target_hz):
    samples = sound(1.2, rate_hz)
    ours = stream(samples, Resampler(rate_hz, target_hz, factor), rate_hz)
    np.testing.assert_array_equal(ours, soxr.resample(samples, rate_hz / factor, target_hz, quality=QUALITY))


def test_a_bat_at_a_tenth_of_the_speed_is_heard_at_a_tenth_of_the_pitch():
    rate_hz, call_hz = 384_000, 45_000
    samples = np.sin(2 * np.pi * call_hz * np.arange(rate_hz // 2) / rate_hz).astype(np.float32)
    slow = stream(samples, Resampler(rate_hz, 48_000, 10.0), rate_hz)
    assert len(slow) == 48_000 * 5
    peak_hz = np.abs(np.fft.rfft(slow)).argmax() * 48_000 / len(slow)
    assert peak_hz == pytest.approx(call_hz / 10, abs=1)


@pytest.mark.parametrize(
    ("rate_hz", "target_hz"), [(44_100, 32_000), (48_000, 32_000), (22_050, 48_000), (96_000, 32_000)]
)
def test_librosa_as_a_twin(rate_hz, target_hz):
    """librosa's polyphase resampler from scipy: other filters, the same sound below both pass bands."""
    t = np.arange(2 * rate_hz) / rate_hz
    samples = sum(np.sin(2 * np.pi * hz * t + hz) for hz in (200, 1_000, 5_000, 9_000)).astype(np.float32) / 4
    ours = stream(samples, Resampler(rate_hz, target_hz), rate_hz)
    theirs = librosa.resample(samples, orig_sr=rate_hz, target_sr=target_hz, res_type="polyphase")
    assert abs(len(ours) - len(theirs)) <= 1
    inner = slice(target_hz // 4, len(ours) - target_hz // 4)
    assert np.corrcoef(ours[inner], theirs[inner])[0, 1] > 0.9999
    same_library = librosa.resample(samples, orig_sr=rate_hz, target_sr=target_hz, res_type="soxr_hq")
    np.testing.assert_allclose(ours, same_library[: len(ours)], atol=1e-6)


def test_what_the_model_cannot_hear_does_not_fold_back():
    rate_hz, t = 48_000, np.arange(96_000) / 48_000
    above = np.sin(2 * np.pi * 17_500 * t).astype(np.float32)
    heard = stream(above, Resampler(rate_hz, 32_000), rate_hz)
    assert np.abs(heard[2_000:-2_000]).max() < 1e-5


@pytest.mark.parametrize("rate_hz", [100, 2_000, 8_000, 22_050, 25_600, 44_100, 48_000, 384_000, 10_000_000])
@pytest.mark.parametrize("target_hz", [32_000, 48_000])
def test_ringing_ends_within_the_guard(rate_hz, target_hz):
    """The zero tail of a file is told apart from ringing by this number of samples."""
    resampler = Resampler(rate_hz, target_hz)
    n_sound = min(rate_hz, 400_000)
    guard_in = int(2 * RINGING_SAMPLES * max(1.0, rate_hz / target_hz))
    samples = np.concatenate([sound(n_sound / 48_000), np.zeros(3 * guard_in, np.float32)])
    out = stream(samples, resampler, 48_000)
    end = int(np.ceil(n_sound * resampler.ratio)) + resampler.ringing_samples
    assert len(out) > end or rate_hz == target_hz
    assert not out[end:].any()


@pytest.mark.parametrize(("rate_hz", "factor"), [(1_000, 100.0), (1_000_000, 0.01), (1_000_000, 100.0), (1_000, 0.01)])
def test_the_outermost_ratios_work(rate_hz, factor):
    resampler = Resampler(rate_hz, 48_000, factor)
    out = stream(np.ones(2 * rate_hz, np.float32), resampler, rate_hz)
    assert len(out) == pytest.approx(2 * 48_000 * factor, abs=1)
    assert np.isfinite(out).all()


def test_silence_stays_silence():
    out = stream(np.zeros(44_100, np.float32), Resampler(44_100, 32_000), 44_100)
    assert len(out) == 32_000
    assert not out.any()
