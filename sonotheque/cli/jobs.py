"""Looking after runs, from any terminal: ``status``, ``stop``, ``resume``, ``report``, ``verify``, ``info``."""

from __future__ import annotations

import typer

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("status", epilog="Example: sonotheque status --store archive")(status)
    app.command("stop", epilog="Example: sonotheque stop --store archive")(stop)
    app.command("resume", epilog="Example: sonotheque resume --store archive")(resume)
    app.command("report", epilog="Example: sonotheque report --store archive --out report.xlsx")(report)
    app.command("verify", epilog="Example: sonotheque verify --store archive --deep")(verify)
    app.command("info", epilog="Example: sonotheque info --store archive")(info)


def status(store: str = _STORE, as_json: bool = _JSON) -> int:
    """Tell how far the newest run is; also when every process of it is dead."""
    from cluster.status import job_status
    from sonotheque.cli.output import audio, document, say, seconds

    found = job_status(store)
    if as_json:
        document(found)
        return 0
    beat = found["heartbeat"]
    say(
        f"job {found['job']} is {found['state']}: {found['parts_committed']:,} of {found['parts_planned']:,} parts committed"
    )
    if "audio_s" in beat:
        say(
            f"  {beat['files']:,} of {beat['files_total']:,} files, {audio(beat['audio_s'])} of {audio(beat['audio_total_s'])}, "
            f"{beat['x_realtime']:,.0f} x realtime, {seconds(beat['eta_s'])} left"
        )
    say(f"  last word {beat.get('at', 'never')} from {beat.get('host', '?')}, process {beat.get('pid', '?')}")
    if found["state"] in ("dead", "stopped", "failed"):
        say(f"  go on with: sonotheque resume --store {store}")
    return 0


def stop(
    store: str = _STORE,
    wait: bool = typer.Option(False, "--wait", help="Return when the run has ended."),
    as_json: bool = _JSON,
) -> int:
    """Ask the running job to end: parts in flight are finished and committed, no new ones are begun."""
    from cluster.status import ask_stop
    from sonotheque.cli.output import document, say

    found = ask_stop(store, wait=wait)
    if as_json:
        document(found)
    elif found["asked"]:
        say(
            f"job {found['job']} was asked to stop; it is {found['state']} now. `sonotheque status --store {store}` shows it"
        )
    else:
        say(f"job {found['job']} is not running: it is {found['state']}")
    return 0


def resume(
    store: str = _STORE,
    job: int = typer.Option(
        None, "--job", metavar="N", help="A job's number [default: the newest that did not finish]."
    ),
    workers: int = typer.Option(None, "--workers", metavar="N", help="Another number of workers than before."),
    as_json: bool = _JSON,
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Run a job's command again, of the newest that did not finish: only what is missing or changed is done."""
    from cluster.resuming import resume as run
    from sonotheque.cli.embed import closing
    from sonotheque.cli.progress import watcher

    seen = watcher(quiet=quiet)
    try:
        outcome = run(store, seen, workers=workers, job=job)
    finally:
        seen.close()
    return closing(outcome.to_json(), clean=outcome.clean, report=None, as_json=as_json)


def report(
    store: str = _STORE,
    job: int = typer.Option(None, "--job", metavar="N", help="A job's number [default: the newest]."),
    out: str = typer.Option(
        None, "--out", metavar="FILE", help="Write the per-recording report: .csv, .jsonl or .xlsx."
    ),
    failed: bool = typer.Option(False, "--failed", help="Only files that failed."),
    as_json: bool = _JSON,
) -> int:
    """Print a run's summary, or write its per-recording report to a file."""
    from pathlib import Path

    from cluster.report import export_rows, require_target
    from cluster.status import job_report, job_rows
    from sonotheque.cli.output import document, say, tell
    from sonotheque.cli.summary import summary_lines

    if out:
        require_target("--out", Path(out))
    rows = job_rows(store, job, failed=failed)
    if out:
        count = export_rows(rows, Path(out))
        tell(f"{count:,} recordings written to {out}")
    summary = job_report(store, job)
    if as_json:
        document(summary)
    elif failed and not out:
        for row in rows:
            say(f"{row['status']:<13} {row['path']}: {row['reason']}")
    elif not out:
        say("\n".join(summary_lines(summary)))
    return 0


def verify(
    store: str = _STORE,
    deep: bool = typer.Option(False, "--deep", help="Also read every file: digests, and that every vector is finite."),
    as_json: bool = _JSON,
) -> int:
    """Prove that what was planned is committed, that no window is there twice, and that nothing is damaged.

    Looks at parts, all snapshots, the metadata and the annotations; changes nothing.
    """
    from cluster.status import verify_store
    from sonotheque.cli.output import document, say
    from sonotheque.core.errors import Damaged

    found = verify_store(store, deep=deep)
    if as_json:
        document(found.to_json())
    else:
        say(f"{'ok' if found.ok else 'NOT OK'}: {store}{' (deep)' if deep else ''}")
        say(
            f"  planned {found.planned:,} files, committed {found.committed:,}, missing {found.missing:,}, foreign {found.foreign:,}"
        )
        say(
            f"  {found.windows:,} windows in {found.parts:,} parts, duplicate windows {found.duplicate_windows:,}, "
            f"superseded rows {found.superseded_windows:,}, snapshot {found.snapshot}"
        )
        if len(found.precisions) > 1:
            mixed = ", ".join(f"{count:,} windows in {name}" for name, count in found.precisions.items())
            say(f"  precisions are mixed: {mixed}")
        say(f"  damaged files {found.damaged:,}")
        for path, why in found.damaged_files.items():
            say(f"    {path}: {why}")
        if found.dead_parts or found.unused_files:
            say(
                f"  no longer needed: {found.dead_parts:,} superseded parts, {len(found.unused_files):,} predictions files of no part; "
                f"`sonotheque gc --store {store}` removes them after their grace period"
            )
        for path in found.missing_paths[:10]:
            say(f"    missing: {path}")
        if found.missing:
            say(
                f"  `sonotheque resume --store {store}` embeds what is missing (--job N picks the run it was planned by)"
            )
    return 0 if found.ok else Damaged.exit_code


def info(store: str = _STORE, as_json: bool = _JSON) -> int:
    """Tell what a store holds: model, settings, sites, dates, windows, bytes."""
    from search_api.service import store_info
    from sonotheque.cli.output import document, say, size, table

    found = store_info(store)
    if as_json:
        document(found)
        return 0
    model = found["model"]
    say(
        f"{store}: {found['windows']:,} windows of {model['name']} ({model['dim']}-d, {model.get('precision', 'fp32')}, kept as "
        f"{found['dtype']}), {size(found['bytes'])}, "
        f"{found['parts']} parts, snapshot {found['snapshot']}"
    )
    if found["precision_mixed"]:
        say(f"  a run was allowed to mix precisions: `sonotheque verify --store {store}` counts them")
    say(
        f"  window {found['window_s']:g} s, hop {found['hop_s']:g} s, rate factor {found['rate_factor']:g}, top {found['top_k']} predictions a window"
    )
    rows = [
        [s["site"], s["first_date"] or "unknown", s["last_date"] or "unknown", s["recordings"], f"{s['windows']:,}"]
        for s in found["sites"]
    ]
    say(table(["site", "first date", "last date", "recordings", "windows"], rows, right=(3, 4)))
    return 0
