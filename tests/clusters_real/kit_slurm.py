"""A SLURM of one node, this machine, with folders, ports and a munge of its own. Needs root, as slurmd does."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.support import wait_for
from tests.clusters_real.kit_ssh import free_port

_CONFIG = """
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MailProg=/bin/true
ReturnToService=2
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=2,bf_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def missing() -> str | None:
    """Return why there can be no SLURM here."""
    if os.getuid() != 0:
        return "slurmd needs root"
    absent = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


@dataclass
class Slurm:
    """Its folder, and the environment in which its commands find it."""

    folder: Path
    env: Mapping[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *command: str) -> str:
        """Return what a command prints."""
        done = subprocess.run(command, env=dict(self.env), capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def start(self, *command: str) -> None:
        """Start a server that stays in the foreground."""
        log = (self.folder / f"{command[0]}.out").open("wb")
        program = shutil.which(command[0], path=_PATH)
        self.started.append(
            subprocess.Popen(
                [str(program), *command[1:]], env=dict(self.env), stdout=log, stderr=log, start_new_session=True
            )
        )


@contextmanager
def slurm(folder: Path, *, cores: int = 2, memory: int = 2000) -> Iterator[Slurm]:
    """Run one until the block ends."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    config = folder / "slurm.conf"
    host = socket.gethostname().split(".")[0]
    config.write_text(
        _CONFIG.format(host=host, controller=free_port(), node=free_port(), folder=folder, cores=cores, memory=memory),
        "ascii",
    )
    found = Slurm(folder, {**os.environ, "SLURM_CONF": str(config)})
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log"}
    files |= {"seed-file": "munge.seed"}
    try:
        found.start("munged", "--foreground", "--force", *(f"--{name}={folder / file}" for name, file in files.items()))
        wait_for((folder / "munge.socket").exists, "munged", timeout_s=20)
        found.start("slurmctld", "-D", "-f", str(config))
        found.start("slurmd", "-D", "-f", str(config))
        wait_for(lambda: "idle" in found.run("sinfo", "--noheader", "--format=%t"), "an idle node", timeout_s=60)
        yield found
    finally:
        found.run("scancel", "--user=root")
        for server in reversed(found.started):
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
