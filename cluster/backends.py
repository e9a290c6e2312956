"""Where tasks run: in this process, or on Dask. Both give back the same outcomes, in whatever order they end."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cluster.guard import run_guarded
from cluster.models_here import model_here
from cluster.payload import ModelChoice, TaskPayload
from cluster.task import PartTask
from embedder.pipeline import DecodeStalled
from sonotheque.core.errors import SonothequeError
from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.outcome import TaskOutcome

if TYPE_CHECKING:
    from collections.abc import Callable


class WorkerDied(Exception):  # noqa: N818 - an answer of a backend, turned into a guarded run
    """A task killed its worker, or froze in it; the part needs the poison-file rule."""


class WorkerLost(WorkerDied):
    """A task's worker went away under it: its machine was taken back, or something in the task killed it."""


class StopAsked(Exception):  # noqa: N818 - an answer: the part was not begun, because the run is to end
    """A task that was queued when somebody asked the run to stop."""


# What a task is known to end with, other than an outcome.
ENDS = (StopAsked, WorkerDied, SonothequeError, OSError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one task: an outcome or what went wrong."""

    part_id: str
    outcome: TaskOutcome | None
    error: Exception | None


class Backend(Protocol):
    """Runs tasks. Used by one thread; ``close`` ends it."""

    def start(self) -> ModelSpec:
        """Start workers and load the model; returns what was really loaded."""

    @property
    def slots(self) -> int:
        """How many tasks run at once now."""

    @property
    def title(self) -> str:
        """What it is, for people."""

    def submit(self, payload: TaskPayload, *, guarded: bool = False) -> None:
        """Hand over a task; ``guarded`` runs it under the poison-file rule."""

    def next_ended(self, timeout_s: float) -> Ended | None:
        """Return a task that has ended, waiting at most so long."""

    def close(self, *, now: bool = False) -> None:
        """End the workers; ``now`` does not wait for tasks."""


def run_part(payload: TaskPayload, *, guarded: bool) -> TaskOutcome:
    """Run one task in this process (or, guarded, in processes of its own).

    Raises
    ------
    StopAsked
        If the run was asked to stop before this task began.
    WorkerDied
        If a decoder is stuck or memory ran out; this process should then not be used for more.
    """
    if payload.stop_file.exists():
        raise StopAsked(payload.part.part_id)
    if guarded:
        return run_guarded(payload)
    try:
        return PartTask(payload, model_here(payload.model)).run()
    except DecodeStalled as error:
        path = payload.part.recordings[error.file_index].source.path
        raise WorkerDied(f"no progress on {path}") from error
    except MemoryError as error:
        raise WorkerDied("out of memory") from error


class InProcessBackend:
    """Runs each task when its end is asked for: no Dask, one task at a time. The dumb twin of the other."""

    title = "this process"
    slots = 1

    def __init__(self, model: ModelChoice) -> None:
        self._model = model
        self._waiting: queue.SimpleQueue[tuple[TaskPayload, bool]] = queue.SimpleQueue()

    def start(self) -> ModelSpec:
        """Load the model."""
        return model_here(self._model).spec

    def submit(self, payload: TaskPayload, *, guarded: bool = False) -> None:
        """Put a task in the queue."""
        self._waiting.put((payload, guarded))

    def next_ended(self, timeout_s: float) -> Ended | None:
        """Run the next task, however long it takes."""
        if self._waiting.empty():
            return None
        payload, guarded = self._waiting.get()
        return ended_by(payload.part.part_id, lambda: run_part(payload, guarded=guarded))

    def close(self, *, now: bool = False) -> None:
        """Nothing to end."""


def ended_by(part_id: str, call: Callable[[], TaskOutcome]) -> Ended:
    """Run a call and wrap whatever a task is known to end with; anything else is a fault of the program and goes through."""
    try:
        return Ended(part_id, call(), None)
    except ENDS as error:
        return Ended(part_id, None, error)
