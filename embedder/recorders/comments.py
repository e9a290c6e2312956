"""What a recorder wrote inside the file: the AudioMoth comment (``ICMT``) and the GUANO chunk."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from sonotheque.core.clock import ClockReading, make_datetime, parse_iso, parse_offset

_RECORDED = re.compile(
    r"Recorded at (?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6}))?"
    r" (?P<day>\d{2})/(?P<month>\d{2})/(?P<year>\d{4})(?: \((?P<utc>UTC(?P<offset>[+-]\d{1,2}(?::\d{2})?)?)\))?"
    r"(?: by AudioMoth(?: (?P<serial>[0-9A-Fa-f]{16}))?)?",
    re.ASCII,
)
_DEPLOYMENT = re.compile(r"during deployment ([0-9A-Fa-f]{16})", re.ASCII)
_GAIN = re.compile(r"at (?:gain setting (\d+)|([a-z]+(?:-[a-z]+)?) gain)", re.ASCII)
_BATTERY = re.compile(r"battery (?:state )?was (?:(less than|greater than|<|>) ?)?(\d{1,2}(?:\.\d+)?) ?V", re.ASCII)
_TEMPERATURE = re.compile(r"temperature was (-?\d{1,3}(?:\.\d+)?) ?C", re.ASCII)
_STOPPED = re.compile(r"Recording (?:stopped|cancelled)[^.]*? (?:due to|by) ([^.]+)\.", re.ASCII)
_ARTIST = re.compile(r"AudioMoth ([0-9A-Fa-f]{16})", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)

Facts = dict[str, str | float]


@dataclass(frozen=True, slots=True)
class HeaderNote:
    """A recorder's own note in a file.

    Attributes
    ----------
    clock : ClockReading or None
        Start of the recording, if the note has one.
    device : dict
        ``recorder``, ``serial``, ``gain``, ``battery_v`` ...: see the package's README for the keys.
    """

    clock: ClockReading | None = None
    device: Facts = field(default_factory=dict)


def parse_comment(comment: str, artist: str = "") -> HeaderNote | None:
    """Return what an AudioMoth comment says; None if it is not one.

    Parameters
    ----------
    comment : str
        ``ICMT``. Every firmware's sentences are known; what is unknown is left out.
    artist : str
        ``IART``: it has the serial number where the comment names a deployment instead.
    """
    match = _RECORDED.search(comment)
    if match is None or "AudioMoth" not in comment + artist:
        return None
    part = match.groupdict(default="")
    device: Facts = {"recorder": "AudioMoth"}
    by_artist = _ARTIST.search(artist)
    if serial := part["serial"] or (by_artist[1] if by_artist else ""):
        device["serial"] = serial.upper()
    if found := _DEPLOYMENT.search(comment):
        device["deployment_id"] = found[1].upper()
    if "external microphone" in comment:
        device["microphone"] = "external"
    if found := _GAIN.search(comment):
        device["gain"] = found[1] or found[2]
    if found := _BATTERY.search(comment):
        device["battery_v"] = float(found[2])
        if found[1]:  # the recorder's scale ends here: the value is a bound
            device["battery_is"] = "below" if found[1] in ("less than", "<") else "above"
    if found := _TEMPERATURE.search(comment):
        device["temperature_c"] = float(found[1])
    if found := _STOPPED.search(comment):
        device["stopped_by"] = found[1].strip()
    return HeaderNote(_comment_clock(part), device)


def _comment_clock(part: dict[str, str]) -> ClockReading | None:
    start = make_datetime(
        part["year"], part["month"], part["day"], part["hour"], part["minute"], part["second"], part["fraction"]
    )
    if start is None:
        return None
    # Firmware before 1.0.1 wrote no zone: the offset stays unknown, as for a file name.
    offset_min = None
    if part["utc"]:
        offset_min = parse_offset(part["offset"]) if part["offset"] else 0
    return ClockReading(start, offset_min)


def parse_guano(fields: dict[str, str]) -> HeaderNote | None:
    """Return what the fields of a GUANO chunk say; None if there are none.

    Parameters
    ----------
    fields : dict
        As in ``RiffFacts.guano``.
    """
    if not fields:
        return None
    device: Facts = {}
    make, model = fields.get("Make", ""), fields.get("Model", "")
    if recorder := model or make:
        device["recorder"] = recorder
    if make and model:
        device["make"] = make
    for key, name in (
        ("Serial", "serial"),
        ("Firmware Version", "firmware"),
        ("OAD|Loc Source", "position_source"),  # "Configuration app" is a planned place, not a measured one
    ):
        if fields.get(key):
            device[name] = fields[key]
    for key, name in (
        ("Temperature Int", "temperature_c"),
        ("Temperature Ext", "temperature_ext_c"),
        ("OAD|Battery Voltage", "battery_v"),
        ("TE", "time_expansion"),
    ):
        value = _number(fields.get(key, ""))
        if value is not None:
            device[name] = value
    _take_position(fields.get("Loc Position", ""), device)
    return HeaderNote(parse_iso(fields.get("Timestamp", "")), device)


def _take_position(text: str, device: Facts) -> None:
    numbers = [_number(word) for word in text.replace(",", " ").split()]
    if len(numbers) != 2:
        return
    latitude, longitude = numbers
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return
    device["latitude"], device["longitude"] = latitude, longitude


def _number(text: str) -> float | None:
    match = _NUMBER.match(text.strip())
    value = float(match[0]) if match else math.nan
    return value if math.isfinite(value) else None
