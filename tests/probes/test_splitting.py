"""Splits: whole groups, every class on both sides where that can be, the same every time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.grouping import whole_groups
from probes.sides import choose_test_groups
from probes.splitting import folds, leaks, split
from sonotheque.core.errors import Invalid
from tests.probes.judging_worlds import examples

WAYS = ("recording", "day", "site")


@st.composite
def worlds(draw, groups=(2, 30), rows=(4, 80)):
    n, n_groups, c = draw(st.integers(*rows)), draw(st.integers(*groups)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    recordings = np.concatenate([[0, 1], random.integers(n_groups, size=n - 2)])
    targets = random.random((n, c)) < draw(st.sampled_from([0.05, 0.3, 0.7]))
    weights = random.choice([0.0, 0.1, 1.0], p=[0.1, 0.2, 0.7], size=(n, c))
    return examples(targets, recordings, weights=weights)


@given(worlds(), st.sampled_from([0.1, 0.25, 0.5]), st.integers(0, 3))
def test_recordings_stay_whole_and_every_row_is_used_once(world, share, seed):
    train, test = split(world, "recording", share, seed)
    assert len(train)
    assert len(test)
    assert sorted([*train, *test]) == list(range(len(world)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    assert not set(world.recording_ids[train]) & set(world.recording_ids[test])
    assert leaks(world.take(train), world.take(test), "recording")["shared_groups"] == 0


@given(worlds(), st.integers(0, 3))
def test_the_same_seed_gives_the_same_split(world, seed):
    for one, other in zip(split(world, seed=seed), split(world, seed=seed), strict=True):
        np.testing.assert_array_equal(one, other)


def missing(there, in_test):
    """How many columns with at least two groups are not on both sides."""
    wanted = there.sum(axis=0) > 1
    return int((wanted & ~((there & in_test[:, None]).any(axis=0) & (there & ~in_test[:, None]).any(axis=0))).sum())


@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 2**31), st.sampled_from([0.15, 0.4, 0.8]))
def test_no_choice_of_groups_leaves_fewer_classes_out(n_groups, classes, seed, density):
    """The dumb twin: every choice there is."""
    random = np.random.default_rng(seed)
    positives = (random.random((n_groups, classes)) < density).astype(float) * random.integers(
        1, 5, (n_groups, classes)
    )
    negatives = np.zeros_like(positives)
    rows = positives.sum(axis=1) + 1
    chosen = choose_test_groups(rows, positives, negatives, 0.25, np.random.default_rng(seed))
    assert 0 < chosen.sum() < n_groups
    every = (np.array(c) for c in itertools.product([False, True], repeat=n_groups))
    best = min(missing(positives > 0, c) for c in every if 0 < c.sum() < n_groups)
    assert missing(positives > 0, chosen) == best


@pytest.mark.parametrize("seed", range(6))
def test_many_rare_classes_in_many_recordings(seed):
    """Far too many groups to go through: every class can be on both sides, so every class is."""
    random = np.random.default_rng(seed)
    n, c = 600, 40
    targets = np.zeros((n, c), bool)
    recordings = random.integers(120, size=n)
    for k in range(c):  # from two recordings each, up to four
        own = random.choice(np.unique(recordings), size=2 + k % 3, replace=False)
        targets[:, k] = np.isin(recordings, own) & (random.random(n) < 0.7)
        targets[[int(np.flatnonzero(recordings == r)[0]) for r in own], k] = True
    world = examples(targets, recordings)
    train, test = split(world, seed=seed)
    assert targets[train].any(axis=0).all()
    assert targets[test].any(axis=0).all()
    assert len(test) / n == pytest.approx(0.25, abs=0.12)


def test_shares_are_near_what_was_asked_for():
    random = np.random.default_rng(0)
    world = examples(random.random((500, 3)) < [0.5, 0.1, 0.02], random.integers(100, size=500))
    for share in (0.1, 0.25, 0.5):
        _, test = split(world, test_share=share)
        assert len(test) / 500 == pytest.approx(share, abs=0.03)
        for c in range(2):
            assert world.targets[test, c].sum() / world.targets[:, c].sum() == pytest.approx(share, abs=0.06)


def test_seeds_give_different_splits():
    random = np.random.default_rng(0)
    world = examples(random.random((200, 2)) < 0.3, random.integers(60, size=200))
    assert len({tuple(split(world, seed=seed)[1]) for seed in range(5)}) == 5


def test_three_classes_that_share_three_recordings():
    """No split has all three on both sides; one is given up, and it stays where it is taught."""
    world = examples([[1, 0, 1], [1, 1, 0], [0, 1, 1]], [0, 1, 2])
    train, test = split(world)
    assert (len(train), len(test)) == (2, 1)
    assert world.targets[train].any(axis=0).all()


def test_a_class_of_one_recording_is_taught():
    for seed in range(8):
        world = examples([[1, 0], [1, 0], [0, 1], [0, 0], [0, 1], [0, 0], [0, 1]], [0, 0, 1, 2, 3, 4, 5])
        train, test = split(world, test_share=0.4, seed=seed)
        assert world.targets[train, 0].sum() == 2
        assert world.targets[test, 1].any()


def test_negatives_are_on_both_sides_too():
    for seed in range(8):
        world = examples([[1]] * 6 + [[0]] * 2, [0, 1, 2, 3, 4, 5, 6, 7])
        train, test = split(world, seed=seed)
        for side in (train, test):
            assert set(world.targets[side, 0]) == {0, 1}


def test_what_is_not_known_is_no_positive():
    """A class whose second recording is uncertain comes from one recording."""
    for seed in range(8):
        world = examples([[1], [1], [0], [0]], [0, 1, 2, 3], weights=[[1], [0], [1], [1]])
        train, _ = split(world, seed=seed)
        assert 0 in train


def test_one_recording_cannot_be_split():
    world = examples([[1], [0], [1]], [7, 7, 7])
    with pytest.raises(
        Invalid,
        match=r"all 3 examples come from one recording \(north/007.wav\).*annotate windows of a second recording",
    ):
        split(world)
    with pytest.raises(Invalid, match="second recording"):
        folds(world, "recording", 3, 0)


def test_one_day_or_one_site_can_be_split_by_recording():
    world = examples([[1], [0], [1]], [1, 2, 3])
    with pytest.raises(Invalid, match=r"one site \(north\).*split by day or by recording"):
        split(world, "site")
    with pytest.raises(Invalid, match=r"one day \(2024-05-01\).*split by recording"):
        split(world, "day")
    assert len(split(world, "recording")[1]) == 1


@pytest.mark.parametrize("share", [0, 1, -0.1, 25, float("nan")])
def test_a_share_that_leaves_a_side_empty_is_refused(share):
    with pytest.raises(Invalid, match="between 0 and 1"):
        split(examples([[1], [0]], [1, 2]), test_share=share)


def test_no_examples_and_no_such_way():
    world = examples([[1], [0]], [1, 2])
    with pytest.raises(Invalid, match="annotate some windows"):
        split(world.take(np.zeros(0, np.int64)))
    with pytest.raises(Invalid, match="expected recording, day, site"):
        split(world, "window")


def test_days_are_of_a_site_and_unknown_days_go_with_their_recording():
    days = ["2024-05-01", "2024-05-01", "2024-05-01", "2024-05-02", "", "", ""]
    sites = ["north", "north", "south", "north", "north", "north", "north"]
    world = examples(np.ones((7, 1)), [1, 2, 3, 4, 5, 5, 6], days=days, sites=sites)
    group, n = whole_groups(world, "day")
    assert n == 5
    assert group[0] == group[1]
    assert group[4] == group[5]
    assert len({group[0], group[2], group[3], group[4], group[6]}) == 5


def test_a_recording_that_runs_past_midnight_stays_whole():
    """It belongs to the day it begins on, in whatever order its windows come."""
    world = examples(
        np.ones((5, 1)),
        [1, 1, 1, 2, 3],
        starts=[2, 0, 1, 0, 0],
        days=["2024-05-02", "2024-05-01", "2024-05-01", "2024-05-02", "2024-05-01"],
    )
    group, n = whole_groups(world, "day")
    assert n == 2
    assert group[0] == group[1] == group[2] == group[4] != group[3]
    train, test = split(world, "day", 0.5)
    told = leaks(world.take(train), world.take(test), "day")
    assert (told["shared_groups"], told["shared_recordings"]) == (0, 0)


@given(worlds(), st.sampled_from(WAYS))
def test_groups_never_cut_a_recording(world, by):
    group, n = whole_groups(world, by)
    assert set(group) == set(range(n))
    for recording in np.unique(world.recording_ids):
        assert len(set(group[world.recording_ids == recording])) == 1


@given(worlds(), st.integers(2, 6), st.integers(0, 3))
def test_folds_keep_recordings_whole_and_none_is_empty(world, n_folds, seed):
    fold = folds(world, "recording", n_folds, seed)
    n_groups = len(np.unique(world.recording_ids))
    assert set(fold) == set(range(min(n_folds, n_groups)))
    for recording in np.unique(world.recording_ids):
        assert len(set(fold[world.recording_ids == recording])) == 1
    np.testing.assert_array_equal(fold, folds(world, "recording", n_folds, seed))


def test_folds_spread_each_class():
    random = np.random.default_rng(0)
    world = examples(random.random((400, 3)) < [0.4, 0.1, 0.03], random.integers(80, size=400))
    fold = folds(world, "recording", 4, 0)
    for c in range(3):
        shares = np.bincount(fold, weights=world.targets[:, c]) / world.targets[:, c].sum()
        assert shares.min() > 0.1
        assert shares.max() < 0.45
    sizes = np.bincount(fold) / 400
    assert sizes.min() > 0.15


def test_a_class_of_two_recordings_is_in_two_folds():
    for seed in range(5):
        world = examples([[1, 1]] * 2 + [[1, 0]] * 18, range(20))
        assert len(set(folds(world, "recording", 5, seed)[:2])) == 2


def test_one_fold_is_refused():
    with pytest.raises(Invalid, match="at least 2"):
        folds(examples([[1], [0]], [1, 2]), "recording", 1, 0)


def test_leaks_of_a_split_by_window():
    """Windows of 3 s that begin every 1.5 s, every second one in the test: all of it has been heard."""
    world = examples(np.ones((8, 1)), [1] * 4 + [2] * 4, starts=[0, 0.5, 1, 1.5] * 2)
    told = leaks(world.take(np.arange(0, 8, 2)), world.take(np.arange(1, 8, 2)), "recording")
    assert told == {
        "by": "recording",
        "shared_groups": 2,
        "shared_recordings": 2,
        "identical_vectors": 0,
        "overlapping_windows": 4,
    }


def test_windows_that_touch_do_not_overlap():
    world = examples(np.ones((4, 1)), [1, 1, 1, 2])
    told = leaks(world.take(np.array([0, 2])), world.take(np.array([1, 3])), "recording")
    assert (told["shared_groups"], told["overlapping_windows"]) == (1, 0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=2, max_size=14), st.integers(1, 13))
def test_overlaps_are_those_of_every_pair(spans, cut):
    world = examples(np.ones((len(spans), 1)), [r for r, _ in spans], starts=[s / 3 for _, s in spans])
    cut = min(cut, len(spans) - 1)
    train, test = world.take(np.arange(cut)), world.take(np.arange(cut, len(spans)))
    expected = sum(
        any(
            train.recording_ids[j] == test.recording_ids[i]
            and train.start_s[j] < test.end_s[i]
            and train.end_s[j] > test.start_s[i]
            for j in range(len(train))
        )
        for i in range(len(test))
    )
    assert leaks(train, test, "recording")["overlapping_windows"] == expected


def test_identical_vectors_are_found_whatever_their_length():
    vectors = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    vectors[3] = vectors[0] * 2.5  # louder
    vectors[4] = vectors[1].astype(np.float16)  # stored with fewer bits
    vectors[2] = vectors[5] = 0  # digital silence
    world = examples(np.ones((6, 1)), range(6), vectors=vectors)
    told = leaks(world.take(np.arange(3)), world.take(np.arange(3, 6)), "recording")
    assert told["identical_vectors"] == 3 - (0 if close_enough(vectors[1]) else 1)
    assert leaks(world.take(np.array([0, 1])), world.take(np.array([2])), "recording")["identical_vectors"] == 0


def close_enough(vector):
    """Whether both precisions round to the same steps of 1 / 16,384 at length 1."""
    steps = [
        np.rint(v / np.linalg.norm(v) * 2**14) for v in (vector.astype(float), vector.astype(np.float16).astype(float))
    ]
    return bool((steps[0] == steps[1]).all())


def test_leaks_of_days_and_of_nothing():
    world = examples(np.ones((4, 1)), [1, 2, 3, 4], days=["2024-05-01", "2024-05-02", "2024-05-01", "2024-05-03"])
    assert leaks(world.take(np.array([0, 1])), world.take(np.array([2, 3])), "day")["shared_groups"] == 1
    nothing = world.take(np.zeros(0, np.int64))
    assert leaks(nothing, world, "day") == {
        "by": "day",
        "shared_groups": 0,
        "shared_recordings": 0,
        "identical_vectors": 0,
        "overlapping_windows": 0,
    }
