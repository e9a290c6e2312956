"""Sunrise and sunset against almanacs, and minutes since against a loop."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.sun import minutes_since, sun_events

# Place, date, sunrise and sunset in UTC as national almanacs print them (whole minutes).
ALMANAC = [
    ("Greenwich, June", 51.4779, -0.0015, date(2025, 6, 21), "2025-06-21T03:43", "2025-06-21T20:21"),
    ("Greenwich, December", 51.4779, -0.0015, date(2025, 12, 21), "2025-12-21T08:04", "2025-12-21T15:53"),
    ("Sydney, December", -33.8688, 151.2093, date(2025, 12, 21), "2025-12-20T18:41", "2025-12-21T09:05"),
    ("Quito, March", -0.1807, -78.4678, date(2025, 3, 20), "2025-03-20T11:18", "2025-03-20T23:24"),
]


@pytest.mark.parametrize(
    ("place", "latitude", "longitude", "day", "rise", "fall"), ALMANAC, ids=[a[0] for a in ALMANAC]
)
def test_almanac(place, latitude, longitude, day, rise, fall):
    for events, at in zip(sun_events(latitude, longitude, day, day), (rise, fall), strict=True):
        assert np.abs(events - np.datetime64(at, "us")).min() <= np.timedelta64(2, "m"), place


@pytest.mark.parametrize("latitude", [-65, -40, 0, 52, 65])
@pytest.mark.parametrize("longitude", [-180, -135, -75, 0, 40, 116, 180])
def test_one_event_a_day_all_year(latitude, longitude):
    """Also on the day on which it moves over midnight UTC, where the library finds it twice or not at all."""
    for events in sun_events(latitude, longitude, date(2025, 1, 1), date(2025, 12, 31)):
        apart_h = np.diff(events).astype(np.int64) / 3.6e9
        assert apart_h.min() > 23.7 and apart_h.max() < 24.3
        assert 366 <= len(events) <= 368


@pytest.mark.parametrize("latitude", [-70, 66, 67.3, 69.65, 78.2])
@pytest.mark.parametrize("longitude", [-150, -60, 18.95, 105])
def test_no_event_is_missed_near_the_poles(latitude, longitude):
    """Days without events come in one stretch or two a year, never alone."""
    for events in sun_events(latitude, longitude, date(2025, 1, 1), date(2025, 12, 31)):
        apart_h = np.diff(events).astype(np.int64) / 3.6e9
        assert apart_h.min() > 23 and (apart_h > 30).sum() <= 2
        assert not ((apart_h > 30) & (apart_h < 60)).any()


def test_tromso_in_may():
    """The last sunset before the midnight sun is that of 17 to 19 May, after local midnight; every night before has one."""
    _, fall = sun_events(69.6492, 18.9553, date(2025, 5, 1), date(2025, 7, 1))
    may = fall[(fall >= np.datetime64("2025-05-01T12:00")) & (fall < np.datetime64("2025-06-30"))]
    assert 16 <= len(may) <= 19 and np.diff(may).max() < np.timedelta64(25, "h")
    assert np.datetime64("2025-05-16T22:00") < may[-1] < np.datetime64("2025-05-20")


@pytest.mark.parametrize("latitude", [90.0, -90.0, 89.9999])
@pytest.mark.parametrize("longitude", [-180.0, 0.0, 180.0])
def test_the_poles_themselves(latitude, longitude):
    for events in sun_events(latitude, longitude, date(2025, 1, 1), date(2025, 12, 31)):
        assert events.dtype == np.dtype("datetime64[us]") and len(events) < 4
        assert minutes_since(events, np.array(["2025-06-21T12:00"], "datetime64[us]")).dtype == np.float32


@given(st.floats(-64, 64), st.floats(-180, 180), st.dates(date(2000, 1, 1), date(2040, 1, 1)), st.integers(0, 5))
def test_a_shorter_stretch_has_the_same_events(latitude, longitude, first, days):
    """From the day before to the day after, also where the library misses the first of them."""
    last = first + timedelta(days)
    low, high = np.datetime64(first - timedelta(1), "us"), np.datetime64(last + timedelta(2), "us")
    few = sun_events(latitude, longitude, first, last)
    more = sun_events(latitude, longitude, first - timedelta(3), last + timedelta(3))
    for a, b in zip(few, more, strict=True):
        assert a.tolist() == b[(b >= low) & (b < high)].tolist()
        assert len(a) in (days + 2, days + 3, days + 4)


def test_polar_day_and_night():
    rise, fall = sun_events(78.2, 15.6, date(2025, 1, 1), date(2025, 12, 31))
    assert 100 < len(rise) < 160 and 100 < len(fall) < 160
    summer, winter = np.datetime64("2025-06-21T12:00"), np.datetime64("2025-12-21T12:00")
    assert np.isnan(minutes_since(rise, np.array([summer, winter]))).all()


moments = st.lists(st.integers(0, 5 * 1440 * 60), max_size=8).map(
    lambda s: np.array([datetime(2025, 1, 1) + timedelta(seconds=v) for v in s], "datetime64[us]")
)


@given(moments.map(np.sort), moments)
def test_minutes_since_against_a_loop(events, times):
    found = minutes_since(events, times)
    assert found.dtype == np.float32 and found.shape == times.shape
    for time, got in zip(times, found, strict=True):
        apart = [(time - e).astype(np.int64) / 6e7 for e in events]
        inside = [a for a in apart if -720 < a <= 720]
        if not inside:
            assert np.isnan(got)
        else:
            assert abs(got) == pytest.approx(min(abs(a) for a in inside), abs=1e-3)
            assert any(got == pytest.approx(a, abs=1e-3) for a in inside)


def test_unknown_times():
    events = np.array(["2025-01-01T06:00"], "datetime64[us]")
    times = np.array(
        ["NaT", "2025-01-01T05:00", "2025-01-01T18:00", "2025-01-01T18:01", "2024-12-31T18:00"], "datetime64[us]"
    )
    found = minutes_since(events, times)
    assert np.isnan(found[[0, 3, 4]]).all() and found[[1, 2]].tolist() == [-60.0, 720.0]
    assert np.isnan(minutes_since(events[:0], times)).all()
