"""Which windows to judge next, against dumb twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.picking import bin_of, margin, per_bin, pool_of, quantile_edges, shares, top, uncertain_diverse
from sonotheque.core.errors import Invalid

# Few different values, so that ties are the rule.
score = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, float("nan")]), st.floats(0, 1, width=32))


@st.composite
def worlds(draw):
    values = draw(st.lists(score, max_size=40))
    judged = draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    return np.array(values, np.float32), np.array(judged, bool), draw(st.integers(1, 12))


def open_rows(p, judged):
    return [i for i in range(len(p)) if not judged[i] and not np.isnan(p[i])]


@given(worlds())
def test_top_is_a_sort(world):
    p, judged, k = world
    expected = sorted(open_rows(p, judged), key=lambda i: (-float(p[i]), i))[:k]
    assert top(p, k, judged).tolist() == expected


@given(worlds(), st.floats(0, 1))
def test_margin_is_a_sort_by_distance(world, at):
    p, judged, k = world
    expected = sorted(open_rows(p, judged), key=lambda i: (abs(float(p[i]) - at), i))[:k]
    assert margin(p, k, judged, at=at).tolist() == expected


@given(worlds(), st.integers(0, 99), st.integers(1, 30))
def test_uncertain_ones_are_each_as_far_as_can_be_from_those_before(world, seed, pool):
    p, judged, k = world
    vectors = np.random.default_rng(seed).integers(-2, 3, (len(p), 3)).astype(np.float32)
    picked = uncertain_diverse(p, vectors, k, judged, pool=pool)
    among = margin(p, max(k, pool), judged).tolist()
    assert len(set(picked.tolist())) == len(picked) == min(k, len(among))
    assert set(picked.tolist()) <= set(among)

    def apart(i, j):
        a, b = vectors[i].astype(float), vectors[j].astype(float)
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return 1.0 - (float(a @ b) / lengths if lengths else 0.0)

    if len(picked):
        assert picked[0] == among[0]
    for n in range(1, len(picked)):
        nearest = {i: min(apart(i, j) for j in picked[:n]) for i in among if i not in picked[:n]}
        assert nearest[picked[n]] >= max(nearest.values()) - 1e-9


@given(worlds(), st.integers(1, 20))
def test_quantile_bins_hold_every_window_once(world, bins):
    p, _, _ = world
    edges = quantile_edges(p, bins)
    assert 2 <= len(edges) <= bins + 1
    assert edges[0] == 0.0
    assert edges[-1] == 1.0
    assert (np.diff(edges) > 0).all()
    of = bin_of(p, edges)
    assert ((of >= 0) == ~np.isnan(p)).all()
    if (~np.isnan(p)).any():
        assert {int(b) for b in of if b >= 0} == set(range(len(edges) - 1)), "no bin is empty"


@given(worlds(), st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True))
def test_bins_are_half_open_but_for_the_last(world, edges):
    p, _, _ = world
    edges = sorted(edges)
    for value, found in zip(p.tolist(), bin_of(p, edges).tolist(), strict=True):
        expected = -1
        for b in range(len(edges) - 1):
            last = b == len(edges) - 2
            if edges[b] <= value < edges[b + 1] or (last and value == edges[-1]):
                expected = b
        assert found == expected


@given(worlds(), st.integers(1, 6), st.integers(0, 5))
def test_a_sample_of_bins_is_of_open_windows_in_their_bins_and_the_same_again(world, bins, seed):
    p, judged, k = world
    edges = quantile_edges(p, bins)
    rows, numbers = per_bin(p, edges, k, judged, seed=seed)
    able = open_rows(p, judged)
    assert len(set(rows.tolist())) == len(rows) == min(k, len(able))
    assert set(rows.tolist()) <= set(able)
    assert (bin_of(p, edges)[rows] == numbers).all()
    sizes = [sum(int(bin_of(p, edges)[i]) == b for i in able) for b in range(len(edges) - 1)]
    assert np.bincount(numbers, minlength=len(sizes)).tolist() == shares(sizes, k)
    again = per_bin(p, edges, k, judged, seed=seed)
    assert (again[0] == rows).all()
    assert (again[1] == numbers).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 60))
def test_shares_go_round_from_the_top(sizes, k):
    expected = [0] * len(sizes)
    left = k
    while left and any(e < s for e, s in zip(expected, sizes, strict=True)):
        for b in reversed(range(len(sizes))):
            if left and expected[b] < sizes[b]:
                expected[b] += 1
                left -= 1
    assert shares(sizes, k) == expected


def test_each_bin_holds_half_of_the_one_below():
    p = np.random.default_rng(1).random(1024)
    edges = quantile_edges(p, 5)
    counts = np.bincount(bin_of(p, edges))
    assert counts.sum() == 1024
    np.testing.assert_allclose(counts, [512, 256, 128, 64, 64], atol=1)


def test_every_open_window_of_a_bin_has_the_same_chance():
    p = np.repeat([0.1, 0.9], [30, 10])
    judged = np.zeros(40, bool)
    judged[[0, 35]] = True
    drawn = np.zeros(40)
    for seed in range(600):
        rows, _ = per_bin(p, [0.0, 0.5, 1.0], 6, judged, seed=seed)
        drawn[rows] += 1
    assert drawn[judged].sum() == 0
    low, high = drawn[:30][~judged[:30]] / 600, drawn[30:][~judged[30:]] / 600
    np.testing.assert_allclose(low, 3 / 29, atol=0.06)
    np.testing.assert_allclose(high, 3 / 9, atol=0.09)


def test_the_order_of_a_sample_does_not_follow_the_score():
    """Whoever stops half-way has judged a fair half."""
    p = np.linspace(0, 1, 4000)
    _, numbers = per_bin(p, [0.0, 0.5, 1.0], 400, seed=3)
    assert abs((numbers[:200] == 0).mean() - 0.5) < 0.15


def test_vectors_of_the_pool_alone_are_asked_for():
    asked = []

    def vectors(rows):
        asked.append(rows)
        return np.eye(1000, dtype=np.float32)[rows]

    p = np.linspace(0, 1, 1000)
    picked = uncertain_diverse(p, vectors, 12)
    assert len(picked) == 12
    assert [len(rows) for rows in asked] == [pool_of(12)]
    assert (np.abs(p[asked[0]] - 0.5) <= 0.13).all()


def test_one_of_each_kind_before_a_second_of_any():
    kinds = np.eye(4, 8)[np.repeat(np.arange(4), 25)]
    p = np.full(100, 0.5)
    picked = uncertain_diverse(p, kinds, 4)
    assert sorted(picked // 25) == [0, 1, 2, 3]


def test_a_vector_of_zeros_is_unlike_all():
    vectors = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 0.0]])
    assert uncertain_diverse(np.array([0.5, 0.5, 0.4]), vectors, 2).tolist() == [0, 2]


@pytest.mark.parametrize("pick", [top, margin, lambda p, k, j=None: per_bin(p, [0.0, 1.0], k, j)[0]])
def test_no_windows_and_fewer_windows_than_wanted(pick):
    assert len(pick(np.empty(0), 5)) == 0
    assert sorted(pick(np.array([0.2, np.nan, 0.3]), 5)) == [0, 2]
    assert len(pick(np.array([0.2, 0.3]), 5, np.array([True, True]))) == 0
    with pytest.raises(Invalid, match="0 windows to judge"):
        pick(np.array([0.2]), 0)
    with pytest.raises(Invalid, match="one of each a window"):
        pick(np.array([0.2]), 1, np.array([True, False]))


def test_what_cannot_be_is_told():
    with pytest.raises(Invalid, match="0 windows"):
        uncertain_diverse(np.array([0.2, 0.3]), np.eye(2), 0)
    with pytest.raises(Invalid, match="21 score bins"):
        quantile_edges(np.array([0.2]), 21)
    for edges in ([0.5], [0.5, 0.5], [0.6, 0.5], [0.0, float("nan")]):
        with pytest.raises(Invalid, match="ascending"):
            bin_of(np.array([0.2]), edges)
    assert quantile_edges(np.empty(0), 4).tolist() == [0.0, 1.0]
    assert quantile_edges(np.full(9, 0.3), 4).tolist() == [0.0, 1.0], "one score, one bin"
