"""When a recording starts: one answer from several sources, with its doubts written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sonotheque.core.clock import AMBIGUOUS, NONEXISTENT, ClockReading, local_to_utc, minutes_of
from sonotheque.core.recording import RecordingTime

YEAR_MIN: Final = 1990
YEAR_MAX: Final = 2100
_SAME_S: Final = 2.0  # header and name are written within one wake-up of the recorder
_QUARTER_S: Final = 900
_OFFSET_S_MAX: Final = 14 * 3600

# Every word that can stand in `RecordingTime.issues`, for people.
ISSUES: Final[dict[str, str]] = {
    AMBIGUOUS: "this wall-clock time happened twice (end of summer time); the first one was taken",
    NONEXISTENT: "this wall-clock time never happened (start of summer time)",
    "header_and_name_differ": "header and file name disagree by what no time zone explains; the header was taken",
    "header_not_read": "the disk failed while the header was read; the file's name and the tables alone speak",
    "clock_not_set": "the recorder's clock was not set",
    "implausible_year": "the year cannot be right",
    "outside_deployments": "its folder or prefix is a deployment's, its time is outside the deployment",
    "several_deployments": "more than one deployment fits",
    "no_deployment": "no row of the deployments table fits",
}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A source's reading, and its instant, if that is known."""

    source: str
    reading: ClockReading
    utc: datetime | None
    offset_min: int | None
    issues: tuple[str, ...] = ()


def resolve_time(
    *,
    table: ClockReading | None = None,
    guano: ClockReading | None = None,
    header: ClockReading | None = None,
    name: ClockReading | None = None,
    zone: ZoneInfo | None = None,
    clock_zone: ZoneInfo | None = None,
) -> RecordingTime:
    """Return a recording's start from all that is said about it.

    Parameters
    ----------
    table : ClockReading, optional
        From a table the user wrote. Always taken if present; without an offset it is in ``zone``.
    guano, header, name : ClockReading, optional
        From the GUANO chunk, the recorder's comment, the file's name, best first. A reading whose instant is known
        is better than one whose instant is not.
    zone : ZoneInfo, optional
        The site's zone. Local time is shown in it.
    clock_zone : ZoneInfo, optional
        The zone the recorder's clock was set to, for readings without an offset; the site's by default.

    Returns
    -------
    RecordingTime
        Without ``utc_start`` if neither an offset nor a zone is known: a zone is never guessed.
    """
    issues: list[str] = []
    if _differ(name, guano or header):
        issues.append("header_and_name_differ")
    clock_zone = clock_zone or zone
    candidates = [
        _candidate(source, reading, assumed)
        for source, reading, assumed in (
            ("table", table, zone or clock_zone),
            ("guano", guano, clock_zone),
            ("header", header, clock_zone),
            ("name", name, clock_zone),
        )
        if reading is not None and _plausible(reading, issues)
    ]
    chosen = _choose(candidates)
    if chosen is None:
        return RecordingTime(zone=zone.key if zone else None, issues=_unique(issues))
    return _shown(chosen, zone, [*issues, *chosen.issues])


def _plausible(reading: ClockReading, issues: list[str]) -> bool:
    """Whether a recorder with a set clock could have written this; if not, say why."""
    if reading.start.year < YEAR_MIN:
        issues.append("clock_not_set")  # recorders start in 1970 (or 1980) when their battery was out
        return False
    if reading.start.year > YEAR_MAX:
        issues.append("implausible_year")
        return False
    return True


def _candidate(source: str, reading: ClockReading, assumed: ZoneInfo | None) -> _Candidate:
    if reading.offset_min is not None:
        return _Candidate("name_offset" if source == "name" else source, reading, reading.utc, reading.offset_min)
    if assumed is None:
        return _Candidate(source, reading, None, None)
    utc, offset_min, issue = local_to_utc(reading.start, assumed)
    return _Candidate(source, reading, utc, offset_min, (issue,) if issue else ())


def _choose(candidates: list[_Candidate]) -> _Candidate | None:
    if not candidates:
        return None
    if candidates[0].source == "table":
        return candidates[0]
    return next((c for c in candidates if c.utc is not None), candidates[0])


def _shown(chosen: _Candidate, zone: ZoneInfo | None, issues: list[str]) -> RecordingTime:
    local, offset_min = chosen.reading.start, chosen.offset_min
    if zone is not None and chosen.utc is not None:
        at_site = chosen.utc.astimezone(zone)
        local = at_site.replace(tzinfo=None, fold=0)
        offset_min = minutes_of(local - chosen.utc.replace(tzinfo=None))
    return RecordingTime(local, chosen.utc, offset_min, zone.key if zone else None, chosen.source, _unique(issues))


def _differ(name: ClockReading | None, header: ClockReading | None) -> bool:
    """Whether no offset in civil use explains the distance between a name and a header."""
    if name is None or header is None or name.start == header.start:
        return False
    if name.utc is not None and header.utc is not None and _apart_s(name.utc, header.utc) <= _SAME_S:
        return False
    return not any(
        _explained(_apart_s(name.start, other))
        for other in (header.start, header.utc.replace(tzinfo=None) if header.utc else None)
        if other is not None
    )


def _apart_s(a: datetime, b: datetime) -> float:
    return abs((a - b).total_seconds())


def _explained(apart_s: float) -> bool:
    beside_quarter_s = min(apart_s % _QUARTER_S, _QUARTER_S - apart_s % _QUARTER_S)
    return apart_s <= _OFFSET_S_MAX + _SAME_S and beside_quarter_s <= _SAME_S


def _unique(issues: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(issues))
