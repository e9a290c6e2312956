"""``sonotheque index``: what makes searching large archives fast."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import typer

from sonotheque.cli.opening import opened
from sonotheque.cli.stages import stage_progress

if TYPE_CHECKING:
    from store.index import IndexInfo, Recipe

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_QUIET = typer.Option(False, "--quiet", "-q", help="No progress on stderr.")
_SKIP = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which.")
_THREADS = typer.Option(0, "--threads", metavar="N", min=0, help="Threads [default: all cores].")
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
        epilog="Examples: sonotheque index build --store archive --dry-run\n\nsonotheque index build --store archive --memory 2GB --recall 0.999",
    )(build)
    group.command("update", epilog="Example: sonotheque index update --store archive")(update)
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
    dry_run: bool = typer.Option(False, "--dry-run", help="Only tell what would be built, and why."),
    skip_damaged: bool = _SKIP,
    as_json: bool = _JSON,
    quiet: bool = _QUIET,
) -> int:
    """Build an index of everything in the store, learning its clusters anew; searches go on meanwhile."""
    from search_api.indexing import planned_index
    from sonotheque.cli.output import document, say
    from store.index import IndexWishes, build_index, describe

    wishes = IndexWishes(recall, None if memory is None else bytes_of(memory, "--memory"), kind, threads)
    with opened(store, None, skip_damaged=skip_damaged) as archive:
        recipe = planned_index(archive, wishes)
        if dry_run:
            if as_json:
                document({"store": store, "dry_run": True, "recipe": recipe.to_json()})
            else:
                say("\n".join(recipe_lines(recipe)))
            return 0
        version = build_index(archive, wishes, None if quiet else stage_progress(_STAGES))
        found = describe(archive, version)
    return _show(found, as_json=as_json)


def update(
    store: str = _STORE,
    threads: int = _THREADS,
    skip_damaged: bool = _SKIP,
    as_json: bool = _JSON,
    quiet: bool = _QUIET,
) -> int:
    """Add what was committed since the index was built, and leave out what is superseded."""
    from store.index import describe, update_index

    with opened(store, None, skip_damaged=skip_damaged) as archive:
        found = describe(archive, update_index(archive, None if quiet else stage_progress(_STAGES), workers=threads))
    return _show(found, as_json=as_json)


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
