"""The sounds that engines are compared on."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from embedder.choosing.windows import N_WINDOWS, check_windows
from embedder.models import MODELS, load_model

CODE = (
    "from embedder.choosing.windows import check_windows as c; import hashlib; "
    "print(hashlib.sha256(c(16000, 32000, 9).tobytes()).hexdigest())"
)


@pytest.mark.parametrize("info", MODELS.values(), ids=MODELS)
def test_they_fit_every_model(info) -> None:
    windows = check_windows(info.sample_rate_hz, info.window_samples)
    assert windows.shape == (N_WINDOWS, info.window_samples)
    assert windows.dtype == np.float32
    assert np.isfinite(windows).all()
    peaks = np.abs(windows).max(axis=1)
    assert peaks.max() < 1.0
    assert peaks[:-2].min() > 0.01
    assert peaks[-2] == pytest.approx(1e-4)
    assert peaks[-1] == 0.0


@pytest.mark.parametrize(("rate_hz", "samples"), [(8_000, 800), (22_050, 66_150), (250_000, 125_000)])
def test_they_can_be_made_for_any_rate_and_length(rate_hz: int, samples: int) -> None:
    windows = check_windows(rate_hz, samples, n=10)
    assert windows.shape == (10, samples)
    assert np.isfinite(windows).all()


def test_they_are_the_same_in_every_process() -> None:
    done = [subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True) for _ in range(2)]
    assert done[0].stdout == done[1].stdout


def test_the_first_ones_do_not_depend_on_how_many_there_are() -> None:
    np.testing.assert_array_equal(check_windows(16_000, 32_000, 9)[:7], check_windows(16_000, 32_000, 20)[:7])


def test_a_model_tells_them_apart() -> None:
    """Neighbours of look-alikes would be chance: then their agreement says nothing."""
    model = load_model("placeholder")
    found = model.embed(check_windows(model.spec.sample_rate_hz, model.spec.window_samples)).embeddings
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    cosine = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    assert cosine.max() < 0.9999
    assert np.median(cosine) < 0.9
