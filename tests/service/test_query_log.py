"""A share of the searches, kept for review: nothing of the sound, nothing of who asked, and nothing lost by a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_api.query_log import VERDICTS, QueryLog
from sonotheque.core.errors import Damaged, Invalid, NotFound, SonothequeError, Unavailable

HITS = [
    {"window_id": "1:0", "score": 0.91, "rank": 1, "path": "secret place/a.wav"},
    {"window_id": "1:144000", "score": 0.5, "rank": 2},
]
QUERY = {
    "kind": "clip",
    "name": "call.wav",
    "vectors": 2,
    "samples": [0.1] * 5,
    "address": "192.0.2.1",
    "embedding": [1.0],
}


def test_nothing_is_kept_unless_asked_for(tmp_path) -> None:
    log = QueryLog(tmp_path / "queries")
    assert log.record(QUERY, {}, {}, HITS) is None
    assert log.page().rows == []
    assert not (tmp_path / "queries").exists()


def test_a_kept_query_has_what_was_asked_and_found_and_nothing_else(tmp_path) -> None:
    log = QueryLog(tmp_path / "queries", share=1.0)
    token = log.record(QUERY, {"k": 5, "filter": {"sites": ["é"]}}, {"how": "exact"}, HITS)
    assert token
    found = log.get(token)
    assert found["query"] == {"kind": "clip", "name": "call.wav", "vectors": 2}
    assert found["options"] == {"k": 5, "filter": {"sites": ["é"]}}
    assert found["plan"] == {"how": "exact"}
    assert found["hits"] == [
        {"window_id": "1:0", "score": 0.91, "rank": 1},
        {"window_id": "1:144000", "score": 0.5, "rank": 2},
    ]
    assert (found["found"], found["review"], found["reviews"]) == (2, None, [])
    assert found["asked_utc"].endswith("Z")
    held = (tmp_path / "queries" / "queries.sqlite").read_bytes()
    assert b"192.0.2.1" not in held and b"secret place" not in held


@pytest.mark.parametrize(("share", "low", "high"), [(0.05, 60, 140), (0.5, 920, 1080)])
def test_chance_keeps_the_stated_share(tmp_path, share, low, high) -> None:
    log = QueryLog(tmp_path, share=share, seed=7)
    assert low < sum(log.wants() for _ in range(2_000)) < high


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_is_between_nothing_and_all(tmp_path, share) -> None:
    with pytest.raises(Invalid, match="expected 0 to 1"):
        QueryLog(tmp_path, share=share)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([None, *VERDICTS]), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from([None, True, False]),
)
def test_pages_joined_are_all_queries_newest_first(tmp_path_factory, verdicts, limit, reviewed) -> None:
    log = QueryLog(tmp_path_factory.mktemp("log"), share=1.0)
    tokens = [str(log.keep({"kind": "window", "name": str(n)}, {}, {}, [])) for n in range(len(verdicts))]
    for token, verdict in zip(tokens, verdicts, strict=True):
        if verdict:
            log.review(token, verdict, reviewer="Ana")
    wanted = [t for t, v in zip(tokens, verdicts, strict=True) if reviewed is None or (v is not None) == reviewed]
    found, before = [], None
    while True:
        page = log.page(limit=limit, before=before, reviewed=reviewed)
        found += [row["token"] for row in page.rows]
        if page.next is None:
            break
        before = page.next
    assert found == wanted[::-1]


def test_the_newest_review_counts_and_all_are_kept(tmp_path) -> None:
    log = QueryLog(tmp_path, share=1.0)
    token = log.keep({}, {}, {}, HITS)
    log.review(token, "poor", reviewer="Ana", note="'; DROP TABLE queries; --")
    found = log.review(token, "good", reviewer="Ben")
    assert [(r["verdict"], r["reviewer"]) for r in found["reviews"]] == [("poor", "Ana"), ("good", "Ben")]
    assert found["reviews"][0]["note"] == "'; DROP TABLE queries; --"
    assert log.page().rows[0]["review"]["verdict"] == "good"


def test_what_is_not_there_or_cannot_be_is_refused(tmp_path) -> None:
    log = QueryLog(tmp_path, share=1.0)
    for token in ("none", "' OR 1=1 --", ""):
        with pytest.raises(NotFound):
            log.get(token)
        with pytest.raises(NotFound):
            log.review(token, "good", reviewer="Ana")
    token = log.keep({}, {}, {}, [])
    with pytest.raises(Invalid, match="verdict"):
        log.review(token, "great", reviewer="Ana")


def test_another_programs_file_is_told_and_left_alone(tmp_path) -> None:
    (tmp_path / "queries.sqlite").write_bytes(b"this is no database at all" * 50)
    before = (tmp_path / "queries.sqlite").read_bytes()
    log = QueryLog(tmp_path, share=1.0)
    with pytest.raises(Damaged, match="no log of queries"):
        log.keep({}, {}, {}, [])
    with pytest.raises(SonothequeError):
        log.page()
    assert (tmp_path / "queries.sqlite").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable):
        QueryLog(tmp_path / "file" / "queries", share=1.0).keep({}, {}, {}, [])


def test_many_at_once_are_all_kept(tmp_path) -> None:
    logs = [QueryLog(tmp_path, share=1.0) for _ in range(4)]
    threads = [threading.Thread(target=lambda log=log: [log.keep({}, {}, {}, HITS) for _ in range(10)]) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({row["token"] for row in logs[0].page(limit=100).rows}) == 40


WRITER = """
import sys
from search_api.query_log import QueryLog
log = QueryLog(sys.argv[1], share=1.0)
while True:
    sys.stdout.write(log.keep({"kind": "clip"}, {}, {}, [{"window_id": "1:0", "score": 1.0, "rank": 1}]) + "\\n")
    sys.stdout.flush()
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    told = [writer.stdout.readline().strip() for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    told += [line.strip() for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    writer.wait()
    log = QueryLog(tmp_path, share=1.0)
    assert set(told) <= {row["token"] for row in log.page(limit=10_000).rows}
    assert log.get(told[0])["hits"]
    with sqlite3.connect(tmp_path / "queries.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert log.keep({}, {}, {}, [])
