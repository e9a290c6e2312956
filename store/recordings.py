"""Recordings as the parts' footers describe them: one row for each, windows or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final

import polars as pl

from sonotheque.core.errors import Damaged
from sonotheque.core.recording import printable_path
from store.catalog.manifest import UnitFault
from store.ledger import LedgerFile, read_part
from store.snapshots import SnapshotPart

_READERS = 8
_TEXT = json.JSONEncoder(ensure_ascii=False)  # made once: `json.dumps` makes one a call
SCHEMA: Final[dict[str, Any]] = {
    "recording_id": pl.Int64,
    "part_id": pl.String,
    "path": pl.String,
    "site": pl.String,
    "deployment": pl.String,
    "local_start": pl.Datetime("us"),
    "utc_start": pl.Datetime("us", "UTC"),
    "utc_offset_min": pl.Int32,
    "zone": pl.String,
    "time_source": pl.String,
    "time_issues": pl.List(pl.String),
    "duration_s": pl.Float64,
    "sample_rate_hz": pl.Int64,
    "channels": pl.Int64,
    "container": pl.String,
    "codec": pl.String,
    "status": pl.String,
    "outcome": pl.String,
    "reason": pl.String,
    "windows": pl.Int64,
    "first_row": pl.Int64,
    "latitude": pl.Float64,
    "longitude": pl.Float64,
    "recorder": pl.String,
    "device": pl.String,
    "size_bytes": pl.Int64,
    "mtime_ns": pl.Int64,
}


def stored_recordings(root: str, parts: Sequence[SnapshotPart]) -> pl.DataFrame:
    """Return the live recordings of a snapshot's parts, also those that failed or were skipped.

    Parameters
    ----------
    root : str
    parts : sequence of SnapshotPart

    Returns
    -------
    DataFrame
        Columns and types of ``SCHEMA``; in the order of parts, then of paths.

    Raises
    ------
    Damaged
        If a part's footer cannot be read.
    """

    def one(part: SnapshotPart) -> pl.DataFrame:
        return pl.DataFrame(list(_rows(root, part)), schema=SCHEMA, orient="row")

    with ThreadPoolExecutor(_READERS) as pool:
        frames = list(pool.map(one, parts))
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames])


def _rows(root: str, listed: SnapshotPart) -> Iterator[tuple[Any, ...]]:
    try:
        part = read_part(root, listed.embeddings)
    except Damaged as error:
        raise UnitFault(listed.embeddings, error.message) from error
    gone = set(listed.superseded)
    for entry in part.files:
        if entry.recording_id not in gone:
            yield _row(listed.part_id, part.site, entry, entry.detail or {})


def _row(part_id: str, site: str, entry: LedgerFile, detail: dict[str, Any]) -> tuple[Any, ...]:
    time, device = detail["time"], detail.get("device") or {}
    return (
        entry.recording_id,
        part_id,
        printable_path(entry.path),
        site,
        detail["deployment"],
        _moment(time["local_start"]),
        _moment(time["utc_start"]),
        time["utc_offset_min"],
        time["zone"],
        time["source"],
        time["issues"],
        entry.duration_s,
        detail["sample_rate_hz"],
        detail["channels"],
        detail["container"],
        detail["codec"],
        entry.status,
        str(entry.outcome),
        detail["reason"],
        entry.windows,
        detail["first_row"],
        _degrees(device.get("latitude")),
        _degrees(device.get("longitude")),
        device.get("recorder"),
        _TEXT.encode(device),
        entry.size_bytes,
        entry.mtime_ns,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _degrees(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
