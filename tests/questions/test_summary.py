"""What was recorded, against a twin that looks at one file at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api.questions.summary import all_days, flat_rows, summarise
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from tests.questions.kit import FakeArchive, Recording, tables_of

DAY = datetime(2025, 5, 1)


@pytest.fixture(scope="module")
def archive():
    with FakeArchive() as made:
        yield made


@st.composite
def files(draw):
    out = []
    for i in range(draw(st.integers(0, 12))):
        outcome, status = draw(
            st.sampled_from([("done", "ok"), ("done", "truncated"), ("skipped", "too_short"), ("failed", "empty")])
        )
        minutes = draw(st.none() | st.integers(0, 5 * 1440))
        out.append(
            Recording(
                f"f{i}.wav",
                site=draw(st.sampled_from(["a", "b b", "č"])),
                local_start=None if minutes is None else DAY + timedelta(minutes=minutes),
                duration_s=draw(st.sampled_from([3.0, 61.5, 3600.0, 90_000.0])),
                zone=draw(st.sampled_from([None, "UTC", "Asia/Kathmandu"])),
                deployment=draw(st.sampled_from([None, "d1", "d2"])),
                outcome=outcome,
                status=status,
                place=draw(st.sampled_from([None, (48.0, 2.0)])),
            )
        )
    return out


def seconds_by_day(recordings):
    """Second by second where a recording lies, done with whole days only."""
    out = defaultdict(float)
    for rec in recordings:
        if rec.outcome != "done" or rec.local_start is None:
            continue
        low, high = rec.local_start, rec.local_start + timedelta(seconds=rec.duration_s)
        day = datetime(low.year, low.month, low.day)
        while day < high:
            shared = (min(high, day + timedelta(days=1)) - max(low, day)).total_seconds()
            if shared > 0:
                out[rec.site, day.date()] += shared
            day += timedelta(days=1)
    return out


@settings(max_examples=60, deadline=None)
@given(files())
def test_same_sums_as_the_twin(archive, recordings):
    archive.hold(tables_of(recordings, windows=False))
    found = summarise(archive)
    assert [s.site for s in found.sites] == sorted({r.site for r in recordings})
    for site in found.sites:
        own = [r for r in recordings if r.site == site.site]
        times = [r.local_start for r in own if r.local_start]
        done = [r for r in own if r.outcome == "done"]
        assert (site.recordings, site.done) == (len(own), len(done))
        assert site.failed == sum(r.outcome == "failed" for r in own)
        assert site.skipped == sum(r.outcome == "skipped" for r in own)
        assert site.first == min(times, default=None)
        assert site.last == max(times, default=None)
        assert site.days == len({r.local_start.date() for r in done if r.local_start})
        assert site.audio_s == pytest.approx(sum(r.duration_s for r in done))
        assert site.without_time == len(own) - len(times)
        assert site.without_zone == sum(r.local_start is not None and r.zone is None for r in own)
        keys = {r.deployment for r in own if r.local_start}
        assert {d for d, _ in site.schedules} == keys
        assert sum(rule.recordings for _, rule in site.schedules) == len(times)
    seconds = seconds_by_day(recordings)
    files_of_day = defaultdict(list)
    for r in recordings:
        if r.local_start:
            files_of_day[r.site, r.local_start.date()].append(r)
    assert {(d.site, d.date) for d in found.days} == set(seconds) | set(files_of_day)
    for day in found.days:
        assert day.audio_s == pytest.approx(seconds[day.site, day.date], abs=1e-5)
        assert day.recordings == len(files_of_day[day.site, day.date])
        assert day.failed == sum(r.outcome == "failed" for r in files_of_day[day.site, day.date])
    total = found.totals
    assert total["recordings"] == len(recordings)
    assert total["audio_s"] == pytest.approx(sum(r.duration_s for r in recordings if r.outcome == "done"))
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["totals"] == total


def test_windows_without_a_time_are_counted_apart(archive):
    archive.hold(tables_of([Recording("a.wav", duration_s=30.0), Recording("b.wav", duration_s=9.0, local_start=None)]))
    site = summarise(archive).sites[0]
    assert (site.windows, site.without_time, site.windows_without_time) == (13, 1, 3)
    assert site.days == 1


def regular(n, *, failed=(), lost=(), site="a", deployment=None, step_min=30):
    return [
        Recording(
            f"{site}/{i:03d}.wav",
            site=site,
            deployment=deployment,
            local_start=DAY + timedelta(minutes=step_min * i),
            duration_s=60.0,
            outcome="failed" if i in failed else "done",
            status="unreadable" if i in failed else "ok",
        )
        for i in range(n)
        if i not in lost
    ]


def test_failed_files_are_named_where_they_make_a_gap(archive):
    archive.hold(tables_of(regular(96, failed=range(40, 50), lost=range(50, 54))))
    found = summarise(archive)
    (gap,) = found.gaps
    assert gap.to_json() == {
        "site": "a",
        "deployment": None,
        "from_local": "2025-05-01T19:31:00",
        "to_local": "2025-05-02T03:00:00",
        "length_s": 14 * 1800 + 1740,
        "failed": 10,
        "skipped": 0,
        "examples": ["a/040.wav: unreadable", "a/041.wav: unreadable", "a/042.wav: unreadable"],
    }
    assert found.totals["gaps"] == 1


def test_short_gaps_are_left_out_unless_asked_for(archive):
    archive.hold(tables_of(regular(96, lost=(40, 41, 70))))
    assert [g.length_s for g in summarise(archive).gaps] == [3 * 1800 - 60]
    assert [g.length_s for g in summarise(archive, gap_min_s=0).gaps] == [3 * 1800 - 60, 2 * 1800 - 60]
    assert summarise(archive, gap_min_s=86_400).gaps == ()


def test_recorders_of_one_site_are_told_apart_by_their_deployment(archive):
    first = regular(48, deployment="d1")
    second = [*regular(48, site="a", deployment="d2", step_min=60)]
    for i, rec in enumerate(second):
        rec.path, rec.local_start = f"a/x{i}.wav", rec.local_start + timedelta(days=30)
    archive.hold(tables_of([*first, *second]))
    found = summarise(archive)
    assert found.gaps == ()  # the month between them is nobody's
    assert [(d, rule.interval_s) for d, rule in found.sites[0].schedules] == [("d1", 1800.0), ("d2", 3600.0)]
    assert flat_rows(found, by_day=False)[0]["schedule"] == "60 s every 30 min; 60 s every 60 min"


def test_gaps_are_told_in_local_time_and_measured_in_true_time(archive):
    """The night in which clocks go forward: six lost hours look like seven."""
    step = timedelta(minutes=30)
    utc = [datetime(2025, 3, 29, 12) + step * i for i in range(96)]
    rows = []
    for i, at in enumerate(utc):
        local = at + timedelta(hours=2 if at >= datetime(2025, 3, 30, 1) else 1)
        if not datetime(2025, 3, 29, 23) <= at < datetime(2025, 3, 30, 5):
            rows.append(Recording(f"{i:03d}.wav", local_start=local, duration_s=60.0, zone="Europe/Paris"))
    archive.hold(tables_of(rows))
    (gap,) = summarise(archive).gaps
    assert str(gap.from_local) == "2025-03-29T23:31:00.000000"
    assert str(gap.to_local) == "2025-03-30T07:00:00.000000"
    assert gap.length_s == 6 * 3600 + 1740


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"sites": ("a",)}, {"1", "2"}),
        ({"date_from": date(2025, 5, 2)}, {"2", "3"}),
        ({"date_to": date(2025, 5, 1)}, {"1"}),
        ({"recordings": ("?",)}, {"1", "2", "3"}),
        ({"deployments": ("d",)}, {"3"}),
        ({"months": (6,)}, set()),
    ],
)
def test_a_filter_chooses_recordings(archive, changes, paths):
    archive.hold(
        tables_of(
            [
                Recording("1", "a", DAY),
                Recording("2", "a", DAY + timedelta(days=1)),
                Recording("3", "b", DAY + timedelta(days=2), deployment="d"),
            ]
        )
    )
    found = summarise(archive, SearchFilter(**changes))
    assert found.totals["recordings"] == len(paths)
    assert found.about.filter == SearchFilter(**changes).to_json()


def test_a_day_that_was_not_asked_for_is_not_in_the_answer(archive):
    archive.hold(tables_of([Recording("1", "a", DAY + timedelta(hours=23), duration_s=7200.0)]))
    assert [(d.date.day, d.audio_s) for d in summarise(archive).days] == [(1, 3600.0), (2, 3600.0)]
    found = summarise(archive, SearchFilter(date_to=date(2025, 5, 1)))
    assert [(d.date.day, d.recordings, d.audio_s) for d in found.days] == [(1, 1, 3600.0)]


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"label": "rain"}, "--species"), ({"score_min": 0.5}, "--min-score"), ({"rank_max": 1}, "--max-rank"),
        ({"annotated": True}, "--annotated"), ({"valid_min_s": 1.0}, "--min-valid-s"), ({"judgement": "positive"}, "--annotated"),
    ],
)  # fmt: skip
def test_what_recordings_do_not_have_is_refused(archive, changes, flag):
    with pytest.raises(Invalid, match=f"^{flag}: summary is about recordings"):
        summarise(archive, SearchFilter(**changes))


def test_unknown_sites_are_errors(archive):
    archive.hold(tables_of([Recording("1", "forest", DAY)]))
    with pytest.raises(NotFound, match=r"no site 'forrest'.*did you mean forest\?"):
        summarise(archive, SearchFilter(sites=("forrest",)))
    with pytest.raises(Invalid, match="least gap"):
        summarise(archive, gap_min_s=-1)


def test_an_empty_store_has_an_empty_summary(archive):
    archive.hold(tables_of([]))
    found = summarise(archive)
    assert found.sites == found.days == found.gaps == ()
    assert found.totals["recordings"] == 0
    assert found.totals["first_date"] is None
    assert all_days(found.days) == []


def test_rows_for_other_programs_are_flat(archive):
    archive.hold(tables_of(regular(10)))
    found = summarise(archive)
    (row,) = flat_rows(found, by_day=False)
    assert row["schedule"] == "60 s every 30 min"
    assert not any(isinstance(v, list | dict) for v in row.values())
    assert flat_rows(found, by_day=True) == [
        {"site": "a", "date": "2025-05-01", "recordings": 10, "failed": 0, "audio_s": 600.0}
    ]
    assert all_days(found.days) == [date(2025, 5, 1)]
