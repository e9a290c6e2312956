"""Recordings as a footer has them, and a dumb twin that applies changes to one recording at a time."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from sonotheque.core.clock import AMBIGUOUS, NONEXISTENT, local_to_utc
from sonotheque.core.deployments import Deployment, DeploymentTable
from sonotheque.core.recording import RecordingTime
from sonotheque.core.site import clean_site
from store.metadata import ClockChange, DeploymentsChange, MetadataState, SiteChange
from store.metadata.effective import apply_metadata
from store.recordings import SCHEMA

ISSUES = ("no_deployment", "outside_deployments", "several_deployments")


def row(path: str = "A/x.wav", *, site: str = "A", time: RecordingTime | None = None, **more: Any) -> dict[str, Any]:
    """A recording as ``stored_recordings`` gives it."""
    time = time or RecordingTime()
    own = {
        "recording_id": 1,
        "part_id": "p",
        "path": path,
        "site": site,
        "local_start": time.local_start,
        "utc_start": time.utc_start,
        "utc_offset_min": time.utc_offset_min,
        "zone": time.zone,
        "time_source": time.source,
        "time_issues": list(time.issues),
        "windows": 1,
    }
    return {**dict.fromkeys(SCHEMA), **own, **more}


def recording(path: str = "A/x.wav", *, site: str = "A", local: datetime | None = None, zone: str | None = None,
              source: str = "name", utc: datetime | None = None, **more: Any) -> dict[str, Any]:  # fmt: skip
    """A recording whose times are given as people think of them."""
    if local is None and utc is not None:
        local = utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None) if zone else utc.replace(tzinfo=None)
    if utc is None and zone and local:
        utc = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        local = utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    offset = None if utc is None or local is None else round((local - utc.replace(tzinfo=None)).total_seconds() / 60)
    return row(path, site=site, time=RecordingTime(local, utc, offset, zone, source), **more)


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def state(*changes: Any) -> MetadataState:
    return MetadataState(len(changes), tuple(changes))


def applied(rows: pl.DataFrame, *changes: Any) -> list[dict[str, Any]]:
    return apply_metadata(rows, state(*changes)).to_dicts()


@dataclass
class Said:
    """What is said of one recording; ``times`` follow from it."""

    stored: dict[str, Any]
    add_s: float = 0.0
    clock_zone: str | None = None
    reading: bool = False
    site: str = ""
    deployment: str | None = None
    zone: str | None = None
    place: tuple[float | None, float | None] = (None, None)
    issues: list[str] = field(default_factory=list)
    pin: str | None = None

    def times(self) -> tuple[datetime | None, datetime | None, str]:
        """Local start, UTC and doubt, as if said by a person with a pencil."""
        old = self.stored
        local, utc = old["local_start"], old["utc_start"]
        if not (self.add_s or self.clock_zone or self.reading or self.zone != old["zone"]):
            return local, utc, ""
        add = timedelta(seconds=self.add_s)
        derived = old["time_source"] in ("name", "table") and old["zone"] is not None
        if utc is not None and not derived and not self.reading:
            utc += add
            return (utc.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None) if self.zone else local + add), utc, ""
        if local is None:
            return None, None, ""
        clock = self.clock_zone or self.zone
        if clock is None:
            return local + add, None, ""
        utc, _, doubt = local_to_utc(local + add, ZoneInfo(clock))
        return (utc.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None) if self.zone else local + add), utc, doubt


def twin(stored: dict[str, Any], changes: Sequence[Any]) -> dict[str, Any]:
    """Apply changes to one recording whose name shows no time, one after the other, from the start for every question."""
    clocks: list[tuple[float, str | None, bool]] = []
    for at, change in enumerate(changes):
        if isinstance(change, ClockChange) and _meant(_placed(stored, clocks, changes[:at]), change):
            clocks.append((change.add_s, change.clock_zone, change.ignore_offsets))
    said = _placed(stored, clocks, changes)
    local, utc, doubt = said.times()
    moved = said.add_s or said.clock_zone or said.reading or said.zone != stored["zone"]
    issues = [i for i in said.issues if i not in (AMBIGUOUS, NONEXISTENT)] if moved else said.issues
    return {
        "site": said.site,
        "deployment": said.deployment,
        "zone": said.zone,
        "latitude": said.place[0],
        "longitude": said.place[1],
        "local_start": local,
        "utc_start": utc,
        "clock_offset_s": said.add_s,
        "date": local.date() if local else None,
        "time_issues": sorted([*issues, doubt] if doubt else issues),
    }


def _placed(stored: dict[str, Any], clocks: Sequence[tuple[float, str | None, bool]], changes: Sequence[Any]) -> Said:
    said = Said(stored, site=stored["site"], deployment=stored["deployment"], zone=stored["zone"])
    said.place, said.issues = (stored["latitude"], stored["longitude"]), list(stored["time_issues"])
    for add_s, zone, ignore in clocks:
        said.add_s += add_s
        said.clock_zone = zone or said.clock_zone
        said.reading = said.reading or ignore
    _take_table(said, [c for c in changes if isinstance(c, DeploymentsChange)])
    for change in changes:
        if isinstance(change, SiteChange) and change.site == said.site:
            _take_site(said, change)
    said.clock_zone = said.clock_zone or said.pin
    return said


def _take_table(said: Said, tables: Sequence[DeploymentsChange]) -> None:
    if not tables:
        return
    rows: dict[str, Deployment] = {}
    for table in tables:
        rows = {**(rows if table.add else {}), **{d.id: d for d in table.deployments}}

    def time(deployment: Deployment) -> RecordingTime:
        there = Said(said.stored, said.add_s, said.clock_zone, said.reading, zone=said.zone)
        there.clock_zone = there.clock_zone or (deployment.clock_zone.key if deployment.clock_zone else None)
        there.zone = deployment.zone.key if deployment.zone else said.zone
        return RecordingTime(*there.times()[:2])

    match = DeploymentTable(rows.values()).match(said.stored["path"], time, site=said.stored["site"])
    found, is_whole = match.deployment, any(not t.add for t in tables)
    if found is None:
        if is_whole:
            said.deployment = None
            said.issues = [*(i for i in said.issues if i not in ISSUES), match.issue]
        return
    said.issues = [i for i in said.issues if i not in ISSUES]
    said.deployment, said.site = found.id, clean_site(found.site) if found.site else said.site
    said.zone = found.zone.key if found.zone else said.zone
    said.clock_zone = said.clock_zone or (found.clock_zone.key if found.clock_zone else None)
    if found.latitude is not None and found.longitude is not None:
        said.place = found.latitude, found.longitude


def _take_site(said: Said, change: SiteChange) -> None:
    if change.latitude is not None:
        said.place = change.latitude, change.longitude
    if change.zone is not None:
        if change.keep == "clock":
            said.reading, said.pin = True, None
        elif change.keep == "instant":
            said.pin = said.pin or said.zone
        said.zone = change.zone
    said.site = change.rename or said.site


def _meant(said: Said, change: ClockChange) -> bool:
    scope = change.scope
    local = said.times()[0]
    day = local.date() if local else None
    if scope.site not in (None, said.site) or scope.deployment not in (None, said.deployment):
        return False
    if scope.recording is not None:
        plain = "".join(f"[{c}]" if c in "[]" else c for c in scope.recording)
        if not fnmatch.fnmatchcase(said.stored["path"], plain):
            return False
    if scope.date_from is not None and (day is None or day < date.fromisoformat(scope.date_from)):
        return False
    return scope.date_to is None or (day is not None and day <= date.fromisoformat(scope.date_to))
