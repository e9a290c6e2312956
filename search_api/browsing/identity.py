"""Identities as text: a recording's id and a window's, which do not fit the numbers of every reader of JSON."""

from __future__ import annotations

import re
from typing import Any, Final

from sonotheque.core.errors import Invalid, NotFound
from store import Archive

_ID_MAX: Final = 2**63 - 1
_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_PLACE: Final = "part_id, part_row"
_WINDOW_COLUMNS: Final = f"recording_id, start_sample, path, site, deployment, date, start_s, end_s, valid_s, utc_start, local_start, {_PLACE}"


def window_id(recording_id: int, start_sample: int) -> str:
    """Return a window's identity as text: ``RECORDINGID:STARTSAMPLE``."""
    return f"{int(recording_id)}:{int(start_sample)}"


def parse_recording_id(text: str) -> int:
    """Return a recording's id.

    Raises
    ------
    Invalid
        If the text is no such id.
    """
    if _NUMBER.fullmatch(text) and int(text) <= _ID_MAX:
        return int(text)
    raise Invalid(
        f"recording id {text[:60]!r}: expected a whole number from 0 to {_ID_MAX}, as the list of recordings has it"
    )


def parse_window_id(text: str) -> tuple[int, int]:
    """Return a window's recording id and start sample.

    Raises
    ------
    Invalid
        If the text is no such id.
    """
    recording, mark, start = text.partition(":")
    if mark and all(_NUMBER.fullmatch(part) and int(part) <= _ID_MAX for part in (recording, start)):
        return int(recording), int(start)
    raise Invalid(f"window id {text[:60]!r}: expected RECORDINGID:STARTSAMPLE, as 1234567:144000")


def row_of_recording(archive: Archive, recording_id: int) -> dict[str, Any]:
    """Return a recording's row of the view ``recordings``.

    Raises
    ------
    NotFound
        (``unknown_recording``) If the archive has no such recording.
    """
    rows: list[dict[str, Any]] = archive.sql(
        "SELECT * FROM recordings WHERE recording_id = ?", [recording_id]
    ).to_pylist()
    if not rows:
        raise NotFound(f"the archive has no recording with the id {recording_id}", kind="unknown_recording")
    return rows[0]


def row_of_window(archive: Archive, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a window's row of the view ``windows``, with its place in the parts, and its recording's row.

    The recording is looked up first: its site is a folder of the catalog, so that the other sites' files are left alone.

    Raises
    ------
    Invalid
        If the text is no window's id.
    NotFound
        If the archive has no such window; the nearest one of the recording is named.
    """
    recording_id, start_sample = parse_window_id(text)
    recording = row_of_recording(archive, recording_id)
    query = f"SELECT {_WINDOW_COLUMNS} FROM windows WHERE recording_id = ? AND site = ?"
    own = [recording_id, recording["site"]]
    rows = archive.sql(f"{query} AND start_sample = ?", [*own, start_sample]).to_pylist()
    if rows:
        return rows[0], recording
    # A difference of two BIGINTs may not fit one.
    near = archive.sql(
        f"{query} ORDER BY abs(start_sample::DOUBLE - ?), start_sample LIMIT 1", [*own, float(start_sample)]
    )
    if not near.num_rows:
        raise NotFound(f"recording {recording_id} ({recording['path']}) has no windows: {recording['status']}")
    nearest = near["start_sample"][0].as_py()
    raise NotFound(
        f"recording {recording_id} ({recording['path']}) has no window that starts at sample {start_sample}; the nearest is "
        f"{window_id(recording_id, nearest)}"
    )
