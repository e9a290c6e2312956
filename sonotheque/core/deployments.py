"""Tables of deployments and of files' times, as Camtrap DP and pamDP have them, and in plain spellings."""

from __future__ import annotations

import os
from typing import Final
from zoneinfo import ZoneInfo

from sonotheque.core.clock import ClockReading, load_zone
from sonotheque.core.deployment import Deployment, DeploymentTable, Match, choose
from sonotheque.core.errors import Invalid
from sonotheque.core.tables import Row, read_rows

__all__ = ["Deployment", "DeploymentTable", "Match", "choose", "load_deployments", "load_times"]

_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "id": ("deploymentid", "deployment"),
    "site": ("locationname", "locationid", "location", "site", "siteid", "sitename"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long"),
    "start": ("deploymentstart", "start"),
    "end": ("deploymentend", "end"),
    "zone": ("timezone", "zone", "tz"),
    "clock_zone": ("clocktimezone", "clockzone", "clocktz"),
    "folder": ("folder", "path"),
    "prefix": ("prefix",),
    "recorder": ("recorderid", "cameraid"),
    "model": ("recordermodel", "cameramodel"),
}
_TIMES_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "path": ("path", "filepath"),
    "name": ("filename", "file"),
    "start": ("start", "timestamp"),
}


def load_deployments(path: str | os.PathLike[str]) -> DeploymentTable:
    """Read a deployments table.

    Parameters
    ----------
    path : path-like
        CSV. Needed: ``deploymentID``. Known besides: ``locationName`` or ``locationID`` or ``site``, ``latitude``,
        ``longitude``, ``deploymentStart``, ``deploymentEnd``, ``timezone``, ``clock_timezone``, ``folder``,
        ``prefix``, ``recorderID``, ``recorderModel``. Case, ``_``, ``-`` and spaces in titles do not matter.

    Raises
    ------
    Invalid
        (``invalid_table``) Names file, line, column, value, and what was expected.
    """
    seen: dict[str, int] = {}
    deployments: list[Deployment] = []
    for row in read_rows(path, _COLUMNS):
        identity = row.get("id")
        if not identity:
            row.refuse("id", "the deployment's id; the table needs a column deploymentID with a value in each row")
        if identity in seen:
            row.refuse("id", f"an id that is unique in the table; it is on line {seen[identity]} too")
        seen[identity] = row.line
        deployments.append(_deployment(row))
    return DeploymentTable(deployments)


def load_times(path: str | os.PathLike[str]) -> dict[str, ClockReading]:
    """Read a table of files' start times.

    Parameters
    ----------
    path : path-like
        CSV with ``path`` (or ``filePath``) or ``fileName``, and ``start`` (or ``timestamp``, as in pamDP's media.csv).

    Returns
    -------
    dict
        Relative path -> start. Also file name -> start, for rows that give a name which no other row has.

    Raises
    ------
    Invalid
        (``invalid_table``) Names file, line, column, value, and what was expected.
    """
    times: dict[str, ClockReading] = {}
    lines: dict[str, int] = {}
    by_name: dict[str, list[tuple[Row, ClockReading]]] = {}
    for row in read_rows(path, _TIMES_COLUMNS):
        start, where, name = row.time("start"), _tidy(row.get("path")), row.get("name")
        if start is None:
            row.refuse("start", "the file's start time, ISO 8601")
        if not where and not name:
            row.refuse("path", "a path or a file name in each row")
        if where:
            if where in times and times[where] != start:
                row.refuse("path", f"a path that is there once; line {lines[where]} gives it another time")
            times[where], lines[where] = start, row.line
        if name:
            by_name.setdefault(name, []).append((row, start))
    for name, rows in by_name.items():
        if len({start for _, start in rows}) == 1:
            times.setdefault(name, rows[0][1])
        elif pathless := [row for row, _ in rows if not row.get("path")]:
            pathless[-1].refuse("name", "a name that only one row has, or a column `path` to tell them apart")
    return times


def _deployment(row: Row) -> Deployment:
    start, end = row.time("start"), row.time("end")
    if end is not None and "T" not in row.get("end") and ":" not in row.get("end"):
        end = ClockReading(end.start.replace(hour=23, minute=59, second=59, microsecond=999_999), end.offset_min)
    if start is not None and end is not None:
        reversed_utc = start.utc is not None and end.utc is not None and start.utc > end.utc
        if reversed_utc or (start.offset_min == end.offset_min and start.start > end.start):
            row.refuse("end", f"a time after the start, {row.get('start')}")
    return Deployment(
        id=row.get("id"),
        site=row.get("site"),
        latitude=row.degrees("latitude", 90),
        longitude=row.degrees("longitude", 180),
        start=start,
        end=end,
        zone=_zone(row, "zone"),
        clock_zone=_zone(row, "clock_zone"),
        folder=_tidy(row.get("folder")),
        prefix=row.get("prefix"),
        recorder=row.get("recorder"),
        model=row.get("model"),
        line=row.line,
    )


def _zone(row: Row, column: str) -> ZoneInfo | None:
    if not row.get(column):
        return None
    try:
        return load_zone(row.get(column))
    except Invalid as error:
        row.refuse(column, f"an IANA time zone ({error.message})")


def _tidy(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./").strip("/")
