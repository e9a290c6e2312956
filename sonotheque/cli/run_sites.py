"""``sonotheque run-sites``: a folder of sites in one command, and in the background if asked."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import typer

from sonotheque.cli.output import document, say, tell
from sonotheque.core.errors import Conflict, Invalid, Unavailable

_BEGUN_S: Final = 120.0  # at most: two processes load one after the other, on a machine that may be busy
_TOLD_AFTER_S: Final = 8.0
_POLL_S: Final = 0.1
_TAIL_LINES: Final = 20
_PASSED: Final = frozenset(
    {
        "model",
        "weights",
        "workers",
        "threads",
        "decoders",
        "scheduler",
        "cluster",
        "supervise",
        "restarts",
        "engine",
        "precision",
        "hop_s",
        "rate_factor",
        "no_predictions",
        "timezone",
        "clock_timezone",
        "time_pattern",
        "deployments",
        "times",
        "retry_failed",
    }
)
_EPILOG = """Examples:

sonotheque run-sites recordings season --timezone Europe/Paris

sonotheque run-sites recordings season --timezone Europe/Paris --workers 4 --supervise --detach

OUT gets store (the archive), report.csv (every recording), sites.csv (every site), summary.json and, if detached, run.log.
Run the same command again at any time: only what is missing or changed is done.
Exit codes: 0 all files are accounted for; 3 some files failed; 7 the store does not verify; 9 stopped; others are errors."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("run-sites", epilog=_EPILOG)(run_sites)


def run_sites(
    context: typer.Context,
    folder: str = typer.Argument(..., metavar="DIR", help="A folder; each of its subfolders is a site."),
    out: str = typer.Argument(..., metavar="OUT", help="Where the store and the reports go; made if it is not there."),
    model: str = typer.Option(None, "--model", metavar="NAME", help="As for embed [default: perch_v2]."),
    weights: str = typer.Option(None, "--weights", metavar="PATH", help="The model's weights."),
    workers: int | None = typer.Option(
        None, "--workers", metavar="N", help="Worker processes here [default: one per core, as memory allows]."
    ),
    threads: int | None = typer.Option(None, "--threads", metavar="N", help="Threads in each worker [default: 1]."),
    decoders: int = typer.Option(None, "--decoders", metavar="N", help="Decoder threads in each worker [default: 1]."),
    scheduler: str = typer.Option(None, "--scheduler", metavar="ADDRESS", help="A Dask scheduler that is running."),
    cluster: str | None = typer.Option(None, "--cluster", metavar="FILE", help="A cluster as a YAML file."),
    supervise: bool = typer.Option(False, "--supervise", help="Start a run again that dies, as embed does."),
    restarts: int = typer.Option(None, "--restarts", metavar="N", min=0, help="As for embed."),
    engine: str = typer.Option(None, "--engine", metavar="NAME", help="As for embed [default: auto]."),
    precision: str = typer.Option(None, "--precision", metavar="NAME", help="As for embed [default: auto]."),
    hop_s: float = typer.Option(None, "--hop-s", metavar="S", help="Seconds between window starts."),
    rate_factor: float = typer.Option(None, "--rate-factor", metavar="F", help="Time expansion; 10 for bats."),
    no_predictions: bool = typer.Option(False, "--no-predictions", help="Keep vectors only."),
    timezone: str = typer.Option(None, "--timezone", metavar="ZONE", help="IANA zone of the sites."),
    clock_timezone: str = typer.Option(None, "--clock-timezone", metavar="ZONE", help="Zone of the recorders' clocks."),
    time_pattern: str = typer.Option(None, "--time-pattern", metavar="REGEX", help="For names no built-in one knows."),
    deployments: str = typer.Option(None, "--deployments", metavar="CSV", help="Table of deployments."),
    times: str = typer.Option(None, "--times", metavar="CSV", help="Table of start times."),
    retry_failed: bool = typer.Option(False, "--retry-failed", help="Try files again that failed before."),
    deep: bool = typer.Option(False, "--deep", help="Read every vector back when the store is verified."),
    detached: bool = typer.Option(False, "--detach", help="Return when it has begun; it outlives the terminal."),
    wait: bool = typer.Option(False, "--wait", help="With --detach: look on until it ends, and exit with its code."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Embed a folder of sites, verify the store, and report: per recording and per site."""
    from cluster.sites import find_sites, require_apart
    from sonotheque.cli.batch import Batch
    from sonotheque.cli.children import DETACHED, arguments, detach
    from sonotheque.cli.placing import require_alone
    from store.fsops import store_errors

    if wait and not detached:
        raise Invalid("--wait is for --detach: without it the command waits anyway")
    require_alone(cluster, workers=workers, threads=threads)
    sites = find_sites(folder)
    require_apart(sites.folder, out)
    target = Path(out).expanduser().absolute()
    _require_free(target)
    try:
        with store_errors(str(target)):
            target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the output folder {out} cannot be made: {error.strerror}; choose another") from error
    if not detached:
        log = os.environ.pop(DETACHED, None)
        return Batch(
            sites,
            target,
            arguments(context, _PASSED),
            log=target / log if log else None,
            deep=deep,
            as_json=as_json,
            quiet=quiet,
        ).go()
    options = arguments(context, _PASSED | {"deep", "quiet"})
    from sonotheque.cli.batch import LOG

    log_file = target / LOG
    end_before = log_file.stat().st_size if log_file.exists() else 0
    process = detach(["run-sites", *options, "--", sites.folder, str(target)], log_file)
    return _detached(process, target, end_before, wait=wait, as_json=as_json)


def _require_free(out: Path) -> None:
    from cluster.keeper import keeper_of
    from sonotheque.cli.batch import STORE

    kept = keeper_of(str(out / STORE))
    if kept is not None and (process := kept.process) is not None:
        raise Conflict(
            f"another batch works on {out}, process {process.pid}. `sonotheque status --store {out / STORE}` shows it; "
            f"`sonotheque stop --store {out / STORE}` ends it",
            kind="busy",
        )


def _detached(process: subprocess.Popen[Any], out: Path, log_from: int, *, wait: bool, as_json: bool) -> int:
    """Wait until a batch has begun, and tell how to look at it; with ``wait`` until it has ended."""
    from sonotheque.cli.batch import LOG, STORE, summary_of
    from sonotheque.cli.watching import watch_run

    store, log = str(out / STORE), out / LOG
    code = _begun(process, store)
    if code:
        _show_end(log, log_from)
        raise Unavailable(f"the batch ended as soon as it had begun, with exit code {code}: {log} says why")
    if as_json and not wait:
        document({"pid": process.pid, "log": str(log), "store": store})
    elif not as_json:
        say(
            f"process {process.pid} works in the background and goes on when this terminal is closed; its output: {log}"
        )
        say(f"  sonotheque status --store {store} --watch")
        say(f"  sonotheque logs --store {store} --follow")
        say(f"  sonotheque stop --store {store}")
    if not wait:
        return 0
    if as_json:
        code = process.wait()
        document(summary_of(out))
        return code
    if process.poll() is None:
        watch_run(store)
    return process.wait()


def _begun(process: subprocess.Popen[Any], store: str) -> int | None:
    """Wait until a batch has begun a run, or is past it. Returns its exit code if it has ended."""
    from cluster.job import job_numbers
    from cluster.keeper import keeper_of

    before, began, told = job_numbers(store), time.monotonic(), False
    while process.poll() is None and time.monotonic() < began + _BEGUN_S:
        if not told and time.monotonic() > began + _TOLD_AFTER_S:
            told = True
            tell("it is looking at the recordings; Ctrl-C ends this waiting, not the run")
        kept = keeper_of(store)
        if job_numbers(store) != before or (kept and kept.told.get("pid") == process.pid and kept.stage == "verify"):
            break
        time.sleep(_POLL_S)
    return process.poll()


def _show_end(log: Path, log_from: int) -> None:
    """Print the last lines of what a batch has written."""
    with log.open("rb") as file:
        file.seek(log_from)
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in lines[-_TAIL_LINES:]:
        tell(f"| {line}")
