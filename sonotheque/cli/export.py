"""``sonotheque export``: what other programs read."""

from __future__ import annotations

import time
from collections.abc import Callable

import typer

from sonotheque.cli.filters import with_filter
from sonotheque.cli.opening import opened
from sonotheque.core.filters import SearchFilter

_EPILOG = (
    "WHAT as FORMAT: predictions as raven, raven-combined, audacity, csv, tidy, kaleidoscope, pamdp, parquet, birdnet-parquet; "
    "embeddings as parquet, npy, hdf5, csv; clips as wav, flac; windows, recordings, annotations as csv, parquet.\n\n"
    "Examples: sonotheque export predictions --store archive --to raven --out tables --species 'Strix aluco' --min-score 0.5\n\n"
    "sonotheque export embeddings --store archive --to hdf5 --out may.h5 --month 5\n\n"
    "sonotheque export clips --store archive --to flac --out owls.zip --species 'Tawny Owl' --min-score 0.7 --margin-s 1"
)
_EVERY_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("export", epilog=_EPILOG)(with_filter(export))


def export(
    what: str = typer.Argument(
        ..., metavar="WHAT", help="predictions, embeddings, clips, windows, recordings or annotations."
    ),
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder."),
    form: str = typer.Option(..., "--to", metavar="FORMAT", help="The format; those of each WHAT are listed below."),
    out: str = typer.Option(
        ..., "--out", metavar="PATH", help="A new file; a new folder for raven, audacity, pamdp and clips (or a .zip)."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a file, or a folder that an export made."),
    top: int = typer.Option(
        None, "--top", metavar="N", help="Only the N best predictions of a window; the same as --max-rank."
    ),
    columns: list[str] = typer.Option(
        None, "--columns", metavar="NAMES", help="More columns of csv and tidy, as lat,lon,week; may be repeated."
    ),
    empty: bool = typer.Option(
        False, "--empty-tables", help="raven, audacity: also a file for each recording without detections."
    ),
    recordings: str = typer.Option(
        None,
        "--recordings",
        metavar="DIR",
        help="Where the recordings are now [default: where they were embedded from].",
    ),
    dtype: str = typer.Option("float32", "--dtype", metavar="TYPE", help="embeddings as parquet: float32 or float16."),
    force: bool = typer.Option(False, "--force", help="embeddings as csv: of any size."),
    margin_s: float = typer.Option(0.0, "--margin-s", metavar="S", help="clips: seconds before and after each window."),
    max_clips: int = typer.Option(1000, "--max-clips", metavar="N", help="clips: at most so many, best score first."),
    follow_links: bool = typer.Option(
        False, "--follow-links", help="clips: also of recordings that a link leads to, outside of their folder."
    ),
    *,
    where: SearchFilter,
    snapshot: int = typer.Option(None, "--snapshot", metavar="N", help="Of this snapshot [default: the newest]."),
    skip_damaged: bool = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Write predictions, embeddings, clips or tables in a format that other programs read."""
    from search_api.exports import ExportOptions, check_export
    from search_api.exports import export as run
    from sonotheque.cli.output import document
    from sonotheque.core.errors import EXIT_FILES_FAILED, Invalid

    if top is not None:
        if where.rank_max not in (None, top):
            raise Invalid(f"--top {top} and --max-rank {where.rank_max} say the same thing differently: leave one out")
        where = where.merged(rank_max=top)
    options = ExportOptions(
        where=where,
        overwrite=overwrite,
        columns=tuple(columns or ()),
        empty=empty,
        recordings_dir=recordings,
        dtype=dtype,
        force=force,
        margin_s=margin_s,
        max_clips=max_clips,
        follow_links=follow_links,
    )
    check_export(store, what, form, out, options)
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        summary = run(archive, what, form, out, options, None if quiet else progress()).to_json()
    if as_json:
        document(summary)
    else:
        _say(summary)
    return EXIT_FILES_FAILED if summary["failures"] else 0


def _say(summary: dict[str, object]) -> None:
    from sonotheque.cli.output import say, tell

    notes, failures = summary["notes"], summary["failures"]
    noun = "clips" if summary["what"] == "clips" else "rows"
    files = f" in {summary['files']:,} files" if summary["files"] != 1 else ""
    say(
        f"{summary['rows']:,} {noun} written to {summary['out']}{files} ({summary['what']} as {summary['format']}, snapshot {summary['snapshot']})"
    )
    for note in notes if isinstance(notes, list) else ():
        tell(f"note: {note}")
    if isinstance(failures, list) and failures:
        tell(f"{len(failures):,} clips could not be cut; failures.csv lists them all:")
        for one in failures[:5]:
            tell(f"  {one['path']} at {one['window_start_s']:g} s: {one['reason']}")


def progress() -> Callable[[int, int], None]:
    """Return what prints a line on stderr now and then, if an export takes a while."""
    from sonotheque.cli.output import tell

    last = time.monotonic()

    def seen(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY_S and done < total:
            last = time.monotonic()
            tell(f"{done:,} of {total:,} written ({done / total:.0%}) ...")

    return seen
