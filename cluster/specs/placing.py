"""What a cluster file means for a run: its workers, the folders as the nodes see them, whether the run can start them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from cluster.options import EmbedOptions, default_workers
from cluster.payload import ModelChoice
from cluster.settle import model_of
from cluster.specs.kinds import Cluster, Kubernetes, Local, Started
from cluster.specs.read import read_cluster
from sonotheque.core.errors import Invalid, Unavailable


def placed(options: EmbedOptions) -> tuple[EmbedOptions, Cluster | None]:
    """Return options with the workers and threads of their cluster file, and the cluster; without one, as they are.

    Raises
    ------
    NotFound, Invalid
        See :func:`~cluster.specs.read.read_cluster`; also a scheduler beside a file for this machine.
    """
    if options.cluster is None:
        return options, None
    cluster = read_cluster(options.cluster)
    if isinstance(cluster, Local) and options.scheduler:
        raise Invalid(
            f"--scheduler {options.scheduler} with --cluster {options.cluster}: its kind is local, whose workers the run starts itself. "
            "Leave one of the two out"
        )
    workers = cluster.processes
    if workers is None:
        workers = default_workers(model_of(options), options.weights)
    return replace(options, workers=workers, threads=cluster.threads), cluster


def require_runnable(options: EmbedOptions, cluster: Cluster | None) -> None:
    """Refuse a cluster that a run cannot start by itself and that was not started before.

    Raises
    ------
    Unavailable
        With the way to run it.
    """
    if cluster is None or isinstance(cluster, Local) or options.scheduler:
        return
    raise Unavailable(
        f"{options.cluster}: clusters of kind {cluster.kind} are not started by this release. The same command with --dry-run prints "
        "what starts one, ready for a shell; then run it with --scheduler ADDRESS beside --cluster: folders and TLS are the file's"
    )


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
    """Return where the scheduler answers, seen from this machine; None: the run starts it itself."""
    if isinstance(cluster, Kubernetes):
        return (
            f"{'tls' if cluster.tls else 'tcp'}://127.0.0.1:8786"  # through the way that `kubectl port-forward` makes
        )
    return cluster.scheduler if isinstance(cluster, Started) else None
