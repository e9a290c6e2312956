"""Calibration: against the general solver, in simulations, and where there is too little to fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from sklearn.calibration import _SigmoidCalibration

from probes.calibration import SLOPE_MIN, fit_platt, fit_temperature, log_loss, log_loss_classes
from sonotheque.core.errors import Invalid


def crooked(random, n=400, slope=0.3, offset=-1.5):
    """Logits whose true probability is sigmoid(slope x logit + offset)."""
    logits = random.normal(scale=5, size=n)
    return logits, (random.random(n) < expit(slope * logits + offset)).astype(int)


@pytest.mark.parametrize(("slope", "offset"), [(0.3, -1.5), (1.0, 0.0), (2.5, 1.0)])
def test_the_truth_is_found(slope, offset):
    found = fit_platt(*crooked(np.random.default_rng(0), 20_000, slope, offset))
    assert found == (pytest.approx(slope, rel=0.1), pytest.approx(offset, abs=0.12))


@pytest.mark.parametrize("n", [60, 200, 1000])
def test_calibration_lowers_the_log_loss_of_unseen_rows(n):
    """Over a hundred simulations: overconfident logits, fitted on one half and judged by another."""
    random = np.random.default_rng(5)
    before, after, base = [], [], []
    for _ in range(100):
        logits, truth = crooked(random, n)
        unseen, right = crooked(random, 500)
        slope, offset = fit_platt(logits, truth)
        before.append(log_loss(unseen, right))
        after.append(log_loss(unseen, right, slope=slope, offset=offset))
        share = (truth.sum() + 1) / (n + 2)
        base.append(log_loss(np.zeros(500), right, offset=float(np.log(share / (1 - share)))))
    assert np.mean(np.array(after) < before) > 0.95
    assert np.mean(after) < np.mean(base) < np.mean(before)


def test_calibrated_probabilities_are_the_shares_that_occur():
    random = np.random.default_rng(6)
    slope, offset = fit_platt(*crooked(random, 5000))
    logits, truth = crooked(random, 50_000)
    said = expit(slope * logits + offset)
    for low in np.arange(0, 1, 0.1):
        within = (said >= low) & (said < low + 0.1)
        assert truth[within].mean() == pytest.approx(said[within].mean(), abs=0.05)


def test_calibration_of_what_is_calibrated_changes_little():
    random = np.random.default_rng(7)
    logits, truth = crooked(random, 5000, 1.0, 0.0)
    slope, offset = fit_platt(logits, truth)
    unseen, right = crooked(random, 5000, 1.0, 0.0)
    assert log_loss(unseen, right, slope=slope, offset=offset) < log_loss(unseen, right) + 0.002


@given(st.integers(0, 2**31), st.sampled_from([1e-3, 1.0, 300.0]), st.booleans())
def test_it_is_the_minimum_a_general_solver_finds(seed, size, weighted):
    random = np.random.default_rng(seed)
    logits, truth = crooked(random, 80)
    weights = random.choice([0.1, 1.0], size=80) if weighted else np.ones(80)
    truth[:3], truth[3:6] = 0, 1
    slope, offset = fit_platt(logits * size, truth, weights)
    n_pos, n_neg = weights[truth == 1].sum(), weights[truth == 0].sum()
    target = np.where(truth == 1, (n_pos + 1) / (n_pos + 2), 1 / (n_neg + 2))

    def loss(at):
        margin = at[0] * logits + at[1]
        return weights @ (target * np.logaddexp(0, -margin) + (1 - target) * np.logaddexp(0, margin))

    least = minimize(loss, [0.1, 0.0], bounds=[(SLOPE_MIN * size, None), (None, None)])
    assert loss([slope * size, offset]) <= least.fun * (1 + 1e-7) + 1e-9


@given(st.integers(0, 2**31))
def test_it_is_scikit_learns_sigmoid(seed):
    random = np.random.default_rng(seed)
    logits, truth = crooked(random, 200)
    truth[:3], truth[3:6] = 0, 1
    slope, offset = fit_platt(logits, truth)
    twin = _SigmoidCalibration().fit(logits, truth)
    if -twin.a_ > SLOPE_MIN:
        np.testing.assert_allclose(expit(slope * logits + offset), twin.predict(logits), atol=2e-3)


def test_classes_that_lie_apart_do_not_end_in_certainty():
    """The targets are pulled in: three of each never give more than Laplace's rule."""
    slope, offset = fit_platt(np.array([-9.0, -8, -7, 7, 8, 9]), np.array([0, 0, 0, 1, 1, 1]))
    said = expit(slope * np.array([-8.0, 8.0]) + offset)
    assert said == pytest.approx([0.2, 0.8], abs=0.05)
    assert np.isfinite([slope, offset]).all()


def test_a_score_that_points_the_wrong_way_is_not_turned_round():
    random = np.random.default_rng(8)
    logits, truth = crooked(random, 500)
    slope, offset = fit_platt(-logits, truth)
    assert slope == SLOPE_MIN
    assert expit(slope * -logits + offset).mean() == pytest.approx(truth.mean(), abs=0.02)


@pytest.mark.parametrize("truth", [[1] * 20, [0] * 20, [1, 1] + [0] * 18, [0, 0] + [1] * 18])
def test_too_few_of_a_side_leave_logits_as_they_are(truth):
    assert fit_platt(np.linspace(-3, 3, 20), np.array(truth)) == (1.0, 0.0)


def test_rows_of_weight_zero_do_not_count():
    logits, truth = crooked(np.random.default_rng(9), 100)
    wrong = np.concatenate([logits, np.full(40, -50.0)]), np.concatenate([truth, np.ones(40, int)])
    weights = np.concatenate([np.ones(100), np.zeros(40)])
    assert fit_platt(*wrong, weights) == fit_platt(logits, truth)
    assert fit_platt(logits, truth, (np.arange(100) < 2).astype(float)) == (1.0, 0.0)


@given(st.integers(0, 2**31))
def test_a_weight_of_two_is_a_row_written_twice(seed):
    random = np.random.default_rng(seed)
    logits, truth = crooked(random, 60)
    truth[:3], truth[3:6] = 0, 1
    times = random.integers(1, 4, size=60)
    once = fit_platt(logits, truth, times)
    np.testing.assert_allclose(once, fit_platt(np.repeat(logits, times), np.repeat(truth, times)), rtol=1e-5, atol=1e-6)


def test_equal_logits_give_the_share_of_positives():
    slope, offset = fit_platt(np.full(50, 2.0), np.array([1] * 20 + [0] * 30))
    assert expit(slope * 2.0 + offset) == pytest.approx(0.4, abs=0.02)
    slope, offset = fit_platt(np.zeros(50), np.array([1] * 20 + [0] * 30))
    assert slope > 0
    assert expit(offset) == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("size", [1e-6, 1e4, 1e8])
def test_logits_of_any_size(size):
    logits, truth = crooked(np.random.default_rng(10), 300)
    slope, offset = fit_platt(logits * size, truth)
    assert np.isfinite([slope, offset]).all()
    assert slope >= SLOPE_MIN


def several(random, n, temperature, classes=4):
    logits = random.normal(scale=2, size=(n, classes))
    truth = np.argmax(logits + random.gumbel(size=(n, classes)), axis=1)
    return logits * temperature, truth


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_true_temperature_is_found(temperature):
    found = fit_temperature(*several(np.random.default_rng(0), 20_000, temperature))
    assert found == pytest.approx(temperature, rel=0.05)


def test_a_temperature_lowers_the_log_loss_of_unseen_rows():
    random, lower = np.random.default_rng(1), 0
    for _ in range(60):
        found = fit_temperature(*several(random, 100, 3.0))
        unseen = several(random, 300, 3.0)
        lower += log_loss_classes(*unseen, temperature=found) < log_loss_classes(*unseen)
    assert lower >= 58


@given(st.integers(0, 2**31), st.booleans())
def test_the_temperature_is_the_minimum_of_a_grid(seed, weighted):
    random = np.random.default_rng(seed)
    logits, truth = several(random, 50, 2.0)
    weights = random.choice([0.2, 1.0], size=50) if weighted else np.ones(50)
    found = fit_temperature(logits, truth, weights)
    n = np.bincount(truth, weights=weights, minlength=4)
    if len(np.unique(truth)) < 2:
        return
    sure = ((n + 1) / (n + 4))[truth]
    target = np.repeat(((1 - sure) / 3)[:, None], 4, axis=1)
    target[np.arange(50), truth] = sure

    def loss(t):
        return -float(weights @ (target * log_softmax(logits / t, axis=1)).sum(axis=1))

    assert all(loss(found) <= loss(t) + 1e-9 for t in np.geomspace(0.01, 100, 60))


def test_temperatures_stay_in_bounds():
    apart = np.eye(3)[np.arange(30) % 3] * 20
    assert 0.01 <= fit_temperature(apart, np.arange(30) % 3) < 20
    assert 1 <= fit_temperature(-apart, np.arange(30) % 3) <= 100 * (1 + 1e-9)
    assert fit_temperature(np.zeros((10, 3)), np.arange(10) % 3) > 0


def test_too_little_for_a_temperature():
    assert fit_temperature(np.zeros((2, 3)), np.array([0, 1])) == 1.0
    assert fit_temperature(np.ones((9, 3)), np.zeros(9, int)) == 1.0
    assert fit_temperature(np.ones((9, 3)), np.arange(9) % 3, np.zeros(9)) == 1.0


def test_what_cannot_be_calibrated_is_refused():
    good, truth = np.linspace(-1, 1, 8), np.array([0, 1] * 4)
    with pytest.raises(Invalid, match="1 of 8 logits are not finite"):
        fit_platt(np.where(np.arange(8) == 3, np.nan, good), truth)
    with pytest.raises(Invalid, match="not finite"):
        fit_temperature(np.full((8, 2), np.inf), truth)
    with pytest.raises(Invalid, match="give one of each"):
        fit_platt(good, truth[:5])
    with pytest.raises(Invalid, match="one column for each class"):
        fit_temperature(good, truth)
    with pytest.raises(Invalid, match="expected 0 to 1"):
        fit_platt(good, truth * 2)
    with pytest.raises(Invalid, match="expected 0 to 2"):
        fit_temperature(np.zeros((8, 3)), truth * 5)
    with pytest.raises(Invalid, match="weights must be finite"):
        fit_platt(good, truth, -np.ones(8))


def test_log_losses():
    assert log_loss(np.array([0.0, 0.0]), np.array([0, 1])) == pytest.approx(np.log(2))
    assert log_loss_classes(np.zeros((5, 3)), np.zeros(5, int)) == pytest.approx(np.log(3))
    assert np.isnan(log_loss(np.zeros(0), np.zeros(0)))
    assert np.isnan(log_loss_classes(np.zeros((0, 3)), np.zeros(0)))
