"""BirdNET's CSV tables: the Analyzer's, its older form for R, and the ``birdnet`` package's.

The label is BirdNET's own, ``Scientific_Common``, where both names are there. The confidence becomes a note. A table without a
column for the file is named after its recording.

Written: the Analyzer's columns, and behind them the frequencies, ``Judgement``, ``Annotator`` and ``Note``. **What it cannot hold:**
provenance and the time of judging; spaces around a text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from sonotheque.core.tables import Row
from store.annotations.formats.named import table_name
from store.annotations.formats.raw import SLACK_S, RawAnnotation
from store.annotations.formats.sheet import band, number, plain, read_sheet, require_columns, require_title, span
from store.annotations.formats.words import (
    ANNOTATOR_COLUMN,
    JUDGEMENT_COLUMN,
    NOTE_COLUMN,
    confidence_in,
    confidence_note,
    csv_bytes,
    inert,
    judgement_of,
    label_of,
    live,
    plain_number,
)

ENDING: Final = ".csv"
HEADER: Final = (
    *("Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File"),
    *("Low Freq (Hz)", "High Freq (Hz)", "Judgement", "Annotator", "Note"),
)
_ALIASES: Final = {
    "start": ("start(s)", "starttime", "start"),
    "end": ("end(s)", "endtime", "end"),
    "scientific": ("scientificname",),
    "common": ("commonname",),
    "label": ("speciesname",),
    "confidence": ("confidence",),
    "path": ("file", "filepath", "input"),
    "low": ("lowfreq(hz)",),
    "high": ("highfreq(hz)",),
    "judgement": JUDGEMENT_COLUMN,
    "annotator": ANNOTATOR_COLUMN,
    "note": NOTE_COLUMN,
}


def looks_like(titles: Sequence[str]) -> bool:
    """Tell whether a header is one of BirdNET's."""
    held = {plain(title) for title in titles}
    analyzer = {"start(s)", "end(s)"} <= held and bool(held & {"scientificname", "commonname"})
    for_r = {"filepath", "start", "end", "scientificname"} <= held
    package = {"input", "starttime", "endtime", "speciesname"} <= held
    return analyzer or for_r or package


def read_birdnet(
    path: str | os.PathLike[str], *, label_column: str | None = None, label: str | None = None
) -> list[RawAnnotation]:
    """Read a table of BirdNET's.

    Parameters
    ----------
    path : path-like
    label_column : str, optional
        The column that holds the label, such as ``Common name``.
    label : str, optional
        For rows that have none.

    Raises
    ------
    Invalid
        (``invalid_table``, ``unknown_column``) Naming file, line, column, value and what was expected.
    """
    aliases: dict[str, tuple[str, ...]] = dict(_ALIASES)
    if label_column:
        aliases |= {"label": (require_title(path, label_column),), "scientific": (), "common": ()}
    require_columns(path, {"start": _ALIASES["start"], "end": _ALIASES["end"]})
    return [_raw(row, label) for row in read_sheet(path, aliases)]


def _raw(row: Row, label: str | None) -> RawAnnotation:
    start_s, end_s = span(row)
    number(row, "confidence", "a number, or nothing", needed=False)
    names = [live(name) for name in (row.get("scientific"), row.get("common")) if name]
    low_hz, high_hz = band(row)
    return RawAnnotation(
        row.file,
        row.line,
        live(row.get("path")) or table_name(row.file),
        start_s,
        end_s,
        "_".join(names) or live(label_of(row, label)),
        named_after=not row.get("path"),
        judgement=judgement_of(row),
        low_hz=low_hz,
        high_hz=high_hz,
        note=live(row.get("note")) or confidence_note(row.get("confidence")),
        annotator=live(row.get("annotator")) or None,
        slack_s=max(SLACK_S, end_s - start_s),  # BirdNET's last window ends where a whole one would
    )


def write_birdnet(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return a table of any number of recordings.

    Parameters
    ----------
    rows : sequence of dict
        Current annotations, with the columns of ``ANNOTATION_SCHEMA``.
    """
    return csv_bytes(HEADER, (_cells(row) for row in rows))


def _cells(row: dict[str, Any]) -> list[str]:
    confidence = confidence_in(row["note"])
    span_s = (plain_number(row["start_s"]), plain_number(row["end_s"]))
    edges = ("" if edge is None else plain_number(edge) for edge in (row["low_hz"], row["high_hz"]))
    texts = (row["judgement"], row["annotator"], "" if confidence else row["note"])
    return [
        *span_s,
        *map(inert, _names(row["label"].strip())),
        confidence,
        inert(row["path"]),
        *edges,
        *map(inert, texts),
    ]


def _names(label: str) -> tuple[str, str]:
    """Return the scientific and the common name, so that joined they are the label again."""
    scientific, mark, common = label.partition("_")
    whole = mark and scientific and common and scientific == scientific.strip() and common == common.strip()
    return (scientific, common) if whole else (label, "")
