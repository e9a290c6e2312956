"""Changes applied to recordings, against twins that take one recording at a time."""

from __future__ import annotations

import fnmatch
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.clock import parse_iso
from sonotheque.core.deployment import Deployment, DeploymentTable
from store.metadata import ClockChange, DeploymentsChange, MetadataState, Scope, SiteChange
from store.metadata.effective import apply_metadata, in_scope
from store.metadata.matching import match_report
from store.recordings import SCHEMA

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu")
FALL, SPRING = datetime(2025, 10, 26, 2, 30), datetime(2025, 3, 30, 2, 30)  # twice, and never, in Berlin


def recording(path: str = "A/x.wav", *, site: str = "A", local: datetime | None = None, zone: str | None = None,
              source: str = "name", utc: datetime | None = None, **more: Any) -> dict[str, Any]:  # fmt: skip
    if local is None and utc is not None:
        local = utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None) if zone else utc.replace(tzinfo=None)
    if utc is None and zone and local:
        utc = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    offset = None if utc is None or local is None else round((local - utc.replace(tzinfo=None)).total_seconds() / 60)
    row = dict.fromkeys(SCHEMA)
    row |= {
        "recording_id": 1,
        "part_id": "p",
        "path": path,
        "site": site,
        "local_start": local,
        "utc_start": utc,
        "zone": zone,
    }
    return {**row, "utc_offset_min": offset, "time_source": source, "time_issues": [], "windows": 1, **more}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def applied(rows: pl.DataFrame, *changes: Any) -> list[dict[str, Any]]:
    return apply_metadata(rows, MetadataState(len(changes), tuple(changes))).to_dicts()


def test_without_changes_everything_is_as_stored():
    rows = frame(recording(local=FALL, zone="Europe/Berlin"), recording("b"))
    out = apply_metadata(rows, MetadataState())
    assert out.select(rows.columns).equals(rows)
    assert out["date"].to_list() == [FALL.date(), None]
    assert out["stored_site"].to_list() == ["A", "A"] and out["clock_offset_s"].to_list() == [0.0, 0.0]
    assert apply_metadata(frame(), MetadataState(1, (SiteChange("A", zone="UTC"),))).height == 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1)),
            st.sampled_from([None, *ZONES]),
            st.sampled_from(["name", "table", "guano", "header", "name_offset"]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(ZONES),
    st.sampled_from(["auto", "clock", "instant"]),
)
def test_a_new_zone_against_a_twin(items, zone, keep):
    rows = [
        recording(f"A/{i}", local=local.replace(microsecond=0), zone=old, source=source)
        for i, (local, old, source) in enumerate(items)
    ]
    for row, got in zip(rows, applied(frame(*rows), SiteChange("A", zone=zone, keep=keep)), strict=True):
        reading = (
            row["utc_start"] is None or keep == "clock" or (keep == "auto" and row["time_source"] in ("name", "table"))
        )
        there = ZoneInfo(zone)
        utc = row["local_start"].replace(tzinfo=there).astimezone(UTC) if reading else row["utc_start"]
        local = utc.astimezone(there)
        assert (got["utc_start"], got["local_start"], got["zone"]) == (utc, local.replace(tzinfo=None), zone)
        assert got["utc_offset_min"] == round(local.utcoffset().total_seconds() / 60)
        assert (got["stored_utc_start"], got["stored_local_start"]) == (row["utc_start"], row["local_start"])


def test_hours_that_happened_twice_or_never():
    zone = SiteChange("A", zone="Europe/Berlin")
    twice, never = applied(frame(recording(local=FALL), recording(local=SPRING)), zone)
    assert twice["utc_start"] == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    assert twice["time_issues"] == ["ambiguous_local_time"] and twice["local_start"] == FALL
    assert never["utc_start"] == datetime(2025, 3, 30, 1, 30, tzinfo=UTC)
    assert never["time_issues"] == ["nonexistent_local_time"]
    assert never["local_start"] == datetime(2025, 3, 30, 3, 30)
    again = applied(frame(recording(local=FALL)), zone, SiteChange("A", zone="UTC"))[0]
    assert again["time_issues"] == []


def test_an_audiomoth_in_utc_gets_its_site_s_clock():
    """Its header is UTC: the instant stands, whatever zone is said."""
    utc = datetime(2025, 5, 3, 3, 13, tzinfo=UTC)
    (got,) = applied(frame(recording(utc=utc, source="header")), SiteChange("A", zone="Europe/Amsterdam"))
    assert (got["utc_start"], got["local_start"], got["utc_offset_min"]) == (utc, datetime(2025, 5, 3, 5, 13), 120)


def test_a_song_meter_embedded_with_the_wrong_zone():
    """Its name is the wall clock: 04:30 stays 04:30, and UTC moves."""
    (got,) = applied(
        frame(recording(local=datetime(2019, 5, 22, 4, 30), zone="Europe/Paris")),
        SiteChange("A", zone="America/New_York"),
    )
    assert got["local_start"] == datetime(2019, 5, 22, 4, 30)
    assert got["utc_start"] == datetime(2019, 5, 22, 8, 30, tzinfo=UTC)


def test_a_clock_set_to_utc_at_a_site_with_a_zone():
    rows = frame(recording(local=datetime(2025, 5, 3, 3, 13), zone="Europe/Amsterdam"))
    (got,) = applied(rows, ClockChange(Scope(site="A"), clock_zone="UTC"))
    assert got["utc_start"] == datetime(2025, 5, 3, 3, 13, tzinfo=UTC)
    assert (got["local_start"], got["utc_offset_min"]) == (datetime(2025, 5, 3, 5, 13), 120)


def test_a_clock_that_was_slow_over_a_change_of_the_clocks():
    rows = frame(recording(local=datetime(2025, 10, 26, 1, 59), zone="Europe/Berlin"), recording("B/x", site="B"))
    got, other = applied(rows, ClockChange(Scope(site="A"), add_s=3 * 3600))
    assert got["utc_start"] == datetime(2025, 10, 26, 2, 59, tzinfo=UTC)
    assert (got["local_start"], got["utc_offset_min"], got["clock_offset_s"]) == (
        datetime(2025, 10, 26, 3, 59),
        60,
        10_800.0,
    )
    assert other["clock_offset_s"] == 0.0
    twice = applied(rows, ClockChange(Scope(site="A"), add_s=60), ClockChange(Scope(), add_s=0.5))
    assert [t["clock_offset_s"] for t in twice] == [60.5, 0.5]


def test_changes_speak_of_what_the_ones_before_left():
    rows = frame(recording(local=FALL), recording("B/x", site="B"))
    got = applied(
        rows, SiteChange("A", rename="C"), ClockChange(Scope(site="C"), add_s=60), SiteChange("C", rename="B")
    )
    assert [(g["site"], g["stored_site"], g["clock_offset_s"]) for g in got] == [("B", "A", 60.0), ("B", "B", 0.0)]
    none = applied(rows, SiteChange("A", rename="C"), SiteChange("A", latitude=1.0, longitude=2.0))
    assert [g["latitude"] for g in none] == [None, None]


TEXT = st.text(st.sampled_from("ab*?[].\\é日/"), max_size=5)


@given(TEXT, TEXT)
def test_globs_against_fnmatch(glob, path):
    plain = "".join(f"[{c}]" if c in "[]" else c for c in glob)
    chosen = in_scope(apply_metadata(frame(recording(path)), MetadataState()), Scope(recording=glob or None))
    assert chosen.to_list() == [not glob or fnmatch.fnmatchcase(path, plain)]


def test_scopes():
    rows = [
        recording("A/1.wav", local=datetime(2025, 5, 1, 23, 59), deployment="d"),
        recording("A/2.wav", local=datetime(2025, 5, 2)),
        recording("B/1.wav", site="B", local=datetime(2025, 5, 3)),
        recording("B/2.wav", site="B"),
    ]
    stored = apply_metadata(frame(*rows), MetadataState())
    for scope, expected in (
        (Scope(), [1, 1, 1, 1]),
        (Scope(site="B"), [0, 0, 1, 1]),
        (Scope(deployment="d"), [1, 0, 0, 0]),
        (Scope(date_from="2025-05-02"), [0, 1, 1, 0]),
        (Scope(date_to="2025-05-01"), [1, 0, 0, 0]),
        (Scope(site="B", recording="*1.wav"), [0, 0, 1, 0]),
    ):
        assert in_scope(stored, scope).to_list() == [bool(e) for e in expected], scope


def deployment(name: str, **more: Any) -> Deployment:
    bounds = {k: parse_iso(more.pop(k)) for k in ("start", "end") if k in more}
    zones = {k: ZoneInfo(more.pop(k)) for k in ("zone", "clock_zone") if k in more}
    return Deployment(name, **bounds, **zones, **more)


MOVED = (
    deployment(
        "d1",
        site="Oak",
        folder="A",
        start="2025-05-01",
        end="2025-05-10T23:59",
        zone="Europe/Berlin",
        latitude=50.0,
        longitude=8.0,
    ),
    deployment("d2", site="Elm", folder="A", start="2025-05-11", end="2025-05-20", zone="America/New_York"),
    deployment("d3", site="Fir", folder="Z"),
)


def test_one_recorder_two_sites():
    rows = frame(
        recording("A/1.wav", local=datetime(2025, 5, 5)),
        recording("A/2.wav", local=datetime(2025, 5, 15)),
        recording("A/3.wav", local=datetime(2025, 6, 15), deployment="old"),
        recording("Q/4.wav", local=datetime(2025, 5, 5)),
    )
    got = applied(rows, DeploymentsChange(MOVED))
    assert [(g["site"], g["deployment"], g["zone"]) for g in got] == [
        ("Oak", "d1", "Europe/Berlin"), ("Elm", "d2", "America/New_York"), ("A", None, None), ("A", None, None),
    ]  # fmt: skip
    assert [g["time_issues"] for g in got] == [[], [], ["outside_deployments"], ["no_deployment"]]
    assert (got[0]["latitude"], got[0]["longitude"], got[1]["latitude"]) == (50.0, 8.0, None)
    assert got[0]["utc_start"] == datetime(2025, 5, 4, 22, tzinfo=UTC)
    report = match_report(rows, DeploymentTable(MOVED))
    assert report.matched == {"d1": 1, "d2": 1} and report.unused == ["d3"]
    assert report.outside == {"outside_deployments": 1, "no_deployment": 1}
    assert report.outside_paths == [("A/3.wav", "outside_deployments"), ("Q/4.wav", "no_deployment")]


def test_an_added_table_leaves_the_others_alone():
    rows = frame(recording("A/1.wav", local=datetime(2025, 5, 5)), recording("Z/1.wav", local=datetime(2025, 5, 5)))
    got = applied(rows, DeploymentsChange(MOVED[:1]), DeploymentsChange(MOVED[2:], add=True))
    assert [(g["site"], g["deployment"], g["time_issues"]) for g in got] == [("Oak", "d1", []), ("Fir", "d3", [])]


def test_a_table_with_the_clock_s_zone():
    row = recording("A/1.wav", local=datetime(2025, 5, 5, 1), zone="Europe/Paris")
    table = deployment("d", folder="A", zone="Europe/Berlin", clock_zone="UTC")
    (got,) = applied(frame(row), DeploymentsChange((table,)))
    assert got["utc_start"] == datetime(2025, 5, 5, 1, tzinfo=UTC)
    assert (got["local_start"], got["zone"]) == (datetime(2025, 5, 5, 3), "Europe/Berlin")


def test_a_hundred_thousand_recordings_and_fifty_changes():
    n = 100_000
    start = datetime(2025, 5, 1)
    one = frame(recording(local=start, zone="Europe/Paris"))
    many = pl.concat([one] * n).with_columns(
        site=pl.format("s{}", pl.int_range(n) % 50), local_start=pl.lit(start) + pl.duration(minutes=pl.int_range(n))
    )
    changes = tuple(SiteChange(f"s{i}", rename=f"t{i}", zone="Europe/Berlin") for i in range(50))
    out = apply_metadata(many, MetadataState(50, changes))
    assert out["site"].n_unique() == 50 and out["site"].str.starts_with("t").all()
    apart = out["local_start"] - out["utc_start"].dt.replace_time_zone(None)
    assert set(apart.dt.total_minutes().unique()) <= {60, 120}
    assert (out["local_start"] - many["local_start"]).dt.total_seconds().unique().sort().to_list()[0] == 0
    assert timedelta(minutes=n - 1) == out["stored_local_start"].max() - start
