"""``sonotheque bench``: the benchmarks, from a source checkout."""

from __future__ import annotations

from typing import Any

import typer

_PAIRS = "How often each comparison is repeated; medians are reported."
_OUT = "Write the results here [default: benchmarks/results/]."
_QUICK = "A short run, to see that it works; its figures mean little."
_JSON = "Print one JSON document."


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(bench)
    group.command("embed", epilog="Example: sonotheque bench embed --minutes 60")(embed)
    group.command("store", epilog="Example: sonotheque bench store --windows 5000000 --pairs 7")(store)
    group.command("search", epilog="Example: sonotheque bench search --windows 100000")(search)
    group.command("probes", epilog="Example: sonotheque bench probes --quick")(probes)
    group.command("api", epilog="Example: sonotheque bench api --quick")(api)
    group.command("gpu", epilog="Example: sonotheque bench gpu --windows 10000000")(gpu)
    group.command("import", epilog="Example: sonotheque bench import --windows 20000")(import_)
    app.add_typer(group, name="bench")


def bench() -> None:
    """Measure speed and size on this machine."""


def embed(
    model: str = typer.Option("birdnet_v2.4", "--model", metavar="NAME", help="Model to measure."),
    minutes: float = typer.Option(240.0, "--minutes", metavar="M", help="Minutes of FLAC to embed."),
    pairs: int = typer.Option(3, "--pairs", metavar="N", help=_PAIRS),
    quick: bool = typer.Option(False, "--quick", help=_QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=_OUT),
    as_json: bool = typer.Option(False, "--json", help=_JSON),
) -> int:
    """Measure the main job: x-realtime, pipeline efficiency, two workers against one, bytes per window."""
    return _measured("embed", as_json, model=model, minutes=minutes, pairs=pairs, quick=quick, out=out)


def store(
    windows: int = typer.Option(5_000_000, "--windows", metavar="N", min=1, help="Size of the synthetic store."),
    pairs: int = typer.Option(7, "--pairs", metavar="N", min=1, help=_PAIRS),
    quick: bool = typer.Option(False, "--quick", help=_QUICK),
    rebuild: bool = typer.Option(False, "--rebuild", help="Make the store again, also if it is there."),
    keep: bool = typer.Option(True, "--keep/--no-keep", help="Leave the store in .bench/ for the next run."),
    out: str = typer.Option(None, "--out", metavar="FILE", help=_OUT),
    as_json: bool = typer.Option(False, "--json", help=_JSON),
) -> int:
    """Measure questions to a large store, beside plain DuckDB over the same files: opening, activity, dawn hours, vectors."""
    return _measured(
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
    quick: bool = typer.Option(False, "--quick", help=_QUICK),
    rebuild: bool = typer.Option(False, "--rebuild", help="Make the store again, also if it is there."),
    keep: bool = typer.Option(True, "--keep/--no-keep", help="Leave the store in .bench/ for the next run."),
    out: str = typer.Option(None, "--out", metavar="FILE", help=_OUT),
    as_json: bool = typer.Option(False, "--json", help=_JSON),
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
    return _measured("search", as_json, **settings, quick=quick, rebuild=rebuild, keep=keep, out=out, quiet=as_json)


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
    quick: bool = typer.Option(False, "--quick", help=_QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=_OUT),
    as_json: bool = typer.Option(False, "--json", help=_JSON),
) -> int:
    """Measure probes: training beside perch-hoplite and scikit-learn, many at once, and running them over an archive."""
    return _measured("probes", as_json, peers=peers, real=real, windows=windows, quick=quick, out=out, quiet=as_json)


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
    quick: bool = typer.Option(False, "--quick", help=_QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=_OUT),
    as_json: bool = typer.Option(False, "--json", help=_JSON),
) -> int:
    """Measure the service: searches by sound and by window, pictures, its start, and three kinds of users at once."""
    return _measured(
        "api", as_json, windows=windows, seconds=seconds, real=real, page=page, quick=quick, out=out, quiet=as_json
    )


def gpu(
    windows: int = typer.Option(10_000_000, "--windows", metavar="N", min=1, help="Size of the largest set searched."),
    repeats: int = typer.Option(30, "--repeats", metavar="N", min=1, help="How often each search is repeated."),
    quick: bool = typer.Option(False, "--quick", help=_QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=_OUT),
    as_json: bool = typer.Option(False, "--json", help=_JSON),
) -> int:
    """Measure exact search in the memory of a GPU, as a share of its bandwidth; needs the extra gpu and a GPU."""
    return _measured("gpu_search", as_json, windows=windows, repeats=repeats, quick=quick, out=out, quiet=as_json)


def import_(
    windows: int = typer.Option(20_000, "--windows", metavar="N", min=1, help="Size of the source that is imported."),
    quick: bool = typer.Option(False, "--quick", help=_QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=_OUT),
    as_json: bool = typer.Option(False, "--json", help=_JSON),
) -> int:
    """Measure what an import of perch-cpu-inference output saves and costs: bytes, cosine to the source, seconds, memory."""
    return _measured("imports", as_json, windows=windows, quick=quick, out=out)


def _measured(module: str, as_json: bool, **settings: Any) -> int:
    import importlib
    import sys
    from pathlib import Path

    import sonotheque
    from sonotheque.cli.output import document, say
    from sonotheque.core.errors import NotFound

    checkout = Path(sonotheque.__file__).parents[1]
    if not (checkout / "benchmarks" / f"{module}.py").exists():
        raise NotFound("the benchmarks are not part of the installed package: run this in a checkout of the source")
    sys.path.insert(0, str(checkout))
    measuring = importlib.import_module(f"benchmarks.{module}")
    result = measuring.run(**settings)
    if as_json:
        document(result)
    else:
        say(measuring.text(result))
    return 0
