"""Independent tasks on Dask: handed out a few at a time, handed back as they end, run again where a worker was lost."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import secrets
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Final

from distributed import Future, KilledWorker
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from cluster.backends import ENDS, WorkerLost
from cluster.dask_cluster import DaskWorkers
from cluster.dask_connect import GOES_ON
from sonotheque.core.errors import Unavailable

OUTCOME_S: Final = 20  # a few kilobytes; a long call into C can keep a worker from answering for half of it
TRIES: Final = 3  # of a task whose worker went away; Dask has tried each twice by then
_LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """The end of one task: what it returned, or what went wrong."""

    name: str
    result: Any
    error: Exception | None


@dataclass(slots=True)
class _Out:
    name: str
    arguments: dict[str, Any]
    tries: int = 1
    future: Future | None = None


def run_tasks(
    workers: DaskWorkers,
    function: Callable[[dict[str, Any]], Any],
    tasks: Iterable[tuple[str, dict[str, Any]]],
    *,
    prefix: str,
    ahead: int,
) -> Generator[TaskEnd]:
    """Run a function once for each task, and yield them as they end; closed early, it takes back what is out.

    Parameters
    ----------
    workers : DaskWorkers
        Started.
    function : callable
        Of a module that workers import; takes a task's arguments.
    tasks : iterable of (str, dict)
        A name that no other has, and arguments. Taken one by one, as there is room.
    prefix : str
        Of the tasks' names for Dask.
    ahead : int
        Tasks for each worker at a time: enough that none waits, few enough that a stop is soon over.

    Raises
    ------
    Unavailable
        If the scheduler, or all workers, went away for good.
    """
    waiting, ended = iter(tasks), queue.SimpleQueue[str]()
    out: dict[str, _Out] = {}
    run = secrets.token_hex(4)  # a foreign scheduler may have tasks of the same names from another run
    sent = 0

    def send(task: _Out) -> None:
        nonlocal sent
        sent += 1
        # No argument may equal a key (Dask would put that key's result in its place): keys have a prefix, arguments are in a dict.
        key = f"{prefix}-{run}-{sent}-{task.name}"
        out[key] = task
        task.future = workers.submit(function, task.arguments, key=key)
        task.future.add_done_callback(lambda _: ended.put(key))

    try:
        while True:
            while len(out) < ahead * workers.slots and (more := next(waiting, None)):
                send(_Out(*more))
            workers.tell(in_flight=len(out), done=False)
            if not out:
                return
            workers.check()
            with contextlib.suppress(queue.Empty):
                task = out.pop(ended.get(timeout=_LOOK_S))
                end = _end_of(task)
                workers.tell(in_flight=len(out), done=end.error is None)
                if isinstance(end.error, OSError | WorkerLost) and task.tries < TRIES:
                    task.tries += 1
                    send(task)
                else:
                    yield end
    finally:
        for task in out.values():
            if task.future is not None:
                task.future.cancel()


def _end_of(task: _Out) -> TaskEnd:
    if task.future is None:
        raise RuntimeError(f"{task.name} was not sent")
    result, error = outcome_of(task.future)
    task.future.release()
    if isinstance(error, Unavailable) and error.kind == "workers_lost":
        raise error
    return TaskEnd(task.name, result, error)


def outcome_of(future: Future) -> tuple[Any, Exception | None]:
    """Return what a task returned, or what it ended with; one of a future that is over."""
    if future.status == "finished":
        # Dask asks for an outcome without end if the worker that holds it is frozen, and hands over no other meanwhile.
        try:
            return future.result(timeout=OUTCOME_S), None
        except TimeoutError:
            return None, TimeoutError(
                f"a worker ended it and did not give its outcome within {OUTCOME_S} s; it is run again"
            )
        except (*ENDS, KilledWorker, CancelledError, asyncio.CancelledError) as lost:  # it died with its worker
            if future.status == "finished":
                return None, OSError(f"its outcome was lost: {lost!r}")
    if future.cancelled():
        return None, Unavailable(
            f"the Dask scheduler went away. {GOES_ON}",
            kind="workers_lost",
        )
    error = future.exception()
    if isinstance(error, KilledWorker):
        error = WorkerLost(str(error))
    elif isinstance(error, NoWorkerError | NoValidWorkerError):  # for half an hour nobody was there to take it
        error = Unavailable(f"no worker is left and none came back: {error}", kind="workers_lost")
    return None, error
