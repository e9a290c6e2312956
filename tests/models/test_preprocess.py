"""Perch's per-window preprocessing against the three textbook steps, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from embedder.models.arrays import batches, sigmoid
from embedder.models.preprocess import TARGET_PEAK, peak_normalise


def textbook(frame: np.ndarray) -> np.ndarray:
    """One window, one step a line, in float64."""
    wide = frame.astype(np.float64)
    wide = wide - wide.mean()
    peak = np.max(np.abs(wide))
    return wide if peak == 0 else wide / peak * 0.25


def test_against_the_textbook() -> None:
    frames = np.random.default_rng(0).normal(0.05, 0.2, (4, 1000)).astype(np.float32)
    found = peak_normalise(frames)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.stack([textbook(frame) for frame in frames]), abs=1e-7)


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
        elements=st.floats(-1, 1, width=32),
    )
)
def test_any_window_peaks_at_a_quarter_or_is_silent(frames: np.ndarray) -> None:
    before = frames.copy()
    found = peak_normalise(frames)
    assert np.array_equal(frames, before)
    assert not np.shares_memory(found, frames)
    peaks = np.abs(found).max(axis=1)
    constant = (frames == frames[:, :1]).all(axis=1)
    assert (peaks[constant] == 0).all()
    assert ((peaks == 0) | (np.abs(peaks - TARGET_PEAK) < 1e-6)).all()


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1.0, 1e-30, 1e30])
def test_constant_windows_become_zeros(value: float) -> None:
    found = peak_normalise(np.full((2, 160_000), value, dtype=np.float32))
    assert not found.any()


def test_subnormal_sound_reaches_the_same_peak() -> None:
    frames = np.zeros((1, 8), dtype=np.float32)
    frames[0, ::2], frames[0, 1::2] = np.float32(1e-40), np.float32(-1e-40)
    assert np.abs(peak_normalise(frames)).max() == pytest.approx(TARGET_PEAK, rel=1e-4)


def test_gain_and_offset_do_not_matter() -> None:
    frames = np.random.default_rng(1).normal(0, 0.1, (2, 5000)).astype(np.float32)
    assert peak_normalise(frames * np.float32(0.01) + np.float32(0.2)) == pytest.approx(
        peak_normalise(frames), abs=1e-4
    )
    assert np.array_equal(peak_normalise(frames * np.float32(0.5)), peak_normalise(frames))


def test_rows_do_not_depend_on_each_other() -> None:
    frames = np.random.default_rng(2).normal(0, 0.1, (5, 5000)).astype(np.float32)
    whole = peak_normalise(frames)
    assert all(np.array_equal(peak_normalise(frames[row : row + 1])[0], whole[row]) for row in range(5))


def test_no_windows() -> None:
    assert peak_normalise(np.empty((0, 100), dtype=np.float32)).shape == (0, 100)


@given(st.floats(-80, 80))
def test_sigmoid_against_its_definition(value: float) -> None:
    found = sigmoid(np.array([value], dtype=np.float64))
    assert found.dtype == np.float32
    assert found[0] == pytest.approx(1.0 / (1.0 + np.exp(-value)), rel=1e-6, abs=1e-37)


@given(st.integers(0, 50), st.integers(1, 9))
def test_batches_cover_every_row_once(n: int, size: int) -> None:
    ranges = list(batches(n, size))
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(n))
    assert all(0 < stop - start <= size for start, stop in ranges)
