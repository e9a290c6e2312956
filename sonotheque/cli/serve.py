"""``sonotheque serve``: the archive over HTTP, and its page."""

from __future__ import annotations

import typer

_EPILOG = """Examples:

sonotheque serve --store archive

sonotheque serve --store archive --port 0 --recordings /media/disk/recordings

sonotheque serve --store archive --ingest season=/data/2025 --log-share 0.05

sonotheque serve --store archive --host 0.0.0.0 --allow-host birds.example.org

On this machine alone it is open. Where others can reach it, it needs keys: sonotheque keys create NAME --store archive"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("serve", epilog=_EPILOG)(serve)


def serve(
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder."),
    host: str = typer.Option("127.0.0.1", "--host", metavar="HOST", help="Where to listen; 0.0.0.0: everywhere."),
    port: int = typer.Option(None, "--port", metavar="N", help="Port to listen on [default: 8770]; 0: any free one."),
    recordings: str = typer.Option(
        None, "--recordings", metavar="DIR", help="Where the recordings are, if not where they were."
    ),
    ingest: list[str] = typer.Option(
        [], "--ingest", metavar="NAME=DIR", help="A folder whose recordings may be embedded from the page; repeatable."
    ),
    sql: bool = typer.Option(False, "--sql", help="Answer SQL too, from callers that have the scope sql."),
    log_share: float = typer.Option(
        0.0, "--log-share", metavar="SHARE", help="Share of the searches kept for review, without their sound."
    ),
    state: str = typer.Option(
        None, "--state", metavar="DIR", help="Folder of keys, clips and jobs [default: service in the store]."
    ),
    weights: str = typer.Option(None, "--weights", metavar="PATH", help="Local copy of the model's weights."),
    threads: int = typer.Option(
        0, "--threads", metavar="N", min=0, help="Threads of the model [default: 1 a core, at most 4]."
    ),
    allow_host: list[str] = typer.Option(
        [], "--allow-host", metavar="NAME", help="A name by which the service is called, besides its own; repeatable."
    ),
    rate: int = typer.Option(
        None, "--rate", metavar="N", min=0, help="Requests a minute of one caller; 0: any number."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document when it listens."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No line on stderr for each request."),
) -> int:
    """Serve an archive over HTTP: search by sound, listen, judge and train, from a browser or a program."""
    import dataclasses

    from search_api.threads import one_thread_each

    one_thread_each()  # before anything loads NumPy
    from search_api.http.settings import PORT, Limits, ServiceSettings
    from sonotheque.cli.output import document, say

    limits = Limits()
    if rate is not None:
        limits = dataclasses.replace(limits, rate_per_min=rate, upload_rate_per_min=rate)
    settings = ServiceSettings(
        store=store,
        state=state,
        host=host,
        port=PORT if port is None else port,
        allow_hosts=tuple(allow_host),
        recordings=recordings,
        ingest_roots=_roots(ingest),
        sql=sql,
        log_share=log_share,
        weights=weights,
        threads=threads,
        limits=limits,
    )

    def told(url: str) -> None:
        import sys

        if as_json:
            document({"url": url, "store": store})
        else:
            say(f"{store} is served at {url} (Ctrl-C ends it)")
        sys.stdout.flush()

    _logs(quiet=quiet)
    from search_api.http.serving import run

    run(settings, told)
    return 0


def _roots(given: list[str]) -> dict[str, str]:
    from sonotheque.core.errors import Conflict, Invalid

    found: dict[str, str] = {}
    for one in given:
        name, mark, folder = one.partition("=")
        if not mark or not name or not folder:
            raise Invalid(f"--ingest {one!r}: expected NAME=DIR, as season=/data/2025")
        if name in found:
            raise Conflict(f"--ingest names {name!r} twice: {found[name]} and {folder}")
        found[name] = folder
    return found


def _logs(*, quiet: bool) -> None:
    import logging

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("sonotheque").setLevel(logging.WARNING if quiet else logging.INFO)
