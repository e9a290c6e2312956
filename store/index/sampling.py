"""Windows chosen by their score rather than the best: for finding the threshold between yes and no."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid
from sonotheque.core.search import SearchAnswer, SearchPlan, SearchQuery
from store.index.eligible import Eligible
from store.index.picking import Found, picked
from store.index.scan import Aim
from store.index.searching import SearchIndex
from store.scoring import QUICK_ERROR

MOST_ROWS: Final = 4_000_000  # scored at most; of more, so many are drawn at random and the answer says so


def near_score(index: SearchIndex, query: SearchQuery, score: float) -> SearchAnswer:
    """Return the ``k`` windows whose scores lie nearest to one: where yes and no meet (margin sampling).

    Returns
    -------
    SearchAnswer
        Hits by distance from ``score``, then as in a search.

    Raises
    ------
    Invalid
        If the score is none that a cosine can have.
    """
    if not -1 <= score <= 1:
        raise Invalid(f"score {score:g}: cosines lie between -1 and 1")
    began = time.perf_counter()
    aim, rows, scores, plan = _scored(index, query, seed=0)
    wanted = min(query.k, len(rows))
    depth = wanted
    while True:
        apart = np.abs(scores - np.float32(score))
        least = np.partition(apart, depth - 1)[depth - 1] if depth else np.float32(0)
        near = rows[apart <= least + 2 * QUICK_ERROR] if depth else rows[:0]
        exact, windows = aim.exact(index.searched.take(near))
        keys = index.keys(near)
        order = np.lexsort((keys[1], keys[0], -exact, np.abs(exact - np.float32(score))))[:depth]
        found = Found(near[order], exact[order], windows[order])
        left = picked(found, query, index.group_keys(found.rows, query), index.searched.take)
        if len(left) >= wanted or depth >= len(rows):
            return _answer(index, left.head(query.k), plan, began)
        depth = min(depth * 4, len(rows))


def score_sample(
    index: SearchIndex, query: SearchQuery, edges: Sequence[float], per_bin: int, *, seed: int = 0
) -> SearchAnswer:
    """Return random windows of each score bin, ``[edges[i], edges[i + 1])``; the last bin includes its upper edge.

    Returns
    -------
    SearchAnswer
        At most ``per_bin`` of each bin, all of them if there are no more; by score, the best first. ``plan.notes`` says how many each
        bin holds.

    Raises
    ------
    Invalid
        If the edges do not ascend.
    """
    if len(edges) < 2 or not all(a < b for a, b in pairwise(edges)):  # nor NaN
        raise Invalid(f"score bins {', '.join(f'{e:g}' for e in edges)}: expected at least two edges, ascending")
    if per_bin < 1:
        raise Invalid(f"{per_bin} windows of each bin: expected at least one")
    began = time.perf_counter()
    aim, rows, scores, plan = _scored(index, query, seed=seed)
    rng = np.random.default_rng(seed)
    found = []
    for number, (low, high) in enumerate(pairwise(edges)):
        is_last = number == len(edges) - 2
        inside, count = _of_bin(index, aim, rows, scores, (low, high, is_last))
        plan.notes.append(f"{count:,} windows score from {low:g} to {high:g}")
        chosen = np.sort(rng.choice(len(inside), min(per_bin, len(inside)), replace=False))
        found.append(inside[chosen])
    near = np.concatenate(found)
    exact, windows = aim.exact(index.searched.take(near))
    keys = index.keys(near)
    order = np.lexsort((keys[1], keys[0], -exact))
    return _answer(index, Found(near[order], exact[order], windows[order]), plan, began)


def _of_bin(
    index: SearchIndex,
    aim: Aim,
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    bin_: tuple[float, float, bool],
) -> tuple[NDArray[np.int64], int]:
    """Return the rows of a bin; those near an edge by their exact scores."""
    low, high, is_last = bin_
    sure = (scores >= low + QUICK_ERROR) & (scores < high - QUICK_ERROR)
    doubt = ~sure & (scores >= low - QUICK_ERROR) & (scores <= high + QUICK_ERROR)
    edge = rows[doubt]
    exact, _ = aim.exact(index.searched.take(edge))
    in_edge = (exact >= np.float32(low)) & ((exact <= np.float32(high)) if is_last else (exact < np.float32(high)))
    inside = np.sort(np.concatenate([rows[sure], edge[in_edge]]))
    return inside, len(inside)


def _scored(
    index: SearchIndex, query: SearchQuery, *, seed: int
) -> tuple[Aim, NDArray[np.int64], NDArray[np.float32], SearchPlan]:
    aim = index.aim(query)
    eligible = index.eligible(query)
    plan = index.start_plan("exact" if eligible.count else "nothing", eligible)
    if eligible.count > MOST_ROWS:
        all_rows = eligible.rows() if eligible.mask is not None else np.arange(eligible.count)
        drawn = np.random.default_rng(seed).choice(all_rows, MOST_ROWS, replace=False)
        mask = np.zeros(len(eligible.mask) if eligible.mask is not None else eligible.count, np.bool_)
        mask[drawn] = True
        eligible = Eligible(mask, MOST_ROWS)
        plan.notes.append(f"{MOST_ROWS:,} of {plan.eligible:,} eligible windows were scored, drawn at random")
    if not eligible.count:
        return aim, np.empty(0, np.int64), np.empty(0, np.float32), plan
    rows, scores = index.searched.quick(aim, eligible)
    plan.compared = len(rows)
    return aim, rows, scores, plan


def _answer(index: SearchIndex, found: Found, plan: SearchPlan, began: float) -> SearchAnswer:
    hits = index.hits(found, exact_all=True)
    plan.took_ms = round((time.perf_counter() - began) * 1000, 3)
    return SearchAnswer(hits, plan)
