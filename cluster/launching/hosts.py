"""Workers on hosts that let us in by ssh: Dask's own ssh processes, with the command that a dry run shows.

What ``SSHCluster`` is made of, except that the scheduler is not started on a host but is in the run: it ends with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncssh
from distributed.deploy.ssh import Process

from cluster.launching.keeping import Phase, Place, State
from cluster.specs.kinds import Ssh
from cluster.specs.script import ssh_command

_CONNECT_S: Final = 30
_ALIVE_S: Final = 15  # a host that vanishes is noticed after three of these
_TAIL: Final = 3
_GRACE_S: Final = 3


class HostWorkers(Process):
    """The worker processes of one host.

    Parameters
    ----------
    cluster : Ssh
    host : str
    """

    def __init__(self, cluster: Ssh, host: str) -> None:
        super().__init__()
        self._cluster, self._host = cluster, host
        self._said: deque[str] = deque(maxlen=_TAIL)
        self._reading: asyncio.Task[None] | None = None

    @property
    def title(self) -> str:
        """See :class:`~cluster.launching.keeping.Place`."""
        return f"workers on {self._host}"

    @property
    def state(self) -> State:
        """Whether the command over there still runs."""
        if self._reading is not None and not self._reading.done():
            return State(Phase.RUNNING)
        return State(Phase.ENDED, " / ".join(self._said))

    async def open(self) -> None:
        """Connect and start the command."""
        try:
            self.connection = await asyncssh.connect(self._host, **connect_options(self._cluster))
            self.proc = await self.connection.create_process(
                ssh_command(self._cluster), stdin=asyncssh.DEVNULL, stderr=asyncssh.STDOUT, errors="replace"
            )
        except asyncssh.Error as error:
            raise OSError(f"ssh: {error.reason or error}") from error
        self._reading = asyncio.create_task(self._read())
        await self.start()

    async def _read(self) -> None:
        """Read what the workers print, or they would wait for it; keep the end."""
        try:
            async for line in self.proc.stdout:
                if line.strip():
                    self._said.append(line.strip()[:200])
            await self.proc.wait_closed()
        except (OSError, asyncssh.Error) as error:
            self._said.append(str(error))
        finally:
            # Nobody shuts a place whose command has ended by itself, and keepalives hold its connection open for ever.
            self.connection.close()

    async def shut(self) -> None:
        """End the command, and the connection."""
        with suppress(OSError, asyncssh.Error):  # the connection is gone already
            if self.proc is not None and self.state.phase is not Phase.ENDED:
                self.proc.terminate()
                if self._reading is not None:
                    await asyncio.wait([self._reading], timeout=_GRACE_S)
        with suppress(OSError, asyncssh.Error):
            await self.close()
        if self.connection is not None:  # Dask's closing ends before it if the process is out of reach
            self.connection.close()


def connect_options(cluster: Ssh) -> dict[str, Any]:
    """Return what asyncssh is told; what is not here is as in ``~/.ssh/config``."""
    found: dict[str, Any] = {"connect_timeout": _CONNECT_S, "login_timeout": _CONNECT_S, "keepalive_interval": _ALIVE_S}
    if cluster.port != 22:
        found["port"] = cluster.port
    if cluster.user:
        found["username"] = cluster.user
    if cluster.identity:
        found["client_keys"] = [cluster.identity]
    if cluster.known_hosts:
        found["known_hosts"] = cluster.known_hosts
    return found


def makers_of(cluster: Ssh) -> list[Callable[[], Place]]:
    """Return what makes the workers of each host."""

    def maker(host: str) -> Callable[[], Place]:
        return lambda: HostWorkers(cluster, host)

    return [maker(host) for host in cluster.hosts]


async def watch(places: Sequence[Place]) -> list[State]:
    """Return the states of hosts."""
    return [place.state for place in places if isinstance(place, HostWorkers)]
