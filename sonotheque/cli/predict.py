"""``sonotheque predict``: the model's classes for chosen windows, on request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sonotheque.cli.filters import with_filter
from sonotheque.cli.opening import opened
from sonotheque.core.filters import SearchFilter

if TYPE_CHECKING:
    from search_api.predicting import Predictions

_SHOWN = 40
_EPILOG = """Examples:

sonotheque predict --store archive --site creek --hours 22:00-04:00 --out night.csv

sonotheque predict --store archive --annotated --top-k 3

For archives embedded with --no-predictions, or when ten classes a window are not enough. The recordings are read again; the store
is not changed. Exit codes: 0 all windows were heard; 3 some recordings could not be; others are errors."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("predict", epilog=_EPILOG)(with_filter(predict))


def predict(
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder."),
    top_k: int = typer.Option(10, "--top-k", metavar="K", help="Classes a window."),
    out: str = typer.Option(
        None, "--out", metavar="FILE", help="A new .csv or .parquet [default: the best are printed]."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file."),
    limit: int = typer.Option(None, "--limit", metavar="N", min=1, help="At most so many windows, by path and time."),
    weights: str = typer.Option(
        None,
        "--weights",
        metavar="PATH",
        help="The model's weights, a file or hf:OWNER/NAME/FILE.onnx; those with the classes.",
    ),
    threads: int = typer.Option(1, "--threads", metavar="N", min=1, help="Threads of the model's engine."),
    recordings: str = typer.Option(
        None,
        "--recordings",
        metavar="DIR",
        help="Where the recordings are now [default: where they were embedded from].",
    ),
    *,
    where: SearchFilter,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Tell what the model takes windows for, hearing them again in their recordings."""
    from embedder.choosing import load_like
    from search_api.locating import Locator
    from search_api.predicting import predict as run
    from sonotheque.cli.export import progress
    from sonotheque.cli.output import document
    from sonotheque.core.errors import EXIT_FILES_FAILED
    from store.formats.whole import require_free

    if out:
        _require_form(out)
        require_free(Path(out), overwrite=overwrite, folder=False, store=store)
    with opened(store, None, skip_damaged=False) as archive:
        model = load_like(archive.config.model, weights=weights, threads=threads)
        locator = Locator.of(store, recordings)
        found = run(archive, model, locator, where, top_k=top_k, limit=limit, progress=None if quiet else progress())
    if out:
        _write(found, Path(out), overwrite=overwrite)
    if as_json:
        told = {"store": store, "model": model.spec.to_json(), "windows": found.windows, "failures": found.failures}
        document({**told, "out": out} if out else {**told, "predictions": found.table.to_pylist()})
    else:
        _say(found, out)
    return EXIT_FILES_FAILED if found.failures else 0


def _require_form(out: str) -> None:
    from sonotheque.core.errors import Invalid

    if Path(out).suffix.lower() not in (".csv", ".parquet"):
        raise Invalid(f"--out {out}: expected a name that ends in .csv or .parquet")


def _write(found: Predictions, target: Path, *, overwrite: bool) -> None:
    import pyarrow.parquet as pq

    from store.formats import write_plain_csv
    from store.formats.whole import whole_files

    with whole_files(target, overwrite=overwrite) as (temporary,):
        if target.suffix.lower() == ".parquet":
            pq.write_table(found.table, temporary)
        else:
            with temporary.open("wb") as handle:
                write_plain_csv([found.table], found.table.schema, handle)


def _say(found: Predictions, out: str | None) -> None:
    from sonotheque.cli.output import label, say, table, tell

    if not found.windows and not found.failures:
        say("no window matches")
    elif out:
        say(f"{found.table.num_rows:,} predictions of {found.windows:,} windows written to {out}")
    else:
        rows = [
            [
                row["path"],
                f"{row['start_s']:g}",
                row["local_start"] or "",
                row["rank"],
                label(row["label"]),
                f"{row['score']:.3f}",
            ]
            for row in found.table.slice(0, _SHOWN).to_pylist()
        ]
        say(table(["recording", "at s", "local time", "rank", "class", "score"], rows, right=(1, 3, 5)))
        if found.table.num_rows > _SHOWN:
            say(f"{found.table.num_rows - _SHOWN:,} more: --out FILE.csv writes all")
    for failure in found.failures[:5]:
        tell(f"{failure['path']}: {failure['windows']:,} windows were not heard: {failure['reason']}")
    if len(found.failures) > 5:
        tell(f"{len(found.failures) - 5:,} more recordings could not be heard")
