"""Words and numbers on the way in and out: judgements, labels, confidences, formulas."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import numpy as np

from sonotheque.core.errors import Invalid
from sonotheque.core.tables import Row

JUDGEMENT_COLUMN: Final = ("judgement", "judgment", "labeltype")
ANNOTATOR_COLUMN: Final = ("annotator", "analyst", "observer")
NOTE_COLUMN: Final = ("note", "notes", "comment", "comments")
REVIEW_COLUMN: Final = ("review",)
REVIEW_MARK: Final = "probe review "
"""What the cells of that column begin with in a table of `sonotheque probe review`; its rows say nothing before they are judged."""

# hoplite's label types are numbers in its database and words in its tables.
_JUDGEMENTS: Final = {
    "positive": "positive",
    "pos": "positive",
    "1": "positive",
    "negative": "negative",
    "neg": "negative",
    "0": "negative",
    "uncertain": "uncertain",
    "unsure": "uncertain",
    "2": "uncertain",
}
_FORMULA: Final = re.compile(r"'*[=+\-@]")
_CONFIDENCE: Final = re.compile(r"confidence (\d*\.?\d+(?:[eE][+-]?\d+)?)", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def judgement_of(row: Row) -> str | None:
    """Return the cell ``judgement`` as our word; None if it is empty."""
    text = row.get("judgement")
    if not text:
        return None
    if text.lower() not in _JUDGEMENTS:
        row.refuse("judgement", "positive, negative or uncertain (or 1, 0, 2)")
    return _JUDGEMENTS[text.lower()]


def label_of(row: Row, default: str | None) -> str:
    """Return the cell ``label``, or the label given for rows that have none."""
    text = row.get("label") or default
    if not text:
        row.refuse("label", "a label; --label gives one to rows without, --label-column names another column")
    return text


def confidence_note(text: str) -> str:
    """Return a detector's confidence as a note, with a decimal point."""
    return f"confidence {text.replace(',', '.')}" if text else ""


def confidence_in(note: str) -> str:
    """Return the confidence that a note holds and nothing else; empty if it is another note."""
    found = _CONFIDENCE.fullmatch(note)
    return found[1] if found else ""


def inert(text: str) -> str:
    """Return a CSV cell, without spaces around it, that no spreadsheet runs as a formula; :func:`live` is its inverse."""
    bare = text.strip()
    return f"'{bare}" if _FORMULA.match(bare) else bare


def live(text: str) -> str:
    """Return a CSV cell as it was before :func:`inert`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def csv_bytes(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> bytes:
    """Return a CSV table: UTF-8, quotes where a cell needs them, lines that end in a line feed."""
    lines = (",".join(map(_cell, cells)) for cells in (titles, *rows))
    return "".join(f"{line}\n" for line in lines).encode()


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\r\n') else text


def one_line(text: str) -> str:
    """Return a text that fits a cell without quotes: tabs, line ends and other control characters become spaces."""
    return _CONTROL.sub(" ", text).strip()


def plain_number(value: float) -> str:
    """Return the shortest text that reads back as the same float, without an exponent."""
    return np.format_float_positional(value, trim="-")


def require_positive(format_: str, judgement: str, where: str) -> None:
    """Refuse to write what a format would turn into its opposite.

    Raises
    ------
    Invalid
        If the judgement is not ``positive``.
    """
    if judgement != "positive":
        raise Invalid(
            f"{where}: judged {judgement}, and {format_} can only say what is there; use --judgement positive, or the format "
            "raven, birdnet, hoplite or parquet"
        )
