"""Files of an index on Dask: workers write them where the index lies; names, sizes and digests come back."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

from distributed import Worker, WorkerPlugin

from cluster.backends import WorkerLost
from cluster.dask_cluster import DaskWorkers
from cluster.dask_tasks import TaskEnd, run_tasks
from cluster.specs.placing import PATHS_HINT, Placed, is_local, require_runnable
from cluster.worker_side import leave_interrupts, shows
from sonotheque.core.errors import Invalid, SonothequeError, Unavailable
from sonotheque.core.places import absolute, is_object
from store import layout, sweep_leftovers
from store.catalog import UnitFault
from store.config import temp_name
from store.fsops import ops_of, store_errors
from store.index.making import SegmentJob
from store.index.manifest import IndexFile
from store.state import state_root

_AHEAD: Final = 1  # segments a worker: each takes minutes
_MARK: Final = "seen"  # a file that workers must see, so that what they write is where this process looks for it

_HERE: Final = "Leave --cluster and --scheduler out; --workers N takes processes of this machine"
_AGAIN: Final = "What was written stays: run the same command again"


@dataclass(frozen=True)
class _SegmentPlugin(WorkerPlugin):
    name: str = "sonotheque-index"

    def setup(self, worker: Worker) -> None:
        """Leave Ctrl-C to the process that hands out the segments."""
        leave_interrupts()


def make_remotely(arguments: dict[str, Any]) -> IndexFile:
    """Run one task on the worker that is here.

    Raises
    ------
    Invalid
        If this worker does not see the folder of the one who asked.
    """
    job: SegmentJob = arguments["job"]
    home = state_root(job.root)
    if home != arguments["home"] or not shows(f"{home}/{layout.TMP}/{arguments['mark']}"):
        raise Invalid(
            f"a worker on {socket.gethostname()} does not see {arguments['home']}, where the index of {job.root} is kept"
        )
    return job.make(ops_of(job.root), lambda _: None, arguments["threads"])


class DaskSpread:
    """See :class:`store.index.making.Spread`: workers are started when there is something to make, and ended by ``release``.

    Parameters
    ----------
    root : str
        The store's.
    placed : Placed
        Not of this process.
    note : callable, optional
        Takes what people should know of a cluster that is started for this.

    Raises
    ------
    Invalid
        If the index is kept on this machine and the workers are on others.
    NotFound, Unavailable
        If what starts the workers is not on this machine.
    """

    def __init__(self, root: str, placed: Placed, note: Callable[[str], None] = lambda _: None) -> None:
        if is_object(root) and placed.scheduler is None and not is_local(placed.spec):
            raise Invalid(
                f"{root} lies in an object store, whose index is kept on this machine, in {state_root(root)}; the workers of "
                f"{placed.cluster} are on others. {_HERE}"
            )
        require_runnable(placed, placed.spec)
        self._root, self._placed, self._note = root, placed, note
        self._workers: DaskWorkers | None = None
        self._mark = ""

    def run(self, jobs: Sequence[SegmentJob], told: Callable[[int], None]) -> list[IndexFile]:
        """Make all files; return them in the order of the jobs.

        Raises
        ------
        SonothequeError
            What a segment ended with, with its name; also if no workers can be had.
        """
        if not jobs:
            return []
        workers = self._started()
        made: dict[int, IndexFile] = {}
        with closing(run_tasks(workers, make_remotely, self._tasks(jobs), prefix="index", ahead=_AHEAD)) as ends:
            for end in ends:
                number = int(end.name)
                made[number] = self._read(end, f"{jobs[number].title} (segment {number + 1} of {len(jobs)})")
                told(jobs[number].rows)
        return [made[number] for number in range(len(jobs))]

    def _started(self) -> DaskWorkers:
        if self._workers is None:
            placed = self._placed
            self._mark = temp_name(_MARK)
            folder = f"{state_root(self._root)}/{layout.TMP}"
            with store_errors(self._root):
                os.makedirs(folder, exist_ok=True)
                with open(f"{folder}/{self._mark}", "xb"):
                    pass
            self._workers = DaskWorkers(
                placed.workers,
                scheduler=placed.scheduler,
                cluster=placed.spec,
                module="cluster.index_dask",
                note=self._note,
            )
            self._workers.start()
            self._workers.register(_SegmentPlugin())
        return self._workers

    def _tasks(self, jobs: Sequence[SegmentJob]) -> Iterator[tuple[str, dict[str, Any]]]:
        root = absolute(self._root)
        there = self._placed.on_nodes(root)
        common = {"home": state_root(there), "mark": self._mark, "threads": self._placed.threads}
        for number, job in enumerate(jobs):
            yield str(number), {**common, "job": replace(job, root=there)}

    def _read(self, end: TaskEnd, name: str) -> IndexFile:
        error = end.error
        if error is None:
            found: IndexFile = end.result
            return found
        if isinstance(error, UnitFault):
            raise UnitFault(error.relative, f"{error.why}; {name} needs it") from error
        if isinstance(error, Invalid):  # of a worker that stands elsewhere: all segments would say the same
            raise Invalid(f"{error.message}. {_HERE if is_object(self._root) else PATHS_HINT}") from error
        if isinstance(error, SonothequeError):
            raise type(error)(f"{name}: {error.message}", kind=error.kind) from error
        if isinstance(error, WorkerLost):
            raise Unavailable(
                f"{name} ended a worker again and again: {error}. {_AGAIN}", kind="workers_lost"
            ) from error
        if isinstance(error, OSError):
            raise Unavailable(f"{name} could not be made: {error}. {_AGAIN}") from error
        raise error

    def release(self, *, now: bool = False) -> None:
        """End the workers, and remove what those that died left half written."""
        workers, self._workers = self._workers, None
        if workers is None:
            return
        workers.close(now=now)
        if self._mark:
            with contextlib.suppress(OSError):
                os.unlink(f"{state_root(self._root)}/{layout.TMP}/{self._mark}")
            with contextlib.suppress(OSError):
                sweep_leftovers(self._root)


@contextlib.contextmanager
def spread_on(root: str, placed: Placed, note: Callable[[str], None] = lambda _: None) -> Iterator[DaskSpread]:
    """Give what ``build_index`` takes as ``spread``, and end its workers, whatever happens."""
    spread = DaskSpread(root, placed, note)
    clean = False
    try:
        yield spread
        clean = True
    finally:
        spread.release(now=not clean)
