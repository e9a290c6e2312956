"""Learning curves: what is drawn, what is kept, and where they end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.curve import few_shots, learning_curve
from sonotheque.core.errors import Invalid
from tests.probes.judging_worlds import examples


def nearest_mean(train, test):
    """A probe of one line: how much nearer to the mean of the positives than to that of the rest."""
    scores = np.zeros(test.targets.shape)
    for c in range(len(train.classes)):
        known = train.weights[:, c] > 0
        positive = known & (train.targets[:, c] > 0)
        direction = train.vectors[positive].mean(axis=0) - train.vectors[known & ~positive].mean(axis=0)
        scores[:, c] = test.vectors @ direction
    return scores


def learnable(n=240, classes=2, recordings=40, seed=0):
    random = np.random.default_rng(seed)
    targets = (random.random((n, classes)) < 0.3).astype(np.float32)
    vectors = random.normal(size=(n, 8)) + 1.2 * targets @ random.normal(size=(classes, 8))
    world = examples(targets, random.integers(recordings, size=n), vectors=vectors)
    return world.take(np.arange(n // 2)), world.take(np.arange(n // 2, n))


def test_more_examples_are_better():
    rows = learning_curve(*learnable(), nearest_mean, shots=(1, 4, 16), repeats=8)
    assert [row["shots"] for row in rows] == [1, 4, 16, "all"]
    assert rows[0]["map"] < rows[2]["map"] <= rows[3]["map"] + 0.05
    assert rows[0]["roc_auc"] < rows[2]["roc_auc"]
    for row in rows:
        assert 0 <= row["map_low"] <= row["map"] <= row["map_high"] <= 1
    assert [row["repeats"] for row in rows] == [8, 8, 8, 1]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_it_ends_where_no_class_has_that_many():
    train = examples([[1, 0]] * 5 + [[0, 1]] * 2 + [[0, 0]] * 3, range(10))
    rows = learning_curve(train, train, nearest_mean, shots=(8, 1, 2, 4, 4), repeats=1)
    assert [(row["shots"], row["classes"]) for row in rows] == [(1, 2), (2, 2), (4, 1), ("all", 2)]


def test_the_same_seed_gives_the_same_curve():
    train, test = learnable()
    one, same, other = (learning_curve(train, test, nearest_mean, shots=(2, 4), seed=s) for s in (1, 1, 2))
    assert one == same != other
    assert learning_curve(train, test, nearest_mean, shots=(4,), seed=1)[0] == one[1]


def test_all_examples_are_in_the_last_row():
    train, test = learnable()
    seen = []

    def spy(few, asked):
        seen.append((few, asked))
        return nearest_mean(few, asked)

    learning_curve(train, test, spy, shots=(1, 2), repeats=3)
    assert len(seen) == 7
    assert seen[-1][0] is train
    assert all(asked is test for _, asked in seen)


def test_a_test_without_positives_gives_no_numbers():
    train, test = learnable()
    test.targets[:] = 0
    rows = learning_curve(train, test, nearest_mean, shots=(1,), repeats=2)
    assert all(row["map"] is row["map_low"] is row["map_high"] is row["roc_auc"] is None for row in rows)


def test_no_shots_leave_the_last_row():
    assert [row["shots"] for row in learning_curve(*learnable(), nearest_mean, shots=())] == ["all"]


@pytest.mark.parametrize(("shots", "repeats"), [((0, 1), 5), ((1,), 0)])
def test_numbers_below_one_are_refused(shots, repeats):
    with pytest.raises(Invalid, match="at least 1"):
        learning_curve(*learnable(), nearest_mean, shots=shots, repeats=repeats)


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(max_examples=60)
def test_each_class_gets_exactly_its_shots(seed, shots):
    """Also where a window has several classes: for those it was not drawn for it is not known."""
    random = np.random.default_rng(seed)
    targets = random.random((40, 3)) < 0.25
    world = examples(
        targets, random.integers(10, size=40), weights=random.choice([0.0, 0.1, 1.0], p=[0.2, 0.2, 0.6], size=(40, 3))
    )
    positive = targets & (world.weights > 0)
    few = few_shots(world, shots, np.random.default_rng(seed))
    drawn = (few.targets > 0) & (few.weights > 0)
    assert drawn.sum(axis=0).tolist() == np.minimum(positive.sum(axis=0), shots).tolist()
    kept = {(r, s) for r, s in zip(few.recording_ids.tolist(), few.start_samples.tolist(), strict=True)}
    for i in np.flatnonzero(~positive.any(axis=1)):
        assert (world.recording_ids[i], world.start_samples[i]) in kept
    assert len(few) == (~positive.any(axis=1)).sum() + drawn.any(axis=1).sum()
    assert set(np.unique(few.weights)) <= set(np.unique(np.append(world.weights, 0)))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 12), st.integers(0, 99))
def test_shots_come_from_as_many_recordings_as_possible(recordings, shots, seed):
    world = examples(np.ones((len(recordings), 1)), recordings)
    few = few_shots(world, shots, np.random.default_rng(seed))
    counts = np.bincount(few.recording_ids)
    assert (counts > 0).sum() == min(shots, len(set(recordings)))
    # One recording gives two more than another only where the other has no more.
    for r in set(recordings):
        if counts[r : r + 1].sum() < recordings.count(r):
            assert counts.max() <= counts[r : r + 1].sum() + 1


def test_draws_differ():
    world = examples(np.ones((30, 1)), range(30))
    drawn = {tuple(few_shots(world, 3, np.random.default_rng(s)).recording_ids) for s in range(10)}
    assert len(drawn) == 10
