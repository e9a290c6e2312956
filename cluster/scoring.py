"""Probes over a snapshot: which parts are still to be scored, and the scoring of them, here or on Dask."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Final

from threadpoolctl import threadpool_limits

from cluster.score_stack import ProbeStack
from cluster.score_task import ScoredPart, ScoringStopped, score_part
from cluster.specs.placing import Placed, place_tasks, require_runnable
from probes import Probe
from sonotheque.core.errors import Unavailable
from sonotheque.core.places import absolute
from store import sweep_leftovers
from store.config import read_config
from store.fsops import FileOps, ops_of, store_errors
from store.scores import SCORE_FLOOR, HeldScores, ScoredProbe, ScoreSet
from store.snapshots import Snapshot, SnapshotPart, lost_part

Job = tuple[ScoreSet, SnapshotPart]
Progress = Callable[[int, int], None]  # windows done, windows in all
_LANES_MAX: Final = 8  # parts at once in this process: while one is multiplied, others are read and written
_LOOK_EVERY_S: Final = 0.5


@dataclass(slots=True)
class ScoringReport:
    """What a scoring did.

    Attributes
    ----------
    probes : list of dict
        ``name, version, kind, classes, digest``.
    floor : float
        Least score that was kept.
    snapshot : int
    parts, parts_held, parts_scored, parts_failed : int
        Asked for; scored by all probes before; scored now; without scores.
    to_score : int
        Windows of the parts that were not scored before.
    windows : int
        Scored now, superseded ones too: whichever rows are live tomorrow, their scores are there.
    window_scores : int
        Windows times the probes that they were scored by.
    scores, bytes : int
        Rows that were kept, and the size of their files.
    wall_s : float
    failures : list of dict
        ``part, path, reason`` of parts without scores.
    not_scored : list of dict
        Windows whose vector is not finite: ``path, start_s, recording_id, start_sample``.
    where : str
        What it ran on.
    """

    probes: list[dict[str, Any]]
    floor: float
    snapshot: int
    parts: int = 0
    parts_held: int = 0
    parts_scored: int = 0
    parts_failed: int = 0
    to_score: int = 0
    windows: int = 0
    window_scores: int = 0
    scores: int = 0
    bytes: int = 0
    wall_s: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)
    not_scored: list[dict[str, Any]] = field(default_factory=list)
    where: str = "this process"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object, with ``windows_per_s`` and ``window_scores_per_s``."""
        speed = self.wall_s or float("inf")
        return {
            **asdict(self),
            "windows_per_s": round(self.windows / speed, 1),
            "window_scores_per_s": round(self.window_scores / speed, 1),
        }


def scored_probe(probe: Probe) -> ScoredProbe:
    """Return a probe as scores name it."""
    return ScoredProbe(probe.name, probe.version, probe.digest, probe.classes, probe.kind)


def score_snapshot(
    root: str,
    snapshot: Snapshot,
    probes: Sequence[Probe],
    *,
    floor: float = SCORE_FLOOR,
    parts: Sequence[SnapshotPart] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    cluster: str | None = None,
    lanes: int | None = None,
    dry_run: bool = False,
    ops: FileOps | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> ScoringReport:
    """Score what is not scored yet; run again, it goes on where it was interrupted.

    Parameters
    ----------
    root : str
    snapshot : Snapshot
    probes : sequence of Probe
        Stored versions, of the store's model.
    floor : float
        Scores below it are not kept.
    parts : sequence of SnapshotPart, optional
        Only these; each is scored whole.
    workers : int
        Processes of a Dask cluster on this machine; 1: no Dask.
    scheduler : str, optional
        Address of a running Dask scheduler.
    cluster : str, optional
        A cluster file (``cluster/specs``), whose workers take the place of ``workers``.
    lanes : int, optional
        Parts at once in this process, at most.
    dry_run : bool
        Only count what is to be scored.
    ops : FileOps, optional
        In this process alone.
    progress : callable, optional
    note : callable, optional
        Takes what people should know of a cluster that is started for this.

    Raises
    ------
    Conflict
        If a probe is of another model than the store (kind ``model_conflict``).
    Invalid
        If no probe is given, one twice or one without a version, or a number cannot be.
    Damaged
        If the description of a set of scores cannot be read.
    Unavailable
        If scores cannot be written, the snapshot was removed meanwhile, or the Dask cluster goes away. What was committed stays.
    NotFound
        If there is no such cluster file, or what it names is not on this machine.
    """
    began = time.monotonic()
    placed = place_tasks(workers, scheduler, cluster)
    if not dry_run:
        require_runnable(placed, placed.spec)
    config = read_config(root)
    for probe in probes:
        probe.require_model(config.model)
    asked = ScoreSet.of(tuple(scored_probe(p) for p in probes), floor)
    wanted = [p for p in (snapshot.parts if parts is None else parts) if p.live_rows]
    report = ScoringReport([p.to_json() for p in asked.probes], floor, snapshot.number, parts=len(wanted))
    if dry_run:
        report.where = placed.title
    ops = ops or ops_of(root)
    with store_errors(root):
        run = _Run(root, config.model.dim, snapshot, probes, ops, report)
        jobs = run.plan(wanted, asked)
        if jobs and not dry_run:
            sweep_leftovers(root, ops)
            for one in {s.name: s for s, _ in jobs}.values():
                one.put(root, ops)
            run.go(jobs, placed, lanes or min(_LANES_MAX, os.cpu_count() or 1), progress, note)
    report.wall_s = round(time.monotonic() - began, 3)
    return report


@dataclass(slots=True)
class _Run:
    root: str
    dim: int
    snapshot: Snapshot
    probes: Sequence[Probe]
    ops: FileOps
    report: ScoringReport

    def plan(self, wanted: Sequence[SnapshotPart], asked: ScoreSet) -> list[Job]:
        """Return what is to be written: probes that a part lacks together, and nothing that is there."""
        parts = {p.part_id: p for p in wanted}
        held = HeldScores(self.root, self.ops)
        jobs = [(one, parts[i]) for one, ids in held.plan(parts, asked.probes, asked.floor) for i in ids]
        self.report.parts_held = len(parts) - len(jobs)
        self.report.to_score = sum(part.rows for _, part in jobs)
        return jobs

    def go(
        self,
        jobs: Sequence[Job],
        placed: Placed,
        lanes: int,
        progress: Progress | None,
        note: Callable[[str], None],
    ) -> None:
        """Score, and count what comes back."""
        by_key = {(p.name, p.version): p for p in self.probes}
        sets = {s.name: s for s, _ in jobs}
        probes = {name: tuple(by_key[p.key] for p in s.probes) for name, s in sets.items()}
        told = _Counter(self.report.to_score, progress)
        by_part = {part.part_id: (wanted, part) for wanted, part in jobs}
        self.report.where = placed.title
        if not placed.is_here:
            from cluster.score_dask import score_on_dask

            root = absolute(self.root)
            ended = score_on_dask(root, self.dim, jobs, probes, placed=placed, note=note, told=told.add)
        else:
            stacks = {name: ProbeStack(found, sets[name].floor) for name, found in probes.items()}
            ended = _score_here(self.root, self.dim, jobs, stacks, lanes, self.ops, told)
        with closing(ended):
            for scored in ended:
                self._count(scored, *by_part[scored.part_id])
                told.show()
        told.show(last=True)

    def _count(self, scored: ScoredPart, wanted: ScoreSet, part: SnapshotPart) -> None:
        report = self.report
        if scored.failure:
            self._failed(scored, part)
            return
        report.parts_scored += 1
        report.windows += scored.windows
        report.window_scores += scored.windows * len(wanted.probes)
        report.scores += scored.rows
        report.bytes += scored.bytes
        report.not_scored += scored.not_scored

    def _failed(self, scored: ScoredPart, part: SnapshotPart) -> None:
        reason = scored.failure
        if not self.ops.exists(f"{self.root}/{part.embeddings}"):
            lost = lost_part(self.root, self.snapshot, part.embeddings)
            if isinstance(lost, Unavailable):
                raise lost
            reason = lost.message
        self.report.parts_failed += 1
        self.report.failures.append({"part": part.part_id, "path": part.embeddings, "reason": reason})


class _Counter:
    """Windows done, counted by several threads and shown by one; whoever counts is told when to stop."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress, self._done = total, progress, 0
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def add(self, windows: int) -> None:
        if self.stop.is_set():
            raise ScoringStopped
        with self._lock:
            self._done += windows

    def show(self, *, last: bool = False) -> None:
        if self._progress:
            self._progress(self._total if last else min(self._done, self._total), self._total)


def _score_here(
    root: str, dim: int, jobs: Sequence[Job], stacks: Mapping[str, ProbeStack], lanes: int, ops: FileOps, told: _Counter
) -> Generator[ScoredPart]:
    """Score parts in this process, several at once: the file system, the processor and the disk are busy at the same time."""

    def one(job: Job) -> ScoredPart:
        wanted, part = job
        return score_part(root, dim, part, stacks[wanted.name], wanted, ops=ops, told=told.add)

    if lanes <= 1:
        yield from map(one, jobs)
        return
    waiting = iter(jobs)
    # One thread a product: lanes share the cores already, and a product that waits for helpers without one halved the speed.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(lanes, thread_name_prefix="score") as pool:
        running: set[Future[ScoredPart]] = {pool.submit(one, job) for job in islice(waiting, 2 * lanes)}
        try:
            while running:
                ended, running = wait(running, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED)
                told.show()
                for future in ended:
                    running |= {pool.submit(one, job) for job in islice(waiting, 1)}
                    yield future.result()
        finally:  # an error, or Ctrl-C: the parts under way are given up at their next block
            told.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
