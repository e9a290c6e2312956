"""Workers on Dask, whatever they are to do: a LocalCluster of our own, a cluster that a file describes, a scheduler that is running."""

from __future__ import annotations

import contextlib
import logging
import secrets
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import dask
from distributed import Client, Future, LocalCluster, WorkerPlugin
from distributed.client import ClosedClientError

from cluster.dask_connect import GOES_ON, connect, forget, patiently, require_workers, security_of
from cluster.dask_settings import SETTINGS
from cluster.launching.launch import Launched, keep_up
from cluster.specs.kinds import Cluster, Local
from sonotheque.core.errors import Invalid, Unavailable

_SLOTS_EVERY_S: Final = 5.0


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

    Attributes
    ----------
    run : str
        Goes into the names of tasks and plugins: other runs may have theirs on the same scheduler.
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
        self.run: Final = secrets.token_hex(4)
        self._plugins: list[str] = []
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
            self._client = self._start_here(self._spec)
        else:
            self._started = Launched(self._spec, security_of(self._spec.tls))
            self._client = self._started.start(self._note, self._stop_asked)
            require_workers(self._client, "the cluster's scheduler", self._module)
        return self._client

    def _start_here(self, spec: Local) -> Client:
        """Start workers of this machine.

        Raises
        ------
        Invalid
            If the files below ``tls`` cannot be used.
        Unavailable
            Kind ``workers_lost``: they ended meanwhile.
        """
        try:
            self._started = self._local(spec)
            return Client(self._started)
        except (OSError, RuntimeError) as error:
            forget(error)
            if isinstance(error.__cause__, ssl.SSLError):  # Dask puts every fault of a start into a RuntimeError
                raise Invalid(
                    f"the files below tls cannot be used: {error.__cause__}. ca, cert and key are files in PEM format, the key without "
                    "a password"
                ) from error
            raise Unavailable(
                f"worker processes ended while they were started on this machine ({error!r}). Mostly its memory is too small for so many: "
                f"fewer --workers. {GOES_ON}",
                kind="workers_lost",
            ) from error

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
            security=security_of(spec.tls),
            **({"memory_limit": spec.memory} if spec.memory else {}),
        )

    def register(self, plugin: WorkerPlugin) -> None:
        """Give a plugin to every worker, also to one that joins or restarts later; ``close`` takes it from workers that stay.

        Parameters
        ----------
        plugin : WorkerPlugin
            Registered under its name and this run's.

        Raises
        ------
        Unavailable
            Kind ``workers_lost``: one went away meanwhile, again and again.
        """
        name = f"{plugin.name}-{self.run}"
        self._plugins.append(name)
        patiently(self.client, lambda: self.client.register_plugin(plugin, name=name))

    def _take_back(self, client: Client, timeout_s: float) -> None:
        """Take our plugins from workers that stay. A run that is over does not fail over one that is gone, or a worker that is."""
        for name in self._plugins:
            if client.status == "running":  # without its scheduler it would wait for that
                with contextlib.suppress(OSError, RuntimeError, ValueError, LookupError):
                    client.sync(client.scheduler.unregister_worker_plugin, name=name, callback_timeout=timeout_s)

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
            self._kept_at = keep_up(self._started, self._count, self._kept_at, _SLOTS_EVERY_S)

    def tell(self, *, in_flight: int, done: bool) -> None:
        """Say how many tasks are out, and whether one has ended well: workers are started again only for tasks that are out."""
        if isinstance(self._started, Launched):
            self._started.tell(in_flight=in_flight, done=done)

    def close(self, *, now: bool = False) -> None:
        """End the workers if they are ours; leave foreign ones as they were."""
        timeout = 2 if now else 10
        if self._client is not None:
            if self.is_foreign:
                self._take_back(self._client, timeout)
            self._client.close(timeout=timeout)
        if isinstance(self._started, Launched):
            self._started.close(now=now)
        elif self._started is not None:
            self._started.close(timeout=timeout)
