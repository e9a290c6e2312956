"""A recorder's schedule, told from its files, and the gaps in it."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_api.questions.schedules import Pause, Schedule, Starts, schedule_of

DAY = datetime(2025, 5, 1)
MINUTE = timedelta(minutes=1)


def starts(times, duration_s=60.0, failed=(), zone=None):
    """Recordings at these local times; those numbered in ``failed`` gave no sound."""
    local = np.array(times, "datetime64[us]")
    utc = local
    if zone:
        aware = [t.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC")).replace(tzinfo=None) for t in times]
        utc = np.array(aware, "datetime64[us]")
    durations = np.full(len(local), duration_s) if np.isscalar(duration_s) else np.array(duration_s, float)
    sound = np.ones(len(local), bool)
    sound[list(failed)] = False
    return Starts(local, utc, durations, sound)


def every(step, n, first=DAY):
    return [first + step * i for i in range(n)]


def between(times, gap):
    return times[gap.before], times[gap.after]


def daily(hours, days):
    return [DAY + timedelta(days=d, hours=h) for d in range(days) for h in hours]


@pytest.mark.parametrize(
    ("step_min", "duration_s", "text"),
    [
        (10, 60.0, "60 s every 10 min"),
        (15, 10.0, "10 s every 15 min"),
        (60, 3600.0, "60 min files without pause"),
        (60, 3590.0, "59.8 min files without pause"),
        (1, 59.5, "59.5 s files without pause"),
        (1440, 600.0, "10 min every 24 h"),
        (120, 300.0, "5 min every 2 h"),
    ],
)
def test_a_regular_schedule_and_no_gap(step_min, duration_s, text):
    schedule, gaps = schedule_of(starts(every(step_min * MINUTE, 50), duration_s))
    assert str(schedule) == text
    assert schedule.interval_s == step_min * 60
    assert gaps == []


@given(
    st.sampled_from([1, 5, 10, 15, 30, 60]),
    st.integers(20, 120),
    st.data(),
)
def test_what_is_taken_out_is_the_gap(step_min, n, data):
    times = every(step_min * MINUTE, n)
    first = data.draw(st.integers(1, n - 3))
    lost = data.draw(st.integers(1, n - 2 - first + 1))
    assume(n - lost >= 12)
    kept = times[:first] + times[first + lost :]
    schedule, gaps = schedule_of(starts(kept, 30.0))
    assert schedule.interval_s == step_min * 60
    assert [between(kept, g) for g in gaps] == [(times[first - 1], times[first + lost])]
    assert gaps[0].length_s == (lost + 1) * step_min * 60 - 30


@given(st.integers(10, 60), st.integers(0, 2**32 - 1))
def test_a_little_unevenness_is_no_gap(n, seed):
    jitter = np.random.default_rng(seed).uniform(-50, 50, n)
    times = [t + timedelta(seconds=float(j)) for t, j in zip(every(10 * MINUTE, n), jitter, strict=True)]
    schedule, gaps = schedule_of(starts(times))
    assert gaps == []
    assert schedule.interval_s == pytest.approx(600, abs=60)


def test_failed_files_are_starts_and_no_sound():
    times = every(10 * MINUTE, 30)
    schedule, gaps = schedule_of(starts(times, failed=range(10, 20)))
    assert schedule.interval_s == 600
    assert schedule.recordings == 30
    assert [between(times, g) for g in gaps] == [(times[9], times[20])]
    assert gaps[0].length_s == 11 * 600 - 60


def test_a_recorder_whose_files_all_failed_has_a_schedule_and_no_gap():
    schedule, gaps = schedule_of(starts(every(10 * MINUTE, 30), failed=range(30)))
    assert schedule.interval_s == 600
    assert schedule.duration_s == 0.0
    assert gaps == []


def test_pauses_of_every_day_are_part_of_the_schedule():
    times = [t for d in range(10) for h in (4, 18) for t in every(10 * MINUTE, 18, DAY + timedelta(days=d, hours=h))]
    schedule, gaps = schedule_of(starts(times))
    assert gaps == []
    assert schedule.pauses == (Pause(6 * 60 + 51, 18 * 60), Pause(20 * 60 + 51, 4 * 60))
    assert str(schedule) == "60 s every 10 min, off 06:51-18:00 and 20:51-04:00"


def test_a_lost_session_between_pauses_is_a_gap():
    times = [t for d in range(10) for h in (4, 18) for t in every(10 * MINUTE, 18, DAY + timedelta(days=d, hours=h))]
    lost = [t for t in times if not (t.day == 5 and t.hour >= 18)]
    schedule, gaps = schedule_of(starts(lost))
    assert len(schedule.pauses) == 2
    assert [between(lost, g) for g in gaps] == [(datetime(2025, 5, 5, 6, 50), datetime(2025, 5, 6, 4, 0))]


def test_a_schedule_that_follows_the_sun_has_no_gaps():
    times = []
    for d in range(60):
        rise = DAY + timedelta(days=d, hours=6, minutes=-1.5 * d)
        times += every(5 * MINUTE, 24, rise)
    schedule, gaps = schedule_of(starts(times))
    assert gaps == []
    assert len(schedule.pauses) == 1
    assert schedule.interval_s == 300


def test_a_pause_that_happened_once_is_a_gap():
    times = every(10 * MINUTE, 6 * 24 * 5)
    lost = [t for t in times if not (t.day == 3 and 9 <= t.hour < 17)]
    schedule, gaps = schedule_of(starts(lost))
    assert schedule.pauses == ()
    assert len(gaps) == 1
    assert gaps[0].length_s == 8 * 3600 + 600 - 60


def test_lost_days_are_gaps_even_if_there_are_several():
    times = [t for t in every(30 * MINUTE, 48 * 20) if t.day not in (4, 5, 9, 14)]
    _, gaps = schedule_of(starts(times))
    assert [round(g.length_s / 86_400) for g in gaps] == [2, 1, 1]


def test_the_same_times_every_day_are_a_schedule():
    schedule, gaps = schedule_of(starts(daily((0, 4, 6, 9, 13, 22), 5)))
    assert schedule.daily_min == (0, 240, 360, 540, 780, 1320)
    assert schedule.interval_s is None
    assert str(schedule) == "60 s daily at 00:00, 04:00, 06:00, 09:00, 13:00, 22:00"
    assert gaps == []


def test_a_time_of_the_day_that_is_missing_is_a_gap():
    times = daily((0, 4, 6, 9, 13, 22), 6)
    for lost in (times[10], times[18]):
        kept = [t for t in times if t != lost]
        schedule, gaps = schedule_of(starts(kept))
        assert schedule.daily_min == (0, 240, 360, 540, 780, 1320)
        assert len(gaps) == 1
        before, after = between(kept, gaps[0])
        assert before < lost < after


def test_many_daily_times_are_not_all_named():
    schedule = Schedule(99, None, 30.0, (), tuple(range(0, 1440, 90)))
    assert str(schedule) == "30 s daily at 00:00, 01:30, 03:00, 04:30 ... (16 times)"


def test_without_a_rule_only_days_count():
    rng = np.random.default_rng(5)
    times = sorted(DAY + timedelta(minutes=float(m)) for m in rng.uniform(0, 3 * 1440, 40))
    times += [t + timedelta(days=6) for t in times]
    schedule, gaps = schedule_of(starts(times, 5.0))
    assert str(schedule) == "no rule"
    assert len(gaps) == 1
    assert gaps[0].length_s > 2.5 * 86_400


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_too_few_files_tell_nothing(n):
    schedule, gaps = schedule_of(starts(every(timedelta(days=30), n)))
    assert str(schedule) == "too few to tell"
    assert gaps == []


def test_overlapping_recordings_are_no_gaps():
    """Two recorders that nobody told apart: one long file covers where the other has none."""
    times = every(10 * MINUTE, 30)
    durations = [60.0] * 30
    durations[5] = 4 * 3600.0
    kept = times[:6] + times[25:]
    _, gaps = schedule_of(starts(kept, durations[:6] + durations[25:]))
    assert gaps == []


def test_two_files_of_one_start_are_one():
    times = sorted(every(10 * MINUTE, 20) * 2)
    schedule, gaps = schedule_of(starts(times))
    assert schedule.interval_s == 600
    assert gaps == []


@pytest.mark.parametrize("day", [datetime(2025, 3, 29), datetime(2025, 10, 25)])
def test_a_change_of_the_clocks_is_no_gap_where_utc_is_known(day):
    zone = ZoneInfo("Europe/Paris")
    utc = [day.replace(tzinfo=ZoneInfo("UTC")) + 30 * MINUTE * i for i in range(96)]
    local = np.array([t.astimezone(zone).replace(tzinfo=None) for t in utc], "datetime64[us]")
    time = np.array([t.replace(tzinfo=None) for t in utc], "datetime64[us]")
    known = Starts(local, time, np.full(96, 60.0), np.ones(96, bool))
    schedule, gaps = schedule_of(known)
    assert schedule.interval_s == 1800
    assert gaps == []


def test_a_schedule_as_json():
    schedule, _ = schedule_of(starts(daily((0, 4, 6, 9, 13, 22), 5)))
    assert schedule.to_json() == {
        "text": str(schedule), "recordings": 30, "interval_s": None, "duration_s": 60.0, "pauses": [],
        "daily_min": [0, 240, 360, 540, 780, 1320],
    }  # fmt: skip
    assert Schedule(9, 600.0, 60.0, (Pause(60, 120),)).to_json()["pauses"] == [{"from_min": 60, "to_min": 120}]
    assert str(Pause(1320, 240)) == "22:00-04:00"


@given(
    st.sampled_from([5, 10, 20, 30]),
    st.sets(st.integers(1, 198), max_size=60),
    st.sets(st.integers(1, 198), max_size=20),
)
def test_every_run_of_lost_files_is_a_gap(step_min, lost, failed):
    """A twin that walks from file to file: whatever is missing, or there and without sound, between two that sound."""
    times = every(step_min * MINUTE, 200)
    there = [i for i in range(200) if i not in lost]
    kept = [times[i] for i in there]
    bad = [n for n, i in enumerate(there) if i in failed]
    steps = [b - a for a, b in pairwise(there)]
    assume(sum(s == 1 for s in steps) > len(steps) * 0.6)  # the interval is still the rule
    expected, last = [], 0
    for i in range(1, 200):
        if i not in lost and i not in failed:
            if i - last > 1:
                expected.append((times[last], times[i]))
            last = i
    schedule, gaps = schedule_of(starts(kept, 30.0, failed=bad))
    assert schedule.interval_s == step_min * 60
    assume(schedule.pauses == ())  # lost at the same hour on both days: by chance a plan
    assert [between(kept, g) for g in gaps] == expected


@given(st.integers(2, 6), st.integers(3, 12), st.integers(0, 2**32 - 1))
def test_daily_times_are_found_whatever_they_are(n, days, seed):
    """Uneven times of day, each a few minutes late now and then: the rule is those that come back."""
    rng = np.random.default_rng(seed)
    minutes = sorted(int(m) for m in rng.choice(np.arange(0, 1440, 7), n, replace=False))
    assume(len(set(np.diff(minutes))) == n - 1)
    times = [DAY + timedelta(days=d, minutes=m) for d in range(days) for m in minutes]
    schedule, gaps = schedule_of(starts(times, 5.0))
    if schedule.interval_s is None and n * days >= 4:
        assert schedule.daily_min == tuple(minutes)
        assert gaps == []


@given(st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from([1.0, 60.0, 7200.0]), st.booleans()), max_size=40))
def test_gaps_lie_between_sounds_whatever_there_is(rows):
    """No gap overlaps a recording with sound; they are in order; their lengths are true."""
    rows = sorted(rows)
    times = [DAY + timedelta(minutes=m) for m, _, _ in rows]
    made = starts(times, [d for _, d, _ in rows], failed=[i for i, (_, _, sound) in enumerate(rows) if not sound])
    _, gaps = schedule_of(made)
    spans = [(t, t + timedelta(seconds=d)) for t, (_, d, sound) in zip(times, rows, strict=True) if sound]
    for gap in gaps:
        low = times[gap.before] + timedelta(seconds=rows[gap.before][1])
        high = times[gap.after]
        assert gap.length_s == pytest.approx((high - low).total_seconds())
        assert gap.length_s > 0
        assert not any(begin < high and end > low for begin, end in spans)
    assert gaps == sorted(gaps, key=lambda g: g.after)
