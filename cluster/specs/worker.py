"""What the worker processes of every kind have in common: their command, its flags, and a GPU's variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from cluster.specs.kinds import Gpu, Tls
from cluster.specs.placing import on_nodes

_DEATH_S: Final = 120  # a worker without a scheduler ends itself, also in a job that begins after the run's end


def worker_command(python: str, scheduler: str, workers: int) -> list[str]:
    """Return the command of worker processes, one part at a time each."""
    command = [python, "-m", "dask", "worker", scheduler, "--nworkers", str(workers), "--nthreads", "1"]
    return [*command, "--no-dashboard", "--death-timeout", str(_DEATH_S)]


def memory_flags(memory: int | None) -> list[str]:
    """Return what tells a worker how many bytes it may take; nothing where Dask is to find that."""
    return ["--memory-limit", str(memory)] if memory else []


def tls_flags(tls: Tls | None) -> list[str]:
    """Return what names the certificates to a scheduler or a worker."""
    return ["--tls-ca-file", tls.ca, "--tls-cert", tls.cert, "--tls-key", tls.key] if tls else []


def tls_on_nodes(tls: Tls | None, paths: Mapping[str, str]) -> Tls | None:
    """Return the certificates' files as the nodes see them."""
    return tls and Tls(**{name: on_nodes(file, paths) for name, file in asdict(tls).items()})


def gpu_environment(cluster: Gpu, device: int) -> dict[str, str]:
    """Return the variables of the worker process of one GPU; the file's own count more."""
    # Set before the engine is imported: TensorFlow takes all memory of all GPUs otherwise.
    return {"CUDA_VISIBLE_DEVICES": str(device), "TF_FORCE_GPU_ALLOW_GROWTH": "true", **cluster.environment}
