from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.recorders.times import ISSUES, resolve_time
from sonotheque.core.clock import ClockReading
from sonotheque.core.recording import TIME_SOURCES, RecordingTime

PARIS = ZoneInfo("Europe/Paris")
BOGOTA = ZoneInfo("America/Bogota")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
UTC_ZONE = ZoneInfo("UTC")
NOON = datetime(2020, 5, 3, 12, 0)


def at(start: datetime = NOON, offset_min: int | None = None) -> ClockReading:
    return ClockReading(start, offset_min)


def utc(hour: int, minute: int = 0, day: int = 3) -> datetime:
    return datetime(2020, 5, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sources", "source"),
    [
        ({}, "none"),
        ({"name": at()}, "name"),
        ({"name": at(offset_min=60)}, "name_offset"),
        ({"name": at(), "header": at(offset_min=0)}, "header"),
        ({"name": at(), "header": at(), "guano": at(offset_min=0)}, "guano"),
        ({"name": at(offset_min=0), "header": at(offset_min=0), "guano": at(offset_min=0)}, "guano"),
        ({"name": at(offset_min=0), "header": at(offset_min=0), "guano": at(offset_min=0), "table": at()}, "table"),
        ({"name": at(offset_min=0), "header": at()}, "name_offset"),
        ({"guano": at(), "header": at(offset_min=60)}, "header"),
        ({"guano": at(), "header": at(), "name": at()}, "guano"),
    ],
)
def test_precedence(sources, source):
    assert resolve_time(**sources).source == source


def test_a_reading_without_offset_and_zone_has_no_instant():
    assert resolve_time(name=at()) == RecordingTime(NOON, None, None, None, "name", ())


def test_nothing_known():
    assert resolve_time() == RecordingTime()
    assert resolve_time(zone=PARIS) == RecordingTime(zone="Europe/Paris")


def test_a_name_is_in_the_sites_zone():
    assert resolve_time(name=at(), zone=PARIS) == RecordingTime(NOON, utc(10), 120, "Europe/Paris", "name")


def test_a_known_offset_is_shown_in_the_sites_zone():
    assert resolve_time(header=at(offset_min=0), zone=PARIS) == RecordingTime(
        datetime(2020, 5, 3, 14, 0), utc(12), 120, "Europe/Paris", "header"
    )


def test_a_known_offset_without_zone_is_shown_as_it_is():
    assert resolve_time(header=at(offset_min=480)) == RecordingTime(NOON, utc(4), 480, None, "header")


def test_the_local_date_is_the_sites():
    late = resolve_time(header=ClockReading(datetime(2020, 5, 3, 23, 0), 0), zone=PARIS)
    assert late.local_date.isoformat() == "2020-05-04"


def test_the_clocks_zone_reads_and_the_sites_zone_shows():
    found = resolve_time(name=at(), zone=BOGOTA, clock_zone=UTC_ZONE)
    assert found == RecordingTime(datetime(2020, 5, 3, 7, 0), utc(12), -300, "America/Bogota", "name")


def test_the_clocks_zone_alone_gives_an_instant_and_no_sites_zone():
    assert resolve_time(name=at(), clock_zone=PARIS) == RecordingTime(NOON, utc(10), 120, None, "name")


def test_a_table_without_offset_is_in_the_sites_zone_not_the_clocks():
    assert resolve_time(table=at(), zone=PARIS, clock_zone=UTC_ZONE).utc_start == utc(10)
    assert resolve_time(table=at(offset_min=0), zone=PARIS).local_start == datetime(2020, 5, 3, 14, 0)


def test_guano_without_offset_is_like_a_name():
    assert resolve_time(guano=at(), zone=PARIS).utc_start == utc(10)
    assert resolve_time(guano=at()).utc_start is None


def test_quarter_hour_zones():
    assert resolve_time(name=at(), zone=KATHMANDU).utc_offset_min == 345


# summer time


def test_a_time_that_happened_twice_is_the_first_and_says_so():
    found = resolve_time(name=at(datetime(2020, 10, 25, 2, 30)), zone=PARIS)
    assert found.utc_start == datetime(2020, 10, 25, 0, 30, tzinfo=UTC)
    assert found.utc_offset_min == 120
    assert found.issues == ("ambiguous_local_time",)


def test_a_time_that_never_happened_says_so():
    found = resolve_time(name=at(datetime(2020, 3, 29, 2, 30)), zone=PARIS)
    assert found.utc_start == datetime(2020, 3, 29, 1, 30, tzinfo=UTC)
    assert found.local_start == datetime(2020, 3, 29, 3, 30)
    assert found.issues == ("nonexistent_local_time",)


@pytest.mark.parametrize("hour", [0, 1, 4, 12])
@pytest.mark.parametrize("day", [datetime(2020, 10, 25), datetime(2020, 3, 29)], ids=["autumn", "spring"])
def test_other_hours_of_those_days_are_sure(day, hour):
    assert resolve_time(name=at(day.replace(hour=hour)), zone=PARIS).issues == ()


def test_a_known_offset_is_never_ambiguous():
    found = resolve_time(header=ClockReading(datetime(2020, 10, 25, 1, 30), 0), zone=PARIS)
    assert (found.local_start, found.utc_offset_min, found.issues) == (datetime(2020, 10, 25, 2, 30), 60, ())


def test_an_unused_readings_doubt_is_not_told():
    night = datetime(2020, 10, 25, 2, 30)
    found = resolve_time(name=at(night), header=ClockReading(night, 120), zone=PARIS)
    assert found.issues == ()


# header against name


@pytest.mark.parametrize(
    ("name", "header", "differ"),
    [
        pytest.param(at(), at(offset_min=0), False, id="equal"),
        pytest.param(at(NOON + timedelta(seconds=2)), at(offset_min=0), False, id="two seconds"),
        pytest.param(at(NOON - timedelta(seconds=2)), at(offset_min=0), False, id="two seconds before"),
        pytest.param(at(NOON + timedelta(seconds=5)), at(offset_min=0), True, id="five seconds"),
        pytest.param(at(NOON + timedelta(hours=5, minutes=45)), at(offset_min=0), False, id="Kathmandu"),
        pytest.param(at(NOON - timedelta(hours=14)), at(offset_min=0), False, id="fourteen hours"),
        pytest.param(at(NOON - timedelta(hours=15)), at(offset_min=0), True, id="fifteen hours"),
        pytest.param(at(NOON + timedelta(minutes=7)), at(offset_min=480), True, id="seven minutes"),
        pytest.param(at(NOON - timedelta(days=1)), at(offset_min=0), True, id="a day"),
        pytest.param(at(NOON - timedelta(hours=8)), at(offset_min=480), False, id="name in UTC, header local"),
        pytest.param(at(NOON - timedelta(hours=20)), at(offset_min=480), False, id="explained from the header's UTC"),
        pytest.param(at(offset_min=0), at(NOON + timedelta(hours=8), 480), False, id="same instant"),
        pytest.param(at(NOON + timedelta(minutes=7)), at(), True, id="header without offset"),
    ],
)
@pytest.mark.parametrize("which", ["header", "guano"])
def test_header_and_name(name, header, differ, which):
    assert ("header_and_name_differ" in resolve_time(name=name, **{which: header}).issues) == differ


def test_nothing_to_compare():
    assert resolve_time(name=at()).issues == ()
    assert resolve_time(header=at(offset_min=0), guano=at(NOON + timedelta(minutes=7), 0)).issues == ()


# clocks that were not set


@pytest.mark.parametrize(
    "start", [datetime(1970, 1, 1, 0, 0, 12), datetime(1980, 1, 1), datetime(1989, 12, 31, 23, 59)]
)
def test_a_clock_that_was_not_set_leaves_the_time_unknown(start):
    found = resolve_time(name=at(start), header=at(start, 0), zone=PARIS)
    assert (found.source, found.local_start, found.utc_start) == ("none", None, None)
    assert found.issues == ("clock_not_set",)


def test_a_year_to_come_is_unknown():
    assert resolve_time(name=at(datetime(2101, 1, 1))).issues == ("implausible_year",)
    assert resolve_time(name=at(datetime(2101, 1, 1))).source == "none"
    assert resolve_time(name=at(datetime(2100, 12, 31))).source == "name"


def test_a_good_name_stands_in_for_a_bad_header():
    found = resolve_time(name=at(), header=at(datetime(1970, 1, 1), 0), zone=PARIS)
    assert (found.source, found.utc_start) == ("name", utc(10))
    assert "clock_not_set" in found.issues


def test_extreme_readings_do_not_raise():
    for start in (datetime.min, datetime.max):
        assert resolve_time(name=at(start, 600), header=at(start, -600), zone=PARIS).source == "none"


READINGS = st.none() | st.builds(
    ClockReading, st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.none() | st.integers(-720, 840)
)
ZONES = st.none() | st.sampled_from([PARIS, BOGOTA, KATHMANDU, UTC_ZONE, ZoneInfo("Australia/Lord_Howe")])


@settings(max_examples=300, deadline=None)
@given(table=READINGS, guano=READINGS, header=READINGS, name=READINGS, zone=ZONES, clock_zone=ZONES)
def test_local_time_offset_and_instant_always_agree(table, guano, header, name, zone, clock_zone):
    found = resolve_time(table=table, guano=guano, header=header, name=name, zone=zone, clock_zone=clock_zone)
    assert found.source in TIME_SOURCES
    assert set(found.issues) <= set(ISSUES)
    assert (found.source == "none") == (found.local_start is None)
    assert found.zone == (zone.key if zone else None)
    if found.utc_start is not None:
        assert found.utc_start.tzinfo is UTC
        if "nonexistent_local_time" not in found.issues:
            assert found.local_start - timedelta(minutes=found.utc_offset_min) == found.utc_start.replace(tzinfo=None)
        if zone is not None:
            assert found.utc_start.astimezone(zone).replace(tzinfo=None) == found.local_start
    assert RecordingTime.from_json(found.to_json()) == found


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(1991, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)), ZONES.filter(bool))
def test_a_clock_in_the_sites_zone_gives_the_instant_back(instant, zone):
    wall = instant.astimezone(zone).replace(tzinfo=None, fold=0)
    found = resolve_time(name=ClockReading(wall), zone=zone)
    if "ambiguous_local_time" in found.issues:
        assert instant - found.utc_start in (timedelta(0), timedelta(minutes=30), timedelta(hours=1))
    else:
        assert found.utc_start == instant
        assert found.issues == ()
