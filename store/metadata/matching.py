"""Recordings to deployments, by folder or prefix and time, after they were embedded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from sonotheque.core.deployment import Deployment, DeploymentTable, Match
from sonotheque.core.recording import RecordingTime
from sonotheque.core.site import clean_site
from store.metadata.times import set_clock_zone, set_zone

ISSUES = ("no_deployment", "outside_deployments", "several_deployments")


@dataclass(slots=True)
class MatchReport:
    """What a table of deployments found.

    Attributes
    ----------
    matched : dict
        Deployment id -> recordings.
    outside : dict
        Issue word -> recordings that no deployment took for that reason.
    outside_paths : list of (path, issue)
        The first of them.
    unused : list of str
        Ids of deployments without recordings.
    """

    matched: dict[str, int] = field(default_factory=dict)
    outside: dict[str, int] = field(default_factory=dict)
    outside_paths: list[tuple[str, str]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def matches(recordings: pl.DataFrame, table: DeploymentTable) -> list[Match]:
    """Return the deployment of each recording, or None and why."""
    columns = recordings.select("path", "local_start", "utc_start").rows()
    return [table.match(path, _time(local, utc)) for path, local, utc in columns]


def _time(local: datetime | None, utc: datetime | None) -> Any:
    """Return a recording's time; where UTC is unknown, in the zone of the deployment it is held against."""
    if utc is not None or local is None:
        return RecordingTime(local, utc)

    def at(deployment: Deployment) -> RecordingTime:
        zone = deployment.clock_zone or deployment.zone
        return RecordingTime(local, local.replace(tzinfo=zone).astimezone(UTC) if zone else None)

    return at


def match_report(recordings: pl.DataFrame, table: DeploymentTable, *, shown: int = 20) -> MatchReport:
    """Return how recordings fall into a table's deployments."""
    found = matches(recordings, table)
    outside = Counter(m.issue for m in found if m.deployment is None)
    paths = [(path, m.issue) for path, m in zip(recordings["path"], found, strict=True) if m.deployment is None]
    return MatchReport(
        dict(Counter(m.deployment.id for m in found if m.deployment)),
        dict(outside),
        paths[:shown],
        [d.id for d in table.unused()],
    )


def match_deployments(frame: pl.DataFrame, table: DeploymentTable, *, mark: bool = True) -> pl.DataFrame:
    """Give recordings the deployment, site, zone and coordinates of the row that takes them; the others keep theirs.

    ``mark``: the table is meant to be whole, so that what it does not take belongs to no deployment, which is an issue.
    """
    found = matches(frame, table)
    chosen = [m.deployment for m in found]
    deployment = pl.Series("new_deployment", [d.id if d else None for d in chosen], pl.String)
    site = pl.Series("new_site", [clean_site(d.site) if d and d.site else None for d in chosen], pl.String)
    latitude = pl.Series("new_latitude", [d.latitude if d else None for d in chosen], pl.Float64)
    longitude = pl.Series("new_longitude", [d.longitude if d else None for d in chosen], pl.Float64)
    issue = pl.Series("issue", [m.issue or None if mark else None for m in found], pl.String)
    taken = deployment.is_not_null()
    placed = latitude.is_not_null() & longitude.is_not_null()
    kept = pl.col("time_issues").list.set_difference(list(ISSUES))
    frame = frame.with_columns(
        deployment=pl.when(taken | mark).then(deployment).otherwise(pl.col("deployment")),
        site=pl.coalesce(site, pl.col("site")),
        latitude=pl.when(placed).then(latitude).otherwise(pl.col("latitude")),
        longitude=pl.when(placed).then(longitude).otherwise(pl.col("longitude")),
        time_issues=pl.when(~taken & (not mark))
        .then(pl.col("time_issues"))
        .when(issue.is_null())
        .then(kept)
        .otherwise(pl.concat_list(kept, issue.fill_null(""))),
    )
    clock_zones = pl.Series([_key(d.clock_zone) if d else None for d in chosen], dtype=pl.String)
    zones = pl.Series([_key(d.zone) if d else None for d in chosen], dtype=pl.String)
    for zone in clock_zones.drop_nulls().unique().sort():
        frame = set_clock_zone(frame, (clock_zones == zone).fill_null(False), zone)
    for zone in zones.drop_nulls().unique().sort():
        here = (zones == zone).fill_null(False)
        # A reading that the clock's zone has made an instant is one: the site's zone then only moves local time.
        frame = set_zone(frame, here & clock_zones.is_not_null(), zone, "instant")
        frame = set_zone(frame, here & clock_zones.is_null(), zone)
    return frame


def _key(zone: Any) -> str | None:
    return zone.key if zone else None
