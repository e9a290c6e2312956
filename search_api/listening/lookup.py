"""From an id to the piece of sound it names."""

from __future__ import annotations

import math
import re
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

from search_api.listening.pieces import HeldSound, Piece, RecordedSound
from sonotheque.core.errors import Damaged, Invalid, NotFound
from store import Archive

WINDOW_ID: Final = r"^[0-9]{1,19}:[0-9]{1,19}$"
RECORDING_ID: Final = r"^[0-9]{1,19}$"
_INT64_MAX: Final = 2**63 - 1
_RECORDING: Final = """
SELECT path, site, local_start, duration_s, sample_rate_hz, channels, codec, size_bytes, outcome, reason
FROM recordings WHERE recording_id = ?
"""
_WINDOW: Final = "SELECT start_s, end_s FROM windows WHERE recording_id = ? AND start_sample = ? AND site = ?"


def window_piece(archive: Archive, window_id: str) -> Piece:
    """Return the sound of a window.

    Parameters
    ----------
    archive : Archive
    window_id : str
        ``RECORDING:START_SAMPLE``.

    Raises
    ------
    NotFound
        If the archive has no such window.
    Invalid
        If it is no window id.
    """
    if not re.fullmatch(WINDOW_ID, window_id, re.ASCII):
        raise Invalid(f"window id {window_id[:60]!r}: expected RECORDING:START, as a search gives it")
    recording, start = (int(part) for part in window_id.split(":"))
    row = _recording(archive, recording)
    found = archive.sql(_WINDOW, [recording, start, row["site"]]).to_pylist() if row and start <= _INT64_MAX else []
    if row is None or not found:
        raise NotFound(f"the archive has no window {window_id}; it may have been embedded again since: search again")
    return _piece(row, found[0]["start_s"], found[0]["end_s"])


def recording_piece(
    archive: Archive, recording_id: str, from_s: float | None = None, to_s: float | None = None
) -> Piece:
    """Return a stretch of a recording, by default the whole.

    Raises
    ------
    NotFound
        If the archive has no such recording, or it holds no sound.
    Invalid
        If it is no recording id, or the stretch is empty or begins after the end.
    """
    if not re.fullmatch(RECORDING_ID, recording_id, re.ASCII):
        raise Invalid(f"recording id {recording_id[:60]!r}: expected a whole number, as a search gives it")
    row = _recording(archive, int(recording_id))
    if row is None:
        raise NotFound(f"the archive has no recording {recording_id}; GET /v1/recordings lists them")
    if not row["duration_s"] or not row["sample_rate_hz"]:
        why = row["reason"] or row["outcome"] or "nothing was decoded"
        raise NotFound(f"recording {row['path']} holds no sound: {why}")
    start_s, end_s = stretch(row["duration_s"], from_s, to_s)
    return _piece(row, start_s, end_s)


def clip_piece(sound: HeldSound, name: str, duration_s: float, rate_hz: int, channels: int, **span: Any) -> Piece:
    """Return a stretch of an uploaded clip; ``span`` is ``from_s`` and ``to_s``, by default the whole.

    Raises
    ------
    Invalid
        If the stretch is empty or begins after the end.
    """
    start_s, end_s = stretch(duration_s, span.get("from_s"), span.get("to_s"))
    return Piece(sound, start_s, end_s, duration_s, rate_hz, channels, name)


def stretch(duration_s: float, from_s: float | None, to_s: float | None) -> tuple[float, float]:
    """Return start and end of a stretch of a sound, cut to what there is.

    Raises
    ------
    Invalid
        If it is empty, begins before 0 or after the end, or is no number.
    """
    start_s = 0.0 if from_s is None else from_s
    end_s = duration_s if to_s is None else to_s
    if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s >= 0):
        raise Invalid(f"from_s {start_s:g} to_s {end_s:g}: expected seconds from 0 on")
    if start_s >= duration_s:
        raise Invalid(f"from_s {start_s:g}: the sound ends at {duration_s:g} s")
    if end_s <= start_s:
        raise Invalid(f"from_s {start_s:g} is not before to_s {end_s:g}")
    return start_s, min(end_s, duration_s)


def _recording(archive: Archive, recording_id: int) -> dict[str, Any] | None:
    if recording_id > _INT64_MAX:
        return None
    rows = archive.sql(_RECORDING, [recording_id]).to_pylist()
    return rows[0] if rows else None


def _piece(row: dict[str, Any], start_s: float, end_s: float) -> Piece:
    duration_s = row["duration_s"] or 0.0
    if not start_s < duration_s or not row["sample_rate_hz"]:
        raise Damaged(
            f"recording {row['path']} ends at {duration_s:g} s, before a window of it that begins at {start_s:g} s"
        )
    return Piece(
        RecordedSound(row["path"], row["size_bytes"]),
        start_s,
        min(end_s, duration_s),
        duration_s,
        int(row["sample_rate_hz"]),
        int(row["channels"] or 1),
        row["path"].rsplit("/", 1)[-1].rpartition(".")[0] or row["path"].rsplit("/", 1)[-1],
        row["codec"] or "",
        row["site"],
        row["local_start"],
    )


class PieceMemo:
    """Pieces that were looked up at one state of the archive; a new state forgets them.

    Parameters
    ----------
    size : int
        Pieces kept.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._state: Hashable = None
        self._pieces: OrderedDict[str, Piece] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, state: Hashable, window_id: str) -> Piece | None:
        """Return a window's piece, if it was looked up at this state."""
        with self._lock:
            if state != self._state or window_id not in self._pieces:
                return None
            self._pieces.move_to_end(window_id)
            return self._pieces[window_id]

    def put(self, state: Hashable, window_id: str, piece: Piece) -> None:
        """Keep a piece; the one that was used least goes."""
        with self._lock:
            if state != self._state:
                self._state = state
                self._pieces.clear()
            self._pieces[window_id] = piece
            while len(self._pieces) > self._size:
                self._pieces.popitem(last=False)
