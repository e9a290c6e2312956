"""The sounds int8 ranges are taken from: as the network takes them, varied, and not the ones engines are compared on."""

from __future__ import annotations

import numpy as np
import pytest

from embedder.choosing.windows import check_windows
from embedder.models import model_info
from embedder.models.calibration import N_WINDOWS, calibration_windows


@pytest.mark.parametrize("name", ["perch_v2", "birdnet_v2.4"])
def test_windows(name: str) -> None:
    info = model_info(name)
    windows = calibration_windows(info)
    assert windows.shape == (N_WINDOWS, info.window_samples)
    assert windows.dtype == np.float32
    assert np.isfinite(windows).all()
    assert np.array_equal(windows, calibration_windows(info))
    peaks = np.abs(windows).max(axis=1)
    if name == "perch_v2":
        assert set(np.round(peaks, 5)) == {0.0, 0.25}
    else:
        assert (peaks[peaks > 0] > 1e-4).all()
    loud = windows[peaks > 0]
    likeness = np.corrcoef(loud.astype(np.float64))
    assert np.abs(likeness[~np.eye(len(loud), dtype=bool)]).max() < 0.9


def test_they_are_not_those_that_engines_are_compared_on() -> None:
    info = model_info("birdnet_v2.4")
    ours = calibration_windows(info).astype(np.float64)
    theirs = check_windows(info.sample_rate_hz, info.window_samples).astype(np.float64)
    ours, theirs = (one[np.abs(one).max(axis=1) > 0] for one in (ours, theirs))
    units = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (ours, theirs)]
    assert np.abs(units[0] @ units[1].T).max() < 0.9
