"""An sshd of our own, on a free port of 127.0.0.1, with keys that nobody else has."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.support import wait_for

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
LogLevel INFO
"""


@dataclass(frozen=True)
class Sshd:
    """Where it is, and what lets us in."""

    port: int
    identity: str
    known_hosts: str
    user: str
    log: Path


def sshd_program() -> str | None:
    """Return OpenSSH's server, if this machine has it."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """Run one until the block ends."""
    program = sshd_program()
    assert program
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as root it insists on this folder
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text("ascii"), "ascii")
    port = free_port()
    host_key = " ".join((folder / "host_key.pub").read_text("ascii").split()[:2])
    names = ("127.0.0.1", "localhost")
    (folder / "known_hosts").write_text("".join(f"[{name}]:{port} {host_key}\n" for name in names), "ascii")
    (folder / "sshd_config").write_text(_CONFIG.format(port=port, folder=folder), "ascii")
    log = folder / "sshd.log"
    with log.open("w", encoding="utf-8") as out:
        server = subprocess.Popen(
            [program, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_for(lambda: answers(port) or server.poll() is not None, "sshd", timeout_s=20)
        assert server.poll() is None, log.read_text("utf-8")
        yield Sshd(port, str(folder / "user_key"), str(folder / "known_hosts"), getpass.getuser(), log)
    finally:
        server.terminate()
        server.wait(20)
