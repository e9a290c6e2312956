"""``sonotheque bench embed | engines | peers | roofline | season | gpu | planning | soak | supervision``: embedding, and what bounds it."""

from __future__ import annotations

from typing import Any

import typer

from sonotheque.cli.bench_calling import JSON, OUT, PAIRS, QUICK, found, measured


def register(group: typer.Typer) -> None:
    """Add the verbs."""
    group.command("embed", epilog="Example: sonotheque bench embed --minutes 60")(embed)
    group.command("engines", epilog="Example: sonotheque bench engines --model birdnet_v2.4")(engines)
    group.command("peers", epilog="Example: sonotheque bench peers --quick")(peers)
    group.command("roofline", epilog="Example: sonotheque bench roofline")(roofline)
    group.command("season", epilog="Example: sonotheque bench season --price-eur-per-core-hour 0.04")(season)
    group.command("gpu", epilog="Example: sonotheque bench gpu --windows 10000000")(gpu)
    group.command("planning", epilog="Example: sonotheque bench planning --files 1000000")(planning)
    group.command("soak", epilog="Example: sonotheque bench soak --parts 10000")(soak)
    group.command("supervision", epilog="Example: sonotheque bench supervision --runs 3")(supervision)


def embed(
    model: str = typer.Option("birdnet_v2.4", "--model", metavar="NAME", help="Model to measure."),
    weights: str = typer.Option(
        None, "--weights", metavar="PATH", help="Its weights; for perch_v2 a stand-in is made if there are none."
    ),
    minutes: float = typer.Option(60.0, "--minutes", metavar="M", min=3.0, help="Minutes of sound to embed."),
    pairs: int = typer.Option(3, "--pairs", metavar="N", help=PAIRS),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure the main job: x-realtime, pipeline efficiency, two workers against one, bytes per window."""
    settings = {"model": model, "weights": weights, "minutes": minutes, "pairs": pairs}
    return measured("embed", as_json, **settings, quick=quick, out=out, quiet=as_json)


def engines(
    models: list[str] = typer.Option(
        [], "--model", metavar="NAME", help="Model to measure; may be repeated [default: all that are here]."
    ),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure every engine and precision of a model: speed, and whether its vectors are the reference's."""
    return measured("engines", as_json, models=tuple(models) or None, quick=quick, out=out, quiet=as_json)


def peers(
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure what people use today to embed, beside this program: the same files, cores and run."""
    return measured("peers_embed", as_json, quick=quick, out=out, quiet=as_json)


def roofline(
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Count operations and bytes a window, measure this machine's peak, and say which share of it is reached."""
    return measured("roofline", as_json, quick=quick, out=out, quiet=as_json)


def season(
    price_eur_per_core_hour: float = typer.Option(
        None, "--price-eur-per-core-hour", metavar="EUR", min=0.0, help="What a core costs for an hour."
    ),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Work out hours and euros of a season of 17,940 h on 1, 10 and 100 nodes, from measured figures of a core."""
    return measured("season", as_json, price_eur_per_core_hour=price_eur_per_core_hour, out=out)


def gpu(
    only: str = typer.Option(None, "--only", metavar="search|embed", help="One of the two alone."),
    windows: int = typer.Option(10_000_000, "--windows", metavar="N", min=1, help="Size of the largest set searched."),
    repeats: int = typer.Option(30, "--repeats", metavar="N", min=1, help="How often each search is repeated."),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(
        None, "--out", metavar="FILE", help=f"{OUT} Of --only one of the two; else both names are fixed."
    ),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure exact search in the memory of a GPU, as a share of its bandwidth, and embedding on it; needs a GPU."""
    from sonotheque.cli.output import document, say, tell
    from sonotheque.core.errors import Invalid, SonothequeError

    if only not in (None, "search", "embed") or (out and not only):
        raise Invalid("--only takes search or embed, and --out takes the file of the one that --only names")
    results: dict[str, Any] = {}
    texts, refused = [], []
    for name in (only,) if only else ("search", "embed"):
        try:
            sizes = {"windows": windows, "repeats": repeats} if name == "search" else {}
            result, words = found(f"gpu_{name}", **sizes, quick=quick, out=out, quiet=as_json)
        except SonothequeError as error:  # the one may have what the other lacks: FAISS, or ONNX Runtime
            refused.append(error)
            continue
        results[name] = result
        texts.append(words(result))
    for why in refused if results else refused[1:]:
        tell(f"sonotheque: {why.message}")
    if not results:
        raise refused[0]
    if as_json:
        document(results)
    else:
        say("\n\n".join(texts))
    return 0


def planning(
    files: int = typer.Option(1_000_000, "--files", metavar="N", min=1000, help="Files of the synthetic listing."),
    real: int = typer.Option(
        100_000, "--real", metavar="N", min=100, help="Files that are written and planned for real."
    ),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure the plan of a season: seconds and memory to the first task, of a fresh store and of one that has all files."""
    return measured("planning", as_json, files=files, real=real, quick=quick, out=out, quiet=as_json)


def soak(
    parts: int = typer.Option(10_000, "--parts", metavar="N", min=10, help="Small parts to send through the cluster."),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Watch the memory and open files of coordinator and scheduler while ten thousand parts go through them."""
    return measured("soak", as_json, parts=parts, quick=quick, out=out, quiet=as_json)


def supervision(
    runs: int = typer.Option(3, "--runs", metavar="N", min=1, help="Runs under supervision."),
    files: int = typer.Option(400, "--files", metavar="N", min=1, help="Recordings of ten minutes in each."),
    quick: bool = typer.Option(False, "--quick", help=QUICK),
    out: str = typer.Option(None, "--out", metavar="FILE", help=OUT),
    as_json: bool = typer.Option(False, "--json", help=JSON),
) -> int:
    """Measure what heartbeats and a supervisor cost: their processor time beside that of the run they look after."""
    return measured("supervision", as_json, runs=runs, files=files, quick=quick, out=out, quiet=as_json)
