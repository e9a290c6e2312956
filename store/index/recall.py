"""Measures how many of the true nearest windows a search finds, for more and more work, and chooses the least work that is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from store.archive import Archive
from store.index.codes import Clusters
from store.index.columns import values
from store.index.manifest import IndexVersion, Measured
from store.index.segments import OpenSegment, open_segments, put_forward, take
from store.index.windows import WindowTables
from store.index.wishes import IndexWishes
from store.scoring import quick_cosines, unit

K: Final = 50
QUERIES: Final = 100
CANDIDATES: Final = (200, 500, 2000, 5000)  # the short codes of a model with few dimensions need many
_BLOCK: Final = 16_384
_ENOUGH: Final = 0.9999
_LEAST_LISTS: Final = 4
# A quarter of what may be missed is kept in hand: the queries are few, and windows of the archive itself are easier than clips.
_IN_HAND: Final = 0.25
# Microseconds of one query on one core: a code, a cluster, a window compared in full; for choosing alone.
_CODE_US, _LIST_US, _COMPARED_US = 0.02, 2.0, 0.5


def measure(
    archive: Archive,
    version: IndexVersion,
    clusters: Clusters,
    wishes: IndexWishes,
    tell: Callable[[str, int, int], None],
) -> tuple[tuple[Measured, ...], int]:
    """Measure recall of the ``K`` nearest for random windows of the archive, each left out of its own answer.

    Returns
    -------
    measured : tuple of Measured
        From the least work to the most.
    queries : int
    """
    segments = open_segments(archive.root, version, archive.config)
    tables = WindowTables(archive).open(version)
    live = np.concatenate([values(t["live"]) for t in tables] or [np.zeros(0, np.bool_)])
    able = np.flatnonzero(live)
    k = min(K, len(able) - 1)
    if k < 1:
        return _nothing(clusters)
    rng = np.random.default_rng(wishes.seed + 1)
    own = np.sort(rng.choice(able, min(QUERIES, len(able)), replace=False))
    queries = unit(take(segments, own, archive.config.model.dim))
    lengths = np.linalg.norm(queries, axis=1) > 0
    own, queries = own[lengths], queries[lengths]
    if not len(own):
        return _nothing(clusters)
    truth = _nearest(segments, queries, own, live, k, tell)
    found = []
    eligible = None if live.all() else live
    lists = _LEAST_LISTS
    while True:
        lists = min(lists, len(clusters.centres))
        recall = _recall(segments, clusters, (own, queries, truth), lists, eligible)
        found += [
            Measured(lists, c, float(np.mean(r)), float(np.quantile(r, 0.05)))
            for c, r in zip(CANDIDATES, recall, strict=True)
        ]
        tell("recall", min(lists, len(clusters.centres)), len(clusters.centres))
        if lists == len(clusters.centres) or found[-1].mean >= _ENOUGH:
            break
        lists *= 2
    tell("recall", len(clusters.centres), len(clusters.centres))
    n = version.rows / len(clusters.centres)
    return tuple(sorted(found, key=lambda m: m.lists * (n * _CODE_US + _LIST_US) + m.candidates * _COMPARED_US)), len(
        own
    )


def _nothing(clusters: Clusters) -> tuple[tuple[Measured, ...], int]:
    """Return what holds where there is nothing to ask, or nothing to find."""
    return (Measured(len(clusters.centres), CANDIDATES[-1], 1.0, 1.0),), 0


def choose(measured: Sequence[Measured], wanted: float) -> Measured:
    """Return the least work that reaches the recall wanted with something in hand; else the one that finds most."""
    enough = wanted + _IN_HAND * (1 - wanted)
    return next((m for m in measured if m.mean >= enough), max(measured, key=lambda m: (m.mean, m.p5)))


def _nearest(
    segments: Sequence[OpenSegment],
    queries: NDArray[np.float32],
    own: NDArray[np.int64],
    live: NDArray[np.bool_],
    k: int,
    tell: Callable[[str, int, int], None],
) -> NDArray[np.int64]:
    """Return the true nearest rows of each query, (queries, k), each query's own row left out; every live row is compared."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    total = sum(s.rows for s in segments)
    for segment in segments:
        for first in range(0, segment.rows, _BLOCK):
            at = segment.first + first
            scores = queries @ unit(segment.vectors[first : first + _BLOCK]).T
            end = at + scores.shape[1]
            scores[:, ~live[at:end]] = -np.inf
            inside = np.flatnonzero((own >= at) & (own < end))
            scores[inside, own[inside] - at] = -np.inf
            everything = np.concatenate([best, scores], axis=1)
            numbered = np.concatenate([rows, np.broadcast_to(np.arange(at, end), scores.shape)], axis=1)
            top = np.argpartition(-everything, k - 1, axis=1)[:, :k]
            best = np.take_along_axis(everything, top, axis=1)
            rows = np.take_along_axis(numbered, top, axis=1)
            tell("truth", end, total)
    return rows


def _recall(
    segments: Sequence[OpenSegment],
    clusters: Clusters,
    asked: tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]],
    lists: int,
    eligible: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    """Return the recall of each query for each number of candidates, (candidates, queries)."""
    found = np.zeros((len(CANDIDATES), len(asked[1])))
    for number, (own, query, truth) in enumerate(zip(*asked, strict=True)):
        rows = put_forward(segments, clusters, query, lists, CANDIDATES[-1] + 1, eligible)
        rows = rows[rows != own]
        scores = quick_cosines(take(segments, rows, len(query)), query[None])[0]
        for place, count in enumerate(CANDIDATES):
            some = rows[:count]
            top = some[np.argsort(-scores[:count], kind="stable")[: len(truth)]]
            found[place, number] = np.isin(truth, top).mean()
    return found
