"""Perch 2's front end against its definition in float64, and against the graph that is cut there."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedder.frontends import LogMel
from embedder.frontends.log_mel import mel_filters
from tests.embedder.frontends.twins import mel_triangles, perch_magnitudes, sounds

SOUNDS = sounds(160_000, 32_000)


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel()


def magnitudes(spectrogram: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.exp(10 * spectrogram.astype(np.float64))


@pytest.mark.parametrize("name", SOUNDS)
def test_the_same_as_in_float64(log_mel: LogMel, name: str) -> None:
    """Seen before the logarithm: what a float32 transform loses is a share of the sound's peak, not of each value."""
    expected = np.maximum(perch_magnitudes(SOUNDS[name]), 1e-5)
    found = magnitudes(log_mel(SOUNDS[name][None])[0])
    # Some millionths of itself: the logarithm is kept as a float32, and its rounding comes back tenfold.
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1.2e-7 * np.abs(SOUNDS[name]).max())


def test_of_noise_the_logarithms_agree_too(log_mel: LogMel) -> None:
    expected = 0.1 * np.log(np.maximum(perch_magnitudes(SOUNDS["noise"]), 1e-5))
    np.testing.assert_allclose(log_mel(SOUNDS["noise"][None])[0], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["silence", "subnormal"])
def test_nothing_is_the_floor(log_mel: LogMel, name: str) -> None:
    np.testing.assert_allclose(log_mel(SOUNDS[name][None]), 0.1 * math.log(1e-5), rtol=1e-6)


def test_a_tone_lies_in_its_band(log_mel: LogMel) -> None:
    time_s = np.arange(160_000) / 32_000
    tone = np.sin(2 * np.pi * 4_000 * time_s).astype(np.float32)
    spectrogram = log_mel(tone[None])[0]
    centres = np.linspace(math.log1p(60 / 700), math.log1p(16_000 / 700), 130)[1:-1]
    nearest = int(np.argmin(np.abs(centres - math.log1p(4_000 / 700))))
    assert (np.abs(spectrogram[2:-2].argmax(axis=1) - nearest) <= 1).all()


def test_a_frame_is_20_ms_in_the_middle_of_its_hop(log_mel: LogMel) -> None:
    """Frame i covers the samples 320 i - 160 to 320 i + 480: how the window is padded at its ends shows here."""
    for sample, frames in ((0, [0]), (159, [0]), (160, [0, 1]), (159_999, [499]), (70_000, [218, 219])):
        click = np.zeros((1, 160_000), np.float32)
        click[0, sample] = 1.0
        heard = np.flatnonzero((log_mel(click)[0] > 0.1 * math.log(1.01e-5)).any(axis=1))
        assert set(heard) <= set(frames)
        assert len(heard) >= 1


def test_the_filters_are_the_definitions() -> None:
    expected = mel_triangles(513, 32_000, 128, 60, 16_000)
    expected[0] = 0
    np.testing.assert_allclose(mel_filters(), expected, rtol=0, atol=1e-6)
    assert (mel_filters() != 0).sum(axis=1).max() <= 2  # of no more than two bands is any bin


def test_as_the_graph_that_is_cut_there(log_mel: LogMel, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra: engines)")
    from benchmarks.standin import Architecture, ensure

    made = ensure(tmp_path, saved_model=False, arch=Architecture(width=0.25, depth=0.5, classes=4))
    frames: NDArray[np.float32] = np.stack([SOUNDS["noise"], SOUNDS["chirp"], SOUNDS["click"], SOUNDS["edges"]])
    for path in (made.onnx, made.onnx_no_dft):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (theirs,) = session.run(["spectrogram"], {"inputs": frames})
        ours, theirs = magnitudes(log_mel(frames)), magnitudes(theirs.reshape(4, 500, 128))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=5e-7)
