"""Windows as JSON values: identity as text, seconds, times of the site with their offset, and the judgements on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search_api.browsing.clocks import local_text, utc_text
from search_api.browsing.identity import row_of_window, window_id
from search_api.questions.values import plain
from store import Archive
from store.annotations.asking import of_recordings
from store.annotations.overlap import windows_of

_LENGTHS: WeakKeyDictionary[Archive, tuple[NDArray[np.int64], NDArray[np.float64]]] = WeakKeyDictionary()
_NEAR_S: Final = 0.001  # a window that ends so near the recording's end may be padded
_SHOWN: Final = ("annotation_id", "label", "judgement", "annotator")


def window_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a window as JSON values.

    Parameters
    ----------
    row : mapping
        ``recording_id, start_sample, path, site, start_s, end_s, utc_start, local_start`` as the view ``windows`` has them, and
        ``deployment, valid_s, date`` where they are known.

    Returns
    -------
    dict
        ``window_id, recording_id, path, site, deployment, start_s, end_s, valid_s, utc_start, local_start, date``; None where unknown.
    """
    local, utc = row["local_start"], row["utc_start"]
    day = row.get("date") or (local.date() if local else None)
    return {
        "window_id": window_id(row["recording_id"], row["start_sample"]),
        "recording_id": str(row["recording_id"]),
        "path": row["path"],
        "site": row["site"],
        "deployment": row.get("deployment"),
        "start_s": seconds(row["start_s"]),
        "end_s": seconds(row["end_s"]),
        "valid_s": seconds(row.get("valid_s")),
        "utc_start": utc_text(utc),
        "local_start": local_text(local, utc),
        "date": plain(day),
    }


def window_rows(archive: Archive, table: pa.Table) -> list[dict[str, Any]]:
    """Return windows as JSON values, in their order; see :func:`window_row`.

    Parameters
    ----------
    archive : Archive
    table : pyarrow.Table
        With the columns of :func:`window_row`; without ``valid_s`` (as in the hits of a search) it is looked up.
    """
    rows = table.to_pylist()
    if "valid_s" not in table.column_names:
        _add_valid(archive, rows)
    return [window_row(row) for row in rows]


def with_annotations(archive: Archive, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return windows with ``annotations``: the judgements that overlap each of them, as they are at this moment.

    Parameters
    ----------
    archive : Archive
    rows : sequence of dict
        With ``recording_id`` (text or number), ``start_s`` and ``end_s``.
    """
    found = of_recordings(archive.root, {int(row["recording_id"]) for row in rows})
    judged: list[list[dict[str, Any]]] = [[] for _ in rows]
    if found.num_rows:
        spans = pa.table(
            {
                "recording_id": pa.array([int(row["recording_id"]) for row in rows], pa.int64()),
                "start_s": pa.array([row["start_s"] for row in rows], pa.float64()),
                "end_s": pa.array([row["end_s"] for row in rows], pa.float64()),
            }
        )
        shown = found.select(_SHOWN).to_pylist()
        for annotation, window in zip(*windows_of(found, spans), strict=True):
            judged[window].append(shown[annotation])
    return [
        {**row, "annotations": sorted(own, key=lambda a: int(a["annotation_id"]))}
        for row, own in zip(rows, judged, strict=True)
    ]


def window_of_id(archive: Archive, text: str) -> dict[str, Any]:
    """Return one window as JSON values.

    Raises
    ------
    Invalid
        If the text is no window's id.
    NotFound
        If the archive has no such window; the nearest one of the recording is named.
    """
    return window_row(row_of_window(archive, text)[0])


def seconds(value: float | None) -> float | None:
    """Return seconds to a microsecond: what a division of samples adds behind that says nothing."""
    return None if value is None else round(value, 6)


def _add_valid(archive: Archive, rows: list[dict[str, Any]]) -> None:
    """Add ``valid_s``: all of a window that ends well before its recording does, and of the few others what is stored."""
    ids, lengths = _lengths(archive)
    own = np.array([row["recording_id"] for row in rows], np.int64)
    at = np.minimum(np.searchsorted(ids, own), max(len(ids) - 1, 0))
    late = []
    for row, where in zip(rows, at, strict=True):
        row["valid_s"] = archive.config.windows.window_s
        if not len(ids) or ids[where] != row["recording_id"] or row["end_s"] > lengths[where] - _NEAR_S:
            late.append(row)
    if not late:
        return
    wanted = pa.table(
        {
            "recording_id": pa.array([row["recording_id"] for row in late], pa.int64()),
            "start_sample": pa.array([row["start_sample"] for row in late], pa.int64()),
        }
    )
    sites = sorted({row["site"] for row in late})
    query = (
        "SELECT w.recording_id, w.start_sample, w.valid_s FROM windows w JOIN _wanted USING (recording_id, start_sample) "
        f"WHERE w.site IN ({', '.join('?' * len(sites))})"
    )
    stored = archive.sql_with({"_wanted": wanted}, query, sites).to_pylist()
    known = {(row["recording_id"], row["start_sample"]): row["valid_s"] for row in stored}
    for row in late:
        row["valid_s"] = known.get((row["recording_id"], row["start_sample"]))


def _lengths(archive: Archive) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return all recordings' ids, ascending, and how long they are; read once for an opened archive, which never changes."""
    if archive not in _LENGTHS:
        table = archive.sql("SELECT recording_id, duration_s FROM recordings ORDER BY recording_id")
        _LENGTHS[archive] = table["recording_id"].to_numpy(), table["duration_s"].to_numpy()
    return _LENGTHS[archive]


__all__ = ["seconds", "window_id", "window_of_id", "window_row", "window_rows", "with_annotations"]
