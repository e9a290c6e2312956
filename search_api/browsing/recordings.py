"""Recordings: pages of them, one with its neighbours and what was heard in it, and its windows along its time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from search_api.browsing.clocks import local_text, utc_text
from search_api.browsing.identity import parse_recording_id, row_of_recording, window_id
from search_api.browsing.pages import PLACE, page_of
from search_api.browsing.wire import seconds, with_annotations
from search_api.questions.grids import hop_s
from search_api.questions.values import column_values, plain
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from store import Archive
from store.annotations.asking import of_recordings

RECORDINGS: Final = "recordings"
# What a person looks through may hold some that are wrong; counts that nobody looks through ask for more.
SCORE_MIN_TO_LOOK: Final = 0.25
TOP: Final = 20
TIMELINE_MAX: Final = 10_000
_OF_RECORDINGS: Final = ("sites", "deployments", "recordings", "date_from", "date_to", "months", "hours")
_TIMES: Final = ("utc_start", "local_start")
_TOP = """
SELECT label, count(*) FILTER (score >= ?)::BIGINT AS windows, max(score) AS best_score, arg_max(start_sample, score) AS best_start
FROM predictions WHERE recording_id = ? AND site = ? GROUP BY label HAVING max(score) >= ? ORDER BY best_score DESC, label LIMIT ?
"""
_BESIDE = """
SELECT previous, next FROM (
    SELECT recording_id, lag(recording_id) OVER o AS previous, lead(recording_id) OVER o AS next
    FROM recordings WHERE site = ? WINDOW o AS (ORDER BY local_start NULLS LAST, utc_start NULLS LAST, path)
) WHERE recording_id = ?
"""


@dataclass(frozen=True, slots=True)
class RecordingPage:
    """One page as JSON values; ``next`` is the cursor of the one after it, or None."""

    rows: list[dict[str, Any]]
    next: str | None


def recording_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the view ``recordings`` as JSON values: ids as text, times with their offset, ``device`` as an object."""
    out = {name: plain(value) for name, value in row.items() if name not in (*_TIMES, "device", "recording_id")}
    out |= {"recording_id": str(row["recording_id"]), "duration_s": seconds(row["duration_s"])}
    out |= {"utc_start": utc_text(row["utc_start"]), "local_start": local_text(row["local_start"], row["utc_start"])}
    return {**out, "time_issues": list(row["time_issues"] or ()), "device": _device(row["device"])}


def list_recordings(archive: Archive, wanted: SearchFilter, *, limit: int, cursor: str | None = None) -> RecordingPage:
    """Return a page of the recordings that a filter means, by site, time and path; those that failed too.

    Raises
    ------
    Invalid
        If the filter asks of windows what recordings do not have.
    NotFound
        If it names a site, deployment or recording that is not in the store.
    Conflict
        If the archive changed since the cursor was made.
    """
    require_of_recordings(wanted)
    select = archive.select(wanted, relation=RECORDINGS)
    found = page_of(archive, select, PLACE, [RECORDINGS, wanted.to_json()], limit=limit, cursor=cursor)
    return RecordingPage([recording_row(row) for row in found.table.to_pylist()], found.next)


def require_of_recordings(wanted: SearchFilter) -> None:
    """Refuse a filter that asks of windows what whole recordings cannot answer; raises Invalid, which names the field."""
    for name in wanted.to_json():
        if name not in _OF_RECORDINGS:
            raise Invalid(
                f"the filter {name} chooses windows, and this is a list of recordings: it takes {', '.join(_OF_RECORDINGS)}"
            )


def recording_detail(archive: Archive, text: str, *, score_min: float = SCORE_MIN_TO_LOOK) -> dict[str, Any]:
    """Return a recording with what was heard in it.

    Parameters
    ----------
    archive : Archive
    text : str
        Its id.
    score_min : float
        Of the predictions that count.

    Returns
    -------
    dict
        Columns of the view; ``predictions_top`` (``label, windows`` with such a score, ``best_score, best_start_s, best_window_id``;
        best first), ``annotations``, ``previous`` and ``next`` (ids of the recordings before and after it at its site, or None).

    Raises
    ------
    Invalid, NotFound
        If the text is no id; if there is no such recording.
    """
    row = row_of_recording(archive, parse_recording_id(text))
    number = row["recording_id"]
    beside = archive.sql(_BESIDE, [row["site"], number]).to_pylist()[0]
    table = archive.sql(_TOP, [score_min, number, row["site"], score_min, TOP])
    rule = archive.config.windows
    top = [
        {
            "label": one["label"],
            "windows": one["windows"],
            "best_score": score,
            "best_start_s": seconds(rule.seconds(one["best_start"])),
            "best_window_id": window_id(number, one["best_start"]),
        }
        for one, score in zip(table.to_pylist(), column_values(table["best_score"]), strict=True)
    ]
    return {
        **recording_row(row),
        "predictions_top": top,
        "annotations": annotations_of(archive, number),
        **{side: None if other is None else str(other) for side, other in beside.items()},
    }


def annotations_of(archive: Archive, recording_id: int) -> list[dict[str, Any]]:
    """Return the judgements on a recording as they are at this moment, by time."""
    rows = [annotation_row(row) for row in of_recordings(archive.root, [recording_id]).to_pylist()]
    return sorted(rows, key=lambda row: (row["start_s"], row["end_s"], row["annotation_id"]))


def annotation_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an annotation as JSON values; the recording's id as text."""
    return {**{name: plain(value) for name, value in row.items()}, "recording_id": str(row["recording_id"])}


def timeline(
    archive: Archive, text: str, *, from_s: float = 0.0, to_s: float | None = None, top: int = 3
) -> tuple[dict[str, Any], list[str]]:
    """Return a recording's windows along its time, each with its best classes and the judgements on it.

    Parameters
    ----------
    archive : Archive
    text : str
        The recording's id.
    from_s, to_s : float
        Only windows that share something with this span; all by default.
    top : int
        Classes of a window.

    Returns
    -------
    dict
        ``hop_s``, ``duration_s`` and ``windows`` (``window_id, start_s, end_s, top, annotations``), at most 10,000.
    notes : list of str

    Raises
    ------
    Invalid, NotFound
        As :func:`recording_detail`; Invalid also for a span that ends before it begins.
    """
    if to_s is not None and to_s <= from_s:
        raise Invalid(f"from_s {from_s:g} and to_s {to_s:g}: expected an end after the start")
    row = row_of_recording(archive, parse_recording_id(text))
    number, site = row["recording_id"], row["site"]
    span = "recording_id = ? AND site = ? AND end_s > ? AND start_s < ?"
    chosen = [number, site, from_s, float("inf") if to_s is None else to_s]
    query = (
        f"SELECT start_sample, start_s, end_s FROM windows WHERE {span} ORDER BY start_sample LIMIT {TIMELINE_MAX + 1}"
    )
    windows = archive.sql(query, chosen).to_pylist()
    notes = []
    if len(windows) > TIMELINE_MAX:
        windows = windows[:TIMELINE_MAX]
        notes.append(
            f"the first {TIMELINE_MAX:,} windows; ask for the others with from_s={_exact(windows[-1]['end_s'])}"
        )
    last = windows[-1]["start_sample"] if windows else -1
    found = archive.sql(
        f"SELECT start_sample, label, score FROM predictions WHERE {span} AND rank <= ? AND start_sample <= ? "
        "ORDER BY start_sample, rank",
        [*chosen, top, last],
    )
    best: dict[int, list[dict[str, Any]]] = {}
    for start, label, score in zip(*(column_values(found[c]) for c in ("start_sample", "label", "score")), strict=True):
        best.setdefault(start, []).append({"label": label, "score": score})
    rows = [
        {
            "window_id": window_id(number, one["start_sample"]),
            "recording_id": str(number),
            "start_s": seconds(one["start_s"]),
            "end_s": seconds(one["end_s"]),
            "top": best.get(one["start_sample"], []),
        }
        for one in windows
    ]
    return {
        "hop_s": hop_s(archive),
        "duration_s": seconds(row["duration_s"]),
        "windows": with_annotations(archive, rows),
    }, notes


def _exact(seconds_of: float) -> str:
    """Return seconds with all their digits: what is asked for next begins there."""
    return repr(seconds_of).removesuffix(".0")


def _device(text: str | None) -> dict[str, Any]:
    """Return what the file says of its recorder; nothing where that is no JSON object."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(k): plain(v) for k, v in found.items()} if isinstance(found, dict) else {}
