"""What is searched for: a clip, one of the archive's own windows, or vectors from a file, as query vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from search_api.clip_rules import WINDOWS_MAX, seconds_text
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.suggest import did_you_mean
from store import Archive

__all__ = ["WINDOWS_MAX", "Query", "QueryWindow", "found_window", "recording_ids", "seconds_text", "window_query"]

START_TOLERANCE_S: Final = 0.0005  # starts are shown to a millisecond
_IDENTITY = re.compile(r"(-?\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class QueryWindow:
    """A window of the query's sound, in seconds of its file; ``valid_s`` of it is sound and not padding."""

    start_s: float
    end_s: float
    valid_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is searched for.

    Attributes
    ----------
    kind : str
        ``clip``, ``window`` or ``vector``.
    name : str
        The file, or ``PATH@START_S`` of a window.
    vectors : float32, (m, dim)
    windows : tuple of QueryWindow
        One a vector; none for a vector file.
    model : ModelSpec or None
        That made the vectors; None for a vector file, which does not say it.
    path : str or None
        Of the sound: a file of the user's for a clip, the stored path for a window.
    recording_id : int or None
        Of the recording that a window is of.
    about : str
        What was read, in words: ``4 windows of call.wav, birdnet_v2.4``.
    notes : tuple of str
    """

    kind: str
    name: str
    vectors: NDArray[np.float32]
    windows: tuple[QueryWindow, ...] = ()
    model: ModelSpec | None = None
    path: str | None = None
    recording_id: int | None = None
    about: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what was searched for, without the vectors."""
        return {
            "kind": self.kind,
            "name": self.name,
            "vectors": len(self.vectors),
            "model": self.model.to_json() if self.model else None,
            "windows": [
                {"start_s": round(w.start_s, 6), "end_s": round(w.end_s, 6), "valid_s": round(w.valid_s, 6)}
                for w in self.windows
            ],
            "recording_id": self.recording_id,
        }


def window_query(archive: Archive, name: str) -> Query:
    """Return one of the archive's own windows as a query.

    Parameters
    ----------
    archive : Archive
    name : str
        ``PATH@START_S`` or ``RECORDING_ID:START_SAMPLE``.

    Raises
    ------
    Invalid
        If it is neither.
    NotFound
        If there is no such window or recording; the nearest is named.
    """
    path, mark, start = name.rpartition("@")
    if mark and path and (start_s := _seconds(start)) is not None:
        return found_window(archive, path, start_s)
    if identity := _IDENTITY.fullmatch(name.strip()):
        return _by_identity(archive, int(identity[1]), int(identity[2]))
    raise Invalid(
        f"window {name!r}: expected PATH@START_S, as forest/dawn.wav@12.5, or RECORDING_ID:START_SAMPLE, as 1234567:576000"
    )


def found_window(archive: Archive, path: str, start_s: float) -> Query:
    """Return the window of a recording that starts at so many seconds; raises as :func:`window_query`."""
    rows = _windows(archive, "path = ? ORDER BY abs(start_s - ?) LIMIT 1", [path, start_s])
    if not rows:
        _refuse_path(archive, path)
    nearest = rows[0]
    if abs(nearest["start_s"] - start_s) > START_TOLERANCE_S:
        raise NotFound(
            f"{path} has no window that starts at {seconds_text(start_s)} s; "
            f"the nearest starts at {seconds_text(nearest['start_s'])} s"
        )
    return _window_query(archive, nearest)


def recording_ids(archive: Archive, paths: Sequence[str]) -> tuple[int, ...]:
    """Return the ids of recordings by their stored paths; raises NotFound with near names."""
    ids = []
    for path in paths:
        found = archive.sql("SELECT recording_id FROM recordings WHERE path = ?", [path])
        if not found.num_rows:
            _refuse_path(archive, path)
        ids += found["recording_id"].to_pylist()
    return tuple(ids)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _windows(archive: Archive, condition: str, parameters: list[Any]) -> list[dict[str, Any]]:
    columns = "recording_id, start_sample, path, site, start_s, end_s, valid_s, local_start, part_id, part_row"
    rows: list[dict[str, Any]] = archive.sql(f"SELECT {columns} FROM windows WHERE {condition}", parameters).to_pylist()
    return rows


def _by_identity(archive: Archive, recording_id: int, start_sample: int) -> Query:
    from store.index.stored_rows import indexed_window

    index = vars(archive).get("index")
    if index is not None and (indexed := indexed_window(index, recording_id, start_sample)) is not None:
        return _window_query(archive, *indexed)
    # The recording first: its site is a folder of the catalog, so that the other sites' files are left alone.
    known = archive.sql("SELECT path, site FROM recordings WHERE recording_id = ?", [recording_id]).to_pylist()
    own = [recording_id, known[0]["site"]] if known else []
    if known and (
        rows := _windows(archive, "recording_id = ? AND site = ? AND start_sample = ?", [*own, start_sample])
    ):
        return _window_query(archive, rows[0])
    near = "recording_id = ? AND site = ? ORDER BY abs(start_sample::DOUBLE - ?) LIMIT 1"
    rows = _windows(archive, near, [*own, float(start_sample)]) if known else []
    if not rows:
        if known:
            raise NotFound(f"recording {recording_id} ({known[0]['path']}) has no window at all")
        raise NotFound(f"{archive.root} has no recording with the id {recording_id}", kind="unknown_recording")
    nearest = rows[0]
    raise NotFound(
        f"recording {recording_id} ({nearest['path']}) has no window that starts at sample {start_sample:,}; "
        f"the nearest starts at {nearest['start_sample']:,}, which is {seconds_text(nearest['start_s'])} s"
    )


def _window_query(archive: Archive, row: dict[str, Any], vector: NDArray[np.float32] | None = None) -> Query:
    name = f"{row['path']}@{seconds_text(row['start_s'])}"
    local = f", {row['local_start']:%Y-%m-%d %H:%M:%S}" if row["local_start"] else ""
    return Query(
        "window",
        name,
        _vector(archive, row["part_id"], row["part_row"]) if vector is None else vector,
        (QueryWindow(row["start_s"], row["end_s"], row["valid_s"]),),
        archive.config.model,
        row["path"],
        row["recording_id"],
        f"window {name} ({row['site']}{local}), {archive.config.model.name}",
    )


def _vector(archive: Archive, part_id: str, part_row: int) -> NDArray[np.float32]:
    """Return the vector of a row, float32 (1, dim): from the index if that is open, which holds the same numbers, else from the part."""
    import pyarrow as pa

    from store.index.stored_rows import indexed_vector

    index = vars(archive).get("index")
    found = None if index is None else indexed_vector(index, part_id, part_row)
    if found is not None:
        return found
    return archive.vectors_of(pa.table({"part_id": [part_id], "part_row": pa.array([part_row], pa.int32())}))


def _refuse_path(archive: Archive, path: str) -> None:
    if archive.sql("SELECT 1 FROM recordings WHERE path = ? LIMIT 1", [path]).num_rows:
        raise NotFound(f"{path} has no windows: it is too short, or could not be read; `sonotheque report` says why")
    end = path.rsplit("/", 1)[-1]
    near = archive.sql(
        "SELECT path FROM recordings ORDER BY jaro_winkler_similarity(path, ?) + 0.5 * (path LIKE '%' || ?)::INT DESC, path LIMIT 20",
        [path, end],
    )
    hint = did_you_mean(path, near["path"].to_pylist())
    raise NotFound(
        f"{archive.root} has no recording {path}" + (f"; {hint}" if hint.startswith("did you mean") else ""),
        kind="unknown_recording",
    )
