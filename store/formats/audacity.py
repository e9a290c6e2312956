"""Audacity label tracks: one a recording; start, end and name, and the score behind a further tab."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import polars as pl

from store.formats.detections import Detections, Written
from store.formats.per_recording import write_tables
from store.formats.text import common_or_label, one_line, rounded

ENDING: Final = ".sonotheque.audacity.txt"


def write_audacity(detections: Detections, folder: Path, *, empty: bool = False) -> Written:
    """Write one label track for each recording with detections, in folders like the recordings'.

    Parameters
    ----------
    detections : Detections
    folder : Path
        There, and empty.
    empty : bool
        Also an empty file for each recording without detections.
    """

    def rows(frame: pl.DataFrame) -> pl.DataFrame:
        named = frame.with_columns(one_line("label"), one_line("scientific"), one_line("common"))
        return named.select(
            rounded("start_s"),
            rounded("end_cut_s"),
            pl.concat_str(["scientific", pl.lit(", "), common_or_label()]).alias("name"),
            rounded("score"),
        )

    return write_tables(detections, folder, ENDING, "", rows, empty=empty)
