"""Builds an index: vectors side by side, clusters learnt from a sample, every vector coded, recall measured; then the version that
names it all. Killed at any moment it leaves the version before it as it was, and what is whole is used by the next build.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.ids import digest_of
from store.archive import Archive
from store.fsops import FileOps, ops_of
from store.index.codes import Clusters, library, threads
from store.index.files import put_file
from store.index.making import CodesJob, Here, SegmentJob, Spread, VectorsJob
from store.index.manifest import (
    IndexFile,
    IndexVersion,
    Segment,
    check_files,
    index_numbers,
    newest_version,
    write_version,
)
from store.index.projection import Projection
from store.index.recall import K, choose, measure
from store.index.stored import dtype_of, open_vectors
from store.index.sweeping import sweep_index
from store.index.training import train_centres
from store.index.wishes import IndexWishes, Recipe, plan_index
from store.scoring import unit
from store.snapshots import SnapshotPart
from store.state import state_root

Progress = Callable[[str, int, int], None]  # stage, done, in all
_SMALL_ROWS: Final = 200_000  # segments below it are joined with what is new


def build_index(
    archive: Archive,
    wishes: IndexWishes | None = None,
    progress: Progress | None = None,
    ops: FileOps | None = None,
    *,
    spread: Spread | None = None,
) -> IndexVersion:
    """Make an index of everything in the archive's snapshot, learning its clusters anew.

    Parameters
    ----------
    archive : Archive
    wishes : IndexWishes, optional
    progress : callable, optional
    ops : FileOps, optional
        In this process alone.
    spread : Spread, optional
        Has the files of segments made; by default one after another, here.

    Raises
    ------
    Invalid
        If the archive has no windows, or the memory is too small.
    Damaged
        If a part cannot be read.
    Unavailable
        Disk full or read-only; the index that was there is as it was.
    """
    wishes = wishes or IndexWishes()
    parts = archive.live_parts
    n = sum(p.rows for p in parts)
    if not n:
        raise Invalid(f"{archive.root} has no windows in snapshot {archive.snapshot.number}: there is nothing to index")
    itemsize = dtype_of(archive.config).itemsize
    recipe = plan_index(n, archive.config.model.dim, wishes, itemsize=itemsize)
    builder = _Builder(archive, recipe, wishes, progress, ops or ops_of(archive.root), spread)
    return builder.build(parts)


def update_index(
    archive: Archive,
    progress: Progress | None = None,
    ops: FileOps | None = None,
    *,
    workers: int = 0,
    spread: Spread | None = None,
) -> IndexVersion:
    """Add what was committed since the index was built, and drop what is superseded, with the clusters that there are.

    Parameters
    ----------
    archive : Archive
    progress : callable, optional
    ops : FileOps, optional
    workers : int
        Threads of this process; 0 = all cores.
    spread : Spread, optional
        See :func:`build_index`.

    Raises
    ------
    NotFound
        If there is no index; kind ``no_index``.
    Damaged, Conflict
        If the one there is damaged or foreign.
    """
    ops = ops or ops_of(archive.root)
    old = require_version(archive, ops)
    recipe = Recipe(**old.recipe)
    wishes = IndexWishes(old.wanted_recall, kind=old.kind, threads=workers)
    return _Builder(archive, recipe, wishes, progress, ops, spread).update(old)


def tune_index(
    archive: Archive, recall: float, progress: Progress | None = None, ops: FileOps | None = None
) -> IndexVersion:
    """Measure recall again, and choose how much a search looks through so that it has the recall wanted."""
    ops = ops or ops_of(archive.root)
    old = require_version(archive, ops)
    wishes = IndexWishes(recall, kind=old.kind)
    return _Builder(archive, Recipe(**old.recipe), wishes, progress, ops).tune(old)


def require_version(archive: Archive, ops: FileOps) -> IndexVersion:
    """Return the newest version, whole; raises NotFound of kind ``no_index`` if there is none."""
    found = newest_version(archive.root, archive.config, ops)
    if found is None:
        raise NotFound(
            f"{archive.root} has no index; `sonotheque index build --store {archive.root}` makes one", kind="no_index"
        )
    check_files(archive.root, found)
    return found


class _Builder:
    def __init__(
        self,
        archive: Archive,
        recipe: Recipe,
        wishes: IndexWishes,
        progress: Progress | None,
        ops: FileOps,
        spread: Spread | None = None,
    ) -> None:
        self.archive, self.recipe, self.wishes, self.ops = archive, recipe, wishes, ops
        self.root, self.home, self.config = archive.root, state_root(archive.root), archive.config
        self.tell: Progress = progress or (lambda stage, done, total: None)
        self.spread: Spread = spread or Here(ops, wishes.threads)
        self.began = time.monotonic()
        self.built_rows = recipe.n

    def build(self, parts: Sequence[SnapshotPart]) -> IndexVersion:
        groups = _groups(parts, self.recipe.segment_rows)
        vectors = self._all_vectors(groups)
        clusters, file = None, None
        if self.recipe.kind == "coded":
            clusters, file = self._learnt(vectors)
        segments = self._coded(vectors, file)
        return self._finish(segments, clusters, file)

    def update(self, old: IndexVersion) -> IndexVersion:
        live = {p.part_id: p for p in self.archive.live_parts}
        kept = [s for s in old.segments if self._is_kept(s, live)]
        held = {name for s in kept for name, _ in s.parts}
        fresh = [p for p in live.values() if p.part_id not in held]
        groups = _groups(fresh, self.recipe.segment_rows)
        made = {tuple((p.part_id, p.rows) for p in group) for group in groups}
        if made | {s.parts for s in kept} == {s.parts for s in old.segments}:
            return old
        clusters = Clusters.load(f"{self.home}/{old.clusters.path}", self.config.model.dim) if old.clusters else None
        segments = kept + self._coded(self._all_vectors(groups), old.clusters)
        self.built_rows = int(old.made["built_rows"])
        return self._finish(segments, clusters, old.clusters)

    def tune(self, old: IndexVersion) -> IndexVersion:
        clusters = Clusters.load(f"{self.home}/{old.clusters.path}", self.config.model.dim) if old.clusters else None
        self.built_rows = int(old.made["built_rows"])
        return self._finish(list(old.segments), clusters, old.clusters)

    def _is_kept(self, segment: Segment, live: dict[str, SnapshotPart]) -> bool:
        """Keep a segment that is large enough and mostly live; the rows of others are copied into new ones."""
        alive = sum(live[name].live_rows for name, _ in segment.parts if name in live)
        return alive >= min(_SMALL_ROWS, self.recipe.segment_rows // 2) and alive * 2 >= segment.rows

    def _all_vectors(self, groups: Sequence[Sequence[SnapshotPart]]) -> list[Segment]:
        # A job may travel: which rows are superseded does not matter to it, and can be much.
        jobs = [VectorsJob(self.root, self.config, tuple(replace(p, superseded=()) for p in g)) for g in groups]
        files = self._made("vectors", jobs)
        parts = (tuple((p.part_id, p.rows) for p in g) for g in groups)
        return [Segment(own, file, None) for own, file in zip(parts, files, strict=True)]

    def _made(self, stage: str, jobs: Sequence[SegmentJob]) -> list[IndexFile]:
        total, done = sum(job.rows for job in jobs), 0

        def told(rows: int) -> None:
            nonlocal done
            done += rows
            self.tell(stage, done, total)

        files = self.spread.run(jobs, told)
        self.tell(stage, total, total)
        return files

    def _learnt(self, segments: Sequence[Segment]) -> tuple[Clusters, IndexFile]:
        self.tell("clusters", 0, 1)
        sample = unit(_sample(self.root, segments, self.config, self.recipe.train_rows, self.wishes.seed))
        projection = Projection.make(self.recipe.dim, self.recipe.code_dim, sample, self.wishes.seed)
        with threads(self.wishes.threads):
            centres = train_centres(projection(sample), self.recipe.lists, self.wishes.seed)
        clusters = Clusters(projection, centres)
        name = digest_of(
            [s.vectors.sha256 for s in segments] + [self.recipe.lists, self.recipe.code_dim, self.wishes.seed]
        )
        file = put_file(self.root, "clusters", name, "npz", clusters.save, self.ops)
        self.tell("clusters", 1, 1)
        return Clusters.load(f"{self.home}/{file.path}", self.config.model.dim), file

    def _coded(self, segments: Sequence[Segment], file: IndexFile | None) -> list[Segment]:
        if file is None:
            return list(segments)
        files = self._made("codes", [CodesJob(self.root, self.config, segment, file) for segment in segments])
        return [replace(segment, codes=made) for segment, made in zip(segments, files, strict=True)]

    def _finish(self, segments: list[Segment], clusters: Clusters | None, file: IndexFile | None) -> IndexVersion:
        self.spread.release()
        version = IndexVersion(
            number=0,
            store_digest=self.config.digest,
            model=self.config.model.to_json(),
            snapshot=self.archive.snapshot.number,
            kind=self.recipe.kind,
            recipe=self.recipe.to_json(),
            clusters=file,
            segments=tuple(segments),
            measured=(),
            chosen=None,
            wanted_recall=self.wishes.recall,
            k=K,
            queries=0,
        )
        if clusters is not None:
            measured, queries = measure(self.archive, version, clusters, self.wishes, self.tell)
            version = replace(version, measured=measured, chosen=choose(measured, self.wishes.recall), queries=queries)
        made = {
            "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "build_s": round(time.monotonic() - self.began, 2),
            "library": library(),
            "trained_rows": self.recipe.train_rows,
            "built_rows": self.built_rows,
            "metadata": self.archive.catalog.manifest.metadata,
        }
        number = max(index_numbers(self.root, self.ops), default=0)
        while True:
            number += 1
            found = replace(version, number=number, made=made)
            if write_version(self.root, found, self.ops):
                sweep_index(self.root, self.ops)
                return found


def _groups(parts: Sequence[SnapshotPart], rows: int) -> list[list[SnapshotPart]]:
    """Cut parts, in their order, into segments of at most so many rows (a larger part has one of its own)."""
    groups: list[list[SnapshotPart]] = []
    held = rows
    for part in parts:
        if held + part.rows > rows:
            groups.append([])
            held = 0
        groups[-1].append(part)
        held += part.rows
    return groups


def _sample(root: str, segments: Sequence[Segment], config: Any, count: int, seed: int) -> NDArray[Any]:
    """Return vectors of random rows."""
    n = sum(s.rows for s in segments)
    rows = np.sort(np.random.default_rng(seed).choice(n, min(count, n), replace=False))
    taken, first = [], 0
    for segment in segments:
        own = rows[(rows >= first) & (rows < first + segment.rows)] - first
        taken.append(np.asarray(open_vectors(root, segment, config)[own]))
        first += segment.rows
    return np.concatenate(taken)
