"""Several hosts on one machine: network namespaces with addresses of their own, joined by a bridge that can be cut.

Needs root and iproute2, and changes nothing outside: names carry the process id, and all of them are gone afterwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_NET = "10.213.{}"


def cannot() -> str | None:
    """Return why namespaces cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 (`ip`) is not installed"
    tried = subprocess.run(
        ["ip", "netns", "add", f"snt-try-{os.getpid()}"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        return f"no network namespace can be made: {tried.stderr.strip()}"
    _ip("netns", "del", f"snt-try-{os.getpid()}")
    return None


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@dataclass
class Host:
    """One namespace with one address.

    Attributes
    ----------
    name, address : str
    cable : str
        The end of its cable at the bridge: down is cut off.
    """

    name: str
    address: str
    cable: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program on this host, in a session of its own."""
        with log.open("ab") as told:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def cut(self) -> None:
        """Take its cable out: packets vanish, nobody is told."""
        _ip("link", "set", self.cable, "down")

    def join(self) -> None:
        """Put its cable in again."""
        _ip("link", "set", self.cable, "up")

    def end(self) -> None:
        """Kill whatever was started here, with its children."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass(frozen=True)
class Network:
    """A bridge with hosts on it.

    Attributes
    ----------
    address : str
        Of this machine on the bridge.
    hosts : tuple of Host
    """

    address: str
    hosts: tuple[Host, ...]


@contextlib.contextmanager
def network(count: int) -> Iterator[Network]:
    """Make a bridge with so many hosts on it; everything is taken away afterwards."""
    mark = f"{os.getpid() % 100_000:05d}"
    net = _NET.format(os.getpid() % 250 + 1)
    bridge = f"sntb{mark}"
    hosts = tuple(Host(f"snt{mark}-{n}", f"{net}.{n + 1}", f"sntc{mark}{n}") for n in range(1, count + 1))
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in hosts:
            _ip("netns", "add", host.name)
            _ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("link", "set", host.cable, "master", bridge)
            _ip("link", "set", host.cable, "up")
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.name, "link", "set", "eth0", "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
        yield Network(f"{net}.1", hosts)
    finally:
        for host in hosts:
            host.end()
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)
            subprocess.run(["ip", "link", "del", host.cable], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)
