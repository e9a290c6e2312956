"""Intervals: whole groups, the same draw every time, and the truth inside as often as said."""

from __future__ import annotations

import numpy as np
import pytest

from probes.intervals import bootstrap, group_numbers, percentile_interval, resamples
from probes.metrics import roc_auc
from sonotheque.core.errors import Invalid


def test_group_numbers_count_from_zero():
    numbers, n = group_numbers(np.array(["b", "a", "b", "c"], dtype=object))
    assert (numbers.tolist(), n) == ([1, 0, 1, 2], 3)


def test_each_draw_takes_as_many_groups_as_there_are():
    (times,) = resamples(7, 50, seed=1)
    assert times.shape == (7, 50)
    assert (times.sum(axis=0) == 7).all()
    assert times.std() > 0


def test_draws_are_the_same_however_they_are_cut(monkeypatch):
    whole = np.concatenate(list(resamples(6, 20, seed=4)), axis=1)
    monkeypatch.setattr("probes.intervals._CELLS", 18)
    blocks = list(resamples(6, 20, seed=4))
    assert [b.shape[1] for b in blocks] == [3] * 6 + [2]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)
    assert not np.array_equal(np.concatenate(list(resamples(6, 20, seed=5)), axis=1), whole)


def test_no_repeats_and_no_groups():
    assert list(resamples(3, 0, seed=0)) == []
    for n_groups, repeats in ((0, 5), (3, -1)):
        with pytest.raises(Invalid, match="at least one group"):
            list(resamples(n_groups, repeats, seed=0))


def test_percentiles():
    low, high = percentile_interval(np.arange(1001))
    assert (low, high) == (pytest.approx(25), pytest.approx(975))
    with_gaps = np.where(np.arange(1001) % 3 == 0, np.nan, np.arange(1001))
    assert not np.isnan(percentile_interval(with_gaps)).any()


@pytest.mark.parametrize("values", [[], [1.0] * 9, [np.nan] * 30, [1.0] * 14 + [np.nan] * 15])
def test_too_few_defined_repeats_give_no_interval(values):
    assert np.isnan(percentile_interval(np.array(values))).all()


def test_the_statistic_is_given_whole_groups():
    groups, seen = np.array([5, 5, 9, 9, 9, 2]), []

    def statistic(times):
        seen.append(times)
        return 0.0

    bootstrap(groups, statistic, n=30)
    assert len(seen) == 30
    for times in seen:
        assert times.shape == (6,)
        assert all(len(set(times[groups == g])) == 1 for g in (2, 5, 9))
        assert sum(times[groups == g][0] for g in (2, 5, 9)) == 3


def test_the_same_seed_gives_the_same_interval():
    random = np.random.default_rng(0)
    values, groups = random.normal(size=90), np.repeat(np.arange(30), 3)

    def mean(times):
        return float(np.average(values, weights=times))

    assert bootstrap(groups, mean, 100, 7) == bootstrap(groups, mean, 100, 7) != bootstrap(groups, mean, 100, 8)


def test_one_group_says_nothing_of_how_groups_differ():
    assert np.isnan(bootstrap(np.zeros(50), lambda times: 1.0, 40)).all()


def test_windows_of_one_recording_do_not_count_as_many():
    """Ten copies of each row must not make the interval narrower."""
    random = np.random.default_rng(2)
    values = random.normal(size=40)
    few = bootstrap(np.arange(40), lambda t: float(np.average(values, weights=t)), 400)
    copied, groups = np.repeat(values, 10), np.repeat(np.arange(40), 10)
    many = bootstrap(groups, lambda t: float(np.average(copied, weights=t)), 400)
    naive = bootstrap(np.arange(400), lambda t: float(np.average(copied, weights=t)), 400)
    assert many == pytest.approx(few)
    assert naive[1] - naive[0] < 0.5 * (many[1] - many[0])


def test_intervals_cover_the_mean_of_recordings():
    """Rows of a group share a part: 95 % is promised, and somewhat less is had with 40 groups."""
    random = np.random.default_rng(11)
    groups, inside = np.repeat(np.arange(40), 4), 0
    for trial in range(300):
        values = np.repeat(random.normal(size=40), 4) + random.normal(size=160)
        (times,) = resamples(40, 200, seed=trial)
        sums = values.reshape(40, 4).sum(axis=1)
        low, high = percentile_interval(sums @ times / (4 * times.sum(axis=0)))
        inside += low <= 0 <= high
    assert len(groups) == 160
    assert 0.90 <= inside / 300 <= 0.98


def test_intervals_cover_the_area_under_the_curve():
    from scipy.special import ndtr

    from probes.ranking import rank

    random, inside, trials = np.random.default_rng(12), 0, 200
    expected = float(ndtr(1 / np.sqrt(2 * 1.25)))  # normal scores, one apart, with a share of the recording's own
    for trial in range(trials):
        recording = np.repeat(np.arange(50), 6)
        truth = random.random(300) < 0.4
        scores = random.normal(size=300) + truth + np.repeat(0.5 * random.normal(size=50), 6)
        ranking = rank(truth, scores, np.ones(300), recording, 50)
        (times,) = resamples(50, 200, seed=trial)
        low, high = percentile_interval(ranking.measure(times)[1])
        assert low <= roc_auc(truth, scores) <= high
        inside += low <= expected <= high
    assert 0.90 <= inside / trials <= 0.99
