"""``sonotheque models``: what there is, and whether it runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from embedder.choosing import Choice

_EPILOG = """Examples:

sonotheque models

sonotheque models check birdnet_v2.4

sonotheque models check perch_v2 --weights ~/perch_v2

sonotheque models engines birdnet_v2.4"""
_ENGINES_EPILOG = """Examples:

sonotheque models engines birdnet_v2.4

sonotheque models engines perch_v2 --weights hf:justinchuby/Perch-onnx/perch_v2.onnx --no-predictions

What is found is kept for this machine ($SONOTHEQUE_CACHE, else ~/.cache/sonotheque), and embedding goes by it.
int8 is tried if --precision int8 asks for it, and is never chosen unasked."""
_NAME_HELP = "A model's name."
_WEIGHTS_HELP = "A local copy of the weights, or hf:OWNER/NAME/FILE.onnx."


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(invoke_without_command=True, rich_markup_mode=None, epilog=_EPILOG)
    group.callback()(models)
    group.command("check", epilog="Example: sonotheque models check birdnet_v2.4")(check)
    group.command("engines", epilog=_ENGINES_EPILOG)(engines)
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
    name: str = typer.Argument(..., help=_NAME_HELP),
    weights: str = typer.Option(None, "--weights", metavar="PATH", help=_WEIGHTS_HELP),
    threads: int = typer.Option(1, "--threads", metavar="N", help="Threads of the engine."),
    engine: str = typer.Option(
        None,
        "--engine",
        metavar="NAME",
        help="tensorflow, onnx, openvino, litert; auto: what `models engines` finds [default: the one of the weights].",
    ),
    precision: str = typer.Option(
        None, "--precision", metavar="NAME", help="fp32, bf16, fp16, int8; auto as for --engine [default: fp32]."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> int:
    """Load a model, run one window, and print the engine, precision and device really used."""
    from embedder.choosing import AUTO, choose
    from embedder.models import check_model
    from sonotheque.cli.output import document, say, tell

    if AUTO in (engine, precision):
        choice = choose(name, weights, engine=engine or AUTO, precision=precision or AUTO, threads=threads, tell=tell)
        engine, precision = choice.engine or "", choice.precision
    result = check_model(name, weights, threads, engine=engine or None, precision=precision or "fp32")
    if as_json:
        document(result.to_json())
    else:
        say(f"{result.name}: {'ok' if result.ok else 'NOT OK'}")
        say(f"  engine   {result.engine}, {result.threads} thread{'s' if result.threads != 1 else ''}")
        say(f"  numbers  {result.precision}")
        say(f"  device   {result.device}")
        say(
            f"  speed    {result.ms_per_window:.1f} ms per window (batches of {result.batch_size}), loaded in {result.load_s:.1f} s"
        )
        say(f"  output   {result.dim:,} numbers and {result.n_classes:,} classes per window")
        say(f"  digest   {result.spec_digest}")
        if result.note:
            say(f"  note     {result.note}")
    return 0 if result.ok else 1


def engines(
    name: str = typer.Argument(..., help=_NAME_HELP),
    weights: str = typer.Option(None, "--weights", metavar="PATH", help=_WEIGHTS_HELP),
    engine: str = typer.Option("auto", "--engine", metavar="NAME", help="Try this one alone."),
    precision: str = typer.Option("auto", "--precision", metavar="NAME", help="Try this one alone."),
    threads: int = typer.Option(1, "--threads", metavar="N", help="Threads of the engine."),
    no_predictions: bool = typer.Option(
        False, "--no-predictions", help="Vectors only: the label head is neither run nor compared."
    ),
    again: bool = typer.Option(False, "--again", help="Measure, whatever is known of this machine from before."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> int:
    """Try every engine and precision of a model here: speed, agreement with the reference, and which is chosen."""
    from embedder.choosing import choose
    from sonotheque.cli.output import document, say, tell

    choice = choose(
        name,
        weights,
        engine=engine,
        precision=precision,
        logits=not no_predictions,
        threads=threads,
        tell=tell,
        again=again,
        everything=True,
    )
    if as_json:
        document({"model": name, "weights": weights, "predictions": not no_predictions, **choice.to_json()})
        return 0
    if choice.measured:
        say(_engines_table(choice))
        say()
        for m in choice.measured:
            if not m.passes:
                say(f"{m.name}: {m.verdict}")
    say(f"{name}: {choice.name} is used: {choice.why}")
    if choice.warning:
        say(f"Warning: {choice.warning}")
    return 0


def _engines_table(choice: Choice) -> str:
    from sonotheque.cli.output import table

    rows = []
    for m in choice.measured:
        chosen = "chosen" if (m.engine, m.precision) == (choice.engine, choice.precision) else ""
        f = m.fidelity
        if f is None:
            rows.append([m.engine, m.precision, *["-"] * 6, m.state])
            continue
        rows.append(
            [
                m.engine,
                m.precision,
                f"{m.cpu_ms if m.on_cpu else m.wall_ms:.2f}",
                f"{m.x_realtime:,.0f}",
                f"{f.cosine_min:.5f}",
                f"{f.cosine_median:.5f}",
                "-" if f.top1_agreement is None else f"{f.top1_agreement:.3f}",
                f"{f.neighbours_at_10:.3f}",
                ", ".join(filter(None, ("passes" if m.passes else "too far off", chosen))),
            ]
        )
    headings = [
        "engine",
        "precision",
        "ms/window",
        "x realtime",
        "cos min",
        "cos median",
        "top-1",
        "nearest 10",
        "verdict",
    ]
    return table(headings, rows, right=range(2, 8))
