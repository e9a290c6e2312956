"""``sonotheque probe hits``: where a probe found its classes, as a table, files, clips and a picture."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sonotheque.cli.opening import opened
from sonotheque.cli.stages import stage_progress
from sonotheque.core.filters import SearchFilter

if TYPE_CHECKING:
    from search_api.locating import Locator
    from search_api.probes.hits import HitOptions, Hits
    from store import Archive

_SHOWN, _TOLD, _CLIPS_MAX = 20, 5, 1000


def hits(
    name: str = typer.Argument(..., metavar="NAME", help="The probe."),
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder."),
    version: int = typer.Option(
        None, "--version", metavar="N", help="This version of the probe [default: the one in use]."
    ),
    threshold: float = typer.Option(
        None,
        "--threshold",
        metavar="P",
        help="Least probability, for every class [default: the probe's own thresholds].",
    ),
    label: str = typer.Option(None, "--label", metavar="CLASS", help="Only this class of the probe."),
    best_per: str = typer.Option(
        None, "--best-per", metavar="WHAT", help="The best of each recording, site or day, for each class."
    ),
    limit: int = typer.Option(
        None, "--limit", "-k", metavar="N", help="At most so many, the best [default: all; 20 in a table, 1,000 clips]."
    ),
    form: str = typer.Option(
        None,
        "--format",
        metavar="FORMAT",
        help="table, csv, parquet, raven, raven-combined, audacity or pamdp [default: table].",
    ),
    out: str = typer.Option(
        None, "--out", "-o", metavar="PATH", help="A new file; a new folder for raven, audacity and pamdp."
    ),
    clips: str = typer.Option(None, "--clips", metavar="PATH", help="Cut the hits as clips: a new .zip or folder."),
    clips_as: str = typer.Option("wav", "--clips-as", metavar="FORMAT", help="Clips as wav or flac."),
    margin_s: float = typer.Option(0.0, "--margin-s", metavar="S", help="Clips: seconds before and after each window."),
    plot: str = typer.Option(
        None, "--plot", metavar="FILE", help="Draw when: date by hour of day, as .png, .svg or .pdf."
    ),
    per_site: bool = typer.Option(False, "--per-site", help="Draw a panel for each site."),
    recordings: str = typer.Option(
        None,
        "--recordings",
        metavar="DIR",
        help="Where the recordings are now [default: where they were embedded from].",
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what an export made."),
    *,
    where: SearchFilter,
    snapshot: int = typer.Option(None, "--snapshot", metavar="N", help="Of this snapshot [default: the newest]."),
    skip_damaged: bool = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """List the windows where a probe found its classes, best first; export them, cut them, draw when they were."""
    from search_api.locating import Locator
    from search_api.probes.hits import HitOptions, find_hits
    from search_api.probes.stored import load_probe
    from sonotheque.core.errors import EXIT_FILES_FAILED

    form = form or (_form_of(out) if out else "table")
    most = limit if limit is not None else _CLIPS_MAX if clips else _SHOWN if form == "table" and not as_json else None
    options = HitOptions(where, label, threshold, most, best_per)
    locator = Locator.of(store, recordings)
    _require_targets(form, out, clips, plot, clips_as, locator, as_json=as_json, overwrite=overwrite, store=store)
    probe = load_probe(store, name, version)
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        found = find_hits(archive, probe, options)
        drawn = _draw(archive, found, options, plot, per_site=per_site)
        written = _write(archive, found, form, out, recordings, overwrite=overwrite)
        cut = _cut(archive, found, clips, locator, form=clips_as, margin_s=margin_s, overwrite=overwrite, quiet=quiet)
    _show(found, form, out, {"plot": drawn, "export": written, "clips": cut}, as_json=as_json)
    return EXIT_FILES_FAILED if cut and cut["failures"] else 0


def _form_of(out: str) -> str:
    """Return the format that a file's ending names."""
    from sonotheque.core.errors import Invalid

    ending = Path(out).suffix.lower().lstrip(".")
    if ending not in ("csv", "parquet"):
        raise Invalid(f"-o {out}: add --format (csv, parquet, raven, raven-combined, audacity or pamdp)")
    return ending


def _require_targets(
    form: str,
    out: str | None,
    clips: str | None,
    plot: str | None,
    clips_as: str,
    locator: Locator,
    *,
    as_json: bool,
    overwrite: bool,
    store: str,
) -> None:
    """Look at where everything is to go, before the work."""
    from search_api.clips import FORMS
    from search_api.plots import require_picture
    from search_api.probes.hit_files import check_target
    from sonotheque.core.errors import Conflict, Invalid, NotFound
    from store.formats.whole import require_free

    if form != "table":
        check_target(form, out, overwrite=overwrite, store=store)
        if as_json and out is None:
            raise Invalid("--json and --format csv: one of them, or -o FILE for the table")
    if plot:
        require_picture(plot)
    if clips_as not in FORMS:
        raise Invalid(f"--clips-as {clips_as}: expected {' or '.join(FORMS)}")
    if clips is None:
        return
    try:
        require_free(Path(clips), overwrite=overwrite, folder=not clips.lower().endswith(".zip"), store=store)
    except (Conflict, Invalid, NotFound) as error:
        raise type(error)(error.message.replace("--out", "--clips", 1), kind=error.kind) from error
    locator.require_there()


def _draw(
    archive: Archive, found: Hits, options: HitOptions, plot: str | None, *, per_site: bool
) -> dict[str, Any] | None:
    if plot is None:
        return None
    from search_api.plots import draw_activity
    from search_api.probes.hit_activity import hit_activity

    notes = draw_activity(hit_activity(archive, found.probe, options, per_site=per_site), plot)
    return {"file": plot, "notes": notes}


def _write(
    archive: Archive, found: Hits, form: str, out: str | None, recordings: str | None, *, overwrite: bool
) -> dict[str, Any] | None:
    if out is None or form == "table":
        return None
    from search_api.probes.hit_files import write_hits

    written = write_hits(archive, found, form, out, overwrite=overwrite, recordings_dir=recordings)
    return {"out": out, "format": form, "rows": written.rows, "files": written.files, "notes": list(written.notes)}


def _cut(
    archive: Archive,
    found: Hits,
    clips: str | None,
    locator: Locator,
    *,
    form: str,
    margin_s: float,
    overwrite: bool,
    quiet: bool,
) -> dict[str, Any] | None:
    if clips is None or not found.table.num_rows:
        return None
    from search_api.probes.hit_files import cut_hits

    told = None if quiet else functools.partial(stage_progress({"clips": "cutting clips"}), "clips")
    report = cut_hits(archive, found, clips, locator, form=form, margin_s=margin_s, overwrite=overwrite, progress=told)
    return {"out": clips, "clips": len(report.clips), "failures": report.failures}


def _show(found: Hits, form: str, out: str | None, made: dict[str, Any], *, as_json: bool) -> None:
    from search_api.probes.hit_files import csv_hits
    from sonotheque.cli.output import binary_output, document, say, tell

    if as_json:
        document({**found.to_json(), **made})
        return
    if form == "csv" and out is None:
        csv_hits(found, binary_output())
    elif made["export"]:
        files = f" in {made['export']['files']:,} files" if made["export"]["files"] != 1 else ""
        say(f"{made['export']['rows']:,} hits written to {out}{files} ({form})")
    else:
        _say_table(found)
    for note in found.notes:
        tell(f"note: {note}")
    for what in ("plot", "export"):
        for note in (made[what] or {}).get("notes", ()):
            tell(f"note: {note}")
    if made["plot"]:
        tell(f"drawn: {made['plot']['file']}")
    if made["clips"]:
        tell(f"{made['clips']['clips']:,} clips written to {made['clips']['out']}")
        for one in made["clips"]["failures"][:_TOLD]:
            tell(f"  not cut: {one['path']} at {one['window_start_s']:g} s: {one['reason']}")


def _say_table(found: Hits) -> None:
    from search_api.queries import seconds_text
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import say

    probe = found.probe
    said = ", ".join(f"{c} {n:,} from {found.thresholds[c]:.3g} on" for c, n in list(found.counts.items())[:8])
    say(
        f"probe {probe.name} version {probe.version}: {found.matching:,} hits in {found.windows_scored:,} windows ({said})"
    )
    rows = [
        [
            str(hit["rank"]),
            f"{hit['score']:.4f}",
            hit["label"],
            hit["site"],
            f"{hit['local_start']:%Y-%m-%d %H:%M:%S}" if hit["local_start"] else "",
            hit["path"],
            seconds_text(hit["start_s"]),
        ]
        for hit in found.table.to_pylist()
    ]
    if rows:
        say(fitted(["rank", "probability", "label", "site", "local time", "path", "start_s"], rows, right=(0, 1, 4, 6)))
    if found.matching > found.table.num_rows:
        say(f"and {found.matching - found.table.num_rows:,} more: --limit N shows more, --format csv all of them")
