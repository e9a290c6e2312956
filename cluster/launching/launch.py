"""From a cluster file to workers that have reached a scheduler: one function for every kind, and one object to end it all."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import dask
from distributed import Client, Nanny, Scheduler, Security, SpecCluster

from cluster.backends import StopAsked
from cluster.dask_connect import forget
from cluster.launching.keeping import Keeper
from cluster.specs.kinds import Batch, Cluster, Gpu, Kubernetes, Ssh, Started
from cluster.specs.worker import gpu_environment
from sonotheque.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from cluster.launching.pods import Pods

_LOOK_S: Final = 1.0
_ASK_S: Final = 10.0  # batch systems are asked less often: many runs share one
_POLL_S: Final = 0.2
_KEEP_S: Final = 5.0
_CONNECT_S: Final = 60
_REFUSED: Final = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EAFNOSUPPORT, errno.EINVAL)
_FIRST_NOTE_S: Final = 300.0  # for what has no queue
_NO_TIMEOUT: Final = {
    "distributed.scheduler.no-workers-timeout": None
}  # jobs may wait for days, between two jobs as well


class Launched:
    """Workers that a run started: a scheduler in this process, or in a pod, and those who look after the rest.

    Parameters
    ----------
    cluster : Cluster
        Of any kind but ``local``.
    security : Security
        Of the client and, where it is here, the scheduler.
    """

    def __init__(self, cluster: Cluster, security: Security) -> None:
        self._spec, self._security = cluster, security
        self._dask: SpecCluster | None = None
        self._keeper: Keeper | None = None
        self._pods: Pods | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._kept_at = 0.0
        self.client: Client | None = None

    def start(self, note: Callable[[str], None], stop_asked: Callable[[], bool]) -> Client:
        """Start everything and wait for the first worker.

        Raises
        ------
        Unavailable
            If something that is needed is not installed, refuses, or ends again and again.
        StopAsked
            If the run was asked to stop meanwhile.
        """
        dask.config.set(_NO_TIMEOUT)
        if isinstance(self._spec, Kubernetes):
            self.client = self._start_pods(self._spec, note, stop_asked)
        else:
            self._start_here()
            self.client = Client(self._dask)
        self._wait(note, stop_asked)
        return self.client

    def _start_pods(self, spec: Kubernetes, note: Callable[[str], None], stop_asked: Callable[[], bool]) -> Client:
        from cluster.launching.pods import Pods

        self._pods = Pods(spec)
        address = self._pods.start(note, stop_asked)
        try:
            return Client(address, timeout=_CONNECT_S, security=self._security)
        except OSError as error:
            forget(error)
            raise Unavailable(
                f"the scheduler's pod is ready and gives no answer at {address} within {_CONNECT_S} s: {error}. Look at what it says "
                f"(`kubectl --namespace={spec.namespace} logs job/{spec.name}-scheduler`), and at the files below tls; then run this again"
            ) from error

    def _start_here(self) -> None:
        workers: dict[str, dict[str, Any]] = {}
        if isinstance(self._spec, Gpu):
            workers = gpu_workers(self._spec, self._security)
        elif isinstance(self._spec, Ssh | Batch):
            self._keeper = _keeper(self._spec, self._count)
        else:
            raise NotImplementedError(self._spec.kind)
        self._dask = scheduler_here(self._spec, self._security, workers)
        if self._keeper:
            self._dask.sync(self._keep)

    async def _keep(self) -> None:
        keeper = self._keeper
        if keeper is None:
            return
        await keeper.begin()

        async def look_on() -> None:
            while True:
                await asyncio.sleep(_ASK_S if isinstance(self._spec, Batch) else _LOOK_S)
                await keeper.look()

        self._keeping = asyncio.create_task(look_on())

    def _count(self) -> int:
        """Return how many workers the scheduler has; also where its own thread asks."""
        return len(self._dask.scheduler.workers) if self._dask else 0

    def _wait(self, note: Callable[[str], None], stop_asked: Callable[[], bool]) -> None:
        began, next_note_s = time.monotonic(), _FIRST_NOTE_S
        while self.client is not None and not self.client.nthreads():
            self.check(note)
            if stop_asked():
                raise StopAsked("no worker was there yet")
            if not self._keeper and time.monotonic() - began > next_note_s:
                note(f"no worker for {next_note_s:.0f} s: {self._pods.state() if self._pods else 'look at the GPUs'}")
                next_note_s *= 2
            time.sleep(_POLL_S)

    def check(self, note: Callable[[str], None]) -> None:
        """Hand over what there is to tell.

        Raises
        ------
        Unavailable
            If the cluster cannot go on.
        """
        if isinstance(self._spec, Gpu) and self._dask is not None:
            self._kept_at = keep_up(self._dask, len(self._dask.worker_spec), self._kept_at, _KEEP_S)
        if self._keeper is None:
            return
        while not self._keeper.notes.empty():
            note(self._keeper.notes.get())
        if self._keeping is not None and self._keeping.done() and not self._keeping.cancelled():
            self._keeping.result()  # a fault of the program: not to be passed over
        if self._keeper.trouble is not None:
            raise self._keeper.trouble

    def tell(self, *, in_flight: int, done: bool) -> None:
        """Say how many tasks are out, and that one has ended well."""
        if self._keeper is not None:
            self._keeper.in_flight = in_flight
            if done:
                self._keeper.progressed()

    def close(self, *, now: bool = False) -> None:
        """End everything that was started."""
        timeout = 2 if now else 10
        if self.client is not None:
            self.client.close(timeout=timeout)
        if self._pods is not None:
            self._pods.close()
        if self._dask is not None:
            if self._keeper is not None:
                self._dask.sync(self._end)
            self._dask.close(timeout=timeout)

    async def _end(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        if self._keeper is not None:
            await self._keeper.end()


def keep_up(dask_cluster: SpecCluster, wanted: int, kept_at: float, every_s: float) -> float:
    """Start worker processes of this machine anew that nobody else would; return when that was looked at last.

    A worker that dies while it starts is not started again by its nanny, and Dask closes the nanny of a worker that stays away and
    puts none in its place: a machine short of memory loses all of its workers so, and tasks wait for ever.
    """
    now = time.monotonic()
    if now - kept_at <= every_s:
        return kept_at
    if len(dask_cluster.workers) < wanted:
        dask_cluster.scale(wanted)
    return now


def _keeper(cluster: Ssh | Batch, count: Callable[[], int]) -> Keeper:
    if isinstance(cluster, Ssh):
        from cluster.launching import hosts

        return Keeper(hosts.makers_of(cluster), hosts.watch, count, cluster.workers, _FIRST_NOTE_S)
    from cluster.launching import batch

    makers = batch.makers_of(cluster)
    return Keeper(makers, batch.watcher_of(cluster), count, cluster.workers, cluster.start_within)


def scheduler_here(cluster: Started, security: Security, workers: dict[str, dict[str, Any]]) -> SpecCluster:
    """Return a cluster whose scheduler listens in this process at the file's address.

    Raises
    ------
    Invalid
        If the files below ``tls`` cannot be used.
    Unavailable
        If it cannot listen there.
    """
    protocol, _, rest = cluster.scheduler.partition("://")
    host, _, port = rest.rpartition(":")
    options = {
        "host": host.strip("[]"),
        "port": int(port),
        "protocol": f"{protocol}://",
        "security": security,
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",  # its pages are open to everybody who reaches them
    }
    try:
        return SpecCluster(
            workers=workers,
            scheduler={"cls": Scheduler, "options": options},
            security=security,
            silence_logs="critical",
        )
    except (OSError, RuntimeError, ValueError) as error:
        reasons = _reasons(error)
        if any(isinstance(reason, ssl.SSLError) for reason in reasons):
            raise Invalid(
                f"the files below tls cannot be used: {reasons[-1]}. ca, cert and key are files in PEM format, the key without a password"
            ) from error
        if not any(isinstance(r, OSError) and (r.errno in _REFUSED or isinstance(r, socket.gaierror)) for r in reasons):
            raise
        raise Unavailable(
            f"no scheduler can listen at {cluster.scheduler} on this machine: {error}. The file's key scheduler must have a name of this "
            "machine and a port that is free; another run may hold it"
        ) from error


def _reasons(error: BaseException | None) -> list[BaseException]:
    """Return an error and what it came from: Dask puts every fault of a start into a RuntimeError."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found


def gpu_workers(cluster: Gpu, security: Security) -> dict[str, dict[str, Any]]:
    """Return one worker process for each GPU, which sees that one alone.

    Our own and not dask-cuda's: that adds the spilling of arrays in GPU memory, which tasks here do not leave behind, and
    brings gigabytes of libraries.
    """
    found = {}
    for device in cluster.devices:
        name = f"gpu-{device}"
        options: dict[str, Any] = {
            "nthreads": 1,
            "env": gpu_environment(cluster, device),
            "security": security,
            "dashboard": False,
            "silence_logs": 50,
            "name": name,
            "death_timeout": 60,
        }
        if cluster.memory:
            options["memory_limit"] = cluster.memory
        # By its name: Dask finds a worker that stays away by it, and only then another takes its place.
        found[name] = {"cls": Nanny, "options": options}
    return found
