"""Macro metrics and the comparison of two probes on the same examples."""

from __future__ import annotations

import numpy as np
import pytest

from probes import metrics
from probes.macro import ClassRankings, compare_scores, macro_metric
from sonotheque.core.errors import Invalid
from tests.probes.judging_worlds import examples, noisy


def test_macro_metrics_are_means_of_the_plain_ones():
    world, scores = noisy()
    columns = [(world.targets[:, c], scores[:, c]) for c in range(3)]
    assert macro_metric(world, scores) == pytest.approx(np.mean([metrics.average_precision(*c) for c in columns]))
    assert macro_metric(world, scores, "roc_auc") == pytest.approx(np.mean([metrics.roc_auc(*c) for c in columns]))
    assert macro_metric(world, scores, "cmap") == pytest.approx(metrics.padded_cmap(world.targets, scores))


def test_nothing_to_average():
    world = examples([[1], [1]], [0, 1])
    assert np.isnan(macro_metric(world, np.zeros((2, 1))))
    assert np.isnan(macro_metric(world.of_classes(()), np.zeros((2, 0))))
    assert ClassRankings(world.of_classes(()), np.zeros((2, 0))).repeats(5, 0).macro("map").shape == (0,)


def test_a_repeat_that_loses_a_class_leaves_it_out():
    """A padded average precision of 1 must not come from not having drawn the positives."""
    world = examples([[1, 1], [0, 0], [0, 1], [0, 0]], [0, 1, 2, 3])
    rankings = ClassRankings(world, np.array([[0.1, 0.9], [0.9, 0.1], [0.8, 0.8], [0.7, 0.2]]), world.recording_ids)
    without_first = np.array([[0.0], [2.0], [1.0], [1.0]])
    found = rankings.measure(without_first)
    assert np.isnan(found.padded_average_precision[0, 0])
    assert np.isnan(found.average_precision[0, 0])
    assert found.macro("cmap")[0] == found.padded_average_precision[1, 0] == 1


def test_a_probe_against_itself_differs_by_nothing():
    world, scores = noisy()
    told = compare_scores(world, scores, scores, bootstrap=40)
    assert (told["metric"], told["difference"], told["difference_ci"]) == ("map", 0.0, [0.0, 0.0])
    assert told["first"] == told["second"] == pytest.approx(macro_metric(world, scores))


@pytest.mark.parametrize("metric", ["map", "cmap", "roc_auc"])
def test_a_better_probe_is_told_from_a_worse_one(metric):
    world, good = noisy(lift=3.0)
    worse = np.clip(good + np.random.default_rng(1).normal(scale=0.6, size=good.shape), 0, 1)
    told = compare_scores(world, worse, good, metric, bootstrap=150)
    assert told["difference"] == pytest.approx(told["second"] - told["first"])
    assert told["difference_ci"][0] > 0
    back = compare_scores(world, good, worse, metric, bootstrap=150)
    assert back["difference"] == pytest.approx(-told["difference"])
    assert back["difference_ci"] == pytest.approx([-told["difference_ci"][1], -told["difference_ci"][0]])


def test_what_both_find_hard_cancels_out():
    """The interval of the difference is narrower than those of the two values."""
    world, good = noisy(n=200, lift=1.5)
    other = np.clip(good + np.random.default_rng(1).normal(scale=0.02, size=good.shape), 0, 1)
    low, high = compare_scores(world, good, other, bootstrap=150)["difference_ci"]
    alone = ClassRankings(world, good, world.recording_ids).repeats(150, 0).macro("map")
    assert high - low < 0.5 * (np.percentile(alone, 97.5) - np.percentile(alone, 2.5))


def test_one_recording_and_one_side():
    world = examples([[1], [0], [1]], [4, 4, 4])
    told = compare_scores(world, np.array([[0.9], [0.2], [0.1]]), np.array([[0.9], [0.2], [0.8]]))
    assert told["difference"] == pytest.approx(1 - 5 / 6)
    assert told["difference_ci"] == [None, None]
    nothing = compare_scores(examples([[1], [1]], [0, 1]), np.zeros((2, 1)), np.ones((2, 1)))
    assert nothing == {
        "metric": "map",
        "first": None,
        "second": None,
        "difference": None,
        "difference_ci": [None, None],
    }


def test_what_cannot_be_compared():
    world, scores = noisy(n=10)
    with pytest.raises(Invalid, match="choose one of map, cmap, roc_auc"):
        compare_scores(world, scores, scores, "accuracy")
    with pytest.raises(Invalid, match=r"scores of the shape \(10, 2\) for 10 examples of 3 classes"):
        compare_scores(world, scores, scores[:, :2])
    with pytest.raises(Invalid, match="not finite"):
        macro_metric(world, np.full((10, 3), np.nan))
