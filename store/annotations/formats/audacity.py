"""Audacity label tracks: start, end and text; a second line with the edges of a spectral selection.

A label track is named after its recording, and holds one. A third tab with a number, as BirdNET writes it, is a confidence, and
the text before it then ``Scientific, Common``.

**What it cannot hold:** judgements other than positive (refused), annotator, note, provenance and the time of judging; tabs, line ends
and other control characters in labels, which become spaces; spaces around a label. Points, labels without length, are refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sonotheque.core.errors import Invalid
from sonotheque.core.tables import Row
from store.annotations.formats.named import table_name
from store.annotations.formats.raw import SLACK_S, RawAnnotation
from store.annotations.formats.sheet import lines_of, number, read_text, span
from store.annotations.formats.words import confidence_note, label_of, one_line, plain_number, require_positive

ENDING: Final = ".txt"
_TITLES: Final = {
    "start": "start",
    "end": "end",
    "label": "label",
    "confidence": "confidence",
    "low": "low frequency",
    "high": "high frequency",
}


def looks_like(text: str) -> bool:
    """Tell whether a text is a label track: its first line begins with two numbers."""
    first = next((line for _, line in lines_of(text)), "")
    cells = first.replace(",", ".").split("\t")
    try:
        return len(cells) >= 2 and all(float(cell) >= 0 for cell in cells[:2])
    except ValueError:
        return False


def read_audacity(
    path: str | os.PathLike[str], *, label_column: str | None = None, label: str | None = None
) -> list[RawAnnotation]:
    """Read a label track.

    Parameters
    ----------
    path : path-like
    label_column : str, optional
        Refused: a label track has one text.
    label : str, optional
        For labels without text.

    Raises
    ------
    Invalid
        (``invalid_table``) Naming file, line, place, value and what was expected.
    """
    file = os.fspath(path)
    if label_column:
        raise Invalid(f"{file} is an Audacity label track: it has no columns to choose from with --label-column")
    found: list[RawAnnotation] = []
    for line, text in lines_of(read_text(path)):
        cells = [cell.strip() for cell in text.split("\t")]
        if cells[0] == "\\":
            if not found:
                raise Invalid(f"{file}, line {line}: a line of frequencies before any label", kind="invalid_table")
            found[-1] = replace(found[-1], **_band(file, line, cells))
        else:
            found.append(_raw(file, line, cells, label))
    return found


def _raw(file: str, line: int, cells: list[str], label: str | None) -> RawAnnotation:
    names = ("start", "end", "label", "confidence")
    row = Row(file, line, dict(zip(names, cells, strict=False)), _TITLES, True)
    if row.get("start") == row.get("end"):
        row.refuse(
            "end", "a time after the start: a label without length judges nothing; draw it over the sound in Audacity"
        )
    start_s, end_s = span(row)
    text = label_of(row, label)
    slack_s, note = SLACK_S, ""
    if row.get("confidence"):
        number(row, "confidence", "a number, or nothing")
        text, slack_s = "_".join(text.split(", ", 1)), max(SLACK_S, end_s - start_s)
        note = confidence_note(row.get("confidence"))
    return RawAnnotation(
        file, line, table_name(file), start_s, end_s, text, named_after=True, note=note, slack_s=slack_s
    )


def _band(file: str, line: int, cells: list[str]) -> dict[str, Any]:
    row = Row(file, line, dict(zip(("low", "high"), cells[1:], strict=False)), _TITLES, True)
    edges: dict[str, float | None] = {}
    for column in ("low", "high"):
        value = number(row, column, "hertz, or -1 for an edge that was not drawn")
        if value is not None and value < 0 and value != -1:
            row.refuse(column, "hertz, or -1 for an edge that was not drawn")
        edges[column] = None if value == -1 else value
    low, high = edges["low"], edges["high"]
    if low is not None and high is not None and high < low:
        row.refuse("high", f"a frequency above the low one ({low:g} Hz)")
    return {"low_hz": low, "high_hz": high}


def write_audacity(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return the label track of one recording.

    Parameters
    ----------
    rows : sequence of dict
        Current annotations of one recording, with the columns of ``ANNOTATION_SCHEMA``.

    Raises
    ------
    Invalid
        If one is not positive.
    """
    lines = []
    for row in rows:
        require_positive("Audacity", row["judgement"], f"{row['path']}, {row['start_s']:g} s, {row['label']!r}")
        lines.append("\t".join((plain_number(row["start_s"]), plain_number(row["end_s"]), one_line(row["label"]))))
        if row["low_hz"] is not None or row["high_hz"] is not None:
            lines.append(
                "\t".join(("\\", *("-1" if e is None else plain_number(e) for e in (row["low_hz"], row["high_hz"]))))
            )
    return "".join(f"{line}\n" for line in lines).encode()
