"""``sonotheque embed --dry-run``: the plan, and for a cluster file exactly what would be started."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from cluster.options import EmbedOptions
    from cluster.specs.kinds import Cluster, Local

_NOTHING_STARTED = "nothing was started; for a shell:"


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
    from dataclasses import replace

    from cluster.run import prepare
    from cluster.specs.placing import address_of, placed
    from sonotheque.cli.output import document, say
    from sonotheque.cli.progress import plan_lines, watcher

    _, cluster = placed(options)
    if cluster is not None and options.scheduler is None:
        options = replace(options, scheduler=address_of(cluster))  # weights may lie there and not here
    prepared = prepare(options, watcher(quiet=quiet))
    absolute = prepared.options.absolute()
    folders = {"store": absolute.store, "root": prepared.inventory.root}
    told = cluster_json(absolute, cluster, folders) if cluster else None
    if as_json:
        document(prepared.plan.to_json() | ({"cluster": told} if told else {}))
        return 0
    say("\n".join([*plan_lines(prepared.plan), *(cluster_lines(told) if told else [])]))
    return 0


def cluster_json(options: EmbedOptions, cluster: Cluster, folders: dict[str, str]) -> dict[str, Any]:
    """Return what would be started, as a JSON object.

    Parameters
    ----------
    options : EmbedOptions
        As :func:`~cluster.run.prepare` gave them back.
    cluster : Cluster
    folders : dict
        What a task is told of folders, as this machine sees them.
    """
    from cluster.specs.kinds import Local
    from cluster.specs.placing import on_nodes, paths_of
    from cluster.specs.script import steps_of

    return {
        "file": options.cluster,
        "kind": cluster.kind,
        "scheduler": options.scheduler,
        "workers": options.workers,
        "threads": options.threads,
        "starts": _here(cluster, options.workers) if isinstance(cluster, Local) else [],
        "steps": [step.to_json() for step in steps_of(cluster)],
        "folders": {here: on_nodes(here, paths_of(cluster)) for here in folders.values()},
    }


def cluster_lines(told: dict[str, Any]) -> list[str]:
    """Return the same for people."""
    from cluster.specs.script import Step

    lines = ["", f"cluster  {told['file']}, kind {told['kind']}"]
    if told["kind"] == "local":
        return [*lines, *(f"starts   {line}" for line in told["starts"])]
    lines += [f"folder   {here} is {there} on the nodes" for here, there in told["folders"].items() if here != there]
    again = f"sonotheque {shlex.join(a for a in sys.argv[1:] if a != '--dry-run')}"
    if "--scheduler" not in again:
        again += f" --scheduler {told['scheduler']}"
    steps = [Step(**step).shell() for step in told["steps"]]
    return [*lines, "", f"# {_NOTHING_STARTED}", *steps, "# The run, once workers are there", again]


def _here(cluster: Local, workers: int) -> list[str]:
    """Return what a run starts on this machine."""
    from sonotheque.cli.output import size

    threads = f"{cluster.threads} thread{'s' if cluster.threads != 1 else ''} of the model's engine each"
    lines = [
        f"a Dask scheduler on 127.0.0.1, in this process, {'with' if cluster.tls else 'without'} TLS",
        f"{workers} worker process{'es' if workers != 1 else ''} of {sys.executable}, {threads}",
    ]
    if cluster.memory:
        lines.append(f"each may take {size(cluster.memory)} of memory; at 95 % of that it is ended and started again")
    return lines + [f"with {name}={value}" for name, value in cluster.environment.items()]
