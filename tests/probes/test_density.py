"""How many windows hold the call: simulated archives of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.density import Stratum, auc_of_bins, estimate
from probes.picking import bin_of, per_bin, quantile_edges
from sonotheque.core.errors import Invalid


def strata_of(truth, scores, k, seed, bins=6):
    """Judge ``k`` random windows of an archive by the truth."""
    edges = quantile_edges(scores, bins)
    rows, numbers = per_bin(scores, edges, k, seed=seed)
    of = bin_of(scores, edges)
    return of, [
        Stratum(
            edges[b],
            edges[b + 1],
            int((of == b).sum()),
            int(truth[rows[numbers == b]].sum()),
            int((~truth[rows[numbers == b]]).sum()),
            picked=int((numbers == b).sum()),
        )
        for b in range(len(edges) - 1)
    ]


def archive(n, share, apart, seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < share
    return truth, 1 / (1 + np.exp(4 - 1.5 * rng.normal(size=n) - apart * truth))


@pytest.mark.parametrize(
    ("share", "apart", "k"),
    [(0.01, 5.0, 60), (0.1, 3.0, 60), (0.001, 6.0, 100), (0.4, 2.0, 50), (0.05, 0.0, 60)],
    ids=["rare", "common", "very rare", "half", "a probe that knows nothing"],
)
def test_the_interval_holds_the_truth_in_95_of_100_reviews(share, apart, k):
    repeats, held, auc_held, found = 200, 0, 0, []
    for seed in range(repeats):
        truth, scores = archive(6000, share, apart, seed)
        of, strata = strata_of(truth, scores, k, seed)
        answer = estimate(strata, draws=1500, seed=seed)
        held += answer.count_ci[0] <= truth.sum() <= answer.count_ci[1]
        found.append(answer.count - truth.sum())
        if answer.roc_auc_ci:
            by_bin = [np.bincount(of[side], minlength=len(strata)) for side in (truth, ~truth)]
            auc_held += answer.roc_auc_ci[0] - 1e-9 <= auc_of_bins(*by_bin) <= answer.roc_auc_ci[1] + 1e-9
        else:
            auc_held += 1
    # Two standard errors of 200 repeats are 3 %.
    assert held / repeats >= 0.92
    assert auc_held / repeats >= 0.92
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(repeats) + 0.5, "on average it is right"


def test_counting_is_worth_more_where_the_probe_is_good():
    widths = []
    for apart in (0.0, 6.0):
        truth, scores = archive(6000, 0.05, apart, 1)
        _, strata = strata_of(truth, scores, 60, 1)
        low, high = estimate(strata, seed=1).count_ci
        widths.append(high - low)
    assert widths[1] < 0.75 * widths[0]


def test_a_stricter_review_gives_a_narrower_interval():
    truth, scores = archive(6000, 0.05, 4.0, 2)
    widths = []
    for k in (30, 300, 3000):
        _, strata = strata_of(truth, scores, k, 2)
        low, high = estimate(strata, seed=1).count_ci
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2] > 0


def test_a_bin_nobody_judged_may_hold_nothing_or_everything():
    judged = [Stratum(0.0, 0.5, 1000, 0, 20, picked=20), Stratum(0.5, 1.0, 100, 10, 10, picked=20)]
    known = estimate(judged)
    empty = estimate([judged[0], Stratum(0.5, 1.0, 100, picked=20)])
    assert not known.notes
    assert "0.5 to 1 was judged: from none to all of its 100" not in known.notes
    (note,) = empty.notes
    assert "no window of the score bin 0.5 to 1 was judged" in note
    assert "all of its 100 windows" in note
    assert empty.count_ci[0] == 0.0
    assert empty.count_ci[1] >= 100
    assert empty.count_ci[0] <= empty.count <= empty.count_ci[1]
    assert empty.count == 0.0, "its point is that of its neighbour"
    assert empty.bins[1]["share_ci"] == [0.0, 1.0]
    middle = estimate([judged[0], Stratum(0.3, 0.5, 100), judged[1]])
    assert middle.bins[1]["share"] == 0.25
    assert middle.count_ci[1] - middle.count_ci[0] >= 100


def test_nothing_judged_is_nothing_known():
    found = estimate([Stratum(0.0, 0.5, 1000), Stratum(0.5, 1.0, 100, known_positive=7)])
    assert (found.count, found.share, found.roc_auc, found.roc_auc_ci) == (None, None, None, None)
    assert found.count_ci == (7.0, 1107.0)
    assert found.windows == 1107
    assert found.notes == ("no drawn window was judged: nothing is known of how many hold the call",)


def test_what_was_judged_before_counts_as_it_is():
    strata = [Stratum(0.0, 0.5, 1000, 1, 19), Stratum(0.5, 1.0, 100, 10, 10)]
    more = [Stratum(0.0, 0.5, 1000, 1, 19, 3, 50), Stratum(0.5, 1.0, 100, 10, 10, 40, 2)]
    a, b = estimate(strata, seed=4), estimate(more, seed=4)
    assert b.count == pytest.approx(a.count + 43)
    assert b.count_ci == (a.count_ci[0] + 43, a.count_ci[1] + 43)
    assert b.windows == a.windows + 95
    assert b.known == 95


def test_no_width_only_when_everything_was_judged():
    every = estimate([Stratum(0.0, 0.5, 5, 1, 4), Stratum(0.5, 1.0, 3, 3, 0)])
    assert every.count == 4
    assert every.count_ci == (4.0, 4.0)
    assert every.roc_auc == pytest.approx((3 * 4 + 0.5 * 4) / (4 * 4))
    none_found = estimate([Stratum(0.0, 0.5, 1000, 0, 20), Stratum(0.5, 1.0, 100, 0, 20)])
    assert none_found.count == 0.0
    assert none_found.count_ci[0] == 0.0
    assert none_found.count_ci[1] > 10
    all_found = estimate([Stratum(0.0, 1.0, 100, 20, 0)])
    assert all_found.count == 100.0
    assert all_found.count_ci[0] < 99
    assert all_found.count_ci[1] == 100.0


def test_no_windows_at_all():
    found = estimate([Stratum(0.0, 1.0, 0)])
    assert (found.count, found.share, found.count_ci, found.share_ci) == (0.0, None, (0.0, 0.0), (0.0, 1.0))
    assert found.notes == ()


stratum = st.tuples(*[st.integers(0, 30)] * 4, st.integers(0, 60)).map(
    lambda v: Stratum(0.0, 1.0, v[0] + v[1] + v[4], v[0], v[1], v[2], v[3])
)


@given(st.lists(stratum, min_size=1, max_size=6), st.integers(0, 3))
def test_an_estimate_is_possible_and_the_same_again(strata, seed):
    found = estimate(strata, draws=200, seed=seed)
    assert found == estimate(strata, draws=200, seed=seed)
    least = sum(s.positive + s.known_positive for s in strata)
    most = found.windows - sum(s.negative + s.known_negative for s in strata)
    low, high = found.count_ci
    assert least <= low <= high <= most
    if found.count is not None:
        assert low - 1e-9 <= found.count <= high + 1e-9
        by_hand = sum(s.known_positive for s in strata) + sum(
            s.windows * s.positive / s.judged for s in strata if s.judged
        )
        if all(s.judged or not s.windows for s in strata):
            assert found.count == pytest.approx(by_hand)
    if any(s.windows > s.judged for s in strata):
        assert high > low
    if found.roc_auc is not None:
        assert 0 <= found.roc_auc_ci[0] <= found.roc_auc <= found.roc_auc_ci[1] <= 1
    document = found.to_json()
    assert document["count_ci"] == list(found.count_ci)
    assert len(document["bins"]) == len(strata)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5))
def test_auc_of_bins_counts_pairs(bins):
    yes = [b for b, (n, _) in enumerate(bins) for _ in range(n)]
    no = [b for b, (_, n) in enumerate(bins) for _ in range(n)]
    found = auc_of_bins(np.array([y for y, _ in bins]), np.array([n for _, n in bins]))
    if not yes or not no:
        assert np.isnan(found)
    else:
        wins = sum((a > b) + 0.5 * (a == b) for a in yes for b in no)
        assert found == pytest.approx(wins / len(yes) / len(no))


def test_what_cannot_be_is_told():
    with pytest.raises(Invalid, match="no score bin"):
        estimate([])
    with pytest.raises(Invalid, match="6 windows judged of 5"):
        Stratum(0.0, 1.0, 5, 3, 3)
    with pytest.raises(Invalid):
        Stratum(0.0, 1.0, -1)
