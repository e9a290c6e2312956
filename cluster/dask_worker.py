"""What runs inside a Dask worker: the model, loaded when the worker starts, and the task."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from distributed import Worker, WorkerPlugin

from cluster.backends import WorkerDied, run_part
from cluster.dask_settings import ONE_THREAD
from cluster.models_here import model_here
from cluster.payload import ModelChoice, TaskPayload
from cluster.specs.placing import PATHS_HINT
from cluster.worker_side import leave_interrupts, shows
from sonotheque.core.errors import NotFound, Unavailable
from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.outcome import TaskOutcome
from sonotheque.core.places import is_object
from store import layout

_EXIT_STUCK = 75
_EXIT_AFTER_S = 1.0


@dataclass(frozen=True)
class ModelPlugin(WorkerPlugin):
    """Loads the model on every worker, also on one that joins or restarts later.

    Attributes
    ----------
    model : ModelChoice
    """

    model: ModelChoice
    name: str = "sonotheque-model"

    def setup(self, worker: Worker) -> None:
        """Prepare the process: one thread a process for Arrow, Ctrl-C left to the coordinator, the model in memory.

        Raises
        ------
        Unavailable
            If the worker runs several tasks at once: an engine holds one batch at a time, and two tasks would mix theirs.
        """
        if worker.state.nthreads != 1:
            raise Unavailable(f"a worker at {worker.address} has {worker.state.nthreads} threads. {ONE_THREAD}")
        pa.set_cpu_count(1)
        leave_interrupts()
        model_here(self.model)


def load_spec(model: dict[str, Any]) -> ModelSpec:
    """Load the model on the worker that runs this, and return what was loaded."""
    return model_here(ModelChoice(**model["choice"])).spec


def run_task(arguments: dict[str, Any]) -> TaskOutcome:
    """Run one task.

    Raises
    ------
    NotFound
        If this worker does not see the store (kind ``no_store``): it would make a folder of that name for itself.
    WorkerDied
        A decoder is stuck or memory ran out. The process ends itself a moment later, and its nanny starts a new one: a
        stuck thread cannot be ended from inside.
    """
    payload = TaskPayload.from_json(arguments["payload"])
    _require_store(payload.store)
    try:
        return run_part(payload, guarded=arguments["guarded"])
    except WorkerDied:
        timer = threading.Timer(_EXIT_AFTER_S, os._exit, (_EXIT_STUCK,))
        timer.daemon = True
        timer.start()
        raise


def _require_store(store: str) -> None:
    if not is_object(store) and not shows(f"{store}/{layout.CONFIG}"):
        raise NotFound(
            f"a worker on {socket.gethostname()} does not see the store {store}. {PATHS_HINT}", kind="no_store"
        )
