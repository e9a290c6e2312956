"""``sonotheque probe apply`` and ``probe hits``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import typer

from sonotheque.cli.filters import with_filter
from sonotheque.cli.opening import opened
from sonotheque.cli.placing import (
    CLUSTER_HELP,
    SCHEDULER_HELP,
    WORKERS_HELP,
    cluster_lines,
    noted,
    require_alone,
    store_json,
)
from sonotheque.cli.probe_hits import hits
from sonotheque.cli.stages import stage_progress
from sonotheque.core.filters import SearchFilter

if TYPE_CHECKING:
    from search_api.probes.applying import Applied

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_QUIET = typer.Option(False, "--quiet", "-q", help="No progress on stderr.")
_SNAPSHOT = typer.Option(None, "--snapshot", metavar="N", help="Of this snapshot [default: the newest].")
_SKIP = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which.")
_VERSION = typer.Option(None, "--version", metavar="N", help="This version of the probe [default: the one in use].")
_TOLD = 5


def register(group: typer.Typer) -> None:
    """Add the verbs."""
    group.command(
        "apply",
        epilog="Examples: sonotheque probe apply owl --store archive\n\n"
        "sonotheque probe apply --all --store archive --workers 8\n\n"
        "sonotheque probe apply --all --store archive --cluster slurm.yaml --dry-run\n\n"
        "sonotheque probe apply owl thrush --store archive --site forest --floor 0",
    )(with_filter(apply))
    group.command(
        "hits",
        epilog="Examples: sonotheque probe hits owl --store archive --threshold 0.9 --plot owl.png\n\n"
        "sonotheque probe hits owl --store archive --format raven -o tables --hours 22:00-04:00\n\n"
        "sonotheque probe hits owl --store archive --best-per day --clips best.zip",
    )(with_filter(hits))


def apply(
    names: list[str] = typer.Argument(None, metavar="[NAME]...", help="Probes, by name: the version in use of each."),
    store: str = _STORE,
    is_all: bool = typer.Option(False, "--all", help="Every probe with a version in use."),
    version: int = _VERSION,
    floor: float = typer.Option(
        0.01, "--floor", metavar="SCORE", help="Keep scores from this probability on; 0 keeps all."
    ),
    workers: int | None = typer.Option(None, "--workers", metavar="N", help=WORKERS_HELP),
    scheduler: str | None = typer.Option(None, "--scheduler", metavar="ADDRESS", help=SCHEDULER_HELP),
    cluster: str | None = typer.Option(None, "--cluster", metavar="FILE", help=CLUSTER_HELP),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Count what is to be scored, show what a cluster needs, and do nothing."
    ),
    *,
    where: SearchFilter,
    snapshot: int = _SNAPSHOT,
    skip_damaged: bool = _SKIP,
    as_json: bool = _JSON,
    quiet: bool = _QUIET,
) -> int:
    """Score every window by one or many probes at once; only what is not scored yet is read.

    A filter chooses parts of the store: those that hold such a window are scored whole. The scores are the view `scores` of
    `sonotheque sql`; interrupted, the same command goes on where it stopped.
    """
    from cluster.specs.placing import place_tasks
    from search_api.probes.applying import ApplyOptions, apply_stored
    from sonotheque.cli.output import document
    from sonotheque.core.errors import EXIT_FILES_FAILED

    require_alone(cluster, workers=workers)
    placed = place_tasks(1 if workers is None else workers, scheduler, cluster)
    told = None if quiet else functools.partial(stage_progress({"apply": "scoring windows"}), "apply")
    note = (lambda _: None) if quiet else noted
    options = ApplyOptions(where, floor, 1 if workers is None else workers, scheduler, cluster, dry_run, note)
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        done = apply_stored(archive, names or [], options, is_all=is_all, version=version, progress=told)
    if dry_run:
        return _show_dry(done, store_json(placed, done.store), as_json=as_json)
    if as_json:
        document(done.to_json())
    else:
        _say_applied(done)
    return EXIT_FILES_FAILED if done.failed else 0


def _show_dry(done: Applied, cluster: dict[str, Any] | None, *, as_json: bool) -> int:
    from sonotheque.cli.output import document, say

    found = done.scoring
    if as_json:
        document({**done.to_json(), "dry_run": True} | ({"cluster": cluster} if cluster else {}))
        return 0
    left = found.parts - found.parts_held
    say(
        f"{found.to_score:,} windows of {left:,} parts would be scored by {_names(done)}, on {found.where}; {found.parts_held:,} parts "
        f"were scored before (snapshot {found.snapshot})"
    )
    if cluster:
        say("\n".join(cluster_lines(cluster)))
    return 0


def _names(done: Applied) -> str:
    names = [f"{p['name']} {p['version']}" for p in done.scoring.probes]
    return ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")


def _say_applied(done: Applied) -> None:
    from sonotheque.cli.output import say, seconds, size, tell

    found, who = done.scoring, _names(done)
    speed = found.to_json()
    if found.parts_scored:
        say(
            f"{found.windows:,} windows scored by {who} in {seconds(found.wall_s)} ({speed['windows_per_s']:,.0f} windows/s, "
            f"{speed['window_scores_per_s']:,.0f} windows x probes/s) on {found.where}"
        )
        say(
            f"  {found.scores:,} scores from {found.floor:g} on were kept: {found.parts_scored:,} files, {size(found.bytes)}"
        )
    else:
        say(f"nothing to score by {who}")
    say(
        f"  parts: {found.parts:,} in all, {found.parts_held:,} scored before, {found.parts_failed:,} failed (snapshot {found.snapshot})"
    )
    for note in done.notes:
        tell(f"note: {note}")
    for one in found.failures[:_TOLD]:
        tell(f"  failed: {one['reason']}")
    for one in found.not_scored[:_TOLD]:
        tell(f"  not scored, its vector is not finite: {one['path']} at {one['start_s']:g} s")
    more = max(0, len(found.failures) - _TOLD) + max(0, len(found.not_scored) - _TOLD)
    if more:
        tell(f"  and {more:,} more: --json lists them all")


__all__ = ["apply", "hits", "register"]
