"""Scores on Dask: probes travel once to each worker, parts by name, vectors and scores never."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

import dask
from distributed import CancelledError, Client, KilledWorker, LocalCluster, Worker, WorkerPlugin, as_completed
from distributed.comm import CommClosedError

from cluster.dask_backend import connect
from cluster.dask_settings import SETTINGS
from cluster.score_stack import ProbeStack
from cluster.score_task import ScoredPart, score_part
from probes import Probe
from sonotheque.core.errors import Unavailable
from store.scores import ScoreSet
from store.snapshots import SnapshotPart

Job = tuple[ScoreSet, SnapshotPart]
_AHEAD: Final = 4  # parts a worker: enough that none waits, few enough that a stop is soon over
_STACKS: dict[str, ProbeStack] = {}  # of this worker's process, by the names of their sets


@dataclass(frozen=True)
class StackPlugin(WorkerPlugin):
    """Gives every worker the probes of a set, also one that joins or restarts later.

    Attributes
    ----------
    wanted : ScoreSet
    probes : tuple of Probe
        In the set's order.
    """

    wanted: ScoreSet
    probes: tuple[Probe, ...]

    @property
    def name(self) -> str:
        """The plugin's name for Dask."""
        return f"sonotheque-scores-{self.wanted.name}"

    def setup(self, worker: Worker) -> None:
        """Stack them; Ctrl-C is left to the process that hands out the parts."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _STACKS[self.wanted.name] = ProbeStack(self.probes, self.wanted.floor)

    def teardown(self, worker: Worker) -> None:
        """Forget them."""
        _STACKS.pop(self.wanted.name, None)


def score_remotely(arguments: dict[str, Any]) -> ScoredPart:
    """Run one task on the worker that is here."""
    wanted = ScoreSet.from_json(arguments["set"])
    part = SnapshotPart(**{**arguments["part"], "superseded": ()})
    return score_part(arguments["root"], arguments["dim"], part, _STACKS[wanted.name], wanted)


def score_on_dask(
    root: str,
    dim: int,
    jobs: Sequence[Job],
    probes: dict[str, tuple[Probe, ...]],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    told: Callable[[int], None] | None = None,
) -> Generator[ScoredPart]:
    """Score parts on a LocalCluster of ``workers``, or on a running scheduler; yield each as it ends.

    Parameters
    ----------
    root : str
        The same path for all workers.
    dim : int
    jobs : sequence of (ScoreSet, SnapshotPart)
    probes : dict
        Name of a set -> its probes, in its order.
    workers : int
    scheduler : str, optional
    told : callable, optional
        Called with the windows of each part that ended.

    Raises
    ------
    Invalid, Unavailable
        If no scheduler answers, its workers will not do, it goes away, or scores cannot be written.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    dask.config.set(SETTINGS)
    with ExitStack() as stack:
        client = _client(stack, workers, scheduler)
        for wanted, _ in {wanted.name: (wanted, None) for wanted, _ in jobs}.values():
            plugin = StackPlugin(wanted, probes[wanted.name])
            client.register_plugin(plugin)
            if scheduler:
                stack.callback(client.unregister_worker_plugin, plugin.name)
        waiting = iter(jobs)
        of: dict[str, Job] = {}

        def submit(job: Job) -> Any:
            wanted, part = job
            told_part = {**asdict(part), "superseded": ()}
            arguments = {"root": root, "dim": dim, "set": wanted.to_json(), "part": told_part}
            # No argument may equal a key (Dask would put that key's result in its place): keys have a prefix, arguments are in a dict.
            future = client.submit(score_remotely, arguments, key=f"score-{wanted.name}-{part.part_id}", pure=False)
            of[future.key] = job
            return future

        slots = max(1, len(client.nthreads()))
        running = as_completed([submit(job) for job in islice(waiting, _AHEAD * slots)])
        for future in running:
            ended = _read(of.pop(future.key)[1], future)
            future.release()
            for job in islice(waiting, 1):
                running.add(submit(job))
            if told:
                told(ended.windows)
            yield ended


def _client(stack: ExitStack, workers: int, scheduler: str | None) -> Client:
    if scheduler:
        client = connect(scheduler, "cluster.score_dask")
        stack.callback(client.close, timeout=10)
        return client
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        host="127.0.0.1",
        silence_logs=logging.CRITICAL,
    )
    stack.callback(cluster.close, timeout=10)
    client = Client(cluster)
    stack.callback(client.close, timeout=10)
    return client


def _read(part: SnapshotPart, future: Any) -> ScoredPart:
    try:
        found: ScoredPart = future.result()
    except KilledWorker as error:
        return ScoredPart(part.part_id, failure=f"its scoring ended a worker again and again: {error}")
    except (CancelledError, CommClosedError) as error:
        raise Unavailable(
            "the Dask scheduler went away. What was committed stays; run the same command again: it goes on where it stopped",
            kind="workers_lost",
        ) from error
    return found
