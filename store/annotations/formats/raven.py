"""Raven selection tables, read as people keep them and written as Raven opens them.

Read: any separator; rows that stand twice because a selection is seen in two views are one; where there is a ``File Offset (s)``
it gives the time inside the file, since ``Begin Time (s)`` counts on from file to file when Raven has opened a sequence.

Written: the label as ``Label``, and ``Judgement``, ``Annotator`` and ``Note`` as annotation columns. Raven wants a band for every
selection, so the column ``Band`` says which edges were not drawn (until somebody draws them in Raven).

**What it cannot hold:** provenance and the time of judging; tabs, line ends and other control characters in texts, which become
spaces; spaces around a text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sonotheque.core.tables import Row
from store.annotations.formats.named import table_name
from store.annotations.formats.raw import SLACK_S, RawAnnotation
from store.annotations.formats.sheet import band, number, plain, read_sheet, require_columns, require_title, span
from store.annotations.formats.words import (
    ANNOTATOR_COLUMN,
    JUDGEMENT_COLUMN,
    NOTE_COLUMN,
    confidence_note,
    judgement_of,
    label_of,
    one_line,
    plain_number,
)

ENDING: Final = ".Table.1.selections.txt"
HEADER: Final = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Label",
    "Judgement",
    "Annotator",
    "Note",
    "Band",
    "Begin Path",
    "File Offset (s)",
)
LABEL_COLUMNS: Final = (
    *(
        "label",
        "annotation",
        "species",
        "commonname",
        "scientificname",
        "speciesname",
        "speciesebirdcode",
        "speciescode",
    ),
    *("class", "calltype", "tag", "tags", "soundtype"),
)
_ALIASES: Final = {
    "selection": ("selection",),
    "view": ("view",),
    "channel": ("channel",),
    "start": ("begintime(s)",),
    "end": ("endtime(s)",),
    "low": ("lowfreq(hz)", "lowfrequency(hz)"),
    "high": ("highfreq(hz)", "highfrequency(hz)"),
    "path": ("beginpath", "beginfile"),
    "offset": ("fileoffset(s)", "fileoffset"),
    "confidence": ("confidence", "score"),
    "band": ("band",),
    "label": LABEL_COLUMNS,
    "judgement": JUDGEMENT_COLUMN,
    "annotator": ANNOTATOR_COLUMN,
    "note": NOTE_COLUMN,
}
_HIGH_HZ: Final = 24_000.0  # where nothing is known of the recording


def looks_like(titles: Sequence[str]) -> bool:
    """Tell whether a header is a selection table's."""
    return {"begintime(s)", "endtime(s)"} <= {plain(title) for title in titles}


def read_raven(
    path: str | os.PathLike[str], *, label_column: str | None = None, label: str | None = None
) -> list[RawAnnotation]:
    """Read a selection table.

    Parameters
    ----------
    path : path-like
    label_column : str, optional
        The column that holds the label; by default the first filled one of ``LABEL_COLUMNS``.
    label : str, optional
        For rows that have none.

    Raises
    ------
    Invalid
        (``invalid_table``, ``unknown_column``) Naming file, line, column, value and what was expected.
    """
    aliases: dict[str, tuple[str, ...]] = dict(_ALIASES)
    if label_column:
        aliases["label"] = (require_title(path, label_column),)
    elif label is None:
        require_columns(
            path,
            {"label": LABEL_COLUMNS},
            hint="Name it with --label-column, or give one label to all rows with --label",
        )
    require_columns(path, {"begin": _ALIASES["start"], "end": _ALIASES["end"]})
    rows = list(read_sheet(path, aliases, tabs_quoted=False))
    return list(_once_a_selection((row, _raw(row, label)) for row in rows))


def _raw(row: Row, label: str | None) -> RawAnnotation:
    start_s, end_s = span(row)
    offset_s = number(row, "offset", "seconds inside the file, 0 or more", needed=False)
    slack_s = SLACK_S
    if offset_s is not None:
        if offset_s < 0:
            row.refuse("offset", "seconds inside the file, 0 or more")
        if offset_s != start_s:  # else the end stays as exact as it was written
            start_s, end_s = offset_s, offset_s + (end_s - start_s)
    if row.get("confidence"):  # a detector's table: made of windows, and the last one may be padded
        slack_s = max(SLACK_S, end_s - start_s)
    low_hz, high_hz = _band(row)
    return RawAnnotation(
        row.file,
        row.line,
        row.get("path") or table_name(row.file),
        start_s,
        end_s,
        label_of(row, label),
        named_after=not row.get("path"),
        judgement=judgement_of(row),
        low_hz=low_hz,
        high_hz=high_hz,
        note=row.get("note") or confidence_note(row.get("confidence")),
        annotator=row.get("annotator") or None,
        slack_s=slack_s,
    )


def _band(row: Row) -> tuple[float | None, float | None]:
    """Return the edges that somebody drew: not those that Raven was given for want of any."""
    low, high = band(row)
    kind, _, top = row.get("band").partition(":")
    if kind in ("all", "below") and low == 0:
        low = None
    if kind in ("all", "above") and high is not None and plain_number(high) == top:
        high = None
    return low, high


def _once_a_selection(rows: Iterable[tuple[Row, RawAnnotation]]) -> Iterator[RawAnnotation]:
    """Yield each selection once: Raven lists it for every view it is shown in, the waveform's row often without a band."""
    seen: dict[tuple[Any, ...], dict[str, int]] = {}
    found: list[RawAnnotation] = []
    for row, raw in rows:
        views = seen.setdefault(
            (row.get("selection"), row.get("channel"), raw.recording, raw.start_s, raw.end_s, raw.label, raw.judgement),
            {},
        )
        view = row.get("view")
        if row.get("selection") and view and views and view not in views:
            first = next(iter(views.values()))
            views[view] = first
            if view.lower().startswith("spectrogram") or found[first].low_hz is None:
                found[first] = replace(found[first], low_hz=raw.low_hz, high_hz=raw.high_hz)
            continue
        views.setdefault(view, len(found))
        found.append(raw)
    yield from found


def write_raven(
    rows: Sequence[dict[str, Any]], *, before_s: dict[str, float] | None = None, high_hz: dict[str, float] | None = None
) -> bytes:
    """Return a selection table.

    Parameters
    ----------
    rows : sequence of dict
        Current annotations, with the columns of ``ANNOTATION_SCHEMA``.
    before_s : dict, optional
        For a table over a sequence of recordings: path -> what lies before it, in seconds. By default a table of one recording.
    high_hz : dict, optional
        Path -> upper edge for selections without one: half the recording's sample rate.
    """
    lines = ["\t".join(HEADER)]
    for number_, row in enumerate(rows, 1):
        top = (high_hz or {}).get(row["path"]) or _HIGH_HZ
        lines.append("\t".join([str(number_), *_cells(row, (before_s or {}).get(row["path"], 0.0), top)]))
    return "".join(f"{line}\n" for line in lines).encode()


def _cells(row: dict[str, Any], begin_s: float, top_hz: float) -> list[str]:
    low, high = row["low_hz"], row["high_hz"]
    top = plain_number(max(top_hz, low or 0.0))
    kind = {(True, True): "box", (False, True): "below"}.get((low is not None, high is not None))
    kind = kind or f"{'all' if low is None else 'above'}:{top}"
    span_s = (plain_number(begin_s + row["start_s"]), plain_number(begin_s + row["end_s"]))
    edges = (plain_number(low or 0.0), top if high is None else plain_number(high))
    texts = (row["label"], row["judgement"], row["annotator"], row["note"], kind, row["path"])
    return ["Spectrogram 1", "1", *span_s, *edges, *map(one_line, texts), plain_number(row["start_s"])]
