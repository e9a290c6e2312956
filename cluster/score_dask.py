"""Scores on Dask: probes travel once to each worker, parts by name, vectors and scores never."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Final

from distributed import Worker, WorkerPlugin
from threadpoolctl import threadpool_limits

from cluster.backends import WorkerLost
from cluster.dask_cluster import DaskWorkers
from cluster.dask_tasks import TaskEnd, run_tasks
from cluster.score_stack import ProbeStack
from cluster.score_task import ScoredPart, score_part
from cluster.specs.placing import PATHS_HINT, Placed
from cluster.worker_side import leave_interrupts, shows
from probes import Probe
from sonotheque.core.errors import Invalid
from sonotheque.core.places import is_object
from store import layout
from store.scores import ScoreSet
from store.snapshots import SnapshotPart

Job = tuple[ScoreSet, SnapshotPart]
_AHEAD: Final = 4  # parts a worker: enough that none waits, few enough that a stop is soon over
_STACKS: dict[tuple[str, str], ProbeStack] = {}  # of this worker's process, by run and name of the set


@dataclass(frozen=True)
class StackPlugin(WorkerPlugin):
    """Gives every worker the probes of a set, also one that joins or restarts later.

    Attributes
    ----------
    wanted : ScoreSet
    probes : tuple of Probe
        In the set's order.
    run : str
        Of the workers: another run on the same ones has stacks of its own, also of the same set.
    threads : int
        Of a product.
    """

    wanted: ScoreSet
    probes: tuple[Probe, ...]
    run: str
    threads: int = 1

    @property
    def name(self) -> str:
        """The plugin's name for Dask."""
        return f"sonotheque-scores-{self.wanted.name}"

    def setup(self, worker: Worker) -> None:
        """Stack them; Ctrl-C is left to the process that hands out the parts."""
        leave_interrupts()
        if self.threads > 1:  # Dask starts its workers with one
            threadpool_limits(self.threads, user_api="blas")
        _STACKS[self.run, self.wanted.name] = ProbeStack(self.probes, self.wanted.floor)

    def teardown(self, worker: Worker) -> None:
        """Forget them."""
        _STACKS.pop((self.run, self.wanted.name), None)


def score_remotely(arguments: dict[str, Any]) -> ScoredPart:
    """Run one task on the worker that is here.

    Raises
    ------
    Invalid
        If this worker does not see the store of the one who asked.
    """
    root, wanted = arguments["root"], ScoreSet.from_json(arguments["set"])
    if not is_object(root) and not shows(f"{root}/{layout.score_set(wanted.name)}"):
        raise Invalid(f"a worker on {socket.gethostname()} does not see the scores begun in {root}. {PATHS_HINT}")
    part = SnapshotPart(**{**arguments["part"], "superseded": ()})
    return score_part(root, arguments["dim"], part, _STACKS[arguments["run"], wanted.name], wanted)


def score_on_dask(
    root: str,
    dim: int,
    jobs: Sequence[Job],
    probes: Mapping[str, tuple[Probe, ...]],
    *,
    placed: Placed,
    note: Callable[[str], None] = lambda _: None,
    told: Callable[[int], None] | None = None,
) -> Generator[ScoredPart]:
    """Score parts on Dask workers, which are started and ended here unless they are a scheduler's; yield each as it ends.

    Parameters
    ----------
    root : str
        Absolute, as this machine sees it.
    dim : int
    jobs : sequence of (ScoreSet, SnapshotPart)
    probes : mapping
        Name of a set -> its probes, in its order.
    placed : Placed
    note : callable, optional
        Takes what people should know of a cluster that is started here.
    told : callable, optional
        Called with the windows of each part that ended.

    Raises
    ------
    SonothequeError
        If no scheduler answers, its workers will not do, they go away, or scores cannot be written.
    """
    workers = DaskWorkers(
        placed.workers, scheduler=placed.scheduler, cluster=placed.spec, module="cluster.score_dask", note=note
    )
    clean = False
    try:
        workers.start()
        for plugin in _plugins(jobs, probes, placed, workers.run):
            workers.register(plugin)
        of = {part.part_id: part for _, part in jobs}
        tasks = _tasks(placed.on_nodes(root), dim, jobs, workers.run)
        with closing(run_tasks(workers, score_remotely, tasks, prefix="score", ahead=_AHEAD)) as ends:
            for end in ends:
                found = _read(of[end.name], end)
                if told:
                    told(found.windows)
                yield found
        clean = True
    finally:
        workers.close(now=not clean)


def _plugins(
    jobs: Sequence[Job], probes: Mapping[str, tuple[Probe, ...]], placed: Placed, run: str
) -> list[StackPlugin]:
    threads = placed.threads if placed.spec else 1
    return [StackPlugin(s, probes[s.name], run, threads) for s in {s.name: s for s, _ in jobs}.values()]


def _tasks(root: str, dim: int, jobs: Sequence[Job], run: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for wanted, part in jobs:
        told_part = {**asdict(part), "superseded": ()}
        yield part.part_id, {"root": root, "dim": dim, "run": run, "set": wanted.to_json(), "part": told_part}


def _read(part: SnapshotPart, end: TaskEnd) -> ScoredPart:
    if isinstance(end.error, WorkerLost):
        return ScoredPart(part.part_id, failure=f"its scoring ended a worker again and again: {end.error}")
    if end.error is not None:
        raise end.error
    found: ScoredPart = end.result
    return found
