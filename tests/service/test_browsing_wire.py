"""Windows as JSON values: identity, times with the offset they had, judgements; against what is plainly so."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_api.browsing.clocks import local_text, utc_text
from search_api.browsing.identity import parse_recording_id, parse_window_id, row_of_window, window_id
from search_api.browsing.wire import window_of_id, window_row, window_rows, with_annotations
from sonotheque.core.errors import Invalid, NotFound
from store import open_archive
from store.annotations import Annotation, AnnotationLog
from store.annotations.annotation import TOUCH_S
from tests.ask import worlds
from tests.search import kit

FIELDS = {
    "window_id",
    "recording_id",
    "path",
    "site",
    "deployment",
    "start_s",
    "end_s",
    "valid_s",
    "utc_start",
    "local_start",
    "date",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root, config, items = worlds.new_world(tmp_path_factory.mktemp("wired"), months=(5, 10))
    with open_archive(root) as archive:
        yield archive, worlds.windows(items, config)


def test_every_window_is_as_it_was_made_and_json_holds_it(world) -> None:
    archive, made = world
    rows = {row["window_id"]: row for row in window_rows(archive, archive.windows())}
    assert len(rows) == len(made)
    for own in made:
        row = json.loads(json.dumps(rows[f"{own['recording_id']}:{own['start_sample']}"]))
        assert set(row) == FIELDS
        assert (row["path"], row["site"]) == (own["path"], own["site"])
        assert (row["start_s"], row["end_s"], row["valid_s"]) == (own["start_s"], own["end_s"], own["valid_s"])
        assert row["recording_id"] == str(own["recording_id"])
        if own["utc_start"]:
            assert datetime.fromisoformat(row["utc_start"]) == own["utc_start"]
            assert datetime.fromisoformat(row["local_start"]) == own["utc_start"]
            assert datetime.fromisoformat(row["local_start"]).replace(tzinfo=None) == own["local_start"]
        elif own["local_start"]:
            assert (row["utc_start"], row["local_start"]) == (None, own["local_start"].isoformat())
        else:
            assert row["utc_start"] is row["local_start"] is row["date"] is None
        assert row["date"] == (own["date"] and own["date"].isoformat())


def test_a_recording_through_the_change_of_the_clocks_has_both_offsets(world) -> None:
    archive, _ = world
    rows = archive.sql("SELECT * FROM windows WHERE path = 'Oak wood/10-2.wav' ORDER BY start_sample")
    local = [row["local_start"] for row in window_rows(archive, rows)]
    assert local[:2] == ["2025-10-26T02:59:57+02:00", "2025-10-26T02:00:00+01:00"]


@pytest.mark.parametrize(
    ("local", "utc", "text"),
    [
        (None, None, None),
        (None, datetime(2025, 1, 1, tzinfo=UTC), None),
        (datetime(2025, 1, 1, 12), None, "2025-01-01T12:00:00"),
        (datetime(2025, 1, 1, 12), datetime(2025, 1, 1, 12, tzinfo=UTC), "2025-01-01T12:00:00+00:00"),
        (datetime(2025, 1, 1, 17, 45), datetime(2025, 1, 1, 12, tzinfo=UTC), "2025-01-01T17:45:00+05:45"),
        (datetime(2024, 12, 31, 20), datetime(2025, 1, 1, tzinfo=UTC), "2024-12-31T20:00:00-04:00"),
        (datetime(2025, 1, 3), datetime(2025, 1, 1, tzinfo=UTC), "2025-01-03T00:00:00"),
        (
            datetime(2025, 1, 1, 12, 0, 0, 500_000),
            datetime(2025, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC),
            "2025-01-01T12:00:00.500000+00:00",
        ),
    ],
)
def test_a_sites_clock_has_its_offset_where_it_is_known(local, utc, text) -> None:
    assert local_text(local, utc) == text
    assert utc_text(utc) == (utc and utc.replace(tzinfo=None).isoformat() + "Z")


NO_IDS = (
    "",
    ":",
    "1",
    "1:",
    ":1",
    "-1:0",
    "1:-1",
    "1:2:3",
    " 1:2",
    "1:2 ",
    "1.0:2",
    "9223372036854775808:0",
    "0x1:0",
    "١:٢",
    "1:2\n",
)


@pytest.mark.parametrize("text", [*NO_IDS, "'; --:0", "1" * 400 + ":0"])
def test_what_is_no_window_id_is_refused(world, text) -> None:
    with pytest.raises(Invalid, match="expected RECORDINGID:STARTSAMPLE"):
        window_of_id(world[0], text)


@pytest.mark.parametrize("text", ["", "-1", "1e3", "9223372036854775808", "a", "1 ", "²"])
def test_what_is_no_recording_id_is_refused(text) -> None:
    with pytest.raises(Invalid, match="expected a whole number"):
        parse_recording_id(text)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_ids_read_back(recording, start) -> None:
    assert parse_window_id(window_id(recording, start)) == (recording, start)
    assert parse_window_id(window_id(np.int64(recording), start)) == (recording, start)


def test_a_window_by_its_id_is_the_row_of_the_list_and_another_names_the_nearest(world) -> None:
    archive, _ = world
    for row in window_rows(archive, archive.windows(limit=5)):
        assert window_of_id(archive, row["window_id"]) == row
    one = archive.windows(limit=1).to_pylist()[0]
    with pytest.raises(NotFound, match=f"the nearest is {one['recording_id']}:144000"):
        window_of_id(archive, f"{one['recording_id']}:144001")
    with pytest.raises(NotFound, match="nearest"):
        window_of_id(archive, f"{one['recording_id']}:{2**63 - 1}")
    with pytest.raises(NotFound, match="no recording with the id 12"):
        window_of_id(archive, "12:0")
    failed = archive.sql("SELECT recording_id FROM recordings WHERE outcome = 'failed' LIMIT 1")[0][0].as_py()
    with pytest.raises(NotFound, match="has no windows"):
        window_of_id(archive, f"{failed}:0")


def test_a_row_carries_its_place_in_the_parts_for_whoever_needs_its_vector(world) -> None:
    archive, _ = world
    row, recording = row_of_window(archive, window_rows(archive, archive.windows(limit=1))[0]["window_id"])
    assert (row["part_id"], recording["recording_id"]) == (recording["part_id"], row["recording_id"])


def test_valid_seconds_are_those_that_are_stored_where_rows_lack_them(tmp_path) -> None:
    kit.write(tmp_path / "recordings" / "a" / "20240501_040000.wav", kit.tone(300.0, 5.3))
    from tests.cluster.support import run

    run(tmp_path / "recordings", tmp_path / "store", timezone="Europe/Paris")
    with open_archive(tmp_path / "store") as archive:
        table = archive.windows()
        full = window_rows(archive, table)
        assert [row["valid_s"] for row in full] == pytest.approx([2.0, 2.0, 1.3])
        assert window_rows(archive, table.drop_columns(["valid_s", "date", "deployment"])) == full


def test_a_row_without_what_is_not_known_says_so() -> None:
    known = {"recording_id": 1, "start_sample": 2, "path": "a", "site": "s", "start_s": 0.1 + 0.2, "end_s": 1}
    row = window_row({**known, "utc_start": None, "local_start": None})
    assert (row["start_s"], row["valid_s"], row["deployment"], row["date"]) == (0.3, None, None, None)


spans = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from([0.0, 1.5, 2.9999995, 3.0, 4.5, 6.0]), st.sampled_from([0.5, 1.5, 3.0, 9.0])
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans)
def test_judgements_are_on_the_windows_that_they_share_something_with(world, tmp_path_factory, chosen) -> None:
    archive, _ = world
    here = tmp_path_factory.mktemp("judged")
    import shutil

    shutil.copy(f"{archive.root}/sonotheque.json", here)
    recordings = archive.sql(
        "SELECT recording_id, path FROM recordings WHERE windows > 0 ORDER BY path LIMIT 4"
    ).to_pylist()
    made = [
        Annotation(recordings[which]["recording_id"], recordings[which]["path"], start, start + length, f"x{n}")
        for n, (which, start, length) in enumerate(chosen)
    ]
    if made:
        AnnotationLog(str(here)).add(made, annotator="Ana", provenance="by hand")
    rows = [
        {"recording_id": str(one["recording_id"]), "start_s": 3.0 * n, "end_s": 3.0 * n + 3.0}
        for one in recordings
        for n in range(3)
    ]

    class Rooted:
        root = str(here)

    for row in with_annotations(Rooted(), rows):
        shared = [
            a.label
            for a in made
            if str(a.recording_id) == row["recording_id"]
            and min(a.end_s, row["end_s"]) - max(a.start_s, row["start_s"]) > TOUCH_S
        ]
        assert [a["label"] for a in row["annotations"]] == shared
        assert all(a["judgement"] == "positive" and a["annotator"] == "Ana" for a in row["annotations"])
