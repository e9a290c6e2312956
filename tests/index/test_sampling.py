"""Windows chosen by their score, against sorting all of them: the nearest to a score, and random ones of each bin."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sonotheque.core.errors import Invalid
from sonotheque.core.filters import HourSpan, SearchFilter
from store import Archive
from store.index import SearchQuery, near_score, open_index, sampling, score_sample
from tests.index import kit
from tests.store.kit import recording_id

EVENING = SearchFilter(hours=HourSpan(15 * 60, 4 * 60))
KINDS = ["none", "exact", "segments, updated", "all at once"]


@pytest.fixture(params=KINDS)
def opened(request, kinds):
    with Archive(kinds(request.param)) as archive:
        yield open_index(archive), kit.Twin(archive)


def nearest(twin: kit.Twin, query: SearchQuery, score: float) -> list[int]:
    scores, _ = twin.scores(query)
    apart = np.abs(scores - np.float32(score))
    return sorted(twin.eligible(query).tolist(), key=lambda p: (apart[p], -scores[p], *twin.ids[p]))[: query.k]


@pytest.mark.parametrize("score", [-1.0, 0.0, 0.3, 0.85, 1.0])
def test_the_windows_nearest_to_a_score(opened, score):
    index, twin = opened
    vectors = kit.queries(5, seed=8)
    for query in (
        SearchQuery(vectors[0], 20),
        SearchQuery(vectors[1], 7, EVENING),
        SearchQuery(vectors[2:4], 15, combine="mean"),
        SearchQuery(vectors[2:5], 15, combine="best", without=(recording_id("Fen/0-1.wav"),)),
        SearchQuery(vectors[4], len(twin.ids) + 3),
        SearchQuery(vectors[4], 0),
        SearchQuery(vectors[4], 5, SearchFilter(hours=HourSpan(0, 1))),
    ):
        answer = near_score(index, query, score)
        assert [twin.place[i] for i in kit.found_ids(answer)] == nearest(twin, query, score)
        scores, _ = twin.scores(query)
        assert [h.score for h in answer.hits] == [float(scores[twin.place[i]]) for i in kit.found_ids(answer)]
        assert [h.rank for h in answer.hits] == list(range(1, len(answer.hits) + 1))
        assert all(h.exact for h in answer.hits)


def test_a_score_that_a_window_has_finds_it_first(opened):
    """Also where others differ by less than what the quick score is wrong by."""
    index, twin = opened
    query = SearchQuery(kit.queries(1, seed=21)[0], 1)
    scores, _ = twin.scores(query)
    for place in range(0, len(scores), 173):
        (hit,) = near_score(index, query, float(scores[place])).hits
        assert hit.score == scores[place]


@pytest.mark.parametrize("group", ["recording", "site", "day"])
def test_near_a_score_one_of_each_group(opened, group):
    index, twin = opened
    query = SearchQuery(kit.queries(1, seed=9)[0], 6, best_per=group)
    every = SearchQuery(query.vectors, len(twin.ids))
    names = {"recording": ["path"], "site": ["site"], "day": ["site", "date"]}[group]
    wanted: dict[tuple, int] = {}
    for p in nearest(twin, every, 0.4):
        wanted.setdefault(tuple(twin.shown[twin.ids[p]][n] for n in names), p)
    answer = near_score(index, query, 0.4)
    assert [twin.place[i] for i in kit.found_ids(answer)] == list(wanted.values())[:6]


def in_bin(scores: np.ndarray, low: float, high: float, is_last: bool) -> np.ndarray:
    low32, high32 = np.float32(low), np.float32(high)
    return (scores >= low32) & ((scores <= high32) if is_last else (scores < high32))


def check_bins(index, twin, query, edges, per_bin, seed=0) -> list:
    answer = score_sample(index, query, edges, per_bin, seed=seed)
    scores, _ = twin.scores(query)
    eligible = twin.eligible(query)
    told = [note for note in answer.plan.notes if " score from " in note]
    assert len(told) == len(edges) - 1
    left = {twin.place[i] for i in kit.found_ids(answer)}
    assert len(left) == len(answer.hits) and left <= set(eligible.tolist())
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = set(eligible[in_bin(scores[eligible], low, high, number == len(edges) - 2)].tolist())
        assert told[number].startswith(f"{len(inside):,} windows score from {low:g} to {high:g}")
        assert len(inside & left) == min(per_bin, len(inside))
        left -= inside
    assert not left, "windows of no bin"
    keys = [(-h.score, h.recording_id, h.start_sample) for h in answer.hits]
    assert keys == sorted(keys)
    assert all(np.float32(h.score) == scores[twin.place[h.recording_id, h.start_sample]] for h in answer.hits)
    return kit.found_ids(answer)


def test_random_windows_of_each_bin(opened):
    index, twin = opened
    vectors = kit.queries(4, seed=13)
    check_bins(index, twin, SearchQuery(vectors[0]), [-1, -0.5, 0, 0.5, 1], 6)
    check_bins(index, twin, SearchQuery(vectors[1], where=EVENING), [0.1, 0.2, 0.9], 10_000)
    check_bins(index, twin, SearchQuery(vectors[1:3], combine="mean"), [-1, 0.3, 0.30001, 1], 3)
    check_bins(index, twin, SearchQuery(vectors[3], where=SearchFilter(hours=HourSpan(0, 1))), [-1, 1], 3)
    check_bins(index, twin, SearchQuery(vectors[3]), [1.5, 2, 3], 3)


def test_edges_on_scores_that_windows_have(opened):
    """A window whose score is an edge belongs to the bin above it; the last bin has both its edges."""
    index, twin = opened
    query = SearchQuery(kit.queries(1, seed=14)[0])
    scores = np.unique(twin.scores(query)[0])
    for at in (3, len(scores) // 2, len(scores) - 9):
        edges = [float(s) for s in scores[at : at + 5]]
        check_bins(index, twin, query, edges, 100)
        check_bins(index, twin, query, [edges[0], edges[1]], 100)
        check_bins(index, twin, query, [edges[0], math.nextafter(edges[0], 2)], 100)


def test_zero_vectors_score_zero_and_are_in_its_bin(opened):
    index, twin = opened
    query = SearchQuery(kit.queries(1, seed=14)[0])
    silent = {twin.ids[p] for p in np.flatnonzero(~twin.vectors.any(axis=1))}
    assert len(silent) > 5
    assert silent <= set(check_bins(index, twin, query, [-1, 0, 1e-6], 10_000))
    assert not silent & set(check_bins(index, twin, query, [1e-6, 1], 10_000))


def test_a_seed_draws_the_same_again_and_another_others(kinds):
    with Archive(kinds("exact")) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        query = SearchQuery(kit.queries(1)[0])
        once, again, other = (check_bins(index, twin, query, [-1, 0, 1], 20, seed=s) for s in (4, 4, 5))
        assert once == again and len(once) == len(other) == 40 and set(once) != set(other)


def test_every_window_of_a_bin_can_be_drawn_and_none_is_favoured(kinds):
    with Archive(kinds("exact")) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        query = SearchQuery(kit.queries(1)[0], where=SearchFilter(recordings=("Fen/*",)))
        scores, _ = twin.scores(query)
        high = float(np.sort(scores[twin.eligible(query)])[-31])
        seen: Counter[tuple[int, int]] = Counter()
        for seed in range(150):
            seen.update(kit.found_ids(score_sample(index, query, [high, 1], 6, seed=seed)))
        assert 30 <= len(seen) <= 34 and min(seen.values()) > 8 and max(seen.values()) < 60


def test_of_too_many_rows_some_are_drawn_and_it_says_so(kinds, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_ROWS", 100)
    with Archive(kinds("segments, updated")) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        for where in (None, EVENING):
            query = SearchQuery(kit.queries(1)[0], 5000, where)
            eligible = {twin.ids[p] for p in twin.eligible(query)}
            answer = score_sample(index, query, [-1, 1], 5000)
            found = set(kit.found_ids(answer))
            assert len(found) == 100 and found < eligible
            assert any(n.startswith(f"100 of {len(eligible):,} eligible") for n in answer.plan.notes)
            assert (answer.plan.compared, answer.plan.eligible) == (100, len(eligible))
            assert set(kit.found_ids(score_sample(index, query, [-1, 1], 5000, seed=1))) != found
            assert len(near_score(index, query, 0.5).hits) == 100


NAN = float("nan")


@pytest.mark.parametrize(
    "edges", [[], [0.5], [0.5, 0.5], [0.6, 0.5], [0, 1, 0.5], [0, NAN], [NAN, 1], [0, NAN, 1]], ids=str
)
def test_edges_that_cannot_be(kinds, edges):
    with Archive(kinds("exact")) as archive, pytest.raises(Invalid, match="ascending"):
        score_sample(open_index(archive), SearchQuery(kit.queries(1)[0]), edges, 3)


@pytest.mark.parametrize("per_bin", [0, -1])
def test_counts_that_cannot_be(kinds, per_bin):
    with Archive(kinds("exact")) as archive, pytest.raises(Invalid, match="at least one"):
        score_sample(open_index(archive), SearchQuery(kit.queries(1)[0]), [0, 1], per_bin)


@pytest.mark.parametrize("score", [1.01, -2, NAN, float("inf")], ids=str)
def test_scores_that_cannot_be(kinds, score):
    with Archive(kinds("exact")) as archive, pytest.raises(Invalid, match="between -1 and 1"):
        near_score(open_index(archive), SearchQuery(kit.queries(1)[0]), score)
