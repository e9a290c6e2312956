"""Raven selection tables: one a recording, or one over all recordings opened as a sequence."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

import polars as pl

from sonotheque.core.errors import Invalid
from store.formats.detections import Detections, Written
from store.formats.per_recording import write_tables
from store.formats.text import common_or_label, one_line, rounded, write_tabbed

ENDING: Final = ".sonotheque.selection.table.txt"
HEADER: Final = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Common Name",
    "Species Code",
    "Confidence",
    "Begin Path",
    "File Offset (s)",
)
_HIGH_HZ = 15_000.0  # where nothing is known of the recording or the model


def write_raven(detections: Detections, folder: Path, *, empty: bool = False) -> Written:
    """Write one selection table for each recording with detections, in folders like the recordings'.

    Parameters
    ----------
    detections : Detections
    folder : Path
        There, and empty.
    empty : bool
        Also a table, of a header alone, for each recording without detections.
    """
    high_hz = detections.facts.high_hz

    def rows(frame: pl.DataFrame) -> pl.DataFrame:
        return _table(frame, high_hz, number=pl.col("number"), before=pl.lit(0.0))

    return write_tables(detections, folder, ENDING, "\t".join(HEADER), rows, empty=empty)


def write_raven_combined(detections: Detections, table: IO[bytes], files: IO[bytes]) -> Written:
    """Write one selection table over all recordings, and the list of files to open as a sequence.

    ``Begin Time (s)`` and ``End Time (s)`` count from the start of the sequence: the durations of **all** recordings
    before, in the order of the list, those without detections too. ``File Offset (s)`` stays inside the file.

    Parameters
    ----------
    detections : Detections
    table, files : binary files
        The list holds one file a line.

    Raises
    ------
    Invalid
        If the length of a recording is not known: nothing after it could be placed.
    """
    recordings = detections.recordings
    lost = recordings.filter(pl.col("duration_s").is_null() | ~pl.col("duration_s").is_finite())
    if lost.height:
        raise Invalid(
            f"{lost['path'][0]}: its length is not known, so that no later detection could be placed in a sequence"
        )
    before = recordings.select("order", before=_sum_before(pl.col("duration_s")))
    names = recordings.select(one_line("file"))
    write_tabbed(names, files, header=False)
    table.write(("\t".join(HEADER) + "\n").encode())
    written = 0
    for frame in detections.frames():
        placed = frame.join(before, on="order", how="left", maintain_order="left")
        number = pl.int_range(written + 1, written + 1 + pl.len())
        write_tabbed(
            _table(placed, detections.facts.high_hz, number=number, before=pl.col("before")), table, header=False
        )
        written += frame.height
    return Written(written, 2, _notes(recordings))


def _table(frame: pl.DataFrame, high_hz: float | None, *, number: pl.Expr, before: pl.Expr) -> pl.DataFrame:
    nyquist = pl.min_horizontal(pl.col("sample_rate_hz") / 2, pl.lit(high_hz, pl.Float64))
    columns = (
        number,
        pl.lit("Spectrogram 1"),
        pl.lit(1),
        (before + pl.col("start_s")).round(6),
        (before + pl.col("end_cut_s")).round(6),
        pl.coalesce("low_hz", pl.lit(0.0)),
        pl.coalesce("high_hz", nyquist, pl.lit(_HIGH_HZ)),
        common_or_label(),
        pl.lit(""),  # eBird's codes come with none of the models
        rounded("score"),
        one_line("file"),
        rounded("start_s"),
    )
    named = frame.with_columns(one_line("label"), one_line("common"))
    return named.select(column.alias(name) for name, column in zip(HEADER, columns, strict=True))


def _sum_before(seconds: pl.Expr) -> pl.Expr:
    """Return the sum of all values before each; whole microseconds are added as integers, so that nothing drifts."""
    whole = (seconds * 1e6).floor().cast(pl.Int64)
    rest = seconds - whole / 1e6
    return (whole.cum_sum() - whole) / 1e6 + (rest.cum_sum() - rest)


def _notes(recordings: pl.DataFrame) -> tuple[str, ...]:
    """Say what keeps Raven from opening the sequence."""
    rates = recordings["sample_rate_hz"].drop_nulls().unique().sort().to_list()
    channels = recordings["channels"].drop_nulls().unique().sort().to_list()
    notes = []
    for what, found in (("sample rates", rates), ("numbers of channels", channels)):
        if len(found) > 1:
            notes.append(
                f"the recordings have {len(found)} {what} ({', '.join(map(str, found[:4]))}): Raven opens a sequence of one; "
                "export each on its own with --site or --recording, or one table a recording with --to raven"
            )
    return tuple(notes)
