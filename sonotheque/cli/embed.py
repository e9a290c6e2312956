"""``sonotheque embed``: the main job."""

from __future__ import annotations

import typer

from sonotheque.cli.supervised import RESTARTS, RESTARTS_HELP, SUPERVISE_HELP, is_supervised, run_supervised

_MODEL_HELP = "perch_v2 (the default), perch_v1, birdnet_v2.4, placeholder; see `sonotheque models`."
_ENGINE_HELP = (
    "auto (the default): the fastest here whose vectors agree with the reference; reference: what the weights were published for; "
    "tensorflow, onnx, openvino, litert."
)
_PRECISION_HELP = "auto (the default): the store's, for a new store the fastest that passes; fp32, bf16, fp16, int8."
_CLUSTER_HELP = "A cluster as a YAML file: workers here, or what starts them elsewhere; see cluster/examples."
_ANONYMOUS_HELP = "Read s3:// and gs:// sources without looking for credentials: public buckets."
_EPILOG = """Examples:

sonotheque embed recordings --store archive --model birdnet_v2.4 --dry-run

sonotheque embed recordings --store archive --model birdnet_v2.4 --timezone Europe/Paris --workers 4

sonotheque embed recordings --store archive --scheduler tcp://node1:8786

sonotheque embed recordings --store archive --cluster slurm.yaml --dry-run

sonotheque embed recordings --store archive --workers 4 --supervise

sonotheque embed s3://bucket/season-2025 --store archive --timezone Europe/Paris

Run the same command again at any time: only what is missing or changed is done.
Exit codes: 0 all files are accounted for; 3 some files failed; 9 stopped; others are errors."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("embed", epilog=_EPILOG)(embed)


def embed(
    sources: list[str] = typer.Argument(
        ...,
        metavar="SRC",
        help="Folders of recordings (searched recursively) and files; also s3:// and gs:// addresses.",
    ),
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder; made if it is not there."),
    model: str = typer.Option(None, "--model", metavar="NAME", help=_MODEL_HELP),
    weights: str = typer.Option(
        None, "--weights", metavar="PATH", help="The model's weights: a folder, a file, or hf:OWNER/NAME/FILE.onnx."
    ),
    workers: int | None = typer.Option(
        None,
        "--workers",
        metavar="N",
        help="Worker processes here [default: one per core, as memory allows]; 0: no Dask.",
    ),
    threads: int | None = typer.Option(
        None, "--threads", metavar="N", help="Threads of the model's engine in each worker [default: 1]."
    ),
    decoders: int = typer.Option(
        1, "--decoders", metavar="N", help="Decoder threads in each worker; several for a GPU."
    ),
    scheduler: str = typer.Option(None, "--scheduler", metavar="ADDRESS", help="Use a Dask scheduler that is running."),
    cluster: str | None = typer.Option(None, "--cluster", metavar="FILE", help=_CLUSTER_HELP),
    engine: str = typer.Option("auto", "--engine", metavar="NAME", envvar="SONOTHEQUE_ENGINE", help=_ENGINE_HELP),
    precision: str = typer.Option(
        "auto", "--precision", metavar="NAME", envvar="SONOTHEQUE_PRECISION", help=_PRECISION_HELP
    ),
    mix_precision: bool = typer.Option(
        False, "--mix-precision", help="Let vectors of another precision than the store's into it; they are marked."
    ),
    hop_s: float = typer.Option(
        None, "--hop-s", metavar="S", help="Seconds between window starts [default: the window, no overlap]."
    ),
    rate_factor: float = typer.Option(
        None,
        "--rate-factor",
        metavar="F",
        help="Time expansion: 10 slows recordings down ten times (bats), 0.1 speeds them up (whales).",
    ),
    channels: str = typer.Option(
        None, "--channels", metavar="mean|first", help="How several channels become one [default: mean]."
    ),
    top_k: int = typer.Option(None, "--top-k", metavar="K", help="Predictions kept per window [default: 10]."),
    no_predictions: bool = typer.Option(False, "--no-predictions", help="Keep vectors only."),
    dtype: str = typer.Option(
        None, "--dtype", metavar="float16|float32", help="Type of the vectors' elements [default: float16]."
    ),
    site: str = typer.Option(None, "--site", metavar="NAME", help="Put all files under this site."),
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
        help="For file names no built-in pattern knows; named groups year month day hour minute second.",
    ),
    deployments: str = typer.Option(
        None, "--deployments", metavar="CSV", help="Table of deployments (Camtrap DP, pamDP or plain)."
    ),
    times: str = typer.Option(None, "--times", metavar="CSV", help="Table of start times: path, start."),
    root: str = typer.Option(
        None, "--root", metavar="DIR", help="Folder that stored paths are relative to [default: SRC]."
    ),
    prefix: str = typer.Option("", "--prefix", metavar="NAME", help="Put this in front of stored paths."),
    replace: bool = typer.Option(
        False, "--replace", help="The archive has moved: let files that differ replace those stored."
    ),
    retry_failed: bool = typer.Option(False, "--retry-failed", help="Try files again that failed before."),
    report: str = typer.Option(
        None, "--report", metavar="FILE", help="Also write the per-recording report here: .csv, .jsonl or .xlsx."
    ),
    anonymous: bool = typer.Option(False, "--anonymous", help=_ANONYMOUS_HELP),
    supervise: bool = typer.Option(False, "--supervise", help=SUPERVISE_HELP),
    restarts: int = typer.Option(RESTARTS, "--restarts", metavar="N", min=0, help=RESTARTS_HELP),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the plan, and what a cluster needs, and do nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Embed a folder of recordings into a store."""
    if supervise and not dry_run and not is_supervised():
        return run_supervised(store, restarts=restarts, quiet=quiet)  # the child looks at all the rest
    import os
    from dataclasses import replace as replace_in
    from pathlib import Path

    from cluster.options import EmbedOptions, default_workers
    from cluster.report import require_target
    from cluster.run import embed as run
    from cluster.settle import model_of
    from cluster.supervising import telling_supervisor
    from sonotheque.cli.placing import require_alone, show_plan
    from sonotheque.cli.progress import watcher

    if anonymous:
        # Workers of this machine have it too; those of others try without credentials by themselves.
        os.environ["SONOTHEQUE_ANONYMOUS"] = "1"
    options = EmbedOptions(
        sources=tuple(sources),
        store=store,
        root=root,
        prefix=prefix,
        model=model,
        weights=weights,
        hop_s=hop_s,
        rate_factor=rate_factor,
        channels=channels,
        dtype=dtype,
        top_k=0 if no_predictions else top_k,
        site=site,
        site_from=site_from,
        timezone=timezone,
        clock_timezone=clock_timezone,
        time_pattern=time_pattern,
        deployments=deployments,
        times=times,
        replace=replace,
        retry_failed=retry_failed,
        workers=0 if workers is None else workers,
        scheduler=scheduler,
        cluster=cluster,
        threads=1 if threads is None else threads,
        decoders=decoders,
        engine=engine,
        precision=precision,
        mix_precision=mix_precision,
    )
    require_alone(cluster, workers=workers, threads=threads)
    if workers is None and cluster is None:
        options = replace_in(options, workers=default_workers(model_of(options), weights))
    if report:
        require_target("--report", Path(report))
    if dry_run:
        return show_plan(options, as_json=as_json, quiet=quiet)
    seen = watcher(quiet=quiet)
    licence_notice(model_of(options), quiet=quiet)
    try:
        with telling_supervisor():
            outcome = run(options, seen)
    finally:
        seen.close()
    return closing(outcome.to_json(), clean=outcome.clean, report=report, as_json=as_json)


def licence_notice(model: str, *, quiet: bool) -> None:
    """Name the licence of non-free weights on every run that uses them."""
    from sonotheque.cli.output import tell

    if not quiet and model.startswith("birdnet"):
        from embedder.models.birdnet_weights import LICENCE_NOTICE

        tell(LICENCE_NOTICE)


def closing(outcome: dict[str, object], *, clean: bool, report: str | None, as_json: bool) -> int:
    """Print a run's summary and return its exit code."""
    from pathlib import Path

    from cluster.job import JobFolder
    from cluster.report import export_rows, read_rows
    from sonotheque.cli.output import document, say
    from sonotheque.cli.summary import summary_lines
    from sonotheque.core.errors import EXIT_FILES_FAILED, EXIT_OK, EXIT_STOPPED

    if as_json:
        document(outcome)
    else:
        say("\n".join(summary_lines(outcome)))
    if report:
        job = JobFolder(str(outcome["store"]), int(str(outcome["job"])))
        export_rows(read_rows(job.path), Path(report))
    if outcome["state"] == "stopped":
        return EXIT_STOPPED
    return EXIT_OK if clean else EXIT_FILES_FAILED
