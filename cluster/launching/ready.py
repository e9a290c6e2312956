"""Whether what starts a cluster is on this machine: asked before anything is written, and without importing it."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cluster.specs.kinds import Batch, Cluster, Gpu, Kubernetes, Ssh
from sonotheque.core.errors import NotFound, Unavailable

_ASK_S: Final = 60
_PACKAGES: Final = {"ssh": "asyncssh", "slurm": "dask_jobqueue", "pbs": "dask_jobqueue"}
_COMMANDS: Final = {
    "slurm": ("sbatch", "squeue", "scancel"),
    "pbs": ("qsub", "qstat", "qdel"),
    "kubernetes": ("kubectl",),
    "gpu": ("nvidia-smi",),
}
_WHERE: Final = {
    Batch: "run this where jobs are submitted, such as a login node",
    Kubernetes: "install it, and let it know the cluster",
    Gpu: "it comes with the driver of an NVIDIA GPU; without one, kind: local runs on the cores",
}


def require_ready(cluster: Cluster) -> None:
    """Look for the package and the commands that a kind needs, and for the files and GPUs that the file names.

    Raises
    ------
    Unavailable
        With what is missing and how to get it.
    NotFound
        If a file or a GPU of the cluster file is not there.
    """
    package = _PACKAGES.get(cluster.kind)
    if package and find_spec(package) is None:
        raise Unavailable(
            f"clusters of kind {cluster.kind} need the Python package {package.replace('_', '-')}, which is not installed here: "
            "pip install 'sonotheque[nodes]'",
            kind="engine_missing",
        )
    for command in _COMMANDS.get(cluster.kind, ()):
        if shutil.which(command) is None:
            where = next(text for kind, text in _WHERE.items() if isinstance(cluster, kind))
            raise Unavailable(
                f"there is no {command} on this machine, which clusters of kind {cluster.kind} need: {where}"
            )
    if isinstance(cluster, Ssh):
        for key in ("identity", "known_hosts"):
            file = getattr(cluster, key)
            if file and not Path(file).is_file():
                raise NotFound(f"{key}: there is no file {file} on this machine")
    if isinstance(cluster, Gpu):
        _require_gpus(cluster)


def _require_gpus(cluster: Gpu) -> None:
    """Look for the GPUs: a worker without its GPU would compute on the cores and say nothing."""
    command = ["nvidia-smi", "--list-gpus"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"nvidia-smi --list-gpus gives no answer within {_ASK_S} s: a GPU of this machine hangs, or its driver does. Look at the "
            "kernel's messages (dmesg), start the driver or the machine anew, and run this again"
        ) from error
    there = [int(number) for number in re.findall(r"^GPU (\d+):", told.stdout, re.MULTILINE)]
    if missing := [device for device in cluster.devices if device not in there]:
        listed = ", ".join(map(str, there)) or "none"
        raise NotFound(
            f"devices: GPU {missing[0]} is not on this machine; nvidia-smi --list-gpus has {listed}. Name those in the cluster file"
        )
