"""What is started for a cluster: commands, job scripts and manifests, complete and ready for a shell.

A run that starts a cluster by itself submits the same texts; that is why a dry run can show them.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, dataclass
from typing import Any, Final

from cluster.dask_settings import node_environment
from cluster.specs.kinds import Batch, Cluster, Gpu, Kubernetes, Local, Pbs, Slurm, Ssh, Started, Tls
from cluster.specs.manifests import manifests
from cluster.specs.worker import gpu_environment, memory_flags, tls_flags, tls_on_nodes, worker_command
from sonotheque.core.errors import Invalid

WALLTIME: Final = "SONOTHEQUE_WALLTIME_S"
BEGAN: Final = "SONOTHEQUE_JOB_BEGAN"
DRAINING: Final = "cluster.launching.draining"  # imported by each worker: its last minutes before the walltime
_END: Final = "END_OF_SONOTHEQUE"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to start.

    Attributes
    ----------
    title : str
        What it is.
    command : str
        A line for a POSIX shell.
    text : str or None
        What the command reads: a job script, or manifests.
    """

    title: str
    command: str
    text: str | None = None

    def shell(self) -> str:
        """Return lines for a shell, the text as a here-document."""
        below = "" if self.text is None else f" <<'{_END}'\n{self.text.rstrip()}\n{_END}"
        return f"# {self.title}\n{self.command}{below}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def steps_of(cluster: Cluster) -> tuple[Step, ...]:
    """Return what must be started for a cluster, in this order; nothing for workers on this machine of kind `local`.

    Raises
    ------
    Invalid
        If a line of the file would end the text that it becomes a part of.
    """
    if isinstance(cluster, Local):
        return ()
    if isinstance(cluster, Kubernetes):
        steps: tuple[Step, ...] = _kubernetes(cluster)
    elif isinstance(cluster, Started):
        steps = (_scheduler(cluster), *_workers(cluster))
    else:
        raise NotImplementedError(cluster.kind)
    if any(_END in (step.text or "").splitlines() for step in steps):
        raise Invalid(f"a line of the cluster file is {_END}, which ends what a shell reads; use another")
    return steps


def _scheduler(cluster: Started) -> Step:
    host, _, port = cluster.scheduler.partition("://")[2].rpartition(":")
    command = [sys.executable, "-m", "dask", "scheduler", "--host", host.strip("[]"), "--port", port, "--no-dashboard"]
    if cluster.tls:
        command += ["--protocol", "tls", *tls_flags(cluster.tls)]
    title = "The scheduler, on this machine; it runs until it is ended"
    return Step(title, f"{_with(_settings(cluster), command)} &")


def _workers(cluster: Started) -> tuple[Step, ...]:
    if isinstance(cluster, Gpu):
        return tuple(_gpu(cluster, device) for device in cluster.devices)
    if isinstance(cluster, Ssh):
        return tuple(_ssh(cluster, host) for host in cluster.hosts)
    if isinstance(cluster, Slurm):
        return (_job(cluster, "sbatch", slurm_script(cluster)),)
    if isinstance(cluster, Pbs):
        return (_job(cluster, "qsub", pbs_script(cluster)),)
    raise NotImplementedError(cluster.kind)


def _gpu(cluster: Gpu, device: int) -> Step:
    command = _command(cluster, sys.executable, 1, cluster.tls)
    line = _with(_settings(cluster) | gpu_environment(cluster, device), command)
    return Step(f"A worker process on GPU {device}", f"{line} &")


def _ssh(cluster: Ssh, host: str) -> Step:
    command = ["ssh", "-n", "-o", "BatchMode=yes"]  # -n: nothing to type; BatchMode: a key, or an end
    if cluster.identity:
        command += ["-i", cluster.identity]
    if cluster.port != 22:
        command += ["-p", str(cluster.port)]
    if cluster.known_hosts:
        command += ["-o", f"UserKnownHostsFile={cluster.known_hosts}"]
    command += [f"{cluster.user}@{host}" if cluster.user else host, ssh_command(cluster)]
    return Step(f"{_many(cluster.workers)} on {host}", f"{shlex.join(command)} &")


def ssh_command(cluster: Ssh) -> str:
    """Return the line for the shell of a host: its worker processes."""
    limit = {WALLTIME: str(cluster.walltime)} if cluster.walltime else {}
    return _with(_settings(cluster) | dict(cluster.environment) | limit, _on_node(cluster))


def _job(cluster: Batch, command: str, script: str) -> Step:
    if cluster.jobs == 1:
        return Step(f"A job of {_many(cluster.workers)}", command, script)
    # Not an array: each job is followed, and submitted again, by itself.
    again = f"for job in $(seq {cluster.jobs}); do printf '%s\\n' \"$script\" | {command}; done"
    return Step(
        f"{cluster.jobs} jobs of {_many(cluster.workers)}, all of this script", f"{{ script=$(cat); {again}; }}", script
    )


def slurm_script(cluster: Slurm) -> str:
    """Return the script for ``sbatch``: a job on one node."""
    cores = cluster.workers * cluster.threads
    options = ["--job-name=sonotheque", "--nodes=1", "--ntasks=1", f"--cpus-per-task={cores}"]
    options.append(f"--time={_clock(cluster.walltime)}")
    if cluster.memory:
        options.append(f"--mem={_mebibytes(cluster)}M")
    if cluster.partition:
        options.append(f"--partition={cluster.partition}")
    if cluster.account:
        options.append(f"--account={cluster.account}")
    if cluster.logs:
        options.append(shlex.quote(f"--output={cluster.logs}/sonotheque-%j.log"))  # sbatch reads quotes as a shell does
    return _script(cluster, "#SBATCH", options)


def pbs_script(cluster: Pbs) -> str:
    """Return the script for ``qsub``: a job on one node."""
    memory = f":mem={_mebibytes(cluster)}mb" if cluster.memory else ""
    options = ["-N sonotheque", f"-l select=1:ncpus={cluster.workers * cluster.threads}{memory}"]
    options.append(f"-l walltime={_clock(cluster.walltime)}")
    if cluster.queue:
        options.append(f"-q {cluster.queue}")
    if cluster.account:
        options.append(f"-A {cluster.account}")
    if cluster.logs:
        options.append(f"-j oe -o {cluster.logs}/")
    return _script(cluster, "#PBS", options)


def _command(cluster: Started, python: str, workers: int, tls: Tls | None) -> list[str]:
    return [*worker_command(python, cluster.scheduler, workers), *memory_flags(cluster.memory), *tls_flags(tls)]


def _on_node(cluster: Ssh | Batch) -> list[str]:
    tls = tls_on_nodes(cluster.tls, cluster.paths)
    command = _command(cluster, cluster.python, cluster.workers, tls)
    return command + (["--preload", DRAINING] if cluster.walltime else [])


def _script(cluster: Batch, mark: str, options: list[str]) -> str:
    lines = ["#!/bin/bash", *(f"{mark} {option}" for option in (*options, *cluster.directives)), "set -e"]
    variables = _settings(cluster) | dict(cluster.environment) | {WALLTIME: str(cluster.walltime)}
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    lines.append(f"export {BEGAN}=$(date +%s)")
    return "\n".join([*lines, *cluster.setup, f"exec {shlex.join(_on_node(cluster))}", ""])


def _kubernetes(cluster: Kubernetes) -> tuple[Step, ...]:
    title = f"A scheduler and {_many(cluster.workers)} in pods, in the namespace {cluster.namespace}"
    forward = f"kubectl --namespace {cluster.namespace} port-forward service/{cluster.name} 8786:8786 &"
    return (
        Step(title, "kubectl apply --filename -", manifests(cluster)),
        Step("A way to the scheduler from this machine, at port 8786 of 127.0.0.1", forward),
    )


def _settings(cluster: Cluster) -> dict[str, str]:
    return node_environment(encrypted=cluster.tls is not None)


def _with(variables: dict[str, str], command: list[str]) -> str:
    return shlex.join(["env", *(f"{name}={value}" for name, value in variables.items()), *command])


def _mebibytes(cluster: Batch) -> int:
    return -(-(cluster.memory or 0) * cluster.workers // (1 << 20))


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _many(workers: int) -> str:
    return f"{workers} worker process{'es' if workers != 1 else ''}"
