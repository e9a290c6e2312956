"""``sonotheque jobs``: what was run on a store, and how it went; ``jobs report``: with speeds, sizes and settings, as a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from sonotheque.core.errors import Invalid

if TYPE_CHECKING:
    from cluster.history_table import JobRow

_STORE = typer.Option(None, "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_EXAMPLES = """Examples:

sonotheque jobs --store archive

sonotheque jobs report --store archive --out jobs.csv"""
_REPORT_EXAMPLES = """Examples:

sonotheque jobs report --store archive

sonotheque jobs report --store archive --out jobs.csv --perch-cpu-inference inference.log

The columns are explained in cluster/history_table.py. Another program's rows keep its terms, which the column `terms` tells."""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        invoke_without_command=True,
        rich_markup_mode=None,
        epilog=_EXAMPLES,
        help="List all jobs of a store, the newest last: also those that died, were stopped or are at work.",
    )
    group.callback()(jobs)
    group.command("report", epilog=_REPORT_EXAMPLES)(report)
    app.add_typer(group, name="jobs")


def jobs(context: typer.Context, store: str = _STORE, as_json: bool = _JSON) -> int:
    """List all jobs of a store, the newest last."""
    if context.invoked_subcommand:
        return 0
    from cluster.history import job_history
    from sonotheque.cli.output import document, say

    rows = job_history(_given(store, "sonotheque jobs --store DIR"))
    if as_json:
        document({"jobs": [row.to_json() for row in rows]})
        return 0
    say(_table(rows) if rows else f"{store} has no job yet: `sonotheque embed RECORDINGS --store {store}` starts one")
    _say_notes(rows)
    return 0


def report(
    context: typer.Context,
    store: str = _STORE,
    out: str = typer.Option(None, "--out", metavar="FILE", help="Write one line a job: .csv, or .json with the sums."),
    logs: list[str] = typer.Option(
        [],
        "--perch-cpu-inference",
        metavar="LOG",
        help="Add the jobs of a log of perch-cpu-inference, marked as its own; may be given several times.",
    ),
    as_json: bool = _JSON,
) -> int:
    """Tell of each job files, hours, x-realtime (also its spread over the parts), failures, sizes, settings and machine."""
    from pathlib import Path

    from cluster.history import job_history
    from cluster.history_logs import read_log
    from cluster.history_table import export_history, history_document, require_history_target
    from sonotheque.cli.output import document, say, tell

    before = context.parent.params if context.parent else {}
    where = _given(store or before.get("store"), "sonotheque jobs report --store DIR")
    if out:
        require_history_target(Path(out))
    rows = [row for log in logs for row in read_log(log)]
    rows = [*job_history(where, speeds=True), *rows]
    if out:
        export_history(rows, Path(out))
        tell(f"{len(rows):,} jobs written to {out}")
    if as_json or before.get("as_json"):
        document(history_document(rows))
    elif not out:
        say(_report_table(rows) if rows else f"{where} has no job yet")
        _say_notes(rows, settings=True)
        _say_totals(rows)
    return 0


def _given(store: str | None, usage: str) -> str:
    if not store:
        raise Invalid(f"--store is missing: {usage}")
    return store


def _cell(value: float | None, form: str = ",d") -> str:
    return "?" if value is None else format(value, form)


def _machine(row: JobRow) -> str:
    return f"{row.machine} ({row.processor})" if row.machine and row.processor else row.machine or row.processor or "?"


def _name(row: JobRow) -> str:
    return str(row.job) if not row.name and row.source == "sonotheque" else f"{row.source} {row.name or row.job}"


def _table(rows: Sequence[JobRow]) -> str:
    from sonotheque.cli.output import seconds, table

    headings = ["job", "started", "state", "done", "skipped", "failed", "hours", "windows", "x realtime", "wall"]
    cells = [
        [
            _name(row),
            row.started or "?",
            row.state,
            *map(_cell, (row.done, row.skipped, row.failed)),
            _cell(row.hours, ",.2f"),
            _cell(row.windows),
            _cell(row.x_realtime, ",.1f"),
            seconds(row.wall_s),
            f"{row.engine} {row.precision}".strip() or "-",
            _machine(row),
            _cell(row.workers),
            row.device or "-",
        ]
        for row in rows
    ]
    return table([*headings, "engine", "machine", "workers", "device"], cells, right=(0, 3, 4, 5, 6, 7, 8, 9, 12))


def _report_table(rows: Sequence[JobRow]) -> str:
    from sonotheque.cli.output import size, table

    headings = ["job", "state", "files", "done", "failed", "hours", "x realtime", "a part: min", "mean", "max"]
    cells = [
        [
            _name(row),
            row.state,
            *map(_cell, (row.files, row.done, row.failed)),
            _cell(row.hours, ",.2f"),
            *(_cell(x, ",.1f") for x in (row.x_realtime, row.part_x_min, row.part_x_mean, row.part_x_max)),
            "?" if row.bytes is None else size(row.bytes),
            _cell(row.bytes_per_window, ",.0f"),
            _cell(row.workers),
            _machine(row),
        ]
        for row in rows
    ]
    more = ["written", "bytes/window", "workers", "machine"]
    return table([*headings, *more], cells, right=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12))


def _say_notes(rows: Sequence[JobRow], *, settings: bool = False) -> None:
    from cluster.history_table import counts_text, settings_text
    from sonotheque.cli.output import say

    for row in rows:
        told = [*([f"failed: {counts_text(row.failed_by_kind)}"] if row.failed_by_kind else []), *row.notes]
        if settings and row.settings:
            told.append(f"settings: {settings_text(row.settings)}")
        for text in told:
            say(f"  job {_name(row)}: {text}")


def _say_totals(rows: Sequence[JobRow]) -> None:
    from cluster.history_table import totals
    from sonotheque.cli.output import say, seconds

    found: list[dict[str, Any]] = totals(rows)
    for total in found:
        say(f"{total['source']}: {total['jobs']:,} jobs, {total['done']:,} files, {total['hours']:,.2f} h of audio")
        if total["timed_jobs"]:
            say(
                f"  {total['x_realtime']:,.1f} x realtime over {seconds(total['wall_s'])} of wall time, timed jobs {total['timed_jobs']:,}; "
                f"by job {total['job_x_min']:,.1f} to {total['job_x_max']:,.1f}, mean weighted by audio {total['job_x_mean']:,.1f}"
            )
        say(f"  hours and x realtime: {total['terms']}")
    say(
        "A part's x realtime is its audio over the seconds of its task: one worker's speed. The mean is weighted by audio."
    )
    if len(found) > 1:
        say(
            "Programs that measure different things on different machines are listed side by side; no ratio is made of them."
        )
