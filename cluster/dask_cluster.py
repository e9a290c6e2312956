"""Workers on Dask, whatever they are to do: a LocalCluster of our own, a cluster that a file describes, a scheduler that is running."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import dask
from distributed import Client, Future, LocalCluster, Security
from distributed.client import ClosedClientError

from cluster.dask_settings import ONE_THREAD, SETTINGS
from cluster.launching.launch import Launched
from cluster.specs.kinds import Cluster, Local, Tls
from sonotheque.core.errors import Invalid, NotFound, Unavailable

_CONNECT_S: Final = 30
_SLOTS_EVERY_S: Final = 5.0
GOES_ON: Final = "What was committed stays; run the same command again: it goes on where it stopped"
_ROLES: Final = ("client", "scheduler", "worker")


class DaskWorkers:
    """Worker processes that are started, followed and ended; one thread uses it, and ``close`` ends it, also after an error.

    Parameters
    ----------
    count : int
        Worker processes that are wanted.
    scheduler : str, optional
        Address of a running scheduler, whose workers must have this program installed and see the same folders.
    cluster : Cluster, optional
        What a cluster file says of the workers; of a running scheduler only its TLS files count.
    module : str
        Whose functions are the tasks: workers must be able to import it.
    note : callable, optional
        Takes what people should know of a cluster that is started here: jobs that wait, hosts that refuse.
    stop_asked : callable, optional
        True ends the wait for workers that are still in a queue.
    """

    def __init__(
        self,
        count: int = 1,
        *,
        scheduler: str | None = None,
        cluster: Cluster | None = None,
        module: str = "cluster.dask_worker",
        note: Callable[[str], None] = lambda _: None,
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._count, self._scheduler, self._module = count, scheduler, module
        self._spec = cluster or Local()
        self._note, self._stop_asked = note, stop_asked
        self._started: LocalCluster | Launched | None = None
        self._client: Client | None = None
        self._slots, self._slots_at, self._kept_at = count, 0.0, 0.0

    @property
    def title(self) -> str:
        """What it is, for people."""
        if self._scheduler:
            return f"Dask scheduler {self._scheduler}"
        where = "here" if isinstance(self._spec, Local) else f"on a cluster of kind {self._spec.kind}"
        return f"Dask, {self._count} worker processes {where}"

    @property
    def is_foreign(self) -> bool:
        """Whether the workers were there before, and stay."""
        return self._scheduler is not None

    @property
    def client(self) -> Client:
        """Dask's client, once workers are there."""
        if self._client is None:
            raise RuntimeError("the workers were not started")
        return self._client

    def start(self) -> Client:
        """Start workers, or find them.

        Raises
        ------
        Invalid, NotFound, Unavailable
            If no scheduler answers, it has no workers, or they will not do.
        StopAsked
            If the run was asked to stop before a worker was there.
        """
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        dask.config.set(SETTINGS)
        if self._scheduler:
            self._client = connect(self._scheduler, self._module, tls=self._spec.tls)
        elif isinstance(self._spec, Local):
            self._started = self._local(self._spec)
            self._client = Client(self._started)
        else:
            self._started = Launched(self._spec, _security(self._spec.tls))
            self._client = self._started.start(self._note, self._stop_asked)
            require_workers(self._client, "the cluster's scheduler", self._module)
        return self._client

    def _local(self, spec: Local) -> LocalCluster:
        return LocalCluster(
            n_workers=self._count,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # what remains is not to ask for Dask's usual port
            host="127.0.0.1",
            silence_logs=logging.CRITICAL,
            env=dict(spec.environment),
            security=_security(spec.tls),
            **({"memory_limit": spec.memory} if spec.memory else {}),
        )

    @property
    def slots(self) -> int:
        """Threads of all workers; workers come and go. While jobs wait to be started again: those that there will be."""
        now = time.monotonic()
        if now - self._slots_at > _SLOTS_EVERY_S:
            self._slots_at = now
            coming = self._count if isinstance(self._started, Launched) else 1
            with contextlib.suppress(
                OSError, ClosedClientError
            ):  # no scheduler: its tasks tell so; until then the old number does
                self._slots = max(coming, sum(self.client.nthreads().values()))
        return self._slots

    def submit(self, function: Callable[..., Any], *arguments: Any, key: str) -> Future:
        """Hand a task to the scheduler.

        Raises
        ------
        Unavailable
            Kind ``workers_lost``: it went away.
        """
        try:
            return self.client.submit(function, *arguments, key=key, pure=False)
        except (OSError, ClosedClientError) as error:
            raise Unavailable(
                f"the Dask scheduler went away ({error!r}). {GOES_ON}",
                kind="workers_lost",
            ) from error

    def check(self) -> None:
        """Hand over what there is to tell of the workers, and start those anew that our own cluster has given up.

        Raises
        ------
        Unavailable
            If a cluster that was started here cannot be kept up.
        """
        if isinstance(self._started, Launched):
            self._started.check(self._note)
        elif self._started is not None:
            self._keep_up(self._started)

    def _keep_up(self, cluster: LocalCluster) -> None:
        """Start workers anew that nobody else would.

        A worker that dies while it starts is not started again by its nanny, and a LocalCluster closes the nanny of a worker that
        stays away and puts none in its place: a machine short of memory loses all of its workers so, and tasks wait for ever.
        """
        now = time.monotonic()
        if now - self._kept_at > _SLOTS_EVERY_S:
            self._kept_at = now
            if len(cluster.workers) < self._count:
                cluster.scale(self._count)

    def tell(self, *, in_flight: int, done: bool) -> None:
        """Say how many tasks are out, and whether one has ended well: workers are started again only for tasks that are out."""
        if isinstance(self._started, Launched):
            self._started.tell(in_flight=in_flight, done=done)

    def close(self, *, now: bool = False) -> None:
        """End the workers if they are ours; leave foreign ones as they were."""
        timeout = 2 if now else 10
        if self._client is not None:
            self._client.close(timeout=timeout)
        if isinstance(self._started, Launched):
            self._started.close(now=now)
        elif self._started is not None:
            self._started.close(timeout=timeout)


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
        _forget(error)
        raise Invalid(
            f"--scheduler {address}: {error}. An address looks like tcp://node1:8786; the scheduler prints its own at its start"
        ) from error
    except OSError as error:
        _forget(error)
        raise Unavailable(
            f"no Dask scheduler answers at {address} within {_CONNECT_S} s: {error}. Check the address, or leave --scheduler out to run here"
        ) from error
    require_workers(client, address, module)
    return client


def _forget(error: Exception) -> None:
    """End a client that could not connect, now: its end takes a lock that another client's start holds, and would wait for ever in a
    garbage collection that comes in the middle of that.
    """
    traceback.clear_frames(error.__traceback__)
    gc.collect()


def require_workers(client: Client, address: str, module: str = "cluster.dask_worker") -> None:
    """Look whether a scheduler has workers that can run tasks of a module, one at a time each; if not, end the client.

    Raises
    ------
    Unavailable
        With what is wrong.
    """
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


def _security(tls: Tls | None) -> Security:
    """Return what connections need: encryption and a certificate of the one authority on both sides, or nothing."""
    if tls is None:
        return Security()
    for file in (tls.ca, tls.cert, tls.key):
        if not Path(file).is_file():
            raise NotFound(f"tls: there is no file {file} on this machine; ca, cert and key are files in PEM format")
    found = {f"tls_{role}_{what}": getattr(tls, what) for role in _ROLES for what in ("cert", "key")}
    return Security(tls_ca_file=tls.ca, require_encryption=True, **found)
