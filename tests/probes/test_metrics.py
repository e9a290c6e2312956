"""The metrics against scikit-learn, by hand, and where they are not defined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as twin

from probes import metrics
from probes.ranking import rank
from sonotheque.core.errors import Invalid


@st.composite
def ranked(draw, rows=(2, 40)):
    """Truth, scores with many ties, and weights with some zeros."""
    n = draw(st.integers(*rows))
    truth = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    scores = np.array(
        draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1.0]), min_size=n, max_size=n))
    )
    weights = np.array(draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0]), min_size=n, max_size=n)))
    return truth, scores, weights


def both_sides(truth, weights):
    return weights[truth == 1].sum() > 0 and weights[truth == 0].sum() > 0


@given(ranked())
def test_average_precision_is_scikit_learns(case):
    truth, scores, weights = case
    if both_sides(truth, weights):
        assert metrics.average_precision(truth, scores, weights) == pytest.approx(
            twin.average_precision_score(truth, scores, sample_weight=weights)
        )
    else:
        assert np.isnan(metrics.average_precision(truth, scores, weights))


@given(ranked())
def test_roc_auc_is_scikit_learns(case):
    truth, scores, weights = case
    if both_sides(truth, weights):
        assert metrics.roc_auc(truth, scores, weights) == pytest.approx(
            twin.roc_auc_score(truth, scores, sample_weight=weights), abs=1e-12
        )
        assert metrics.roc_auc_chance(truth, weights) == 0.5
    else:
        assert np.isnan(metrics.roc_auc(truth, scores, weights))
        assert np.isnan(metrics.roc_auc_chance(truth, weights))


@given(ranked())
def test_without_weights_every_row_counts_once(case):
    truth, scores, _ = case
    for metric in (metrics.average_precision, metrics.roc_auc):
        assert metric(truth, scores) == pytest.approx(metric(truth, scores, np.ones(len(truth))), nan_ok=True)


@given(ranked(), st.randoms())
def test_order_of_rows_does_not_matter(case, random):
    truth, scores, weights = case
    order = list(range(len(truth)))
    random.shuffle(order)
    for metric in (metrics.average_precision, metrics.roc_auc):
        assert metric(truth[order], scores[order], weights[order]) == pytest.approx(
            metric(truth, scores, weights), nan_ok=True
        )


@given(ranked())
def test_precision_and_recall_are_scikit_learns(case):
    truth, scores, weights = case
    assume(both_sides(truth, weights))
    found = metrics.precision_recall(truth, scores, weights)
    kept = weights > 0
    precision, recall, thresholds = twin.precision_recall_curve(truth[kept], scores[kept], sample_weight=weights[kept])
    np.testing.assert_allclose(found.thresholds, thresholds[::-1])
    np.testing.assert_allclose(found.precision, precision[-2::-1])
    np.testing.assert_allclose(found.recall, recall[-2::-1])
    for threshold, f1 in zip(found.thresholds, found.f1, strict=True):
        expected = twin.f1_score(truth, scores >= threshold, sample_weight=weights, zero_division=0.0)
        assert f1 == pytest.approx(expected)


def test_precision_and_recall_of_nothing():
    nothing = metrics.precision_recall(np.zeros(0, int), np.zeros(0))
    assert len(nothing.thresholds) == len(nothing.precision) == len(nothing.recall) == len(nothing.f1) == 0
    no_positive = metrics.precision_recall(np.array([0, 0]), np.array([0.2, 0.4]))
    assert no_positive.precision.tolist() == [0, 0]
    assert np.isnan(no_positive.recall).all()
    assert np.isnan(no_positive.f1).all()


@st.composite
def tables(draw):
    n, c = draw(st.integers(2, 15)), draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**31))
    random = np.random.default_rng(seed)
    return (random.random((n, c)) < draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))).astype(int), np.round(
        random.random((n, c)), 1
    )


@given(tables(), st.integers(1, 6))
def test_padded_cmap_is_the_competitions(case, padding):
    """BirdCLEF 2023: rows of ones below the truth and below the scores, then the macro average precision."""
    truth, scores = case
    ones = np.ones((padding, truth.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = twin.average_precision_score(
            np.concatenate([truth, ones]), np.concatenate([scores, ones]), average="macro"
        )
    assert metrics.padded_cmap(truth, scores, padding) == pytest.approx(expected)


@given(tables(), st.integers(1, 6))
def test_padded_cmaps_chance_is_what_one_score_for_all_gets(case, padding):
    truth, _ = case
    assert metrics.padded_cmap_chance(truth, padding) == pytest.approx(
        metrics.padded_cmap(truth, np.full(truth.shape, 0.5), padding)
    )


def test_padded_cmap_leaves_out_classes_of_which_nothing_is_known():
    truth, scores = np.array([[1, 0], [0, 1]]), np.array([[0.2, 0.3], [0.6, 0.1]])
    known = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.padded_cmap(truth, scores, weights=known) == metrics.padded_cmap(truth[:, :1], scores[:, :1])
    assert metrics.padded_cmap_chance(truth, weights=known) == metrics.padded_cmap_chance(truth[:, :1])
    assert np.isnan(metrics.padded_cmap(truth, scores, weights=known * 0))
    assert np.isnan(metrics.padded_cmap_chance(truth, weights=known * 0))
    with pytest.raises(Invalid, match="padding is 0"):
        metrics.padded_cmap(truth, scores, 0)


@given(ranked())
def test_average_precisions_chance_is_what_one_score_for_all_gets(case):
    truth, _, weights = case
    same = metrics.average_precision(truth, np.full(len(truth), 0.3), weights)
    assert metrics.average_precision_chance(truth, weights) == pytest.approx(same, nan_ok=True)


def test_chance_levels_are_what_random_scores_reach():
    random = np.random.default_rng(3)
    truth = (random.random(3000) < 0.2).astype(int)
    scores = random.random((40, 3000))
    assert np.mean([metrics.roc_auc(truth, s) for s in scores]) == pytest.approx(0.5, abs=0.01)
    assert np.mean([metrics.average_precision(truth, s) for s in scores]) == pytest.approx(
        metrics.average_precision_chance(truth), abs=0.01
    )


@given(ranked(), st.integers(0, 2**31))
def test_a_group_taken_twice_weighs_twice(case, seed):
    """The bootstrap's short cut against writing the rows out as often as they are drawn."""
    truth, scores, weights = case
    random = np.random.default_rng(seed)
    groups = random.integers(4, size=len(truth))
    times = random.integers(3, size=(4, 6))
    precision, area = rank(truth.astype(bool), scores, weights, groups, 4).measure(times.astype(float))
    for column in range(6):
        rows = np.repeat(np.arange(len(truth)), times[groups, column])
        assert precision[column] == pytest.approx(
            metrics.average_precision(truth[rows], scores[rows], weights[rows]), nan_ok=True
        )
        assert area[column] == pytest.approx(metrics.roc_auc(truth[rows], scores[rows], weights[rows]), nan_ok=True)


def test_repeats_come_out_the_same_in_blocks(monkeypatch):
    random = np.random.default_rng(0)
    ranking = rank(random.random(50) < 0.4, random.random(50), np.ones(50), random.integers(5, size=50), 5)
    times = random.integers(3, size=(5, 11)).astype(float)
    whole = ranking.measure(times)
    monkeypatch.setattr("probes.ranking._CELLS", 30)
    for one, other in zip(whole, ranking.measure(times), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@st.composite
def decisions(draw):
    n, c = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    truth = np.array(draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n)))
    said = np.array(draw(st.lists(st.integers(0, c - 1), min_size=n, max_size=n)))
    weights = np.array(draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=n, max_size=n)))
    return truth, said, weights, c


@given(decisions())
def test_confusion_and_its_means_are_scikit_learns(case):
    truth, said, weights, c = case
    counts = metrics.confusion(truth, said, c, weights)
    np.testing.assert_allclose(counts, twin.confusion_matrix(truth, said, labels=range(c), sample_weight=weights))
    assert metrics.accuracy(counts) == pytest.approx(twin.accuracy_score(truth, said, sample_weight=weights))
    there = np.unique(truth)
    if len(there) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class that is said and never true
            expected = twin.balanced_accuracy_score(truth, said, sample_weight=weights)
        assert metrics.balanced_accuracy(counts) == pytest.approx(expected)
        assert metrics.macro_f1(counts) == pytest.approx(
            twin.f1_score(truth, said, labels=there, average="macro", sample_weight=weights, zero_division=0.0)
        )
        assert metrics.balanced_accuracy_chance(counts) == metrics.macro_f1_chance(counts) == 1 / len(there)
    else:
        assert np.isnan(
            [metrics.balanced_accuracy(counts), metrics.macro_f1(counts), metrics.balanced_accuracy_chance(counts)]
        ).all()


def test_means_of_an_empty_confusion_are_not_defined():
    empty = metrics.confusion(np.zeros(0, int), np.zeros(0, int), 3)
    assert empty.shape == (3, 3)
    for mean in (
        metrics.accuracy,
        metrics.accuracy_chance,
        metrics.balanced_accuracy,
        metrics.macro_f1,
        metrics.macro_f1_chance,
    ):
        assert np.isnan(mean(empty))


def test_guesses_reach_their_chance_level():
    random = np.random.default_rng(1)
    truth = random.choice(3, size=60_000, p=[0.6, 0.3, 0.1])
    by_share = metrics.confusion(truth, random.choice(3, size=60_000, p=[0.6, 0.3, 0.1]), 3)
    assert metrics.balanced_accuracy(by_share) == pytest.approx(metrics.balanced_accuracy_chance(by_share), abs=0.02)
    assert metrics.macro_f1(by_share) == pytest.approx(metrics.macro_f1_chance(by_share), abs=0.02)
    always_first = metrics.confusion(truth, np.zeros(60_000, int), 3)
    assert metrics.accuracy(always_first) == metrics.accuracy_chance(always_first) == pytest.approx(0.6, abs=0.01)


def test_f1_of_one_class():
    assert metrics.f1(6, 2, 4) == pytest.approx(twin.f1_score([1] * 10 + [0] * 2, [1] * 6 + [0] * 4 + [1] * 2))
    assert metrics.f1(0, 0, 3) == 0
    assert np.isnan(metrics.f1(0, 5, 0))
    assert metrics.f1_chance(3, 9) == pytest.approx(twin.f1_score([1] * 3 + [0] * 9, [1] * 12))
    assert np.isnan(metrics.f1_chance(0, 4))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    for metric in (metrics.average_precision, metrics.roc_auc, metrics.precision_recall):
        with pytest.raises(Invalid, match="1 of 3 scores are not finite"):
            metric(np.array([0, 1, 0]), np.array([0.5, bad, 0.1]))
    with pytest.raises(Invalid, match="not finite"):
        metrics.padded_cmap(np.array([[0], [1]]), np.array([[0.5], [bad]]))


def test_what_else_cannot_be_measured_is_refused():
    truth, scores = np.array([0, 1]), np.array([0.2, 0.8])
    with pytest.raises(Invalid, match=r"truth has the shape \(2,\), the scores \(3,\)"):
        metrics.roc_auc(truth, np.zeros(3))
    with pytest.raises(Invalid, match="truth must be 0 or 1"):
        metrics.roc_auc(np.array([0, 2]), scores)
    for weight in (-1.0, np.nan):
        with pytest.raises(Invalid, match="weights must be finite"):
            metrics.roc_auc(truth, scores, np.array([1.0, weight]))
    with pytest.raises(Invalid, match="class numbers go from 0 to 5"):
        metrics.confusion(np.array([0, 5]), np.array([0, 1]), 3)
    with pytest.raises(Invalid, match="give as many of each"):
        metrics.confusion(np.array([0, 1]), np.array([0]), 3)
