"""What was recorded: per site the files, hours, days and gaps; per site and day the effort."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from search_api.questions.about import About, require_recordings_only
from search_api.questions.gaps import GAP_MIN_DEFAULT_S, Gap, gaps_of
from search_api.questions.schedules import Schedule
from search_api.questions.values import plain
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from store import Archive

RECORDINGS: Final = "recordings"
_SITES = """
SELECT site, count(*) AS recordings, count(*) FILTER (outcome = 'done') AS done,
       count(*) FILTER (outcome = 'skipped') AS skipped, count(*) FILTER (outcome = 'failed') AS failed,
       min(local_start) AS first_start, max(local_start) AS last_start,
       count(DISTINCT date) FILTER (outcome = 'done') AS days,
       coalesce(sum(duration_s) FILTER (outcome = 'done'), 0)::DOUBLE AS audio_s,
       coalesce(sum(windows), 0)::BIGINT AS windows,
       count(*) FILTER (local_start IS NULL) AS without_time,
       coalesce(sum(windows) FILTER (local_start IS NULL), 0)::BIGINT AS windows_without_time,
       count(*) FILTER (utc_start IS NULL AND local_start IS NOT NULL) AS without_zone
FROM ({chosen}) GROUP BY site ORDER BY site
"""
# A recording that runs past midnight counts for both days with the seconds it has in each.
_DAYS = """
WITH chosen AS ({chosen}), timed AS (SELECT * FROM chosen WHERE local_start IS NOT NULL), sound AS (
    SELECT site, local_start AS low, local_start + to_microseconds(round(duration_s * 1e6)::BIGINT) AS high
    FROM timed WHERE outcome = 'done'
), cut AS (
    SELECT site, low, high, unnest(generate_series(date_trunc('day', low), high, INTERVAL 1 DAY)) AS day FROM sound
), effort AS (
    SELECT site, day::DATE AS date, sum(epoch(least(high, day + INTERVAL 1 DAY) - greatest(low, day))) AS audio_s
    FROM cut GROUP BY ALL
), files AS (
    SELECT site, date, count(*) AS recordings, count(*) FILTER (outcome = 'failed') AS failed FROM timed GROUP BY ALL
)
SELECT site, date, coalesce(recordings, 0) AS recordings, coalesce(failed, 0) AS failed, coalesce(audio_s, 0) AS audio_s
FROM effort FULL JOIN files USING (site, date)
WHERE recordings IS NOT NULL OR audio_s > 0 ORDER BY site, date
"""


@dataclass(frozen=True, slots=True)
class SiteSummary:
    """One site.

    Attributes
    ----------
    site : str
    recordings, done, skipped, failed : int
        Files.
    first, last : datetime or None
        Starts of the first and the last recording, on the site's clock.
    days : int
        Local dates on which a recording with sound begins.
    audio_s : float
    windows : int
    latitude, longitude : float or None
    zone : str or None
    without_time, windows_without_time : int
        Recordings whose time is unknown, and their windows: no day and no hour has them.
    without_zone : int
        Recordings with a local time and no UTC.
    schedules : tuple of (deployment, Schedule)
    """

    site: str
    recordings: int
    done: int
    skipped: int
    failed: int
    first: datetime | None
    last: datetime | None
    days: int
    audio_s: float
    windows: int
    latitude: float | None
    longitude: float | None
    zone: str | None
    without_time: int
    windows_without_time: int
    without_zone: int
    schedules: tuple[tuple[str | None, Schedule], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the site as a JSON object."""
        own = {name: plain(getattr(self, name)) for name in self.__slots__ if name != "schedules"}
        own["audio_h"] = round(self.audio_s / 3600, 4)
        return {**own, "schedules": [{"deployment": name, **rule.to_json()} for name, rule in self.schedules]}


@dataclass(frozen=True, slots=True)
class DayEffort:
    """One site's local day: recordings that begin in it, those of them that failed, and sound that lies in it."""

    site: str
    date: date
    recordings: int
    failed: int
    audio_s: float

    def to_json(self) -> dict[str, Any]:
        """Return the day as a JSON object."""
        return {name: plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Summary:
    """The answer.

    Attributes
    ----------
    about : About
    sites : tuple of SiteSummary
        In order of their names.
    days : tuple of DayEffort
        By site and date; days without a recording are not in it.
    gaps : tuple of Gap
        By site, deployment and time.
    gap_min_s : float
        Shorter ones are left out.
    """

    about: About
    sites: tuple[SiteSummary, ...]
    days: tuple[DayEffort, ...]
    gaps: tuple[Gap, ...]
    gap_min_s: float
    totals: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as a JSON object."""
        return {
            **self.about.to_json(),
            "totals": self.totals,
            "sites": [site.to_json() for site in self.sites],
            "gap_min_s": self.gap_min_s,
            "gaps": [gap.to_json() for gap in self.gaps],
            "days": [day.to_json() for day in self.days],
        }


def summarise(archive: Archive, wanted: SearchFilter | None = None, *, gap_min_s: float = GAP_MIN_DEFAULT_S) -> Summary:
    """Return what was recorded.

    Parameters
    ----------
    archive : Archive
    wanted : SearchFilter, optional
        Sites, deployments, recordings, dates, months and hours, of the recordings' starts.
    gap_min_s : float
        Shorter gaps are left out.

    Raises
    ------
    Invalid
        If the filter asks of windows what recordings do not have, or ``gap_min_s`` is negative.
    NotFound
        If the filter names a site, deployment or recording that is not in the store.
    """
    wanted = wanted or SearchFilter()
    require_recordings_only(wanted, "summary")
    if not 0 <= gap_min_s < float("inf"):
        raise Invalid(f"least gap {gap_min_s:g} s: expected 0 or more")
    chosen, parameters = archive.select(wanted, relation=RECORDINGS)
    places = {row["site"]: row for row in archive.sql("SELECT site, latitude, longitude, zone FROM sites").to_pylist()}
    schedules: dict[str, list[tuple[str | None, Schedule]]] = defaultdict(list)
    gaps: list[Gap] = []
    for site, deployment, rule, found in gaps_of(archive, chosen, parameters):
        schedules[site].append((deployment, rule))
        gaps += [gap for gap in found if gap.length_s >= gap_min_s]
    sites = []
    for row in archive.sql(_SITES.format(chosen=chosen), parameters).to_pylist():
        place = places.get(row["site"], {})
        first, last = row.pop("first_start"), row.pop("last_start")
        where = {name: place.get(name) for name in ("latitude", "longitude", "zone")}
        sites.append(SiteSummary(**row, **where, first=first, last=last, schedules=tuple(schedules[row["site"]])))
    days = [DayEffort(**row) for row in archive.sql(_DAYS.format(chosen=chosen), parameters).to_pylist()]
    inside = tuple(day for day in days if _within(day.date, wanted))
    return Summary(About.of(archive, wanted), tuple(sites), inside, tuple(gaps), gap_min_s, _totals(sites, gaps))


def _within(day: date, wanted: SearchFilter) -> bool:
    """Whether a day is one of those asked for: a recording's last hour may lie on the day after them."""
    return (
        (wanted.date_from is None or day >= wanted.date_from)
        and (wanted.date_to is None or day <= wanted.date_to)
        and (not wanted.months or day.month in wanted.months)
    )


def _totals(sites: list[SiteSummary], gaps: list[Gap]) -> dict[str, Any]:
    names = ("recordings", "done", "skipped", "failed", "windows", "without_time", "windows_without_time", "audio_s")
    sums = {name: sum(getattr(site, name) for site in sites) for name in names}
    firsts = [s.first for s in sites if s.first]
    lasts = [s.last for s in sites if s.last]
    return {
        "sites": len(sites),
        **sums,
        "audio_h": round(sums["audio_s"] / 3600, 4),
        "site_days": sum(site.days for site in sites),
        "first_date": plain(min(firsts).date()) if firsts else None,
        "last_date": plain(max(lasts).date()) if lasts else None,
        "gaps": len(gaps),
    }


def all_days(days: tuple[DayEffort, ...]) -> list[date]:
    """Return every date from the first to the last of some days; empty if there are none."""
    if not days:
        return []
    first, last = min(d.date for d in days), max(d.date for d in days)
    return [first + timedelta(n) for n in range((last - first).days + 1)]


def flat_rows(answer: Summary, *, by_day: bool) -> list[dict[str, Any]]:
    """Return the sites, or the days, as rows of plain values: a table for other programs."""
    if by_day:
        return [day.to_json() for day in answer.days]
    rows = []
    for site in answer.sites:
        row = site.to_json()
        rules = row.pop("schedules")
        rows.append({**row, "schedule": "; ".join(dict.fromkeys(rule["text"] for rule in rules))})
    return rows
