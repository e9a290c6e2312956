"""Putting right afterwards gives what embedding with the right settings would have given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from embedder.recorders import DeploymentTable, Describer, load_deployments, parse_name, resolve_time
from sonotheque.core.clock import ClockReading, load_zone, local_to_utc
from sonotheque.core.recording import RecordingTime, SourceFile
from store.metadata import ClockChange, DeploymentsChange, Scope, SiteChange
from tests.metadata.support import applied, frame, row

ZONES = ("Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
zones = st.sampled_from(ZONES)
readings = st.one_of(
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
    st.builds(
        lambda edge, minutes: edge + timedelta(minutes=minutes),
        st.sampled_from([datetime(2025, 3, 30, 2), datetime(2025, 10, 26, 2), datetime(2025, 3, 9, 2)]),
        st.integers(-180, 180),
    ),
).map(lambda at: at.replace(microsecond=0))


def name_of(reading: datetime) -> str:
    return f"A/S4A03895_{reading:%Y%m%d_%H%M%S}.wav"


def zone_of(name: str | None) -> ZoneInfo | None:
    return load_zone(name) if name else None


def embedded(path: str, *, header: ClockReading | None = None, zone: str | None = None, clock_zone: str | None = None) -> RecordingTime:  # fmt: skip
    """The time in the footer of a recording that was embedded with these settings."""
    name = parse_name(path)
    return resolve_time(
        header=header, name=name.clock if name else None, zone=zone_of(zone), clock_zone=zone_of(clock_zone)
    )


def after(path: str, time: RecordingTime, *changes: Any) -> RecordingTime:
    (got,) = applied(frame(row(path, time=time)), *changes)
    return RecordingTime(
        got["local_start"], got["utc_start"], got["utc_offset_min"], got["zone"], got["time_source"],
        tuple(got["time_issues"]),
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(readings, st.none() | zones, zones)
def test_a_name_and_a_wrong_zone_or_none(reading, wrong, right):
    path = name_of(reading)
    got = after(path, embedded(path, zone=wrong), SiteChange("A", zone=right))
    assert got == embedded(path, zone=right)


@settings(max_examples=80, deadline=None)
@given(readings, st.none() | zones, zones, zones)
def test_a_name_and_a_clock_whose_zone_was_said(reading, wrong, right, clock):
    """An AudioMoth without its header, its clock on UTC: the zone of the site is put right, the instant stands."""
    path = name_of(reading)
    stored = embedded(path, zone=wrong, clock_zone=clock)
    there = load_zone(wrong) if wrong else None
    # A clock that shows the site's own time cannot be told from one that was set to the site's zone.
    assume(there is None or stored.local_start != reading or clock == wrong == right)
    assume(not local_to_utc(reading, load_zone(clock))[2])
    got = after(path, stored, SiteChange("A", zone=right))
    assert got == embedded(path, zone=right, clock_zone=clock)


@settings(max_examples=80, deadline=None)
@given(readings, st.none() | zones, st.none() | zones, zones, st.booleans())
def test_the_zone_of_the_clock_is_said_later(reading, wrong, right, clock, zone_first):
    path = name_of(reading)
    changes: list[Any] = [ClockChange(Scope(site="A"), clock_zone=clock)]
    if right:
        changes.insert(0 if zone_first else 1, SiteChange("A", zone=right))
    got = after(path, embedded(path, zone=wrong), *changes)
    expected = embedded(path, zone=right or wrong, clock_zone=clock)
    if not (right or wrong):
        expected = embedded(path, clock_zone=clock)
    assert got == expected


@settings(max_examples=80, deadline=None)
@given(readings, st.sampled_from([-240, 0, 60, 345]), st.none() | zones, zones, st.booleans())
def test_a_header_with_an_offset(reading, offset_min, wrong, right, named):
    """An AudioMoth whose comment says UTC: nothing but the local time depends on the zone."""
    path = name_of(reading) if named else "A/renamed.wav"
    header = ClockReading(reading, offset_min)
    got = after(path, embedded(path, header=header, zone=wrong), SiteChange("A", zone=right))
    expected = embedded(path, header=header, zone=right)
    assert got == expected and got.utc_start == header.utc


@settings(max_examples=80, deadline=None)
@given(readings, st.none() | zones, zones)
def test_a_header_without_an_offset(reading, wrong, right):
    """Stored without a zone it is a reading like any other. Stored with one, `keep clock` says that it was."""
    header = ClockReading(reading)
    keep = "auto" if wrong is None else "clock"
    path = name_of(reading)
    got = after(path, embedded(path, header=header, zone=wrong), SiteChange("A", zone=right, keep=keep))
    assert got == embedded(path, header=header, zone=right)


@settings(max_examples=80, deadline=None)
@given(readings, st.none() | zones, zones, st.sampled_from([0, 120]))
def test_an_offset_that_was_wrong(reading, stored_zone, clock, offset_min):
    """The recorder said UTC and was set to local time: its clock counts, its offset does not."""
    path, header = name_of(reading), ClockReading(reading, offset_min)
    got = after(
        path,
        embedded(path, header=header, zone=stored_zone),
        ClockChange(Scope(), clock_zone=clock, ignore_offsets=True),
    )
    expected = embedded(path, header=ClockReading(reading), zone=stored_zone, clock_zone=clock)
    assert got == expected


@given(readings, st.floats(-1e8, 1e8).map(lambda s: round(s, 3)), zones)
def test_seconds_are_added_to_what_the_clock_showed(reading, add_s, zone):
    """A clock that was reset to winter is put right in summer by the difference of the two readings."""
    path = name_of(reading)
    right = reading + timedelta(microseconds=round(add_s * 1e6))
    got = after(path, embedded(path, zone=zone), ClockChange(Scope(), add_s=add_s or 1.0))
    right = right if add_s else reading + timedelta(seconds=1)
    expected = resolve_time(name=ClockReading(right), zone=load_zone(zone))
    assert (got.utc_start, got.local_start, got.utc_offset_min) == (
        expected.utc_start, expected.local_start, expected.utc_offset_min,
    )  # fmt: skip
    assert set(got.issues) == set(expected.issues)


@pytest.mark.parametrize(
    "path",
    [
        "A/20250503_031300.WAV",
        "A/242A2604603691DD_20250503_031300T.WAV",
        "A/S4A03895_0+1_20250503$031300.wav",
        "A/2025-05-03_03-13-00 (1).wav",
        "A/OWL_1_2025-05-03_T03-13-00.WAV",
        "A/2025-05-03-birdnet-03:13:00.wav",
        "A/220101/250503_0313.wav",
        "A/20190101/20250503_031300.WAV",
    ],
)
def test_makers_names_tell_a_clock_in_utc(path):
    assert parse_name(path).clock == ClockReading(datetime(2025, 5, 3, 3, 13))
    stored = embedded(path, zone="Europe/Amsterdam", clock_zone="UTC")
    got = after(path, stored, SiteChange("A", zone="America/New_York"))
    assert (got.utc_start, got.local_start) == (
        datetime(2025, 5, 3, 3, 13, tzinfo=UTC), datetime(2025, 5, 2, 23, 13),
    )  # fmt: skip
    read = embedded(path, zone="Europe/Amsterdam")
    got = after(path, read, SiteChange("A", zone="America/New_York"))
    assert (got.utc_start, got.local_start) == (
        datetime(2025, 5, 3, 7, 13, tzinfo=UTC), datetime(2025, 5, 3, 3, 13),
    )  # fmt: skip


def test_a_name_that_shows_nothing_is_taken_for_a_reading():
    stored = resolve_time(
        name=ClockReading(datetime(2025, 5, 3, 3, 13)), zone=load_zone("Europe/Amsterdam"), clock_zone=load_zone("UTC")
    )
    got = after("A/03-05-2025 0313.wav", stored, SiteChange("A", zone="Europe/London"))
    assert (got.local_start, got.utc_start) == (datetime(2025, 5, 3, 5, 13), datetime(2025, 5, 3, 4, 13, tzinfo=UTC))
    kept = after("A/03-05-2025 0313.wav", stored, SiteChange("A", zone="Europe/London", keep="instant"))
    assert (kept.local_start, kept.utc_start) == (datetime(2025, 5, 3, 4, 13), stored.utc_start)


TABLE = """deploymentID,locationName,latitude,longitude,deploymentStart,deploymentEnd,timezone,clock_timezone,folder,prefix
north,North wood,52.1,4.4,2025-05-01,2025-05-10,Europe/Amsterdam,UTC,A,
moved,South wood,40.7,-74.0,2025-05-11T00:00:00-04:00,2025-05-20T12:00:00-04:00,America/New_York,,A,
dd,,,,2025-05-01,2025-05-31,,,,S4A03895
open,Fen,,,,,Asia/Kathmandu,,,FEN_1
"""


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(
        ["A/REC_{}.wav", "B/S4A03895_{}.wav", "A/S4A03895_{}.wav", "FEN_1_{}.wav", "Z/Q_{}.wav", "A/x.wav"]
    ),
    st.datetimes(datetime(2025, 4, 30), datetime(2025, 6, 1)).map(lambda at: at.replace(microsecond=0)),
)
def test_a_table_imported_later_is_a_table_embedded_with(tmp_path_factory, shape, reading):
    path = shape.format(f"{reading:%Y%m%d_%H%M%S}")
    file = tmp_path_factory.getbasetemp() / "deployments.csv"
    file.write_text(TABLE, encoding="utf-8")
    table: DeploymentTable = load_deployments(file)
    source = SourceFile(path, 1, 1)
    before = Describer().describe("/nowhere/Root", source)
    then = Describer(deployments=table).describe("/nowhere/Root", source)
    stored = row(path, site=before.site, time=before.time)
    (got,) = applied(frame(stored), DeploymentsChange(table.deployments))
    assert (got["site"], got["deployment"], got["zone"]) == (then.site, then.deployment, then.time.zone)
    assert (got["utc_start"], got["local_start"]) == (then.time.utc_start, then.time.local_start)
    assert set(got["time_issues"]) == set(then.time.issues)
    assert (got["latitude"], got["longitude"]) == tuple((then.device or {}).get(k) for k in ("latitude", "longitude"))
