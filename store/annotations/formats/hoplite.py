"""perch-hoplite's ``hoplite_annotations.csv``, and the tables of annotated data sets that its ingestors read.

Any CSV table with a recording, a start, an end and a label is read: ``recording, start_offset_s, end_offset_s, label, label_type``,
``filename, start_time_s, end_time_s, label``, ``Filename, Start Time (s), End Time (s), Species eBird Code`` and the like. So are the
tables of `sonotheque probe review`, by their column ``review``: there, a row without a judgement was not judged, and says nothing.

**What it cannot hold:** the band, annotator, note, provenance and the time of judging; spaces around a text.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from sonotheque.core.tables import Row
from store.annotations.formats.raw import RawAnnotation
from store.annotations.formats.sheet import band, plain, read_sheet, require_columns, require_title, span
from store.annotations.formats.words import (
    ANNOTATOR_COLUMN,
    JUDGEMENT_COLUMN,
    NOTE_COLUMN,
    REVIEW_COLUMN,
    REVIEW_MARK,
    csv_bytes,
    inert,
    judgement_of,
    label_of,
    live,
    plain_number,
)

ENDING: Final = ".csv"
HEADER: Final = ("recording", "start_offset_s", "end_offset_s", "label", "label_type")
_ALIASES: Final = {
    "path": ("recording", "filename", "fileid", "sourceid", "audiofile", "path"),
    "start": ("startoffsets", "starttimes", "starttime(s)", "starts", "windowstart"),
    "end": ("endoffsets", "endtimes", "endtime(s)", "ends", "windowend"),
    "low": ("lowfreq(hz)", "lowhz"),
    "high": ("highfreq(hz)", "highhz"),
    "label": ("label", "speciesebirdcode", "ebirdcode", "species", "class"),
    "judgement": JUDGEMENT_COLUMN,
    "annotator": ANNOTATOR_COLUMN,
    "note": NOTE_COLUMN,
    "review": REVIEW_COLUMN,
}


def looks_like(titles: Sequence[str]) -> bool:
    """Tell whether a header names a recording, a start, an end and a label in one of the spellings."""
    held = {plain(title) for title in titles}
    return all(held & set(_ALIASES[name]) for name in ("path", "start", "end", "label"))


def read_hoplite(
    path: str | os.PathLike[str], *, label_column: str | None = None, label: str | None = None
) -> list[RawAnnotation]:
    """Read a table of annotations.

    Parameters
    ----------
    path : path-like
    label_column : str, optional
        The column that holds the label.
    label : str, optional
        For rows that have none.

    Raises
    ------
    Invalid
        (``invalid_table``, ``unknown_column``) Naming file, line, column, value and what was expected.
    """
    aliases: dict[str, tuple[str, ...]] = dict(_ALIASES)
    needed = {"recording": aliases["path"], "start": aliases["start"], "end": aliases["end"]}
    if label_column:
        aliases["label"] = (require_title(path, label_column),)
    elif label is None:
        needed["label"] = aliases["label"]
    require_columns(path, needed)
    return [_raw(row, label) for row in read_sheet(path, aliases)]


def _raw(row: Row, label: str | None) -> RawAnnotation:
    if not row.get("path"):
        row.refuse("path", "the recording's path or name")
    start_s, end_s = span(row)
    low_hz, high_hz = band(row)
    review, judgement = row.get("review"), judgement_of(row)
    is_review = review.startswith(REVIEW_MARK)  # not a column of that name of somebody else's
    return RawAnnotation(
        row.file,
        row.line,
        live(row.get("path")),
        start_s,
        end_s,
        live(label_of(row, label)),
        judgement=judgement,
        low_hz=low_hz,
        high_hz=high_hz,
        note=live(row.get("note")),
        annotator=live(row.get("annotator")) or None,
        provenance=review if is_review else None,
        is_open=is_review and judgement is None,
    )


def write_hoplite(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return a table of any number of recordings, as hoplite reads it beside the audio.

    Parameters
    ----------
    rows : sequence of dict
        Current annotations, with the columns of ``ANNOTATION_SCHEMA``.
    """
    return csv_bytes(HEADER, (_cells(row) for row in rows))


def _cells(row: dict[str, Any]) -> list[str]:
    span_s = (plain_number(row["start_s"]), plain_number(row["end_s"]))
    return [inert(row["path"]), *span_s, inert(row["label"]), row["judgement"]]
