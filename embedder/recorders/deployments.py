"""The deployments table: one recorder at one site for one period, matched by place in the archive and by time.

Read as Camtrap DP and pamDP have it, and in plain spellings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from embedder.recorders.clock import ClockReading, load_zone
from embedder.recorders.tables import Row, read_rows
from sonotheque.core.errors import Invalid
from sonotheque.core.recording import RecordingTime

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


@dataclass(frozen=True, slots=True)
class Deployment:
    """One row of the table.

    Attributes
    ----------
    id : str
        Unique in the table.
    site : str
        Empty if the table does not say.
    latitude, longitude : float or None
        Degrees.
    start, end : ClockReading or None
        First and last moment, both included; in UTC terms if they have an offset, else by the site's wall clock.
        An ``end`` that is a date alone is the end of that day.
    zone, clock_zone : ZoneInfo or None
        The site's zone, and the zone the recorder's clock was set to.
    folder, prefix : str
        Where its files are, if not in a folder (or under a prefix) called like the deployment.
    recorder, model : str
        Device id and type.
    line : int
        In the table's file.
    """

    id: str
    site: str = ""
    latitude: float | None = None
    longitude: float | None = None
    start: ClockReading | None = None
    end: ClockReading | None = None
    zone: ZoneInfo | None = None
    clock_zone: ZoneInfo | None = None
    folder: str = ""
    prefix: str = ""
    recorder: str = ""
    model: str = ""
    line: int = 0

    def holds(self, time: RecordingTime) -> bool:
        """Whether a time lies in the period; a bound and a time that cannot be compared do not exclude each other."""
        after = _compare(time, self.start)
        before = _compare(time, self.end)
        return (after is None or after >= timedelta(0)) and (before is None or before <= timedelta(0))


class Match(NamedTuple):
    """The deployment of a file, or None and why: a word of ``times.ISSUES``."""

    deployment: Deployment | None
    issue: str


class DeploymentTable:
    """All deployments, with a count of the files that each one got.

    Parameters
    ----------
    deployments : iterable of Deployment
    """

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self.deployments = tuple(deployments)
        self._matched: set[str] = set()
        self._by_place: dict[str, list[Deployment]] = {}
        for deployment in self.deployments:
            for place in {deployment.id, deployment.folder, deployment.prefix} - {""}:
                self._by_place.setdefault(place, []).append(deployment)

    def match(
        self,
        path: str,
        time: RecordingTime | Callable[[Deployment], RecordingTime] | None = None,
        prefix: str = "",
    ) -> Match:
        """Return the deployment of a file.

        Parameters
        ----------
        path : str
            Relative to the archive's root, ``/`` between parts.
        time : RecordingTime or callable, optional
            When it starts; a callable gets a deployment and may use its zone.
        prefix : str
            Of the file's name, if known.
        """
        places = self._at(path, prefix)
        if not places:
            return Match(None, "no_deployment")
        inside: list[tuple[int, Deployment]] = []
        unsure = False
        for depth, deployment in places:
            when = time(deployment) if callable(time) else time or RecordingTime()
            if deployment.holds(when):
                inside.append((depth, deployment))
                unsure = unsure or when.local_start is None
        if not inside:
            return Match(None, "outside_deployments")
        best = max(depth for depth, _ in inside)
        nearest = [deployment for depth, deployment in inside if depth == best]
        # Without a time, two deployments at one place cannot be told apart, however they are named.
        if len(nearest) > 1 or (unsure and len(inside) > 1):
            return Match(None, "several_deployments")
        self._matched.add(nearest[0].id)
        return Match(nearest[0], "")

    def unused(self) -> tuple[Deployment, ...]:
        """Return the deployments that no file has matched so far."""
        return tuple(d for d in self.deployments if d.id not in self._matched)

    def _at(self, path: str, prefix: str) -> list[tuple[int, Deployment]]:
        """Return the deployments of a place, each with how exactly the place is named (larger is more exact)."""
        *folders, base = path.split("/")
        names = [(depth, folder) for depth, folder in enumerate(folders, 1)]
        names += [(depth, "/".join(folders[:depth])) for depth in range(2, len(folders) + 1)]
        words = base.split("_")
        deepest = len(folders) + 1
        names += [(deepest, name) for name in {prefix, *("_".join(words[:n]) for n in range(1, len(words)))} - {""}]
        found: dict[str, tuple[int, Deployment]] = {}
        for depth, name in names:
            for deployment in self._by_place.get(name, ()):
                if deployment.id not in found or found[deployment.id][0] < depth:
                    found[deployment.id] = (depth, deployment)
        return list(found.values())


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


def _compare(time: RecordingTime, bound: ClockReading | None) -> timedelta | None:
    """Return how long after a bound a time is; None if the two cannot be compared."""
    if bound is None:
        return None
    at: datetime | None
    if bound.offset_min is not None:
        at, limit = time.utc_start, bound.utc
    else:
        at, limit = time.local_start, bound.start
    return None if at is None or limit is None else at - limit
