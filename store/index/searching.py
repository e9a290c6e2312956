"""Search: the filter first, then as much work as the rows that are left deserve, then exact scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Conflict, Invalid
from sonotheque.core.search import SearchAnswer, SearchHit, SearchPlan, SearchQuery
from store.archive import Archive
from store.index.codes import Clusters
from store.index.columns import values
from store.index.eligible import Eligible, SearchedWindows
from store.index.manifest import IndexVersion, Measured
from store.index.on_gpu import OnGpu
from store.index.picking import Found, picked
from store.index.recall import K, choose
from store.index.scan import Aim, Searched, worth_a_look
from store.index.segments import OpenSegment, put_forward
from store.index.stored import FreshVectors
from store.scoring import QUICK_ERROR, quick_cosines, unit

EXACT_ROWS: Final = 20_000  # eligible rows up to here are compared in full: some 10 ms on one core
CODED_ROWS: Final = 2_000_000  # up to here the codes of all eligible rows are looked through when a filter holds
_RECALL_FILTERED: Final = 0.999
_EACH: Final = 10  # candidates for each hit wanted
_LEAST_FILTERED: Final = 1000
_MOST: Final = 0.9  # of the live rows eligible: the filter takes away so little that clusters are as good as without it
_GROWTH: Final = 4
_DEPTH_MOST: Final = 2048  # hits looked at one by one for groups or near-duplicates; then every window is, or no more
_KEYS: Final = ("recording_id", "start_sample")


class SearchIndex:
    """An archive opened for searching, for several threads at once.

    Use :func:`store.index.open_index`.

    Attributes
    ----------
    archive : Archive
    version : IndexVersion or None
        None: there is no index, and everything is compared.
    parts, firsts : list of str, and int64 (parts + 1,) first row of each
    on_gpu, windows : OnGpu, SearchedWindows
    """

    def __init__(
        self,
        archive: Archive,
        version: IndexVersion | None,
        clusters: Clusters | None,
        segments: Sequence[OpenSegment],
        windows: SearchedWindows,
        fresh: FreshVectors,
        part_ids: Sequence[tuple[str, int]],
        gpu: str = "off",
    ) -> None:
        self.archive, self.version = archive, version
        self._clusters, self.windows = clusters, windows
        fresh_first = sum(s.rows for s in segments)
        self.searched = Searched(segments, fresh, fresh_first, archive.config.model.dim)
        self.parts = [name for name, _ in part_ids]
        self.firsts = np.concatenate([[0], np.cumsum([n for _, n in part_ids])]).astype(np.int64)
        self.fresh_windows = self.fresh_count(windows.live)
        self.on_gpu = OnGpu([s.vectors for s in segments], gpu)

    def fresh_count(self, eligible: Eligible) -> int:
        """Return how many eligible rows were committed after the index was built."""
        first = self.searched.fresh_first
        return self.windows.rows - first if eligible.mask is None else int(eligible.mask[first:].sum())

    def search(self, query: SearchQuery) -> SearchAnswer:
        """Return the nearest windows.

        Returns
        -------
        SearchAnswer
            Fewer than ``query.k`` hits only if no more windows match.

        Raises
        ------
        Invalid
            If the vectors have another length than the store's.
        Conflict
            If they are of another model; both are named.
        NotFound
            If the filter names what is not in the store.
        Damaged
            If a part that has to be read cannot be.
        """
        began = time.perf_counter()
        aim = self.aim(query)
        eligible = self.windows.eligible(query.where, query.without)
        plan = self._plan(query, eligible)
        found = self.on_gpu.found(query, aim, eligible, plan, self.searched, partial(self._best, query, aim))
        if found is None:
            found = self._enough(query, aim, eligible, plan)
        hits = self.hits(found, exact_all=plan.how in ("exact", "gpu"))
        plan.took_ms = round((time.perf_counter() - began) * 1000, 3)
        return SearchAnswer(hits, plan)

    def aim(self, query: SearchQuery) -> Aim:
        """Return what rows are scored against."""
        spec = self.archive.config.model
        if query.model is not None and query.model != spec:
            raise Conflict(
                f"the query was embedded with {query.model.name} {query.model.version} ({query.model.weights_digest[:12]}), the store "
                f"{self.archive.root} with {spec.name} {spec.version} ({spec.weights_digest[:12]}): their vectors cannot be compared",
                kind="model_conflict",
            )
        if query.vectors.shape[1] != spec.dim:
            raise Invalid(
                f"the query has vectors of {query.vectors.shape[1]:,} numbers, the store {self.archive.root} of {spec.dim:,} ({spec.name})"
            )
        return Aim(query.vectors, unit(query.vectors), query.combine == "mean")

    def eligible(self, query: SearchQuery) -> Eligible:
        """Return the rows that a query may find."""
        return self.windows.eligible(query.where, query.without)

    def start_plan(self, how: str, eligible: Eligible) -> SearchPlan:
        """Return a plan with what is known before anything is compared."""
        version, archive = self.version, self.archive
        plan = SearchPlan(how, self.windows.live.count, eligible.count, snapshot=archive.snapshot.number)
        plan.fresh = self.fresh_count(eligible)
        plan.index = version.number if version else 0
        if version is None:
            plan.notes.append(
                f"there is no index: every eligible window is read and compared. `sonotheque index build --store {archive.root}` makes one"
            )
        elif plan.fresh:
            plan.notes.append(
                f"{plan.fresh:,} of the eligible windows were committed after index {version.number} was built and were compared one by one: "
                f"`sonotheque index update --store {archive.root}` adds them"
            )
        for name, why in archive.damaged.items():
            plan.notes.append(f"left out, as asked: {name} ({why})")
        return plan

    def _plan(self, query: SearchQuery, eligible: Eligible) -> SearchPlan:
        indexed = eligible.count - self.fresh_count(eligible)
        if not eligible.count or not query.k:
            return self.start_plan("nothing", eligible)
        if query.exact or query.recall == 1.0 or self._clusters is None or indexed <= EXACT_ROWS:
            return self.start_plan("exact", eligible)
        few_left_out = indexed >= _MOST * (self.windows.live.count - self.fresh_windows)
        if not few_left_out and indexed <= CODED_ROWS:
            return self.start_plan("codes", eligible)
        return self.start_plan("lists", eligible)

    def _work(self, query: SearchQuery, plan: SearchPlan) -> Measured:
        """Return how much a plan looks through."""
        version, clusters = self._codes()
        chosen = choose(version.measured, query.recall or version.wanted_recall)
        if plan.how == "lists":
            share = plan.eligible / max(1, plan.windows)
            lists = min(len(clusters.centres), int(np.ceil(chosen.lists / max(share, 0.01))))
            return Measured(lists, chosen.candidates, chosen.mean, chosen.p5)
        # A filter may leave rows that are all alike: what finds nearly everything without one is the least that will do.
        most = choose(version.measured, max(chosen.mean, _RECALL_FILTERED))
        count = max(_LEAST_FILTERED, most.candidates)
        known = max((m for m in version.measured if m.candidates <= count), key=lambda m: (m.mean, m.p5))
        return Measured(len(clusters.centres), count, known.mean, known.p5)

    def _enough(self, query: SearchQuery, aim: Aim, eligible: Eligible, plan: SearchPlan) -> Found:
        """Look for more and more windows until enough are left of them, or there are no more."""
        wanted = min(query.k, eligible.count)
        if plan.how == "nothing":
            return Found.none()
        quick = self.searched.quick(aim, eligible, only_fresh=plan.how != "exact")
        is_plain = query.best_per is None and query.distinct is None
        depth = wanted if is_plain else min(wanted * _GROWTH, eligible.count)
        while True:
            found = self._deepest(query, aim, eligible, plan, quick, depth)
            left = self._picked(query, found)
            if len(left) >= wanted or depth >= eligible.count:
                return left.head(query.k)
            if depth >= _DEPTH_MOST and query.best_per is not None:
                return self._best_of_all(query, aim, eligible, plan)
            if depth >= _DEPTH_MOST:
                plan.notes.append(
                    f"{len(left):,} hits differ by more than asked for among the {depth:,} nearest; no more were looked at"
                )
                return left
            depth = min(depth * _GROWTH, eligible.count)

    def _best_of_all(self, query: SearchQuery, aim: Aim, eligible: Eligible, plan: SearchPlan) -> Found:
        """Return the best of each group, by comparing every eligible window: the nearest ones are of too few groups."""
        plan.how, plan.recall = "exact", 1.0
        rows, scores = self.searched.quick(aim, eligible)
        plan.compared = len(rows)
        groups = self.group_keys(rows, query)
        if groups is None:
            raise ValueError("no groups were asked for")
        best = np.full(int(groups.max()) + 1, -np.inf, np.float32)
        np.maximum.at(best, groups, scores)
        likely = scores >= best[groups] - 2 * QUICK_ERROR
        found = self._ordered(aim, rows[likely])
        return self._picked(query, found).head(query.k)

    def _deepest(
        self,
        query: SearchQuery,
        aim: Aim,
        eligible: Eligible,
        plan: SearchPlan,
        quick: tuple[NDArray[np.int64], NDArray[np.float32]],
        depth: int,
    ) -> Found:
        """Return the ``depth`` nearest eligible rows with exact scores, in their order."""
        rows, scores = quick
        if plan.how in ("codes", "lists"):
            coded = self._coded(query, aim, eligible, plan, depth)
            likely = aim.joined(quick_cosines(self.searched.take(coded), aim.units))
            rows, scores = np.concatenate([rows, coded]), np.concatenate([scores, likely])
        plan.compared = max(plan.compared, len(rows))
        return self._ordered(aim, rows[worth_a_look(scores, depth)], depth)

    def _best(self, query: SearchQuery, aim: Aim, rows: NDArray[np.int64], depth: int) -> Found:
        return self._picked(query, self._ordered(aim, rows, depth))

    def _picked(self, query: SearchQuery, found: Found) -> Found:
        return picked(found, query, self.group_keys(found.rows, query), self.searched.take)

    def _ordered(self, aim: Aim, rows: NDArray[np.int64], depth: int | None = None) -> Found:
        """Return the best of some rows by their exact scores; equal ones by recording id, then start."""
        depth = len(rows) if depth is None else depth
        exact, windows = aim.exact(self.searched.take(rows))
        if len(rows) > 4 * depth > 0:  # many rows of equal score: only those that can be among the best are looked up
            keep = exact >= np.partition(exact, len(exact) - depth)[len(exact) - depth]
            rows, exact, windows = rows[keep], exact[keep], windows[keep]
        recordings, starts = self.keys(rows)
        order = np.lexsort((starts, recordings, -exact))[:depth]
        return Found(rows[order], exact[order], windows[order])

    def _coded(
        self, query: SearchQuery, aim: Aim, eligible: Eligible, plan: SearchPlan, depth: int
    ) -> NDArray[np.int64]:
        """Return the indexed rows that codes put forward; never fewer than there are, up to ``depth``."""
        _, clusters = self._codes()
        work = self._work(query, plan)
        plan.recall = round(work.mean, 5)
        indexed = self.searched.fresh_first
        mask = None if eligible.mask is None else eligible.mask[:indexed]
        available = indexed if mask is None else eligible.count - plan.fresh
        each_hit = work.candidates / K if plan.how == "lists" else _EACH
        count = min(available, max(work.candidates, int(np.ceil(each_hit * depth))))
        lists = work.lists
        while True:
            each = [put_forward(self.searched.segments, clusters, q, lists, count, mask) for q in aim.directions]
            found = each[0] if len(each) == 1 else np.unique(np.concatenate(each))
            plan.coded = int(indexed * min(1.0, lists / len(clusters.centres)))
            if len(found) >= min(depth, available) or lists >= len(clusters.centres):
                return found
            lists = min(lists * _GROWTH, len(clusters.centres))

    def _codes(self) -> tuple[IndexVersion, Clusters]:
        if self.version is None or self._clusters is None:
            raise ValueError("there are no codes to look through")
        return self.version, self._clusters

    def keys(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the recording id and the start sample of rows: what equal scores are ordered by."""
        table = self.windows.columns(rows, _KEYS)
        return values(table["recording_id"]), values(table["start_sample"])

    def group_keys(self, rows: NDArray[np.int64], query: SearchQuery) -> NDArray[np.int64] | None:
        """Return which recording, site or day each row is of, by number; None if all are wanted."""
        if query.best_per is None:
            return None
        names = {"recording": ("recording_id",), "site": ("site",), "day": ("site", "date")}[query.best_per]
        return self.windows.groups(names)[rows]

    def hits(self, found: Found, *, exact_all: bool) -> list[SearchHit]:
        """Return rows as hits, in their order."""
        holding = np.searchsorted(self.firsts, found.rows, side="right") - 1
        return [
            SearchHit(
                rank=rank,
                score=float(score),
                exact=exact_all or bool(row >= self.searched.fresh_first),
                part_id=self.parts[part],
                part_row=int(row - self.firsts[part]),
                query=int(window),
                **shown,
            )
            for rank, (row, score, window, part, shown) in enumerate(
                zip(found.rows, found.scores, found.windows, holding, self.windows.shown(found.rows), strict=True), 1
            )
        ]

    def close(self) -> None:
        """Give back what the GPUs hold; the archive closes the rest."""
        self.on_gpu.close()
