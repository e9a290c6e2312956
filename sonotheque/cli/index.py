"""``sonotheque index``: what makes searching large archives fast."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import typer

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
from sonotheque.cli.stages import stage_progress

if TYPE_CHECKING:
    from cluster.specs.placing import Placed
    from store.index import IndexInfo, Recipe
    from store.index.making import Spread

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_QUIET = typer.Option(False, "--quiet", "-q", help="No progress on stderr.")
_SKIP = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which.")
_THREADS = typer.Option(0, "--threads", metavar="N", min=0, help="Threads of this process [default: all cores].")
_WORKERS = typer.Option(None, "--workers", metavar="N", help=WORKERS_HELP)
_SCHEDULER = typer.Option(None, "--scheduler", metavar="ADDRESS", help=SCHEDULER_HELP)
_CLUSTER = typer.Option(None, "--cluster", metavar="FILE", help=CLUSTER_HELP)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?")
_STAGES: Final = {
    "vectors": "copying vectors",
    "clusters": "learning clusters",
    "codes": "coding vectors",
    "truth": "comparing everything, to measure recall against",
    "recall": "measuring recall",
}

_EPILOG = """Examples:

sonotheque index build --store archive --memory 2GB --dry-run

sonotheque index build --store archive --workers 4

sonotheque index build --store archive --cluster slurm.yaml --dry-run

sonotheque index update --store archive

sonotheque index info --store archive --deep

A store can be searched without an index too: then every window is read and compared."""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=_EPILOG,
        help="What makes searching large archives fast: built, brought up to date, tuned, looked at.",
    )
    group.command(
        "build",
        epilog="Examples: sonotheque index build --store archive --dry-run\n\nsonotheque index build --store archive --memory 2GB --recall 0.999\n\n"
        "sonotheque index build --store archive --cluster slurm.yaml",
    )(build)
    group.command(
        "update",
        epilog="Examples: sonotheque index update --store archive\n\nsonotheque index update --store archive --workers 4",
    )(update)
    group.command(
        "info",
        epilog="Examples: sonotheque index info --store archive\n\nsonotheque index info --store archive --deep\n\n"
        "Exit codes: 0 whole; 4 there is no index; 7 files are damaged.",
    )(info)
    group.command("tune", epilog="Example: sonotheque index tune --store archive --recall 0.999")(tune)
    app.add_typer(group, name="index")


def build(
    store: str = _STORE,
    memory: str = typer.Option(
        None, "--memory", metavar="SIZE", help="Most memory to hold while searching, as 2GB or 512MiB [default: any]."
    ),
    recall: float = typer.Option(
        0.995, "--recall", metavar="SHARE", help="Share of the true 50 nearest windows that a search is to find."
    ),
    kind: str = typer.Option(
        None, "--kind", metavar="KIND", help="exact or coded [default: chosen by size, memory and recall]."
    ),
    threads: int = _THREADS,
    workers: int | None = _WORKERS,
    scheduler: str | None = _SCHEDULER,
    cluster: str | None = _CLUSTER,
    dry_run: bool = typer.Option(False, "--dry-run", help="Only tell what would be built, and why."),
    skip_damaged: bool = _SKIP,
    as_json: bool = _JSON,
    quiet: bool = _QUIET,
) -> int:
    """Build an index of everything in the store, learning its clusters anew; searches go on meanwhile.

    Workers copy and code vectors, segment by segment; clusters are learnt, and recall is measured, in this process.
    """
    from search_api.indexing import planned_index
    from sonotheque.cli.output import document, say
    from store.index import IndexWishes, build_index, describe

    placed = _placed(workers, scheduler, cluster)
    wishes = IndexWishes(recall, None if memory is None else bytes_of(memory, "--memory"), kind, threads)
    with opened(store, None, skip_damaged=skip_damaged) as archive:
        recipe = planned_index(archive, wishes)
        if dry_run:
            shown = store_json(placed, archive.root)
            if as_json:
                told = {"store": store, "dry_run": True, "recipe": recipe.to_json()}
                document(told | ({"cluster": shown} if shown else {}))
            else:
                say("\n".join([*recipe_lines(recipe), *(cluster_lines(shown) if shown else [])]))
            return 0
        with _spread(archive.root, placed, quiet=quiet) as spread:
            version = build_index(archive, wishes, None if quiet else stage_progress(_STAGES), spread=spread)
        found = describe(archive, version)
    return _show(found, as_json=as_json)


def update(
    store: str = _STORE,
    threads: int = _THREADS,
    workers: int | None = _WORKERS,
    scheduler: str | None = _SCHEDULER,
    cluster: str | None = _CLUSTER,
    skip_damaged: bool = _SKIP,
    as_json: bool = _JSON,
    quiet: bool = _QUIET,
) -> int:
    """Add what was committed since the index was built, and leave out what is superseded."""
    from store.index import describe, update_index

    placed = _placed(workers, scheduler, cluster)
    told = None if quiet else stage_progress(_STAGES)
    with opened(store, None, skip_damaged=skip_damaged) as archive:
        with _spread(archive.root, placed, quiet=quiet) as spread:
            version = update_index(archive, told, workers=threads, spread=spread)
        found = describe(archive, version)
    return _show(found, as_json=as_json)


def _placed(workers: int | None, scheduler: str | None, cluster: str | None) -> Placed:
    from cluster.specs.placing import place_tasks

    require_alone(cluster, workers=workers)
    return place_tasks(1 if workers is None else workers, scheduler, cluster)


@contextlib.contextmanager
def _spread(root: str, placed: Placed, *, quiet: bool) -> Iterator[Spread | None]:
    """Give what has segments made, and end it; None: this process does it all, and Dask is not imported."""
    if placed.is_here:
        yield None
        return
    from cluster.index_dask import spread_on

    with spread_on(root, placed, (lambda _: None) if quiet else noted) as spread:
        yield spread


def tune(
    store: str = _STORE,
    recall: float = typer.Option(
        ..., "--recall", metavar="SHARE", help="Share of the true 50 nearest windows that a search is to find."
    ),
    as_json: bool = _JSON,
    quiet: bool = _QUIET,
) -> int:
    """Measure recall again, and choose how much a search looks through so that it has the recall wanted."""
    from store.index import describe, tune_index

    with opened(store, None, skip_damaged=False) as archive:
        found = describe(archive, tune_index(archive, recall, None if quiet else stage_progress(_STAGES)))
    return _show(found, as_json=as_json)


def info(
    store: str = _STORE,
    deep: bool = typer.Option(False, "--deep", help="Read every file of the index and compare its digest."),
    as_json: bool = _JSON,
) -> int:
    """Tell what the index is, its measured recall, its size, and whether it is whole and up to date."""
    from store.index import read_info

    with opened(store, None, skip_damaged=False) as archive:
        found = read_info(archive, deep=deep)
    return _show(found, as_json=as_json, deep=deep)


def bytes_of(text: str, flag: str) -> int:
    """Return the bytes of a size such as ``2GB``, ``512MiB`` or ``100000000``.

    Raises
    ------
    Invalid
        If it is no such text.
    """
    from sonotheque.core.errors import Invalid

    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        raise Invalid(f"{flag} {text!r}: expected a size such as 2GB, 512MiB or 100000000 (bytes)")
    step = 1024 if found[3] else 1000
    value = int(float(found[1]) * step ** " kmgt".index(found[2].lower() or " "))
    if value < 1:
        raise Invalid(f"{flag} {text!r} is less than one byte: expected a size such as 2GB or 512MiB")
    return value


def recipe_lines(recipe: Recipe) -> list[str]:
    """Return for people what would be built."""
    from sonotheque.cli.output import seconds, size

    kind = {
        "exact": "exact: every eligible window is compared",
        "coded": f"coded: {recipe.code_bytes:,} bytes a window in {recipe.lists:,} clusters, the likeliest compared in full",
    }[recipe.kind]
    held = "held by the page cache, as far as there is room" if recipe.kind == "exact" else "held while searching"
    recall = "1" if recipe.kind == "exact" else f"{recipe.recall:g} wanted; the build measures what it is"
    return [
        f"an index of {recipe.n:,} windows of {recipe.dim:,} numbers would be built",
        f"  type      {kind}",
        f"  memory    {size(recipe.ram_bytes)} {held}; {size(recipe.build_ram_bytes)} while building",
        f"  disk      {size(recipe.disk_bytes)}",
        f"  build     about {seconds(recipe.build_s)} of one core",
        f"  recall    {recall}",
        *(f"  why       {reason}" for reason in recipe.why),
    ]


def info_lines(found: IndexInfo, *, deep: bool = False) -> list[str]:
    """Return for people what an index is."""
    from sonotheque.cli.output import seconds, size

    if found.recall is None:
        recall = "1: every eligible window is compared"
    else:
        r = found.recall
        recall = (
            f"{r['mean']:.4f} in the mean, {r['p5']:.4f} for 95 of 100 queries (k = {r['k']}, {r['queries']:,} queries; "
            f"{r['wanted']:g} wanted)"
        )
    clusters = f", {found.lists:,} clusters" if found.lists else ""
    lines = [
        f"index {found.version}: {found.kind}, {found.windows:,} windows of {found.model}, snapshot {found.snapshot}",
        f"  holds     {found.segments:,} segment{'' if found.segments == 1 else 's'}{clusters}; {found.fresh_windows:,} windows committed since, "
        f"{found.superseded_rows:,} superseded rows",
        f"  recall    {recall}",
        f"  memory    {size(found.ram_bytes)}",
        f"  disk      {size(found.disk_bytes)}",
        f"  built     {found.created} in {seconds(found.build_s)}, {found.library}",
        *(f"  note      {note}" for note in found.notes),
        *(f"  damaged   {one}" for one in found.damaged),
    ]
    if found.damaged:
        lines.append("  `sonotheque index build` makes it anew; the recordings' vectors are not in doubt")
    elif deep:
        lines.append("  every file is as it was written")
    return lines


def _show(found: IndexInfo, *, as_json: bool, deep: bool = False) -> int:
    from sonotheque.cli.output import document, say
    from sonotheque.core.errors import Damaged

    if as_json:
        document(found.to_json())
    else:
        say("\n".join(info_lines(found, deep=deep)))
    return Damaged.exit_code if found.damaged else 0
