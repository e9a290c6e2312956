"""What a cluster file means for a run: its workers, the folders as the nodes see them, whether they can be started here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from cluster.launching.ready import require_ready
from cluster.options import EmbedOptions, cores, default_workers
from cluster.payload import ModelChoice
from cluster.settle import model_of
from cluster.specs.kinds import Cluster, Kubernetes, Local, Nodes, Started
from cluster.specs.read import read_cluster
from sonotheque.core.errors import Invalid, Unavailable

# Said where a worker does not see the store: it must make no folder of that name either.
PATHS_HINT: Final = "All workers must see the store's folder; if they have another name for it, the key paths of the cluster file says it"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the tasks of a verb without recordings run; the first four are called as in ``EmbedOptions``.

    Attributes
    ----------
    workers : int
        Worker processes; 1 without anything else: this process.
    scheduler : str or None
    cluster : str or None
        The cluster file.
    threads : int
        Of each worker.
    spec : Cluster or None
        What the file says.
    """

    workers: int = 1
    scheduler: str | None = None
    cluster: str | None = None
    threads: int = 1
    spec: Cluster | None = None

    @property
    def is_here(self) -> bool:
        """Whether this process does everything."""
        return self.workers == 1 and self.scheduler is None and self.spec is None

    @property
    def title(self) -> str:
        """What it is, for people."""
        if self.scheduler:
            return f"the Dask scheduler at {self.scheduler}"
        if self.is_here:
            return "this process"
        where = (
            "on this machine" if is_local(self.spec) else f"on a cluster of kind {self.spec.kind if self.spec else ''}"
        )
        return f"{self.workers} worker process{'es' if self.workers != 1 else ''} {where}"

    def on_nodes(self, path: str) -> str:
        """Return a path as the workers see it."""
        return on_nodes(path, paths_of(self.spec))


def place_tasks(workers: int = 1, scheduler: str | None = None, cluster: str | None = None) -> Placed:
    """Return where tasks run that need no model: as a cluster file says, or as the options do.

    Raises
    ------
    NotFound, Invalid
        See :func:`placed`; also fewer than one worker.
    """
    if workers < 1:
        raise Invalid(f"--workers {workers}: at least 1")
    if cluster is None:
        shared = cores() // workers if scheduler is None else 1
        return Placed(workers, scheduler, None, max(1, shared))
    spec = _read(cluster, scheduler)
    return Placed(spec.processes or cores(), scheduler, cluster, spec.threads, spec)


def is_local(cluster: Cluster | None) -> bool:
    """Tell whether workers are processes of this machine, as far as no scheduler is named."""
    return not isinstance(cluster, Nodes | Kubernetes)


def _read(file: str, scheduler: str | None) -> Cluster:
    cluster = read_cluster(file)
    if isinstance(cluster, Local) and scheduler:
        raise Invalid(
            f"--scheduler {scheduler} with --cluster {file}: its kind is local, whose workers the run starts itself. "
            "Leave one of the two out"
        )
    return cluster


def placed(options: EmbedOptions) -> tuple[EmbedOptions, Cluster | None]:
    """Return options with the workers and threads of their cluster file, and the cluster; without one, as they are.

    Raises
    ------
    NotFound, Invalid
        See :func:`~cluster.specs.read.read_cluster`; also a scheduler beside a file for this machine.
    """
    if options.cluster is None:
        return options, None
    cluster = _read(options.cluster, options.scheduler)
    workers = cluster.processes
    if workers is None:
        workers = default_workers(model_of(options), options.weights)
    return replace(options, workers=workers, threads=cluster.threads), cluster


def require_runnable(options: EmbedOptions | Placed, cluster: Cluster | None) -> None:
    """Refuse a cluster that a run would have to start, where what starts it is not installed.

    Raises
    ------
    Unavailable
        See :func:`~cluster.launching.ready.require_ready`; with the other way to run it.
    """
    if cluster is None or isinstance(cluster, Local) or options.scheduler:
        return
    try:
        require_ready(cluster)
    except Unavailable as error:
        raise Unavailable(
            f"{options.cluster}: {error.message}. Or start the workers yourself with what --dry-run prints, and run this with "
            "--scheduler ADDRESS beside --cluster",
            kind=error.kind,
        ) from error


def elsewhere(options: EmbedOptions) -> bool:
    """Tell whether workers run on other machines, where weights may lie that are not here."""
    if options.scheduler:
        return True
    return options.cluster is not None and not is_local(read_cluster(options.cluster))


def paths_of(cluster: Cluster | None) -> Mapping[str, str]:
    """Return folders as this machine sees them -> as the nodes do; empty where they see the same."""
    found: Mapping[str, str] = getattr(cluster, "paths", {})
    return found


def on_nodes(path: str, paths: Mapping[str, str]) -> str:
    """Return a path as the nodes see it: below the deepest folder of ``paths`` that holds it, or unchanged."""
    here = PurePosixPath(path)
    for folder in sorted(paths, key=lambda f: len(PurePosixPath(f).parts), reverse=True):
        if here.is_relative_to(folder):
            below = here.relative_to(folder)
            return str(PurePosixPath(paths[folder]) / below)
    return path


def model_on_nodes(choice: ModelChoice, paths: Mapping[str, str]) -> ModelChoice:
    """Return a choice whose weights, if they are a path, are where the nodes see them."""
    if choice.weights is None or not choice.weights.startswith("/"):
        return choice
    return replace(choice, weights=on_nodes(choice.weights, paths))


def address_of(cluster: Cluster) -> str | None:
    """Return where a scheduler that was started by hand answers, seen from this machine; None: there is none such."""
    if isinstance(cluster, Kubernetes):
        return (
            f"{'tls' if cluster.tls else 'tcp'}://127.0.0.1:8786"  # through the way that `kubectl port-forward` makes
        )
    return cluster.scheduler if isinstance(cluster, Started) else None
