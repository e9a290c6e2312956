"""One reading of a recorder's clock, strict ISO 8601, and time zones by name. Nothing here guesses."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from sonotheque.core.errors import Invalid

# Doubts about a wall-clock time on the day on which the clocks change, as words of `RecordingTime.issues`.
AMBIGUOUS: Final = "ambiguous_local_time"
NONEXISTENT: Final = "nonexistent_local_time"
_OFFSET_MIN_LOW, _OFFSET_MIN_HIGH = -12 * 60, 14 * 60  # the offsets in civil use: UTC-12 to UTC+14
# Entries of the zone database's folder that are no zones: placeholders, this machine's own, and copies that count leap seconds.
_NO_PLACES = frozenset({"Factory", "localtime", "posixrules"})
_NO_PLACES_BELOW = ("posix/", "right/")
_OFFSET = re.compile(r"([+-])(\d{1,2})(?::?(\d{2}))?")
_ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r" ?(?P<offset>Z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What a recorder's clock showed.

    Attributes
    ----------
    start : datetime
        Naive: the wall clock as written.
    offset_min : int or None
        Minutes east of UTC that ``start`` is written in; 0 for UTC; None if the source does not say.
    """

    start: datetime
    offset_min: int | None = None

    @property
    def utc(self) -> datetime | None:
        """The instant, aware and in UTC; None if the offset is unknown or the instant leaves the calendar."""
        if self.offset_min is None:
            return None
        if self.offset_min == 0:  # most recorders, and asked for several times a file
            return self.start.replace(tzinfo=UTC)
        try:
            return self.start.replace(tzinfo=timezone(timedelta(minutes=self.offset_min))).astimezone(UTC)
        except OverflowError:  # the first or last day of the calendar
            return None


def make_datetime(
    year: str, month: str, day: str, hour: str = "0", minute: str = "0", second: str = "0", fraction: str = ""
) -> datetime | None:
    """Return a naive datetime from digit strings, or None if no such moment exists.

    Parameters
    ----------
    year, month, day, hour, minute, second : str
        Digits. A year of two digits is in 2000-2099.
    fraction : str
        Digits after the decimal point of the second; cut to microseconds.
    """
    full_year = int(year) + (2000 if len(year) == 2 else 0)
    micros = int((fraction + "000000")[:6])
    try:
        return datetime(full_year, int(month), int(day), int(hour), int(minute), int(second), micros)
    except ValueError:
        return None


def parse_offset(text: str) -> int | None:
    """Return minutes east of UTC of ``Z``, ``+1000``, ``-04:00`` or ``+8``; None if it is no offset in civil use."""
    if text in ("Z", "z"):
        return 0
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    hours, minutes = int(match[2]), int(match[3] or 0)
    value = (hours * 60 + minutes) * (-1 if match[1] == "-" else 1)
    return value if minutes < 60 and _OFFSET_MIN_LOW <= value <= _OFFSET_MIN_HIGH else None


def parse_iso(text: str) -> ClockReading | None:
    """Return the reading in an ISO 8601 text, or None.

    Parameters
    ----------
    text : str
        ``2025-05-03T03:13:00Z``, ``2025-05-03 03:13:00.250+02:00``, ``2025-05-03T03:13`` or ``2025-05-03`` (midnight).
    """
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return None
    part = match.groupdict(default="")
    start = make_datetime(
        part["year"], part["month"], part["day"], part["hour"] or "0", part["minute"] or "0", part["second"] or "0",
        part["fraction"],
    )  # fmt: skip
    offset_min = parse_offset(part["offset"]) if part["offset"] else None
    if start is None or (part["offset"] and offset_min is None):
        return None
    return ClockReading(start, offset_min)


def local_to_utc(start: datetime, zone: zoneinfo.ZoneInfo) -> tuple[datetime, int, str]:
    """Return the instant of a wall-clock time in a zone: the one rule for the hours in which the clocks change.

    Parameters
    ----------
    start : datetime
        Naive.
    zone : ZoneInfo

    Returns
    -------
    utc : datetime
        Aware. Of a time that happened twice the first; one that never happened is read with the offset before the change.
    offset_min : int
        Minutes east of UTC that it was read with.
    issue : str
        Empty, ``AMBIGUOUS`` or ``NONEXISTENT``.
    """
    first = start.replace(tzinfo=zone, fold=0)
    utc = first.astimezone(UTC)
    issue = ""
    if first.utcoffset() != start.replace(tzinfo=zone, fold=1).utcoffset():
        happened = utc.astimezone(zone).replace(tzinfo=None) == start
        issue = AMBIGUOUS if happened else NONEXISTENT
    return utc, minutes_of(first.utcoffset() or timedelta(0)), issue


def minutes_of(offset: timedelta) -> int:
    """Return an offset in whole minutes."""
    return round(offset.total_seconds() / 60)


@lru_cache(maxsize=1024)
def load_zone(name: str, what: str = "time zone") -> zoneinfo.ZoneInfo:
    """Return the IANA zone of a name.

    Parameters
    ----------
    name : str
        Such as ``Europe/Amsterdam``.
    what : str
        Where the name comes from, for the message.

    Raises
    ------
    Invalid
        If there is no such zone; the message offers near names.
    """
    try:
        is_place = not (name in _NO_PLACES or name.startswith(_NO_PLACES_BELOW))
        return zoneinfo.ZoneInfo(name if is_place else "")
    # A folder of the zone database is an OSError, a path out of it a ValueError, anything else ZoneInfoNotFoundError.
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"{what} {name!r} is not an IANA time zone; {_near_zones(name)}") from None


def _near_zones(name: str) -> str:
    known = sorted(zoneinfo.available_timezones())
    lower = {zone.lower(): zone for zone in known}
    wanted = name.strip().replace(" ", "_").lower()
    near = difflib.get_close_matches(wanted, lower, n=3, cutoff=0.6)
    # People write the city alone more often than they misspell it.
    cities = [zone for zone in known if wanted and zone.lower().rsplit("/", 1)[-1] == wanted]
    offered = list(dict.fromkeys([*cities, *(lower[word] for word in near)]))[:3]
    if offered:
        return f"did you mean {' or '.join(offered)}?"
    return "expected a name such as Europe/Amsterdam, America/Bogota or UTC"
