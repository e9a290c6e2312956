"""Tasks on Dask: a LocalCluster of our own, or a scheduler that is running. Vectors never travel through it."""

from __future__ import annotations

import importlib
import logging
import queue
import time
from dataclasses import asdict
from pathlib import Path

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, Security

from cluster.backends import Ended, WorkerDied
from cluster.dask_settings import SETTINGS
from cluster.dask_worker import ONE_THREAD, ModelPlugin, load_spec, run_task
from cluster.payload import ModelChoice, TaskPayload
from cluster.specs.kinds import Cluster, Local, Tls
from embedder.models import weights_status
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from sonotheque.core.model_spec import ModelSpec

_CONNECT_S = 30
_SLOTS_EVERY_S = 5.0
_ROLES = ("client", "scheduler", "worker")


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
    """

    def __init__(
        self,
        model: ModelChoice,
        *,
        job: int,
        workers: int = 1,
        scheduler: str | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        self._model, self._job, self._workers, self._scheduler = model, job, workers, scheduler
        self._spec = cluster or Local()
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._futures: dict[str, Future] = {}
        self._attempts: dict[str, int] = {}
        self._slots, self._slots_at = workers, 0.0

    @property
    def title(self) -> str:
        """What it is, for people."""
        return (
            f"Dask scheduler {self._scheduler}" if self._scheduler else f"Dask, {self._workers} worker processes here"
        )

    @property
    def _live(self) -> Client:
        if self._client is None:
            raise RuntimeError("the backend was not started")
        return self._client

    def start(self) -> ModelSpec:
        """Start workers, load the model on each.

        Raises
        ------
        Unavailable
            If no scheduler answers, it has no workers, or the model cannot be loaded there.
        """
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        dask.config.set(SETTINGS)
        if self._scheduler:
            self._client = connect(self._scheduler, tls=self._spec.tls)
        else:
            self._cluster = LocalCluster(
                n_workers=self._workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                host="127.0.0.1",
                silence_logs=logging.CRITICAL,
                env=dict(self._spec.environment),
                security=_security(self._spec.tls),
                **({"memory_limit": self._spec.memory} if self._spec.memory else {}),
            )
            self._client = Client(self._cluster)
        choice = {"choice": asdict(self._model)}
        if not weights_status(self._model.name, self._model.weights).present:
            # One worker downloads; the others then find the weights in the cache.
            self._live.submit(load_spec, choice, pure=False).result()
        self._live.register_plugin(ModelPlugin(self._model))
        spec: ModelSpec = self._live.submit(load_spec, choice, pure=False).result()
        return spec

    @property
    def slots(self) -> int:
        """Threads of all workers; workers come and go."""
        now = time.monotonic()
        if now - self._slots_at > _SLOTS_EVERY_S:
            self._slots_at = now
            self._slots = max(1, sum(self._live.nthreads().values()))
        return self._slots

    def submit(self, payload: TaskPayload, *, guarded: bool = False) -> None:
        """Hand over a task."""
        part_id = payload.part.part_id
        attempt = self._attempts[part_id] = self._attempts.get(part_id, 0) + 1
        # No argument may equal a key (Dask would put that key's result in its place): keys have a prefix, arguments are in a dict.
        future = self._live.submit(
            run_task,
            {"payload": payload.to_json(), "guarded": guarded},
            key=f"embed-{self._job}-{attempt}-{part_id}",
            pure=False,
        )
        self._futures[part_id] = future
        future.add_done_callback(lambda done, part_id=part_id: self._ended.put(_read(part_id, done)))

    def next_ended(self, timeout_s: float) -> Ended | None:
        """Return a task that has ended, waiting at most so long."""
        try:
            ended = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._futures.pop(ended.part_id).release()
        return ended

    def close(self, *, now: bool = False) -> None:
        """End the cluster if it is ours; leave a foreign one as it was, less our tasks."""
        if self._client is not None:
            for future in self._futures.values():
                future.cancel()
            self._client.close(timeout=2 if now else 10)
        if self._cluster is not None:
            self._cluster.close(timeout=2 if now else 10)


def connect(address: str, module: str = "cluster.dask_worker", *, tls: Tls | None = None) -> Client:
    """Return a client of a running scheduler whose workers can run tasks of a module, one at a time each.

    Raises
    ------
    Invalid
        If the address cannot be one.
    Unavailable
        If no scheduler answers, or its workers will not do.
    """
    try:
        client = Client(address, timeout=_CONNECT_S, security=_security(tls))
    except (TypeError, ValueError) as error:
        raise Invalid(
            f"--scheduler {address}: {error}. An address looks like tcp://node1:8786; the scheduler prints its own at its start"
        ) from error
    except OSError as error:
        raise Unavailable(
            f"no Dask scheduler answers at {address} within {_CONNECT_S} s: {error}. Check the address, or leave --scheduler out to run here"
        ) from error
    if not client.nthreads():
        client.close(timeout=2)
        raise Unavailable(f"the Dask scheduler at {address} has no workers. {ONE_THREAD}")
    if wide := {name: n for name, n in client.nthreads().items() if n != 1}:
        client.close(timeout=2)
        name, threads = next(iter(wide.items()))
        raise Unavailable(
            f"{len(wide)} worker(s) of {address} run several tasks at once ({name} has {threads} threads), and a model takes one. {ONE_THREAD}"
        )
    try:
        client.run(importlib.import_module, module)
    except ImportError as error:
        client.close(timeout=2)
        raise Unavailable(
            f"the workers of {address} cannot run tasks of this program: {error}. Install it on every worker, in the version used here"
        ) from error
    return client


def _read(part_id: str, future: Future) -> Ended:
    if future.status == "finished":
        return Ended(part_id, future.result(), None)
    if future.cancelled():
        return Ended(part_id, None, Unavailable("the Dask scheduler went away", kind="workers_lost"))
    error = future.exception()
    if isinstance(error, KilledWorker):
        error = WorkerDied(str(error))
    return Ended(part_id, None, error)


def _security(tls: Tls | None) -> Security:
    """Return what connections need: encryption and a certificate of the one authority on both sides, or nothing."""
    if tls is None:
        return Security()
    for file in (tls.ca, tls.cert, tls.key):
        if not Path(file).is_file():
            raise NotFound(f"tls: there is no file {file} on this machine; ca, cert and key are files in PEM format")
    found = {f"tls_{role}_{what}": getattr(tls, what) for role in _ROLES for what in ("cert", "key")}
    return Security(tls_ca_file=tls.ca, require_encryption=True, **found)
