"""Parts on Dask: workers with the model in memory, and a task for each part. Vectors never travel through it."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from cluster.backends import Ended
from cluster.dask_cluster import DaskWorkers
from cluster.dask_tasks import outcome_of
from cluster.dask_worker import ModelPlugin, load_spec, run_task
from cluster.payload import ModelChoice, TaskPayload
from cluster.specs.kinds import Cluster
from embedder.models import weights_status
from sonotheque.core.errors import Unavailable
from sonotheque.core.model_spec import ModelSpec


class DaskBackend:
    """See :class:`cluster.backends.Backend`.

    Parameters
    ----------
    model : ModelChoice
    job : int
        Number of the job: part of the keys.
    workers : int
        Worker processes of a LocalCluster.
    scheduler : str, optional
        Address of a running scheduler, whose workers must have this program installed and see the same folders.
    cluster : Cluster, optional
        What a cluster file says of the workers; of a running scheduler only its TLS files count.
    note : callable, optional
        Takes what people should know of a cluster that is started here: jobs that wait, hosts that refuse.
    stop_asked : callable, optional
        True ends the wait for workers that are still in a queue.
    """

    def __init__(
        self,
        model: ModelChoice,
        *,
        job: int,
        workers: int = 1,
        scheduler: str | None = None,
        cluster: Cluster | None = None,
        note: Callable[[str], None] = lambda _: None,
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._model, self._job = model, job
        self._workers = DaskWorkers(workers, scheduler=scheduler, cluster=cluster, note=note, stop_asked=stop_asked)
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._futures: dict[str, Future] = {}
        self._sent = 0

    @property
    def title(self) -> str:
        """What it is, for people."""
        return self._workers.title

    @property
    def _live(self) -> Client:
        return self._workers.client

    def start(self) -> ModelSpec:
        """Start workers, load the model on each.

        Raises
        ------
        Unavailable
            If no scheduler answers, it has no workers, or the model cannot be loaded there.
        StopAsked
            If the run was asked to stop before a worker was there.
        """
        client = self._workers.start()
        choice = {"choice": asdict(self._model)}
        if not weights_status(self._model.name, self._model.weights).present:
            # One worker downloads; the others then find the weights in the cache.
            self._load(client, choice)
        self._workers.register(ModelPlugin(self._model))
        return self._load(client, choice)

    def _load(self, client: Client, choice: dict[str, Any]) -> ModelSpec:
        """Load the model on a worker.

        Raises
        ------
        Unavailable
            If workers end over it.
        """
        try:
            spec: ModelSpec = client.submit(load_spec, choice, pure=False).result()
        except (KilledWorker, NoWorkerError, NoValidWorkerError) as error:
            raise Unavailable(
                f"worker processes ended while they loaded the model {self._model.name}: {error}. Mostly a worker has less memory than the "
                "model takes: fewer --workers, or more memory for each in the cluster file; or its weights are damaged, which "
                f"`sonotheque models check {self._model.name}` tells"
            ) from error
        return spec

    @property
    def slots(self) -> int:
        """See :class:`~cluster.dask_cluster.DaskWorkers`."""
        return self._workers.slots

    def submit(self, payload: TaskPayload, *, guarded: bool = False) -> None:
        """Hand over a task."""
        part_id = payload.part.part_id
        self._sent += 1  # in the key, as a part may be sent again while the scheduler still knows its first task
        # No argument may equal a key (Dask would put that key's result in its place): keys have a prefix, arguments are in a dict.
        future = self._workers.submit(
            run_task,
            {"payload": payload.to_json(), "guarded": guarded},
            key=f"embed-{self._workers.run}-{self._job}-{self._sent}-{part_id}",
        )
        self._futures[part_id] = future
        future.add_done_callback(lambda done, part_id=part_id: self._ended.put(_read(part_id, done)))

    def next_ended(self, timeout_s: float) -> Ended | None:
        """Return a task that has ended, waiting at most so long.

        Raises
        ------
        Unavailable
            If a cluster that was started here cannot be kept up.
        """
        self._workers.check()
        ended: Ended | None = None
        with suppress(queue.Empty):
            ended = self._ended.get(timeout=timeout_s)
            self._futures.pop(ended.part_id).release()
        self._workers.tell(in_flight=len(self._futures), done=ended is not None and ended.outcome is not None)
        return ended

    def close(self, *, now: bool = False) -> None:
        """End the workers if they are ours; leave foreign ones as they were, without our tasks and plugin."""
        for future in self._futures.values():
            future.cancel()
        self._workers.close(now=now)


def _read(part_id: str, future: Future) -> Ended:
    return Ended(part_id, *outcome_of(future))
