"""``sonotheque bench store | search | probes | api | import``: what works on a store."""

from __future__ import annotations

import typer

from sonotheque.cli.bench_calling import JSON, OUT, PAIRS, QUICK, measured


def register(group: typer.Typer) -> None:
    """Add the verbs."""
    group.command("store", epilog="Example: sonotheque bench store --windows 5000000 --pairs 7")(store)
    group.command("search", epilog="Example: sonotheque bench search --windows 100000")(search)
    group.command("probes", epilog="Example: sonotheque bench probes --quick")(probes)
    group.command("api", epilog="Example: sonotheque bench api --quick")(api)
    group.command("import", epilog="Example: sonotheque bench import --windows 20000")(import_)


def store(
    windows: int = typer.Option(5_000_000, "--windows", metavar="N", min=1, help="Size of the synthetic store."),
    pairs: int = typer.Option(7, "--pairs", metavar="N", min=1, help=PAIRS),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    rebuild: bool = typer.Option(False, "--rebuild", help="Make the store again, also if it is there."),
    keep: bool = typer.Option(True, "--keep/--no-keep", help="Leave the store in .bench/ for the next run."),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure questions to a large store, beside plain DuckDB over the same files: opening, activity, dawn hours, vectors."""
    return measured(
        "ask", as_json, windows=windows, pairs=pairs, quick=quick, rebuild=rebuild, keep=keep, out=out, quiet=as_json
    )


def search(
    windows: int = typer.Option(1_000_000, "--windows", metavar="N", min=1, help="Size of the generated archive."),
    dim: int = typer.Option(1536, "--dim", metavar="N", min=8, help="Length of its vectors."),
    queries: int = typer.Option(200, "--queries", metavar="N", min=1, max=500, help="Queries that are asked."),
    peers: bool = typer.Option(
        True,
        "--peers/--no-peers",
        help="Measure other programs as well, from an environment of their own in .bench/.",
    ),
    peer_windows: int = typer.Option(
        100_000, "--peer-windows", metavar="N", min=1, help="Size of the archive for them, if smaller than --windows."
    ),
    usearch: bool = typer.Option(
        False, "--usearch", help="Measure usearch on all windows too; half an hour for a million."
    ),
    real: str = typer.Option(
        None, "--real", metavar="DIR", help="Measure on this store as well, or on these recordings, which are embedded."
    ),
    hop_s: float = typer.Option(0.5, "--hop-s", metavar="S", help="Seconds between the windows of these."),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    rebuild: bool = typer.Option(False, "--rebuild", help="Make the store again, also if it is there."),
    keep: bool = typer.Option(True, "--keep/--no-keep", help="Leave the store in .bench/ for the next run."),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure search: recall beside every time, filtered and not, building, opening, memory, and other programs beside it."""
    settings = {
        "windows": windows,
        "dim": dim,
        "queries": queries,
        "peers": peers,
        "peer_windows": peer_windows,
        "usearch": usearch,
        "real": real,
        "hop_s": hop_s,
    }
    return measured("search", as_json, **settings, quick=quick, rebuild=rebuild, keep=keep, out=out, quiet=as_json)


def probes(
    peers: bool = typer.Option(
        True, "--peers/--no-peers", help="perch-hoplite too, from an environment of its own in .bench/."
    ),
    real: str = typer.Option(
        None, "--real", metavar="STORE", help="Judge on this store's confident labels too; birdnet_v2.4."
    ),
    windows: int = typer.Option(
        100_000, "--windows", metavar="N", min=1, help="Size of the archive that probes run over."
    ),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure probes: training beside perch-hoplite and scikit-learn, many at once, and running them over an archive."""
    return measured("probes", as_json, peers=peers, real=real, windows=windows, quick=quick, out=out, quiet=as_json)


def api(
    windows: int = typer.Option(1_000_000, "--windows", metavar="N", min=1, help="Size of the generated archive."),
    seconds: float = typer.Option(30.0, "--seconds", metavar="S", min=1.0, help="Length of each load."),
    real: str = typer.Option(
        None,
        "--real",
        metavar="STORE",
        help="Measure pictures and the page on this store; its recordings must be at hand.",
    ),
    page: bool = typer.Option(True, "--page/--no-page", help="The page in headless Chromium too, if there is one."),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure the service: searches by sound and by window, pictures, its start, and three kinds of users at once."""
    return measured(
        "api", as_json, windows=windows, seconds=seconds, real=real, page=page, quick=quick, out=out, quiet=as_json
    )


def import_(
    windows: int = typer.Option(20_000, "--windows", metavar="N", min=1, help="Size of the source that is imported."),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure what an import of perch-cpu-inference output saves and costs: bytes, cosine to the source, seconds, memory."""
    return measured("imports", as_json, windows=windows, quick=quick, out=out)
