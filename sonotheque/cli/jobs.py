"""Looking after runs, from any terminal: ``status``, ``stop``, ``resume``, ``report``, ``verify``, ``info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sonotheque.cli.supervised import RESTARTS, RESTARTS_HELP, SUPERVISE_HELP, is_supervised, run_supervised

if TYPE_CHECKING:
    from store import VerifyReport

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_STATUS = """Examples:

sonotheque status --store archive

sonotheque status --store archive --watch

Exit codes of --watch: 0 finished; 3 some files failed; 9 stopped; 1 ended by an error; 6 its process is gone."""
_STOP = """Examples:

sonotheque stop --store archive

sonotheque stop --store archive --finish-parts --wait"""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("status", epilog=_STATUS)(status)
    app.command("stop", epilog=_STOP)(stop)
    app.command("resume", epilog="Example: sonotheque resume --store archive")(resume)
    app.command("report", epilog="Example: sonotheque report --store archive --out report.xlsx")(report)
    app.command("verify", epilog="Example: sonotheque verify --store archive --deep")(verify)
    app.command("info", epilog="Example: sonotheque info --store archive")(info)


def status(
    store: str = _STORE,
    watch: bool = typer.Option(
        False, "--watch", "-w", help="Go on telling until the run has ended; exit with its code."
    ),
    every_s: float | None = typer.Option(
        None, "--every", metavar="S", help="With --watch: seconds between looks [default: 1; lines for a pipe: 10]."
    ),
    as_json: bool = _JSON,
) -> int:
    """Tell how far the newest run is; also when every process of it is dead."""
    from cluster.status import job_status
    from sonotheque.cli.output import document, say
    from sonotheque.cli.watching import status_lines, watch_run
    from sonotheque.core.errors import Invalid

    if every_s is not None and not (watch and 0.1 <= every_s <= 3600):
        raise Invalid(f"--every {every_s:g}: seconds between looks, from 0.1 to 3600, and only with --watch")
    if watch:
        return watch_run(store, every_s=every_s, as_json=as_json)
    found = job_status(store)
    if as_json:
        document(found)
    else:
        say("\n".join(status_lines(found, store)))
    return 0


def stop(
    store: str = _STORE,
    finish_parts: bool = typer.Option(
        False, "--finish-parts", help="Ask only: parts in flight are finished however long they take."
    ),
    wait: bool = typer.Option(False, "--wait", help="With --finish-parts: return when the run has ended."),
    as_json: bool = _JSON,
) -> int:
    """End the run and all of its processes within ten seconds; what is committed stays, and `resume` goes on from there.

    No part is begun any more; those in flight have seven seconds to be finished, and are embedded again by the next run if they
    are not. From another machine than the run's it can only ask.
    """
    from cluster.processes import age_s
    from cluster.status import ask_stop
    from cluster.stopping import GRACE_S, stop_now
    from sonotheque.cli.output import document, tell

    # The promise counts from when the command was given, and a busy machine takes seconds to load this.
    grace_s = max(GRACE_S / 2, GRACE_S - age_s())
    found = ask_stop(store, wait=wait) if finish_parts else stop_now(store, grace_s=grace_s, tell=tell)
    if as_json:
        document(found)
    else:
        _say_stopped(found, store)
    return 1 if found.get("left") else 0


def _say_stopped(found: dict[str, Any], store: str) -> None:
    from sonotheque.cli.output import say

    job = f"job {found['job']}" if found["job"] else "the run"
    if guest := found.get("guest"):
        said = "was asked to stop" if found["asked"] else "could not be asked yet"
        say(
            f"{job} {said}. Process {guest} is not a program of ours but calls it, as a notebook does: it is not ended by force. "
            f"Interrupt it there if need be; `sonotheque status --store {store}` shows it"
        )
    elif not found["asked"]:
        say(f"{job} is not running: it is {found['state']}")
    elif "processes" not in found or not found["here"]:
        where = f" on {found['host']} (where alone its processes can be ended)" if found.get("host") else ""
        say(f"{job}{where} was asked to stop; it is {found['state']} now. `sonotheque status --store {store}` shows it")
    else:
        how = ", with its parts in flight finished" if found["processes"] else ""
        how = ", by force; parts in flight are begun again" if found["forced"] else how
        say(f"{job} is {found['state']}{how}. {found['processes']} processes have ended")
        say(f"  go on with: sonotheque resume --store {store}")


def resume(
    store: str = _STORE,
    job: int = typer.Option(
        None, "--job", metavar="N", help="A job's number [default: the newest that did not finish]."
    ),
    workers: int = typer.Option(None, "--workers", metavar="N", help="Another number of workers than before."),
    supervise: bool = typer.Option(False, "--supervise", help=SUPERVISE_HELP),
    restarts: int = typer.Option(RESTARTS, "--restarts", metavar="N", min=0, help=RESTARTS_HELP),
    as_json: bool = _JSON,
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Run a job's command again, of the newest that did not finish: only what is missing or changed is done."""
    if supervise and not is_supervised():
        return run_supervised(store, restarts=restarts, quiet=quiet)
    from cluster.resuming import resume as run
    from cluster.supervising import telling_supervisor
    from sonotheque.cli.embed import closing
    from sonotheque.cli.progress import watcher

    seen = watcher(quiet=quiet)
    try:
        with telling_supervisor():
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
        say("\n".join(verify_lines(found, store, deep=deep)))
    return 0 if found.ok else Damaged.exit_code


def verify_lines(found: VerifyReport, store: str, *, deep: bool) -> list[str]:
    """Return what was proved, for people."""
    lines = [
        f"{'ok' if found.ok else 'NOT OK'}: {store}{' (deep)' if deep else ''}",
        f"  planned {found.planned:,} files, committed {found.committed:,}, missing {found.missing:,}, foreign {found.foreign:,}",
        f"  {found.windows:,} windows in {found.parts:,} parts, duplicate windows {found.duplicate_windows:,}, "
        f"superseded rows {found.superseded_windows:,}, snapshot {found.snapshot}",
    ]
    if len(found.precisions) > 1:
        mixed = ", ".join(f"{count:,} windows in {name}" for name, count in found.precisions.items())
        lines.append(f"  precisions are mixed: {mixed}")
    lines.append(f"  damaged files {found.damaged:,}")
    lines += [f"    {path}: {why}" for path, why in found.damaged_files.items()]
    if found.dead_parts or found.unused_files:
        lines.append(
            f"  no longer needed: {found.dead_parts:,} superseded parts, {len(found.unused_files):,} predictions files of no part; "
            f"`sonotheque gc --store {store}` removes them after their grace period"
        )
    lines += [f"    missing: {path}" for path in found.missing_paths[:10]]
    if found.missing:
        lines.append(
            f"  `sonotheque resume --store {store}` embeds what is missing (--job N picks the run it was planned by)"
        )
    return lines


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
