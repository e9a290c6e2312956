"""pamDP's ``observations.csv``, with the ``media.csv`` beside it that says which recording a ``mediaID`` is.

Times are read from ``bboxTime`` and ``bboxDuration`` (seconds inside the recording), else from ``eventStart`` and ``eventEnd``: seconds as
well, or times of day, which count from the medium's ``timestamp``. The label is the ``scientificName``, else the ``observationType``.

Written: the package's columns; the label in full stands in ``observationTags`` as ``label:...``, since only what looks like a
species is a scientific name. **What it cannot hold:** judgements other than positive (refused), provenance beyond human or machine,
spaces around a text; the end of a span and of a band is kept as a length, so to a nanosecond and a microhertz.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from sonotheque.core.clock import ClockReading
from sonotheque.core.tables import Row
from store.annotations.formats.raw import RawAnnotation
from store.annotations.formats.sheet import number, plain, read_sheet, require_columns, require_title
from store.annotations.formats.words import (
    confidence_in,
    confidence_note,
    csv_bytes,
    inert,
    label_of,
    live,
    plain_number,
    require_positive,
)

OBSERVATIONS_FILE, MEDIA_FILE = "observations.csv", "media.csv"
_ALIASES: Final = {
    "media": ("mediaid",),
    "box start": ("bboxtime",),
    "box length": ("bboxduration",),
    "event start": ("eventstart",),
    "event end": ("eventend",),
    "low": ("bboxfrequency",),
    "width": ("bboxbandwidth",),
    "label": ("scientificname",),
    "type": ("observationtype",),
    "tags": ("observationtags",),
    "method": ("classificationmethod",),
    "annotator": ("classifiedby",),
    "judged": ("classificationtimestamp",),
    "confidence": ("classificationprobability",),
    "note": ("observationcomments",),
}
_MEDIA: Final = {"media": ("mediaid",), "path": ("filepath",), "name": ("filename",), "time": ("timestamp",)}
_TAG: Final = "label:"
_MACHINE: Final = "(machine)"


@dataclass(frozen=True, slots=True)
class _Medium:
    recording: str
    time: ClockReading | None


def looks_like(titles: Sequence[str]) -> bool:
    """Tell whether a header is that of observations."""
    held = {plain(title) for title in titles}
    return {"observationid", "mediaid"} <= held and bool(held & {"scientificname", "observationtype"})


def read_pamdp(
    path: str | os.PathLike[str], *, label_column: str | None = None, label: str | None = None
) -> list[RawAnnotation]:
    """Read observations, and the media beside them.

    Parameters
    ----------
    path : path-like
        Of ``observations.csv``. Without a ``media.csv`` in its folder, a ``mediaID`` is taken for the recording's name.
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
    if label_column:
        aliases |= {"label": (require_title(path, label_column),), "tags": (), "type": ()}
    require_columns(path, {"mediaID": aliases["media"]})
    beside = Path(path).with_name(MEDIA_FILE)
    media = _media(beside) if beside.exists() else None
    return [_raw(row, media, label) for row in read_sheet(path, aliases)]


def _media(path: Path) -> dict[str, _Medium]:
    found: dict[str, _Medium] = {}
    for row in read_sheet(path, _MEDIA):
        if row.get("media") in found:
            row.refuse("media", "an id that no other medium has")
        recording = live(row.get("path") or row.get("name"))
        if not recording:
            row.refuse("path", "the recording's path")
        found[row.get("media")] = _Medium(recording, row.time("time"))
    return found


def _raw(row: Row, media: dict[str, _Medium] | None, label: str | None) -> RawAnnotation:
    if not row.get("media"):
        row.refuse("media", "the recording's mediaID: an observation of no recording has no place here")
    medium = _Medium(live(row.get("media")), None) if media is None else media.get(row.get("media"))
    if medium is None:
        row.refuse("media", f"a mediaID of the {MEDIA_FILE} beside the table")
    start_s, end_s = _span(row, medium)
    low_hz = number(row, "low", "hertz, 0 or more", needed=False)
    width_hz = number(row, "width", "hertz, 0 or more", needed=False)
    for column, value in (("low", low_hz), ("width", width_hz)):
        if value is not None and value < 0:
            row.refuse(column, "hertz, 0 or more")
    tags = live(row.get("tags"))
    judged = row.time("judged")
    machine = row.get("method").lower() == "machine"
    return RawAnnotation(
        row.file,
        row.line,
        medium.recording,
        start_s,
        end_s,
        tags.removeprefix(_TAG)
        if tags.startswith(_TAG)
        else live(row.get("label") or row.get("type")) or label_of(row, label),
        low_hz=low_hz,
        high_hz=None if width_hz is None else (low_hz or 0.0) + width_hz,
        note=live(row.get("note")) or confidence_note(row.get("confidence")),
        annotator=live(row.get("annotator")) or None,
        provenance=f"pamdp:{os.path.basename(row.file)} {_MACHINE}" if machine else None,
        created_utc=judged.utc if judged else None,
    )


def _span(row: Row, medium: _Medium) -> tuple[float, float]:
    if row.get("box start"):
        start_s = _seconds(row, "box start", None)
        length_s = _seconds(row, "box length", None)
        if length_s == 0:
            row.refuse("box length", "seconds, more than 0")
        return start_s, start_s + length_s
    start_s, end_s = (_seconds(row, column, medium) for column in ("event start", "event end"))
    if end_s <= start_s:
        row.refuse("event end", f"a time after the start ({row.get('event start')})")
    return start_s, end_s


def _seconds(row: Row, column: str, medium: _Medium | None) -> float:
    """Return a cell in seconds from the recording's start: a number, or a time that the medium's own is taken from."""
    text = row.get(column)
    if medium is not None and "-" in text[1:]:
        reading = row.time(column)
        if reading is None or medium.time is None:
            row.refuse(
                column, f"seconds inside the recording; a time of day needs the medium's timestamp in {MEDIA_FILE}"
            )
        if (reading.utc is None) != (medium.time.utc is None):
            row.refuse(
                column,
                f"a time with an offset from UTC exactly if the medium's timestamp ({medium.time.start}) has one",
            )
        both = (reading.utc, medium.time.utc) if reading.utc and medium.time.utc else (reading.start, medium.time.start)
        value = (both[0] - both[1]).total_seconds()
    else:
        value = number(row, column, "seconds inside the recording, 0 or more") or 0.0
    if value < 0:
        row.refuse(column, "a time inside the recording, at or after its start")
    return value


def write_pamdp(rows: Sequence[dict[str, Any]], recordings: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    """Return ``observations.csv`` and ``media.csv``, of the recordings that have annotations.

    Parameters
    ----------
    rows : sequence of dict
        Current annotations, with the columns of ``ANNOTATION_SCHEMA``.
    recordings : dict
        Path -> columns of the view ``recordings``, as far as known.

    Raises
    ------
    Invalid
        If one is not positive.
    """
    from store.formats.pamdp import OBSERVATIONS

    observations = [_observation(row, recordings.get(row["path"], {})) for row in rows]
    ids = {row["path"]: str(row["recording_id"]) for row in rows}
    media = [_medium_row(path, number_, recordings.get(path, {})) for path, number_ in ids.items()]
    return {
        OBSERVATIONS_FILE: _csv((*OBSERVATIONS[:4], "eventStart", "eventEnd", *OBSERVATIONS[4:]), observations),
        MEDIA_FILE: _csv(tuple(media[0]) if media else ("mediaID",), media),
    }


def _observation(row: dict[str, Any], recording: dict[str, Any]) -> dict[str, str]:
    from store.formats.pamdp import observation_kind

    require_positive("pamDP", row["judgement"], f"{row['path']}, {row['start_s']:g} s, {row['label']!r}")
    kind, scientific = observation_kind(row["label"])
    low, high = row["low_hz"], row["high_hz"]
    confidence = confidence_in(row["note"])
    start_s, end_s = row["start_s"], row["end_s"]
    return {
        "observationID": str(row["annotation_id"]),
        "deploymentID": inert(str(recording.get("deployment") or recording.get("site") or "")),
        "mediaID": str(row["recording_id"]),
        "eventStart": _moment(recording, start_s),
        "eventEnd": _moment(recording, end_s),
        "observationLevel": "media",
        "observationType": kind,
        "scientificName": inert(scientific or ""),
        "bboxTime": plain_number(start_s),
        "bboxDuration": plain_number(end_s - start_s),
        "bboxFrequency": "" if low is None else plain_number(low),
        "bboxBandwidth": "" if high is None else plain_number(high - (low or 0.0)),
        "classificationMethod": "machine" if row["provenance"].endswith(_MACHINE) else "human",
        "classifiedBy": inert(row["annotator"]),
        "classificationTimestamp": row["created_utc"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "classificationProbability": confidence,
        "observationTags": inert(_TAG + row["label"].strip()),
        "observationComments": "" if confidence else inert(row["note"]),
    }


def _medium_row(path: str, media_id: str, recording: dict[str, Any]) -> dict[str, str]:
    from store.formats.pamdp import MEDIA

    duration_s, rate_hz = recording.get("duration_s"), recording.get("sample_rate_hz")
    known = {
        "mediaID": media_id,
        "deploymentID": inert(str(recording.get("deployment") or recording.get("site") or "")),
        "timestamp": _moment(recording, 0.0),
        "filePath": inert(path),
        "filePublic": "false",
        "fileName": inert(path.rpartition("/")[2]),
        "sampleRate": "" if rate_hz is None else str(rate_hz),
        "fileLength": "" if duration_s is None else plain_number(duration_s),
        "numChannels": str(recording.get("channels") or ""),
    }
    return {column: known.get(column, "") for column in MEDIA}


def _moment(recording: dict[str, Any], seconds_: float) -> str:
    """Return a time inside a recording on the site's clock, with its offset; empty where the offset is not known."""
    utc, offset_min = recording.get("utc_start"), recording.get("utc_offset_min")
    if not isinstance(utc, datetime):
        return ""
    zone = UTC if offset_min is None else timezone(timedelta(minutes=int(offset_min)))
    moment = (utc + timedelta(seconds=seconds_)).astimezone(zone)
    return moment.isoformat(timespec="milliseconds")


def _csv(titles: Sequence[str], rows: Sequence[dict[str, str]]) -> bytes:
    return csv_bytes(titles, ([row.get(title, "") for title in titles] for row in rows))
