"""File names of recorders: each maker's pattern, and a pattern of the user's own. Strict: no match beats a guess."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sonotheque.core.clock import ClockReading, make_datetime, parse_offset
from sonotheque.core.errors import Invalid

# First generation AudioMoths name a file by its Unix seconds. Outside these years the eight digits are something else.
_HEX_LOW: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_HEX_HIGH: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
_EPOCH: Final = datetime(1970, 1, 1)

_DATE = r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"
_TIME = r"(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})"
_DASHED = r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
_PREFIX = r"(?:(?P<prefix>.+?)_)?"
_OFFSET = r"(?P<offset>Z|[+-]\d{4})"
_COPY = r"(?: ?\(\d{1,3}\))?"  # `name (1).wav`: a second download of the same file
_DEG = r"[+-]?\d{1,3}\.\d+"
_SIGNED = r"[+-]\d{1,3}(?:\.\d+)?"
_PLACE = rf"(?:[_ ]?\[(?P<lat>{_DEG})[ ,](?P<lon>{_DEG})\]|_(?P<lat2>{_SIGNED})_?(?P<lon2>{_SIGNED}))?"

_NAMES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (name, re.compile(text + _COPY, re.ASCII))
    for name, text in (
        ("audiomoth", rf"(?:(?P<prefix>[0-9A-Fa-f]{{16}})_)?{_DATE}_{_TIME}(?:_(?P<fraction>\d{{3}}))?T?(?:_SYNC)?"),
        ("audiomoth_hex", r"(?P<hex>[0-9A-F]{8}|[0-9a-f]{8})"),
        ("localisation", rf"S{_DATE}T{_TIME}(?:\.(?P<fraction>\d{{1,9}}))?{_OFFSET}?_E[0-9T.+Z-]+?{_PLACE}"),
        ("swiftone", rf"{_PREFIX}{_DATE}_{_TIME}_{_OFFSET}"),
        ("frontier_labs", rf"{_PREFIX}{_DATE}[T_]{_TIME}{_OFFSET}(?:_(?P<note>[^\W\d_][^\[]*?))?{_PLACE}"),
        ("frontier_labs", rf"{_PREFIX}{_DATE}T{_TIME}(?:_REC)?{_PLACE}"),
        (
            "birdnet_pi",
            rf"{_DASHED}-birdnet-(?:(?P<prefix>.+?)-)?(?P<hour>\d{{2}}):(?P<minute>\d{{2}}):(?P<second>\d{{2}})",
        ),
        ("owlsense", rf"{_PREFIX}{_DASHED}_T(?P<hour>\d{{2}})-(?P<minute>\d{{2}})-(?P<second>\d{{2}})"),
        (
            "iso",  # Chorus, Bugg, phones: the separators of a time differ, its order does not
            rf"{_PREFIX}{_DASHED}[T _](?P<hour>\d{{2}})(?P<sep>[-_:.])(?P<minute>\d{{2}})(?P=sep)(?P<second>\d{{2}})"
            rf"(?:[.,](?P<fraction>\d{{1,9}}))?(?P<offset>Z|[+-]\d{{2}}:?\d{{2}})?",
        ),
        ("smart", rf"{_PREFIX}{_DATE}_{_TIME}_(?P<fraction>\d{{6}})"),
        ("song_meter", rf"(?P<prefix>.+?)(?:_(?:0\+1|0|1))?_{_DATE}(?:[_$]|_\$){_TIME}(?:_(?P<fraction>\d{{3}}))?"),
        ("sony_tascam", r"(?P<year>\d{2})(?P<month>\d{2})(?P<day>\d{2})_(?P<hour>\d{2})(?P<minute>\d{2})"),
    )
)
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", re.ASCII)
_DATE_FORMS = re.compile(r"(\d{4}|\d{2})[-_.]?(\d{2})[-_.]?(\d{2})", re.ASCII)
_TIME_FORMS = re.compile(r"(\d{2})[-_:.h]?(\d{2})(?:[-_:.m]?(\d{2})(?:\.(\d{1,9}))?)?", re.ASCII)
_EXAMPLE = r"(?P<site>[^_]+)_(?P<date>\d{8})-(?P<time>\d{6})"


@dataclass(frozen=True, slots=True)
class NameTime:
    """What a file name says.

    Attributes
    ----------
    clock : ClockReading
        Start of the recording.
    pattern : str
        Name of the pattern: ``audiomoth``, ``song_meter`` ... or ``user``.
    prefix : str
        What stands before the date: site or device for a Song Meter, device or deployment for an AudioMoth.
    site : str
        The ``site`` group of a user's pattern; empty otherwise.
    latitude, longitude : float or None
        Degrees, where the recorder writes them into the name.
    """

    clock: ClockReading
    pattern: str
    prefix: str = ""
    site: str = ""
    latitude: float | None = None
    longitude: float | None = None


def parse_name(path: str, user: re.Pattern[str] | None = None) -> NameTime | None:
    """Return what a file's name says about its start, or None.

    Parameters
    ----------
    path : str
        Relative path with ``/`` between parts. Built-in patterns see the file's name alone, and must match all of it.
    user : re.Pattern, optional
        From :func:`compile_user_pattern`; searched for in the whole path, before the built-in patterns.
    """
    if user is not None and (match := user.search(path)):
        found = _from_user(match)
        if found is not None:
            return found
    stem = _EXTENSION.sub("", path.rsplit("/", 1)[-1])
    for name, pattern in _NAMES:
        if (match := pattern.fullmatch(stem)) and (found := _from_builtin(name, match)):
            return found
    return None


def compile_user_pattern(text: str) -> re.Pattern[str]:
    r"""Return a user's pattern, checked.

    Parameters
    ----------
    text : str
        A regular expression with named groups: ``year month day hour minute`` and optionally ``second``, or ``date``
        and ``time`` (digits, with or without separators), or ``unix`` (seconds); optionally ``ms``, ``offset``,
        ``site``, ``prefix``. Example: ``(?P<site>[^_]+)_(?P<date>\d{8})-(?P<time>\d{6})``.

    Raises
    ------
    Invalid
        If it does not compile, or lacks groups.
    """
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise Invalid(f"file-name pattern {text!r} is not a regular expression: {error}; example: {_EXAMPLE}") from None
    groups = set(pattern.groupindex)
    day = [] if "date" in groups else [g for g in ("year", "month", "day") if g not in groups]
    clock = [] if "time" in groups else [g for g in ("hour", "minute") if g not in groups]
    if "unix" not in groups and (day or clock):
        raise Invalid(
            f"file-name pattern {text!r} lacks the named groups {', '.join(day + clock)} "
            f"(or `date` and `time`, or `unix`); example: {_EXAMPLE}"
        )
    return pattern


def _from_builtin(name: str, match: re.Match[str]) -> NameTime | None:
    part = {key: value or "" for key, value in match.groupdict().items()}
    prefix = part.get("prefix", "")
    if name == "audiomoth_hex":
        clock = _from_hex(part["hex"])
        return NameTime(clock, name) if clock else None
    start = make_datetime(
        part["year"], part["month"], part["day"], part["hour"], part["minute"], part.get("second", "0"),
        part.get("fraction", ""),
    )  # fmt: skip
    if start is None:
        return None
    offset_min = parse_offset(part["offset"]) if part.get("offset") else None
    if part.get("offset") and offset_min is None:
        return None
    latitude, longitude = _position(part.get("lat") or part.get("lat2"), part.get("lon") or part.get("lon2"))
    return NameTime(ClockReading(start, offset_min), name, prefix, "", latitude, longitude)


def _from_hex(digits: str) -> ClockReading | None:
    # 20250503.wav is a day, and names no time: better unknown than 1987.
    if digits.isdecimal() and make_datetime(digits[:4], digits[4:6], digits[6:]):
        return None
    seconds = int(digits, 16)
    if not _HEX_LOW <= seconds < _HEX_HIGH:
        return None
    return ClockReading(_EPOCH + timedelta(seconds=seconds), 0)


def _from_user(match: re.Match[str]) -> NameTime | None:
    part = {key: value or "" for key, value in match.groupdict().items()}
    offset_min = parse_offset(part["offset"]) if part.get("offset") else None
    if part.get("offset") and offset_min is None:
        return None
    if part.get("unix"):
        start, offset_min = _from_unix(part["unix"]), 0
    else:
        start = _user_start(part)
    if start is None:
        return None
    if part.get("ms", "").isdecimal():
        start = start.replace(microsecond=int((part["ms"] + "000000")[:6]))
    return NameTime(ClockReading(start, offset_min), "user", part.get("prefix", ""), part.get("site", ""))


def _user_start(part: dict[str, str]) -> datetime | None:
    day = [part.get(key, "") for key in ("year", "month", "day")]
    clock = [part.get(key, "") for key in ("hour", "minute", "second")]
    if part.get("date"):
        if not (match := _DATE_FORMS.fullmatch(part["date"])):
            return None
        day = [match[1], match[2], match[3]]
    fraction = ""
    if part.get("time"):
        if not (match := _TIME_FORMS.fullmatch(part["time"])):
            return None
        clock, fraction = [match[1], match[2], match[3] or ""], match[4] or ""
    clock[2] = clock[2] or "0"  # the only part that may be left out
    if not all(digits.isascii() and digits.isdecimal() for digits in (*day, *clock)):
        return None
    return make_datetime(day[0], day[1], day[2], clock[0], clock[1], clock[2], fraction)


def _from_unix(digits: str) -> datetime | None:
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 12):
        return None
    try:
        return _EPOCH + timedelta(seconds=int(digits))
    except OverflowError:
        return None


def _position(lat: str | None, lon: str | None) -> tuple[float | None, float | None]:
    if not lat or not lon:
        return None, None
    latitude, longitude = float(lat), float(lon)
    in_range = abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if in_range else (None, None)
