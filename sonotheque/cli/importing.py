"""``sonotheque import``: a store from what another program has computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from cluster.imports.report import ImportReport

_EPILOG = """Examples:

sonotheque import perch-cpu-inference output/2025 --store archive --timezone Europe/London --dry-run

sonotheque import perch-cpu-inference output/2025 --store archive --recordings /data/2025 --clock-timezone UTC

sonotheque import hoplite my_db --store archive --timezone America/Lima

The sound files need not be there. Everything but the vectors is checked before anything is written; interrupted, the same
command goes on where it stopped. Exit codes: 0 imported; 7 the cross-check failed; others are errors."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("import", epilog=_EPILOG)(import_)


def import_(
    kind: str = typer.Argument(..., metavar="KIND", help="perch-cpu-inference, or hoplite."),
    path: str = typer.Argument(..., metavar="PATH", help="Its output folder (or a folder of them), or its database."),
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder; made if it is not there."),
    model: str = typer.Option(
        None, "--model", metavar="NAME", help="Model that made the vectors, if the source does not say it."
    ),
    recordings: str = typer.Option(
        None,
        "--recordings",
        metavar="DIR",
        help="The sound files, if they are here: for lengths and recorders' headers.",
    ),
    root: str = typer.Option(
        None, "--root", metavar="DIR", help="What the source's paths begin with and stored paths leave out."
    ),
    prefix: str = typer.Option("", "--prefix", metavar="NAME", help="Put this in front of stored paths."),
    site: str = typer.Option(None, "--site", metavar="NAME", help="Put all recordings under this site."),
    site_from: str = typer.Option(
        "auto",
        "--site-from",
        metavar="auto|folder|prefix",
        help="Site from the first folder or the file name's prefix.",
    ),
    timezone: str = typer.Option(
        None, "--timezone", metavar="ZONE", help="IANA zone of the sites, e.g. America/New_York."
    ),
    clock_timezone: str = typer.Option(
        None, "--clock-timezone", metavar="ZONE", help="Zone of the recorders' clocks, if not the sites' (often UTC)."
    ),
    time_pattern: str = typer.Option(
        None,
        "--time-pattern",
        metavar="REGEX",
        help="For file names no built-in pattern knows; see `sonotheque embed`.",
    ),
    deployments: str = typer.Option(
        None, "--deployments", metavar="CSV", help="Table of deployments (Camtrap DP, pamDP or plain)."
    ),
    times: str = typer.Option(None, "--times", metavar="CSV", help="Table of start times: path, start."),
    dtype: str = typer.Option(
        None, "--dtype", metavar="float16|float32", help="Type of the vectors' elements [default: float16]."
    ),
    no_predictions: bool = typer.Option(False, "--no-predictions", help="Leave predictions out."),
    no_annotations: bool = typer.Option(False, "--no-annotations", help="Leave annotations out (hoplite)."),
    classes: str = typer.Option(
        None, "--classes", metavar="JSON", help="The classes.json of the run (perch-cpu-inference)."
    ),
    project: str = typer.Option(None, "--project", metavar="NAME", help="Only this project (hoplite)."),
    annotator: str = typer.Option(
        None, "--annotator", metavar="NAME", help="Who made the annotations [default: their provenance] (hoplite)."
    ),
    keep_short: bool = typer.Option(
        False, "--keep-short", help="Keep windows with less than 1 s of sound, which `embed` does not make."
    ),
    replace: bool = typer.Option(
        False, "--replace", help="Let recordings whose rows have changed replace what was imported before."
    ),
    skip_damaged: bool = typer.Option(
        False, "--skip-damaged", help="Leave out source files that cannot be read, and import the rest."
    ),
    check: bool = typer.Option(True, "--check/--no-check", help="Compare a sample of what is stored with the source."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Look at everything and write nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Make a store of, or add to one, what perch-cpu-inference or perch-hoplite has computed."""
    from cluster.imports.options import ImportOptions
    from cluster.imports.run import import_into_store
    from sonotheque.cli.output import document, say
    from sonotheque.core.errors import Damaged

    options = ImportOptions(
        kind=kind,
        path=path,
        store=store,
        model=model,
        classes=classes,
        project=project,
        dtype=dtype,
        predictions=not no_predictions,
        annotations=not no_annotations,
        annotator=annotator,
        keep_short=keep_short,
        root=root,
        prefix=prefix,
        recordings=recordings,
        site=site,
        site_from=site_from,
        timezone=timezone,
        clock_timezone=clock_timezone,
        time_pattern=time_pattern,
        deployments=deployments,
        times=times,
        replace=replace,
        skip_damaged=skip_damaged,
        check=check,
    )
    report = import_into_store(options, None if quiet else _progress(), dry_run=dry_run)
    if as_json:
        document(report.to_json())
    else:
        say("\n".join(report_lines(report)))
    return 0 if report.ok else Damaged.exit_code


def _progress() -> Callable[[str, float, float], None]:
    """Return what tells progress on stderr: each phase now and then, with the time that is left of it."""
    import sys
    import time

    from sonotheque.cli.output import seconds, tell

    every_s = 1.0 if sys.stderr.isatty() else 10.0
    state: dict[str, Any] = {"phase": "", "began": 0.0, "told": 0.0}

    def told(phase: str, done: float, of: float) -> None:
        now = time.monotonic()
        if phase != state["phase"]:
            state.update(phase=phase, began=now, told=now)
        elif now - state["told"] >= every_s and 0 < done < of:
            state["told"] = now
            left_s = (now - state["began"]) * (of - done) / done
            tell(f"{phase} {done / of:4.0%}  {done:,.0f}/{of:,.0f}  {seconds(left_s)} left")

    return told


def report_lines(report: ImportReport) -> list[str]:
    """Return the closing sum for people."""
    from sonotheque.cli.output import seconds

    made = "would be imported" if report.dry_run else "imported"
    lines = [
        f"{report.path} ({report.kind}): {report.recordings:,} recordings with {report.windows:,} windows of {report.model} {made}"
        f" in {seconds(report.wall_s)}"
    ]
    lines.append(
        f"  recordings  {report.new:,} new, {report.settled:,} already in the store"
        + (f", {report.changed:,} replaced" if report.changed else "")
    )
    lines += [*_rows(report), *_bytes(report)]
    if report.sites:
        sites = list(report.sites.items())
        more = f" and {len(sites) - 8} more" if len(sites) > 8 else ""
        lines.append(f"  sites       {', '.join(f'{name} {count:,}' for name, count in sites[:8])}{more}")
    if report.without_time or report.without_utc:
        lines.append(
            f"  time        {report.without_time or 0:,} recordings without a start time (--time-pattern, --times), "
            f"{report.without_utc or 0:,} with a local time and no zone (--timezone)"
        )
    if report.sound:
        lines.append(
            f"  sound       {report.sound.get('found', 0):,} files found, {report.sound.get('missing', 0):,} not there"
        )
    if report.annotations:
        a = report.annotations
        lines.append(
            f"  annotations {a['added']:,} added, {a['already_there']:,} there already, {a['unmatched']:,} of other recordings"
        )
    if report.check is not None:
        lines.append(_check(report.check))
    lines += [f"  left out    {path}: {why}" for path, why in list(report.damaged.items())[:10]]
    if len(report.damaged) > 10:
        lines.append(f"  left out    ... and {len(report.damaged) - 10:,} more")
    return lines + [f"  note        {note}" for note in report.notes]


def _rows(report: ImportReport) -> list[str]:
    twice = sum(n or 0 for n in report.duplicates.values())
    if "rows" in report.duplicates:
        told = f"{twice:,} of windows that are there more than once"
    else:
        told = f"{twice:,} duplicates left out ({report.duplicates['identical']:,} identical, {report.duplicates['differing']:,} differing)"
    lines = [f"  rows        {report.rows:,} read, {told}"]
    words = {
        "short": "with less than 1 s of sound",
        "beyond_end": "beyond the end of the sound",
        "nonfinite": "with NaN or infinity",
        "without_vector": "without a vector",
        "orphan_windows": "of recordings that are gone",
        "vectors_without_window": "vectors without a window",
        "unusable": "that cannot be used",
    }
    left = [f"{n:,} {words.get(why, why)}" for why, n in report.left_out.items() if n]
    if left:
        lines.append(f"  left out    {', '.join(left)}")
    if report.zero_vectors:
        lines.append(f"  vectors     {report.zero_vectors:,} are all zeros; they are kept")
    if report.without_predictions:
        lines.append(f"  predictions none for {report.without_predictions:,} windows")
    return lines


def _bytes(report: ImportReport) -> list[str]:
    from sonotheque.cli.output import size

    before = report.bytes_before
    what = ", ".join(f"{name} {size(n)}" for name, n in before.items() if name != "total")
    if report.bytes_after is None:
        return [f"  bytes       {size(before['total'])} ({what}); {report.parts:,} parts would be made"]
    return [
        f"  bytes       {size(before['total'])} before ({what}), {size(report.bytes_after)} after: {report.ratio or 0:.3f} of it, "
        f"{report.bytes_per_window or 0:,.0f} bytes per window",
        f"  parts       {report.parts_written:,} written, {report.parts:,} in all; snapshot {report.snapshot}",
    ]


def _check(check: dict[str, Any]) -> str:
    if check["cosine_min"] is None:
        return "  check       nothing to compare"
    verdict = "" if check["ok"] else "NOT OK: "
    missing = f", {check['missing']:,} missing" if check["missing"] else ""
    return (
        f"  check       {verdict}cosine to the source at least {check['cosine_min']:.7f}, median {check['cosine_median']:.7f} "
        f"({check['windows']:,} windows of {check['recordings']:,} recordings{missing})"
    )
