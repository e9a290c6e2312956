"""``sonotheque bench``: the benchmarks, from a source checkout."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(bench)  # without a callback, Typer folds a group of one verb into the verb
    group.command("embed", epilog="Example: sonotheque bench embed --minutes 60")(embed)
    app.add_typer(group, name="bench")


def bench() -> None:
    """Measure speed and size on this machine."""


def embed(
    model: str = typer.Option("birdnet_v2.4", "--model", metavar="NAME", help="Model to measure."),
    minutes: float = typer.Option(240.0, "--minutes", metavar="M", help="Minutes of FLAC to embed."),
    pairs: int = typer.Option(
        3, "--pairs", metavar="N", help="How often each comparison is repeated; medians are reported."
    ),
    quick: bool = typer.Option(False, "--quick", help="A short run, to see that it works; its figures mean little."),
    out: str = typer.Option(
        None, "--out", metavar="FILE", help="Write the results here [default: benchmarks/results/]."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> int:
    """Measure the main job: x-realtime, pipeline efficiency, two workers against one, bytes per window."""
    import importlib
    import sys
    from pathlib import Path

    import sonotheque
    from sonotheque.cli.output import document, say
    from sonotheque.core.errors import NotFound

    checkout = Path(sonotheque.__file__).parents[1]
    if not (checkout / "benchmarks" / "embed.py").exists():
        raise NotFound("the benchmarks are not part of the installed package: run this in a checkout of the source")
    sys.path.insert(0, str(checkout))
    bench = importlib.import_module("benchmarks.embed")
    result = bench.run(model=model, minutes=minutes, pairs=pairs, quick=quick, out=out)
    if as_json:
        document(result)
    else:
        say(bench.text(result))
    return 0
