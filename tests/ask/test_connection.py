"""SQL as people type it: errors in words, UTC, several threads, annotations as they are now."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sonotheque.core.errors import Invalid, SonothequeError
from store import Archive
from store.annotations import Annotation, AnnotationLog
from tests.ask import worlds


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root, _, items = worlds.new_world(tmp_path_factory.mktemp("world"), sites=2)
    return root, items


@pytest.fixture
def archive(world):
    with Archive(world[0]) as opened:
        yield opened


@pytest.mark.parametrize(
    ("query", "kind", "told"),
    [
        ("SELECT pth FROM windows", "unknown_column", '"path"'),
        ("SELECT * FROM windos", "unknown_column", "did you mean windows"),
        ("SELECT * FROM sties", "unknown_column", "did you mean sites"),
        ("SELECT * FROM window", "invalid", "windows"),
        ("SELCT 1", "invalid", "SELCT"),
        ("SELECT path + 1 FROM windows", "unknown_column", "No function matches"),
        ("SELECT 'x'::DATE", "invalid", "date"),
        ("SELECT * FROM windows WHERE site = ?", "invalid", "SQL"),
        ("", "invalid", "empty"),
    ],
)
def test_errors_are_words(archive, query, kind, told):
    with pytest.raises(Invalid) as error:
        archive.sql(query)
    assert error.value.kind == kind
    assert told in error.value.message
    assert "\n" not in error.value.message


def test_a_block_s_error_is_told_too(archive):
    with pytest.raises(SonothequeError):
        list(archive.batches("SELECT nothing FROM windows"))


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_every_connection_is_in_utc(world, zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with Archive(world[0]) as archive:
            query = "SELECT current_setting('TimeZone') AS zone, max(utc_start)::VARCHAR AS at FROM windows"
            (row,) = archive.sql(query).to_pylist()
            (batch,) = archive.batches(query)
        assert row["zone"] == "UTC" and row["at"].endswith("+00")
        assert batch.to_pylist() == [row]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_parameters_by_place_and_by_name(archive):
    assert archive.sql("SELECT count(*) AS n FROM windows WHERE site = ?", ["b=c"]) == archive.sql(
        "SELECT count(*) AS n FROM windows WHERE site = $site", {"site": "b=c"}
    )


def test_annotations_are_as_they_are_now(world):
    root, items = world
    rec = items[0][0]
    query = "SELECT label FROM annotations"
    with Archive(root) as archive:
        assert archive.sql(query).num_rows == 0
        log = AnnotationLog(root)
        log.add([Annotation(rec.recording_id, rec.source.path, 1.0, 2.0, "owl")], annotator="ana", provenance="test")
        assert archive.sql(query)["label"].to_pylist() == ["owl"]
        assert [b.to_pylist() for b in archive.batches(query)] == [[{"label": "owl"}]]
        marked = archive.sql(
            "SELECT w.start_s FROM windows w JOIN annotations a ON a.recording_id = w.recording_id "
            "AND a.start_s < w.end_s AND a.end_s > w.start_s"
        )
        assert marked["start_s"].to_pylist() == [0.0]
        log.undo(last=True, annotator="ana")
        assert archive.sql(query).num_rows == 0


def test_threads_share_an_archive(world):
    queries = [
        "SELECT count(*) AS n FROM windows",
        "SELECT count(*) AS n FROM predictions",
        "SELECT count(*) AS n FROM embeddings",
        "SELECT count(*) AS n FROM annotations",
    ]
    with Archive(world[0]) as archive:
        expected = {}
        with Archive(world[0]) as alone:
            for query in queries:
                expected[query] = alone.sql(query).to_pylist()
        ready = threading.Barrier(8)

        def ask(n: int) -> bool:
            ready.wait()
            return all(archive.sql(q).to_pylist() == expected[q] for q in queries[n % 4 :] + queries[: n % 4])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(8)))
