"""What changes do to recordings, case by case."""

from __future__ import annotations

import fnmatch
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonotheque.core.clock import parse_iso
from sonotheque.core.deployments import Deployment, DeploymentTable
from sonotheque.core.recording import printable_path
from store.metadata import ClockChange, DeploymentsChange, MetadataState, Scope, SiteChange
from store.metadata.effective import apply_metadata, in_scope, trace
from store.metadata.matching import match_report
from tests.metadata.support import applied, frame, recording, state

FALL, SPRING = datetime(2025, 10, 26, 2, 30), datetime(2025, 3, 30, 2, 30)  # twice, and never, in Berlin


def test_without_changes_everything_is_as_stored():
    rows = frame(recording(local=FALL, zone="Europe/Berlin"), recording("b"))
    out = apply_metadata(rows, MetadataState())
    assert out.select(rows.columns).equals(rows)
    assert out["date"].to_list() == [FALL.date(), None]
    assert out["stored_site"].to_list() == ["A", "A"] and out["clock_offset_s"].to_list() == [0.0, 0.0]
    assert apply_metadata(frame(), MetadataState(1, (SiteChange("A", zone="UTC"),))).height == 0


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
    """Seconds are added to what the clock showed: 01:59 and three hours are 04:59, whatever night it was."""
    rows = frame(recording(local=datetime(2025, 10, 26, 1, 59), zone="Europe/Berlin"), recording("B/x", site="B"))
    got, other = applied(rows, ClockChange(Scope(site="A"), add_s=3 * 3600))
    assert got["utc_start"] == datetime(2025, 10, 26, 3, 59, tzinfo=UTC)
    assert (got["local_start"], got["utc_offset_min"], got["clock_offset_s"]) == (
        datetime(2025, 10, 26, 4, 59), 60, 10_800.0,
    )  # fmt: skip
    assert other["clock_offset_s"] == 0.0
    twice = applied(rows, ClockChange(Scope(site="A"), add_s=60), ClockChange(Scope(), add_s=0.5))
    assert [t["clock_offset_s"] for t in twice] == [60.5, 0.5]


def test_a_clock_of_a_header_moves_the_instant():
    utc = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    rows = frame(recording(utc=utc, source="header", zone="Europe/Berlin"))
    (got,) = applied(rows, ClockChange(Scope(), add_s=3600))
    assert (got["utc_start"], got["local_start"]) == (utc + timedelta(hours=1), datetime(2025, 10, 26, 2, 30))


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


def test_a_camtrap_table_whose_sites_are_folders():
    """Without a column for folders, a site's name is a place: that of a folder, or of the site so far."""
    table = DeploymentsChange(
        (
            deployment("x1", site="Oak", end="2025-05-10"),
            deployment("x2", site="Oak", start="2025-05-11"),
            deployment("x3", site="Elm", folder="far/away"),
        )
    )
    rows = frame(
        recording("Oak/1.wav", local=datetime(2025, 5, 5)),
        recording("Oak/2.wav", local=datetime(2025, 5, 12)),
        recording("3.wav", site="Oak", local=datetime(2025, 5, 12)),
        recording("Elm/4.wav", site="Elm", local=datetime(2025, 5, 12)),
    )
    assert [g["deployment"] for g in applied(rows, table)] == ["x1", "x2", "x2", None]


def test_a_nearer_deployment_hides_a_site_s_name():
    """A file in the folder of a deployment that was over does not go to the next one at the site."""
    table = DeploymentsChange((deployment("x1", site="Oak", end="2025-05-10"), deployment("x2", site="Oak")))
    (got,) = applied(frame(recording("Oak/x1/1.wav", local=datetime(2025, 5, 12))), table)
    assert (got["deployment"], got["time_issues"]) == (None, ["outside_deployments"])


def test_a_clock_that_is_put_right_brings_files_into_their_deployment():
    """Whichever was said first: the table, or the clock."""
    rows = frame(recording("A/1.wav", local=datetime(2024, 5, 5), deployment="old"))
    table, clock = DeploymentsChange(MOVED), ClockChange(Scope(recording="A/*"), add_s=365 * 86_400.0)
    assert applied(rows, table)[0]["deployment"] is None
    first, last = applied(rows, clock, table), applied(rows, table, clock)
    assert first == last and (first[0]["deployment"], first[0]["site"], first[0]["time_issues"]) == ("d1", "Oak", [])


def test_a_clock_that_moves_files_out_of_its_own_deployment():
    """It was about the recordings of d1 as they were then; that they are of d2 now does not take it back."""
    rows = frame(recording("A/1.wav", local=datetime(2025, 5, 9)), recording("A/2.wav", local=datetime(2025, 5, 12)))
    got = applied(rows, DeploymentsChange(MOVED), ClockChange(Scope(deployment="d1"), add_s=5 * 86_400.0))
    assert [(g["deployment"], g["clock_offset_s"]) for g in got] == [("d2", 432_000.0), ("d2", 0.0)]


def test_a_corrected_clock_outlives_a_new_name_and_a_new_table():
    rows = frame(recording("A/1.wav", local=datetime(2025, 5, 5)))
    table, clock = DeploymentsChange(MOVED), ClockChange(Scope(site="Oak"), add_s=60)
    newer = DeploymentsChange(tuple(replace(d, site=f"{d.site} wood") for d in MOVED))
    (got,) = applied(rows, table, clock, SiteChange("Oak", rename="Ash"), newer)
    assert (got["site"], got["clock_offset_s"]) == ("Oak wood", 60.0)


def test_dates_of_a_scope_are_those_that_people_see():
    rows = frame(recording("A/1.wav", local=datetime(2000, 1, 1, 12)), recording("A/2.wav", local=datetime(2000, 1, 9)))
    year = ClockChange(Scope(), add_s=(datetime(2025, 5, 1) - datetime(2000, 1, 1)).total_seconds())
    got = applied(rows, year, ClockChange(Scope(date_from="2025-05-01", date_to="2025-05-01"), add_s=1))
    assert [g["local_start"] for g in got] == [datetime(2025, 5, 1, 12, 0, 1), datetime(2025, 5, 9)]


def test_a_site_s_change_holds_over_the_table():
    rows = frame(recording("A/1.wav", local=datetime(2025, 5, 5)))
    change = SiteChange("Oak", rename="Oak wood", zone="Europe/Vienna", latitude=48.0, longitude=16.0)
    for changes in ((change, DeploymentsChange(MOVED)), (DeploymentsChange(MOVED), change)):
        (got,) = applied(rows, *changes)
        assert (got["site"], got["zone"], got["latitude"]) == ("Oak wood", "Europe/Vienna", 48.0)


def test_an_added_row_with_a_known_id_comes_in_its_place():
    rows = frame(recording("A/1.wav", local=datetime(2025, 5, 5)))
    again = DeploymentsChange((replace(MOVED[0], site="Ash"),), add=True)
    (got,) = applied(rows, DeploymentsChange(MOVED), again)
    assert (got["site"], got["deployment"], got["time_issues"]) == ("Ash", "d1", [])


def test_a_table_that_is_only_added_leaves_what_was_embedded_with_another():
    rows = frame(recording("Q/1.wav", deployment="then", local=datetime(2025, 5, 5)))
    (got,) = applied(rows, DeploymentsChange(MOVED, add=True))
    assert (got["deployment"], got["time_issues"]) == ("then", [])
    (got,) = applied(rows, DeploymentsChange(MOVED))
    assert (got["deployment"], got["time_issues"]) == (None, ["no_deployment"])


def test_what_each_change_is_about_is_counted():
    rows = frame(
        recording("A/1.wav", local=datetime(2025, 5, 5)),
        recording("A/2.wav", local=datetime(2025, 5, 15)),
        recording("B/1.wav", site="B"),
    )
    changes = (
        DeploymentsChange(MOVED[:1]),
        DeploymentsChange(MOVED[1:], add=True),
        ClockChange(Scope(site="Oak"), add_s=1),
        SiteChange("Oak", rename="B"),
        SiteChange("B", zone="UTC"),
        SiteChange("Oak", zone="UTC"),
    )
    assert trace(rows, state(*changes)).concerned == (1, 1, 1, 1, 2, 0)


HOSTILE = ("Oak 'wood\"; --", "a\\b", "日本/é", "$1 {0} %s", "_taken", "x" * 200, "\u202edlrow", "null")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_names(name):
    rows = frame(recording(f"{name}/1.wav", site=name, local=datetime(2025, 5, 5)), recording("B/1.wav", site="B"))
    table = DeploymentsChange((deployment(name, folder=name, site=f"{name}."),))
    got = applied(
        rows, table, SiteChange(f"{name}.", rename=name), ClockChange(Scope(site=name, deployment=name), add_s=1)
    )
    assert [(g["site"], g["deployment"], g["clock_offset_s"]) for g in got] == [(name, name, 1.0), ("B", None, 0.0)]


def test_bytes_that_are_not_utf_8_are_found_as_they_are_printed():
    stored = printable_path("A/caf\udce9.wav")
    got = applied(frame(recording(stored, local=FALL)), ClockChange(Scope(recording="A/caf\udce9*"), add_s=1))
    assert got[0]["clock_offset_s"] == 1.0


@pytest.mark.parametrize("changes", [0, 50])
def test_a_hundred_thousand_recordings_and_fifty_changes(changes):
    n, start = 100_000, datetime(2025, 5, 1)
    one = frame(recording(local=start, zone="Europe/Paris"))
    many = pl.concat([one] * n).with_columns(
        site=pl.format("s{}", pl.int_range(n) % 50),
        local_start=pl.lit(start) + pl.duration(minutes=pl.int_range(n)),
        utc_start=pl.lit(start).dt.replace_time_zone("UTC") + pl.duration(minutes=pl.int_range(n) - 120),
    )
    said = tuple(SiteChange(f"s{i}", rename=f"t{i}", zone="Europe/Berlin") for i in range(changes))
    begun = time.process_time()
    out = apply_metadata(many, MetadataState(50, said))
    assert time.process_time() - begun < (4.0 if changes else 0.5)  # of the processor, whatever else it has to do
    assert out["site"].to_list()[:3] == (["t0", "t1", "t2"] if changes else ["s0", "s1", "s2"])
    assert out.select("local_start", "utc_start").equals(
        many.select("local_start", "utc_start")
    )  # Berlin's clock is Paris's
    assert timedelta(minutes=n - 1) == out["stored_local_start"].max() - start
