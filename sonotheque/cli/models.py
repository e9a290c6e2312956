"""``sonotheque models``: what there is, and whether it runs here."""

from __future__ import annotations

import typer

_EPILOG = """Examples:

sonotheque models

sonotheque models check birdnet_v2.4

sonotheque models check perch_v2 --weights ~/perch_v2"""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None, epilog=_EPILOG)
    group.callback()(models)
    group.command("check", epilog="Example: sonotheque models check birdnet_v2.4")(check)
    app.add_typer(group, name="models")


def models(
    context: typer.Context, as_json: bool = typer.Option(False, "--json", help="Print one JSON document.")
) -> int:
    """List the models: rate, window, dimensions, classes, licence, and whether the weights are here."""
    if context.invoked_subcommand:
        return 0
    from dataclasses import asdict

    from embedder.models import DEFAULT_MODEL, MODELS, weights_status
    from sonotheque.cli.output import document, say, table

    found = {name: weights_status(name) for name in MODELS}
    if as_json:
        document({"models": [{**asdict(info), "weights": asdict(found[name])} for name, info in MODELS.items()]})
        return 0
    rows = [
        [
            f"{name}{' (default)' if name == DEFAULT_MODEL else ''}",
            f"{info.sample_rate_hz:,} Hz",
            f"{info.window_s:g} s",
            f"{info.dim:,}",
            f"{info.n_classes:,}",
            "here" if found[name].present else "not here",
            info.licence,
        ]
        for name, info in MODELS.items()
    ]
    say(table(["model", "rate", "window", "dim", "classes", "weights", "licence"], rows, right=(1, 2, 3, 4)))
    say()
    for name, info in MODELS.items():
        say(f"{name}: {info.title}. {info.note} Weights: {found[name].detail}")
    return 0


def check(
    name: str = typer.Argument(..., help="A model's name."),
    weights: str = typer.Option(None, "--weights", metavar="PATH", help="A local copy of the weights."),
    threads: int = typer.Option(1, "--threads", metavar="N", help="Threads of the engine."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> int:
    """Load a model, run one window, and print the engine and device really used."""
    from embedder.models import check_model
    from sonotheque.cli.output import document, say

    result = check_model(name, weights, threads)
    if as_json:
        document(result.to_json())
    else:
        say(f"{result.name}: {'ok' if result.ok else 'NOT OK'}")
        say(f"  engine   {result.engine}, {result.threads} thread{'s' if result.threads != 1 else ''}")
        say(f"  device   {result.device}")
        say(
            f"  speed    {result.ms_per_window:.1f} ms per window (batches of {result.batch_size}), loaded in {result.load_s:.1f} s"
        )
        say(f"  output   {result.dim:,} numbers and {result.n_classes:,} classes per window")
        say(f"  digest   {result.spec_digest}")
        if result.note:
            say(f"  note     {result.note}")
    return 0 if result.ok else 1
