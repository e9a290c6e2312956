"""All kinds of changes, in any order, on any recordings, against the twin of ``support``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.clock import ClockReading, local_to_utc
from sonotheque.core.deployments import Deployment, DeploymentTable
from sonotheque.core.recording import RecordingTime
from store.metadata import ClockChange, DeploymentsChange, Scope, SiteChange
from store.metadata.effective import trace
from store.metadata.matching import match_report
from tests.metadata.support import frame, row, state, twin

# An hour that happens twice and one that never does; half an hour of both; none; a day that never happened.
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu", "Pacific/Apia")
SITES, IDS = ("A", "B", "C"), ("d1", "d2", "d3", "d4")
PATHS = ("A/x.wav", "A/deep/y_a.wav", "B/P_a.wav", "d1/z.wav", "C/D d/P_Q_b.wav", "Z/x.wav", "x.wav")
EDGES = (datetime(2025, 3, 30, 2), datetime(2025, 10, 26, 2), datetime(2025, 4, 6, 2), datetime(2011, 12, 30))
moments = st.builds(
    lambda edge, minutes: edge + timedelta(minutes=minutes), st.sampled_from(EDGES), st.integers(-2000, 2000)
)
zones = st.sampled_from(ZONES)


def stored_time(source: str, local: datetime, zone: str | None, offset_min: int | None) -> RecordingTime:
    """What a footer can hold: an offset of the source's own, or a zone's, or none."""
    if source == "none":
        return RecordingTime(None, None, None, zone)
    own = offset_min if source in ("guano", "header", "name_offset") or zone is None else None
    if own is None and zone is None:
        return RecordingTime(local, None, None, None, source)
    doubts: tuple[str, ...] = ()
    if own is not None:
        utc = ClockReading(local, own).utc
    else:
        utc, _, doubt = local_to_utc(local, ZoneInfo(zone or ""))
        doubts = (doubt,) if doubt else ()
    assert utc is not None
    shown = utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None) if zone else local
    apart = round((shown - utc.replace(tzinfo=None)).total_seconds() / 60)
    return RecordingTime(shown, utc, apart, zone, source, doubts)


times = st.builds(
    stored_time,
    st.sampled_from(["name", "table", "guano", "header", "name_offset", "none"]),
    moments,
    st.none() | zones,
    st.none() | st.sampled_from([-210, 0, 120, 345]),
)
degrees = st.none() | st.sampled_from([-33.5, 50.25])
rows = st.builds(
    lambda path, site, time, deployment, place: row(
        path, site=site, time=time, deployment=deployment, latitude=place, longitude=place
    ),
    st.sampled_from(PATHS),
    st.sampled_from(SITES),
    times,
    st.none() | st.sampled_from(IDS),
    degrees,
)


def table(rows: list[Deployment], *, add: bool) -> DeploymentsChange:
    return DeploymentsChange(tuple({d.id: d for d in rows}.values()), "t.csv", add)


bounds = st.none() | st.builds(ClockReading, moments, st.none() | st.sampled_from([0, 120]))
deployments = st.builds(
    lambda name, site, place, where, start, end, zone, clock: Deployment(
        name, site, place, place, start, end,
        zone and ZoneInfo(zone), clock and ZoneInfo(clock), **where,
    ),
    st.sampled_from(IDS), st.sampled_from(["", *SITES]), degrees,
    st.sampled_from([{}, {"folder": "A"}, {"folder": "A/deep"}, {"prefix": "P"}, {"prefix": "P_Q"}, {"folder": "C/D d"}]),
    bounds, bounds, st.none() | zones, st.none() | zones,
)  # fmt: skip
tables = st.builds(table, st.lists(deployments, min_size=1, max_size=5), add=st.booleans())
site_changes = st.builds(
    lambda site, rename, zone, keep, place: SiteChange(site, rename, zone, keep, place, place),
    st.sampled_from(SITES), st.sampled_from(SITES), st.none() | zones, st.sampled_from(["auto", "clock", "instant"]), degrees,
)  # fmt: skip
scopes = st.builds(
    Scope,
    st.none() | st.sampled_from(SITES),
    st.none() | st.sampled_from(IDS),
    st.sampled_from([None, "*", "A/*", "*/?.wav", "x.wav"]),
    st.sampled_from([None, "2011-12-30", "2025-03-30"]),
    st.sampled_from([None, "2025-03-30", "2025-10-26"]),
)
clock_changes = st.builds(
    lambda scope, add_s, zone, ignore: ClockChange(scope, add_s or (0.0 if zone else 1.5), zone, ignore and zone is not None),
    scopes, st.sampled_from([0.0, 0.5, 3600.0, -86_400.0, 31_536_000.0]), st.none() | zones, st.booleans(),
)  # fmt: skip


def compared(got: dict[str, Any]) -> dict[str, Any]:
    return {**got, "time_issues": sorted(got["time_issues"])}


@settings(max_examples=150, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), st.lists(st.one_of(site_changes, clock_changes, tables), max_size=6))
def test_any_changes_against_the_twin(recordings, changes):
    done = trace(frame(*recordings), state(*changes))
    for stored, got in zip(recordings, done.recordings.to_dicts(), strict=True):
        expected = twin(stored, changes)
        assert {k: compared(got)[k] for k in expected} == expected
        assert (got["stored_site"], got["stored_utc_start"], got["stored_local_start"]) == (
            stored["site"], stored["utc_start"], stored["local_start"],
        )  # fmt: skip
        if got["utc_start"] is not None:
            apart = got["local_start"] - got["utc_start"].replace(tzinfo=None)
            assert got["utc_offset_min"] == round(apart.total_seconds() / 60)
        elif got["local_start"] != stored["local_start"] or stored["utc_start"] is not None:
            assert got["utc_offset_min"] is None
    assert len(done.concerned) == len(changes)


@settings(max_examples=80, deadline=None)
@given(st.lists(rows, max_size=6), st.lists(deployments, max_size=6))
def test_matching_against_the_table_itself(recordings, rows_of_table):
    """One by one, with the times that each recording would have had if it had been embedded with the table."""
    found = tuple({d.id: d for d in rows_of_table}.values())
    report = match_report(frame(*recordings), DeploymentTable(found))
    alone = [twin(r, [DeploymentsChange(found)]) for r in recordings]
    assert report.matched == {d.id: n for d in found if (n := sum(a["deployment"] == d.id for a in alone))}
    assert report.unused == [d.id for d in found if d.id not in report.matched]
    outside = [
        (r["path"], issue)
        for r, a in zip(recordings, alone, strict=True)
        if a["deployment"] is None
        for issue in a["time_issues"]
        if issue.endswith(("no_deployment", "_deployments"))
    ]
    assert sorted(report.outside_paths) == sorted(outside)
    assert sum(report.outside.values()) == len(outside)


@given(st.lists(rows, min_size=1, max_size=4), site_changes, clock_changes)
def test_what_nothing_is_said_of_stays_as_it_is(recordings, change, clock):
    """Bit for bit: a newer zone database must not move what nobody touched."""
    odd = [{**r, "site": "Q", "path": "Q/q.wav", "time_issues": ["header_and_name_differ"]} for r in recordings]
    if odd[0]["local_start"] is not None:
        odd[0]["utc_start"] = datetime(1999, 1, 1, tzinfo=UTC)  # what no zone would give
    stored = frame(*odd)
    scoped = ClockChange(Scope(site="A"), clock.add_s, clock.clock_zone, clock.ignore_offsets)
    got = trace(stored, state(change, scoped)).recordings
    assert got.select(stored.columns).equals(stored)
