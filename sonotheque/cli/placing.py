"""``sonotheque embed --dry-run``: the plan, and for a cluster file exactly what would be started."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from cluster.options import EmbedOptions
    from cluster.specs.kinds import Cluster, Local
    from cluster.specs.placing import Placed

_NOTHING_STARTED = (
    "nothing was started; without --dry-run the run starts this by itself. By hand, in a shell, it would be:"
)
_BY_HAND = "nothing was started; with --scheduler you start this yourself, in a shell:"
_RUN = "The run, once workers are there"
WORKERS_HELP = "Worker processes on this machine (Dask) [default: this process]."
SCHEDULER_HELP = "A running Dask scheduler."
CLUSTER_HELP = "A cluster as a YAML file, as `sonotheque embed` takes it; see cluster/examples."


def require_alone(cluster: str | None, **given: int | None) -> None:
    """Refuse options that a cluster file decides.

    Raises
    ------
    Invalid
        With the option's name and value.
    """
    for name, value in given.items():
        if cluster is not None and value is not None:
            raise Invalid(f"--{name} {value} beside --cluster {cluster}: the file says that. Change its key {name}")


def show_plan(options: EmbedOptions, *, as_json: bool, quiet: bool) -> int:
    """Print the plan; with a cluster file also what starts it, ready for a shell.

    Returns
    -------
    int
        The exit code.
    """
    from cluster.run import prepare
    from sonotheque.cli.output import document, say
    from sonotheque.cli.progress import plan_lines, watcher

    prepared = prepare(options, watcher(quiet=quiet))
    absolute = prepared.options.absolute()
    folders = {"store": absolute.store, "root": prepared.inventory.root}
    told = cluster_json(absolute, prepared.cluster, folders) if prepared.cluster else None
    if as_json:
        document(prepared.plan.to_json() | ({"cluster": told} if told else {}))
        return 0
    say("\n".join([*plan_lines(prepared.plan), *(cluster_lines(told) if told else [])]))
    return 0


def store_json(placed: Placed, store: str) -> dict[str, Any] | None:
    """Return what would be started for tasks that need a store alone, as a JSON object; None without a cluster file."""
    from sonotheque.core.places import absolute

    if placed.spec is None:
        return None
    return cluster_json(placed, placed.spec, {"store": absolute(store)})


def noted(text: str) -> None:
    """Tell what people should know of a cluster that is started."""
    from sonotheque.cli.output import tell

    tell(f"note: {text}")


def cluster_json(options: EmbedOptions | Placed, cluster: Cluster, folders: dict[str, str]) -> dict[str, Any]:
    """Return what would be started, as a JSON object.

    Parameters
    ----------
    options : EmbedOptions or Placed
        As :func:`~cluster.run.prepare` gave them back.
    cluster : Cluster
    folders : dict
        What a task is told of folders, as this machine sees them.
    """
    from cluster.specs.placing import address_of, on_nodes, paths_of
    from cluster.specs.script import steps_of

    return {
        "file": options.cluster,
        "kind": cluster.kind,
        "scheduler": options.scheduler or address_of(cluster),
        "workers": options.workers,
        "threads": options.threads,
        "starts": [] if options.scheduler else _starts(cluster, options.workers),
        "steps": [step.to_json() for step in steps_of(cluster)],
        "folders": {here: on_nodes(here, paths_of(cluster)) for here in folders.values()},
    }


def cluster_lines(told: dict[str, Any]) -> list[str]:
    """Return the same for people."""
    from cluster.specs.script import Step

    lines = ["", f"cluster  {told['file']}, kind {told['kind']}", *(f"starts   {line}" for line in told["starts"])]
    lines += [f"folder   {here} is {there} on the nodes" for here, there in told["folders"].items() if here != there]
    if not told["steps"]:
        return lines
    again = f"sonotheque {shlex.join(a for a in sys.argv[1:] if a != '--dry-run')}"
    by_hand = again if "--scheduler" in again else f"{again} --scheduler {told['scheduler']}"
    steps = [Step(**step).shell() for step in told["steps"]]
    return [*lines, "", f"# {_NOTHING_STARTED if told['starts'] else _BY_HAND}", *steps, f"# {_RUN}", by_hand]


def _starts(cluster: Cluster, workers: int) -> list[str]:
    """Return what a run starts, and where."""
    from cluster.specs.kinds import Batch, Gpu, Kubernetes, Local, Ssh, Started

    lines = []
    if isinstance(cluster, Local):
        return _here(cluster, workers)
    if isinstance(cluster, Started):
        lines.append(f"a Dask scheduler on {cluster.scheduler}, in this process, {_tls(cluster)}")
    if isinstance(cluster, Gpu):
        lines.append(f"a worker process of {sys.executable} on each of {workers} GPUs")
    if isinstance(cluster, Ssh):
        lines.append(
            f"by ssh on each of {len(cluster.hosts)} hosts, again when it ends before the work does, the command below"
        )
    if isinstance(cluster, Batch):
        jobs = "a job" if cluster.jobs == 1 else f"{cluster.jobs} jobs, each"
        lines.append(f"{jobs} of the script below, again when it ends before the work does")
    if isinstance(cluster, Kubernetes):
        lines.append(
            f"the objects below, with kubectl, and a way to the scheduler; deleted at the end; {_tls(cluster)}"
        )
    return lines


def _tls(cluster: Cluster) -> str:
    return "with TLS" if cluster.tls else "without TLS"


def _here(cluster: Local, workers: int) -> list[str]:
    """Return what a run starts on this machine."""
    from sonotheque.cli.output import size

    threads = f"{cluster.threads} thread{'s' if cluster.threads != 1 else ''} of the model's engine each"
    lines = [
        f"a Dask scheduler on 127.0.0.1, in this process, {_tls(cluster)}",
        f"{workers} worker process{'es' if workers != 1 else ''} of {sys.executable}, {threads}",
    ]
    if cluster.memory:
        lines.append(f"each may take {size(cluster.memory)} of memory; at 95 % of that it is ended and started again")
    return lines + [f"with {name}={value}" for name, value in cluster.environment.items()]
