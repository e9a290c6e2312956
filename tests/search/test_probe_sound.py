"""Signal over noise of windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from search_api.locating import Locator
from search_api.probes.sound import snr_db, with_snr
from tests.probes.builders import examples
from tests.search import kit

RATE = 16_000


def burst(level: float, rng: np.random.Generator) -> np.ndarray:
    """Two seconds of noise with a call of a quarter of a second."""
    sound = rng.normal(0, 0.01, 2 * RATE)
    sound[RATE : RATE + RATE // 4] += level * np.sin(2 * np.pi * 3000 * np.arange(RATE // 4) / RATE)
    return sound


def test_louder_calls_have_more_of_it_and_its_scale_does_not_matter():
    rng = np.random.default_rng(0)
    values = [snr_db(burst(level, np.random.default_rng(1)), RATE) for level in (0.0, 0.05, 0.2, 0.8)]
    assert values == sorted(values) and values[0] < 3 < 10 < values[2]
    sound = burst(0.2, rng)
    assert snr_db(sound, RATE) == pytest.approx(snr_db(sound * 1000, RATE))


def test_rumble_is_not_taken_for_noise():
    sound = burst(0.2, np.random.default_rng(2))
    rumble = 2 * np.sin(2 * np.pi * 20 * np.arange(len(sound)) / RATE)
    assert abs(snr_db(sound + rumble, RATE) - snr_db(sound, RATE)) < 3


@pytest.mark.parametrize("samples", [np.zeros(2 * RATE), np.zeros(0), np.ones(100), np.full(2 * RATE, 0.3)])
def test_silence_and_scraps_have_none(samples):
    assert np.isnan(snr_db(samples, RATE))


def test_a_call_over_digital_silence_is_finite():
    sound = np.zeros(2 * RATE)
    sound[:RATE] = np.random.default_rng(0).normal(size=RATE)
    assert np.isfinite(snr_db(sound, RATE)) and snr_db(sound, RATE) > 60


def test_only_judged_windows_are_read_and_what_is_gone_is_told(tmp_path):
    rng = np.random.default_rng(3)
    kit.write(tmp_path / "a.wav", np.concatenate([burst(0.5, rng), burst(0.05, rng), burst(0.5, rng)]))
    paths = np.array(["a.wav", "a.wav", "a.wav", "gone.wav"], object)
    e = replace(
        examples(4, n_classes=1),
        paths=paths,
        start_s=np.array([4.0, 0.0, 2.0, 0.0]),
        end_s=np.array([6.0, 2.0, 4.0, 2.0]),
    )
    e = replace(e, weights=np.array([[1], [1], [0.05], [1]], np.float32))
    found, notes = with_snr(e, Locator(((str(tmp_path), ""),)))
    assert found.snr_db[0] > 10 and found.snr_db[1] > 10 and np.isnan(found.snr_db[2]) and np.isnan(found.snr_db[3])
    assert len(notes) == 1 and "1 recordings" in notes[0] and "gone.wav" in notes[0]
