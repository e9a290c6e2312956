"""CSV tables of detections: BirdNET's columns and more on request, Kaleidoscope's, and one tidy table for R."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Final

import polars as pl

from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean
from store.formats.detections import Detections, Facts, Written
from store.formats.text import common_or_label, local_iso, rounded, utc_iso, week_48, write_csv

BIRDNET: Final = ("Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File")
KALEIDOSCOPE: Final = (
    "INDIR",
    "FOLDER",
    "IN FILE",
    "OFFSET",
    "DURATION",
    "scientific_name",
    "common_name",
    "confidence",
    "lat",
    "lon",
    "week",
    "overlap",
    "sensitivity",
)
TIDY: Final = (
    "recording",
    "site",
    "deployment",
    "date",
    "local_time",
    "utc",
    "start_s",
    "end_s",
    "lat",
    "lon",
    "week",
    "label",
    "scientific",
    "common",
    "score",
    "rank",
    "model",
)


def columns_of(facts: Facts) -> dict[str, pl.Expr]:
    """Return every column that a table can have by its name, over the frames of :class:`Detections`."""
    model = f"{facts.model} {facts.version}".strip()
    return {
        "recording": pl.col("path"),
        "site": pl.col("site"),
        "deployment": pl.col("deployment"),
        "date": pl.col("local_start").dt.date(),
        "local_time": local_iso(),
        "utc": utc_iso(),
        "start_s": rounded("start_s"),
        "end_s": rounded("end_cut_s"),
        "lat": pl.col("latitude"),
        "lon": pl.col("longitude"),
        "week": week_48(),
        "label": pl.col("label"),
        "scientific": pl.col("scientific"),
        "common": pl.col("common"),
        "score": rounded("score"),
        "logit": rounded("logit"),
        "rank": pl.col("rank"),
        "model": pl.lit(model or None, pl.String),
        "overlap": pl.lit(facts.overlap_s, pl.Float64),
        "sensitivity": pl.lit(facts.sensitivity, pl.Float64),
        "sample_rate": pl.col("sample_rate_hz"),
        "duration": rounded("duration_s"),
    }


def chosen_columns(asked: Sequence[str]) -> list[str]:
    """Return the names of extra columns, from names or comma-separated lists of them.

    Raises
    ------
    Invalid
        If there is no such column.
    """
    known = columns_of(Facts())
    names = [name.strip() for text in asked for name in text.replace(",", " ").split()]
    for name in names:
        if name not in known:
            raise Invalid(
                f"--columns {name}: there is no such column; {did_you_mean(name, known)}", kind="unknown_column"
            )
    return list(dict.fromkeys(names))


def write_birdnet_csv(detections: Detections, handle: IO[bytes], *, columns: Sequence[str] = ()) -> Written:
    """Write BirdNET's CSV columns, and more.

    Parameters
    ----------
    detections : Detections
    handle : binary file
    columns : sequence of str
        Further columns, of :func:`columns_of`.
    """
    known = columns_of(detections.facts)
    own = {
        "Start (s)": known["start_s"],
        "End (s)": known["end_s"],
        "Scientific name": known["scientific"],
        "Common name": common_or_label(),
        "Confidence": known["score"],
        "File": pl.col("file"),
    }
    return _write(detections, handle, own | {name: known[name] for name in chosen_columns(columns)})


def write_tidy(detections: Detections, handle: IO[bytes], *, columns: Sequence[str] = ()) -> Written:
    """Write one row a detection with all that is known of it, in columns that R reads without cleaning."""
    known = columns_of(detections.facts)
    return _write(detections, handle, {name: known[name] for name in dict.fromkeys([*TIDY, *chosen_columns(columns)])})


def write_kaleidoscope(detections: Detections, handle: IO[bytes]) -> Written:
    """Write Kaleidoscope's columns; what is not known is left empty, also coordinates."""
    known = columns_of(detections.facts)
    path, file = pl.col("path"), pl.col("file")
    folder = pl.when(path.str.contains("/", literal=True)).then(path.str.replace(r"/[^/]*$", "")).otherwise(pl.lit(""))
    # What is left of the place where a file lies without its own path is the folder that the paths are relative to.
    is_below = file.str.ends_with(path) | file.str.replace_all("\\", "/", literal=True).str.ends_with(path)
    above = pl.when(is_below).then(file.str.head(file.str.len_chars() - path.str.len_chars()))
    values = (
        pl.coalesce(above.str.strip_chars_end("/\\"), pl.lit("")),
        folder,
        path.str.replace(r"^.*/", ""),
        known["start_s"],
        (pl.col("end_cut_s") - pl.col("start_s")).round(6),
        known["scientific"],
        common_or_label(),
        known["score"],
        *(known[name] for name in KALEIDOSCOPE[8:]),
    )
    return _write(detections, handle, dict(zip(KALEIDOSCOPE, values, strict=True)))


def _write(detections: Detections, handle: IO[bytes], columns: dict[str, pl.Expr]) -> Written:
    rows = 0
    handle.write((",".join(columns) + "\n").encode())
    for frame in detections.frames():
        write_csv(frame.select(value.alias(name) for name, value in columns.items()), handle, header=False)
        rows += frame.height
    return Written(rows, 1)
