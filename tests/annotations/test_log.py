"""The log: what is added, undone and read back; what it refuses; what it does with databases that are not its own."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound, Unavailable
from store.annotations import ANNOTATION_SCHEMA, EVENT_SCHEMA, Added, Annotation, AnnotationLog, Undone
from store.annotations.database import database_path, reading, writing
from store.annotations.tables import APPLICATION_ID, DATABASE_VERSION
from tests.annotations.support import HOSTILE, judged, log_in
from tests.store.faults import FaultyOps
from tests.store.kit import tree


def add(log: AnnotationLog, *annotations: Annotation, by: str = "Ana", **more: Any) -> Added:
    return log.add(annotations, annotator=by, provenance="by ear", **more)


def labels(log: AnnotationLog) -> list[str]:
    return log.current()["label"].to_pylist()


def test_nothing_there_reads_as_nothing_and_makes_nothing(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    before = tree(log.root)
    assert log.current().schema.equals(ANNOTATION_SCHEMA)
    assert log.events().schema.equals(EVENT_SCHEMA)
    assert log.current().num_rows == log.events().num_rows == 0
    assert log.would_add([judged()], annotator="Ana") == Added(None, 1, 0, 0)
    assert log.add([], annotator="Ana", provenance="x") == Added(None, 0, 0, 0)
    with pytest.raises(NotFound, match="no annotations"):
        log.undo(last=True, annotator="Ana")
    assert tree(log.root) == before


def test_what_is_added_is_read_back_with_its_columns(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    judgement = judged(1, 2.5, "Strix aluco", judgement="negative", low_hz=300, high_hz=1200.5, note="far")
    when = datetime(2024, 5, 1, 6, 0, tzinfo=timezone(timedelta(hours=2)))
    assert add(log, judgement, created_utc=[when]) == Added(1, 1, 0, 0)
    table = log.current()
    assert table.schema.equals(ANNOTATION_SCHEMA)
    assert table.to_pylist() == [
        {
            "annotation_id": 1,
            "recording_id": judgement.recording_id,
            "path": judgement.path,
            "start_s": 1.0,
            "end_s": 2.5,
            "low_hz": 300.0,
            "high_hz": 1200.5,
            "label": "Strix aluco",
            "judgement": "negative",
            "annotator": "Ana",
            "provenance": "by ear",
            "note": "far",
            "created_utc": datetime(2024, 5, 1, 4, 0, tzinfo=UTC),
        }
    ]


def test_the_time_is_now_where_none_is_given(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    before = datetime.now(UTC)
    add(log, judged(1, 2), judged(2, 3), created_utc=[None, datetime(2001, 1, 1, tzinfo=UTC)])
    now, then = log.current()["created_utc"].to_pylist()
    assert before - timedelta(milliseconds=1) <= now <= datetime.now(UTC)
    assert then.year == 2001


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_come_back_as_they_were(tmp_path: Path, text: str) -> None:
    log = log_in(tmp_path)
    if not text.strip():
        with pytest.raises(Invalid, match="label is empty"):
            judged(label=text)
        return
    log.add([judged(label=text, note=text)], annotator=text, provenance=text)
    row = log.current().to_pylist()[0]
    assert [row[c] for c in ("label", "note", "annotator", "provenance")] == [text] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_s": -0.1}, "before the recording"),
        ({"start_s": float("nan")}, "finite"),
        ({"end_s": float("inf")}, "finite"),
        ({"end_s": 1.0}, "after the start"),
        ({"end_s": 0.5}, "after the start"),
        ({"end_s": 1.0 + 5e-7}, "microsecond"),
        ({"low_hz": -1.0}, "0 or more"),
        ({"high_hz": float("nan")}, "finite"),
        ({"low_hz": 900.0, "high_hz": 300.0}, "above the high"),
        ({"label": ""}, "label is empty"),
        ({"label": " \t"}, "label is empty"),
        ({"label": "a\0b"}, "NUL"),
        ({"label": "a\udce9"}, "UTF-8"),
        ({"path": ""}, "path is empty"),
        ({"note": "\0"}, "NUL"),
        ({"judgement": "yes"}, "positive, negative, uncertain"),
        ({"judgement": ""}, "positive, negative, uncertain"),
    ],
)
def test_what_cannot_be_right_is_no_annotation(change: dict[str, Any], message: str) -> None:
    values = {"recording_id": 1, "path": "a.wav", "start_s": 1.0, "end_s": 2.0, "label": "x", **change}
    with pytest.raises(Invalid, match=message):
        Annotation(**values)


def test_numbers_of_numpy_and_minus_zero_are_taken(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    one = Annotation(np.int64(5), "a.wav", np.float32(-0.0), np.int32(2), "x", low_hz=np.float64(3))
    assert add(log, one).added == 1
    assert add(log, Annotation(5, "a.wav", 0, 2.0, "x", low_hz=3)).already_there == 1
    assert str(log.current()["start_s"][0].as_py()) == "0.0"


@pytest.mark.parametrize(
    ("by", "provenance"), [("", "x"), ("Ana", ""), (" ", "x"), ("A\0", "x"), (["Ana", ""], "x"), (["Ana"], "x")]
)
def test_who_and_whence_are_needed(tmp_path: Path, by: Any, provenance: str) -> None:
    log = log_in(tmp_path)
    with pytest.raises(Invalid):
        log.add([judged(1, 2), judged(2, 3)], annotator=by, provenance=provenance)
    with pytest.raises(Invalid, match="zone"):
        add(log, judged(), created_utc=[datetime(2024, 1, 1)])
    with pytest.raises(Invalid, match="times"):
        add(log, judged(), created_utc=[])
    assert not Path(database_path(log.root)).exists()


def test_the_same_judgement_of_the_same_annotator_is_not_doubled(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    assert add(log, judged(), judged(), judged(note="again")) == Added(1, 1, 2, 0)
    assert add(log, judged()) == Added(None, 0, 1, 0)
    assert add(log, judged(), by="Ben") == Added(2, 1, 0, 0), "another annotator says so too"
    others = [
        judged(1, 2.5),
        judged(0.5, 2),
        judged(label="x"),
        judged(low_hz=1),
        judged(high_hz=1),
        judged(path="other.wav"),
    ]
    assert add(log, *others) == Added(3, len(others), 0, 0)
    assert log.current().num_rows == 2 + len(others)
    assert log.events()["batch_id"].to_pylist() == [1, 2, *[3] * len(others)]


def test_a_contrary_judgement_counts_beside_the_first_and_is_told(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    assert add(log, judged(judgement="negative")) == Added(2, 1, 0, 1)
    assert add(log, judged(judgement="negative"), by="Ben").contrary == 0, "annotators may differ"
    assert add(log, judged(8, 9), judged(8, 9, judgement="uncertain")).contrary == 1
    assert log.would_add([judged(judgement="uncertain")], annotator="Ana") == Added(None, 1, 0, 1)


def test_annotators_and_provenances_can_differ_within_a_batch(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.add([judged(1, 2), judged(1, 2), judged(2, 3)], annotator=["Ana", "Ben", "Ana"], provenance=["a", "b", "c"])
    assert log.current().select(["annotator", "provenance"]).to_pylist() == [
        {"annotator": "Ana", "provenance": "a"},
        {"annotator": "Ben", "provenance": "b"},
        {"annotator": "Ana", "provenance": "c"},
    ]
    assert log.events()["by"].to_pylist() == ["Ana, Ben"] * 3


def test_a_batch_is_undone_and_the_undo_undone(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged(1, 2, "a"), judged(2, 3, "b"))
    add(log, judged(3, 4, "c"))
    assert log.undo(batch=1, annotator="Ben") == Undone(3, 1, undone=2, restored=0, left=0)
    assert labels(log) == ["c"]
    assert log.undo(batch=3, annotator="Ben") == Undone(4, 3, undone=0, restored=2, left=0)
    assert labels(log) == ["a", "b", "c"]
    assert log.undo(batch=4, annotator="Ben") == Undone(5, 4, undone=2, restored=0, left=0)
    assert labels(log) == ["c"]
    events = log.events().to_pylist()
    assert [(e["batch_id"], e["event"], e["by"], e["undoes"]) for e in events] == [
        *[(1, "add", "Ana", None)] * 2,
        (2, "add", "Ana", None),
        *[(3, "undo", "Ben", 1)] * 2,
        *[(4, "restore", "Ben", 3)] * 2,
        *[(5, "undo", "Ben", 4)] * 2,
    ]
    assert {e["annotator"] for e in events} == {"Ana"}


def test_one_annotation_is_undone_and_the_rest_of_its_batch_after_it(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged(1, 2, "a"), judged(2, 3, "b"))
    assert log.undo(annotation_id=2, annotator="Ana") == Undone(2, 1, 1, 0, 0)
    assert labels(log) == ["a"]
    with pytest.raises(Conflict, match="undone by batch 2") as caught:
        log.undo(annotation_id=2, annotator="Ana")
    assert caught.value.kind == "nothing_to_undo"
    assert log.undo(batch=1, annotator="Ana") == Undone(3, 1, 1, 0, left=1)
    assert log.undo(batch=3, annotator="Ana").restored == 1
    assert labels(log) == ["a"], "batch 3 took only what batch 2 had left"


def test_last_goes_back_batch_by_batch(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for i in range(3):
        add(log, judged(i, i + 1, str(i)), by="Ana" if i != 1 else "Ben")
    assert log.undo(last=True, annotator="Ana", of_annotator="Ben").undoes == 2
    assert [log.undo(last=True, annotator="Ana").undoes for _ in range(2)] == [3, 1]
    with pytest.raises(Conflict, match="nothing to undo"):
        log.undo(last=True, annotator="Ana")
    with pytest.raises(Conflict, match="by 'Ben'"):
        log.undo(last=True, annotator="Ana", of_annotator="Ben")
    assert labels(log) == []


def test_what_was_said_again_is_not_doubled_by_undoing_the_undo(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged(1, 2, "a"), judged(2, 3, "b"))
    log.undo(batch=1, annotator="Ana")
    add(log, judged(1, 2, "a"))
    assert log.undo(batch=2, annotator="Ana") == Undone(4, 2, 0, restored=1, left=1)
    assert sorted(labels(log)) == ["a", "b"]
    with pytest.raises(Conflict, match="changed or said again later"):
        log.undo(batch=2, annotator="Ana")


@pytest.mark.parametrize("what", [{}, {"batch": 1, "last": True}, {"batch": 1, "annotation_id": 1}])
def test_an_undo_says_of_what(tmp_path: Path, what: dict[str, Any]) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with pytest.raises(Invalid, match="expected one of"):
        log.undo(annotator="Ana", **what)


def test_what_is_not_there_cannot_be_undone(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with pytest.raises(NotFound, match=r"batch 7: .* newest is 1"):
        log.undo(batch=7, annotator="Ana")
    with pytest.raises(NotFound, match=r"annotation 0: .* newest is 1"):
        log.undo(annotation_id=0, annotator="Ana")
    with pytest.raises(Invalid, match="annotator is empty"):
        log.undo(batch=1, annotator="")
    assert log.events().num_rows == 1


def test_a_folder_that_is_no_store_gets_no_log(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        add(AnnotationLog(str(tmp_path)), judged())
    assert caught.value.kind == "no_store"
    assert not list(tmp_path.iterdir())


def test_the_database_is_one_file_when_nobody_has_it_open(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    log.current()
    assert [p.name for p in Path(log.root).glob("annotations*")] == ["annotations.sqlite"]
    assert not list(Path(log.root, "_tmp").iterdir())


def test_every_connection_is_set_up(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with writing(log.root) as db:
        assert [
            db.execute(f"PRAGMA {p}").fetchone()[0]
            for p in ("foreign_keys", "synchronous", "journal_mode", "busy_timeout")
        ] == [
            1,
            2,
            "wal",
            30_000,
        ]
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("INSERT INTO changes VALUES (1, 1, 99, 0)")
    with reading(log.root) as db:
        assert db is not None
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        with pytest.raises(sqlite3.OperationalError):
            db.execute("DELETE FROM batches")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE annotations SET label = 'x'",
        "UPDATE batches SET annotator = 'x'",
        "UPDATE changes SET counts = 1",
        "DELETE FROM annotations",
        "DELETE FROM changes",
        "DELETE FROM batches",
        "INSERT OR REPLACE INTO annotations SELECT annotation_id, batch_id, recording_id, path, start_s, end_s, low_hz, high_hz, 'x', "
        "judgement, annotator, provenance, note, created_us FROM annotations",
        "INSERT INTO batches VALUES (9, 'add', 'x', NULL, 0)",
        "INSERT INTO batches (kind, annotator, at_us) VALUES ('add', 'x', 0)",
    ],
)
def test_other_programs_cannot_rewrite_history_either(tmp_path: Path, statement: str) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    log.undo(last=True, annotator="Ana")
    with sqlite3.connect(database_path(log.root)) as db, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(statement)
    db.close()
    assert log.events()["event"].to_pylist() == ["add", "undo"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("start_s", -1.0), ("end_s", 0.0), ("end_s", float("inf")), ("label", ""), ("judgement", "yes"), ("start_s", "x")],
)
def test_the_tables_refuse_what_the_dataclass_refuses(tmp_path: Path, column: str, value: Any) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with sqlite3.connect(database_path(log.root)) as db:
        db.row_factory = sqlite3.Row
        row = {**dict(db.execute("SELECT * FROM annotations").fetchone()), "annotation_id": 2, column: value}
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(f"INSERT INTO annotations VALUES ({', '.join('?' * len(row))})", list(row.values()))
    db.close()


@pytest.mark.parametrize(
    ("pragma", "value", "words"), [("application_id", 7, "0x7"), ("user_version", 99, "version 99")]
)
def test_a_foreign_or_later_database_is_refused_naming_both(
    tmp_path: Path, pragma: str, value: int, words: str
) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with sqlite3.connect(database_path(log.root)) as db:
        db.execute(f"PRAGMA {pragma} = {value}")
    db.close()
    ours = {"application_id": f"{APPLICATION_ID:#x}", "user_version": f"versions up to {DATABASE_VERSION}"}[pragma]
    for call in (log.current, log.events, lambda: add(log, judged(5, 6)), lambda: log.undo(last=True, annotator="A")):
        with pytest.raises(Conflict, match=words) as caught:
            call()
        assert ours in caught.value.message
        assert caught.value.kind == "foreign_database"


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to be looked at" * 20])
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes) -> None:
    log = log_in(tmp_path)
    Path(database_path(log.root)).write_bytes(content)
    for call in (log.current, lambda: add(log, judged())):
        with pytest.raises((Conflict, Damaged), match=r"annotations\.sqlite"):
            call()
    assert Path(database_path(log.root)).read_bytes() == content


def test_a_damaged_log_says_so(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.add([judged(i, i + 1, f"label {i}") for i in range(2000)], annotator="Ana", provenance="x")
    path = Path(database_path(log.root))
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = b"\xa5" * (len(data) - 12288)
    path.write_bytes(data)
    with pytest.raises(Damaged, match=r"annotations\.sqlite is not what this program wrote"):
        log.current()


def test_a_writer_that_waits_too_long_says_so_and_a_reader_does_not_wait(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with sqlite3.connect(database_path(log.root), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert log.current().num_rows == 1
        with pytest.raises(Unavailable, match=r"more than 0\.1 s") as caught, writing(log.root, busy_s=0.1):
            pass
        assert caught.value.kind == "busy"
        other.execute("ROLLBACK")
    other.close()
    assert add(log, judged(3, 4)).added == 1


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with reading(log.root) as db:
        assert db is not None
        count = "SELECT count(*) FROM annotations"
        assert db.execute(count).fetchone() == (1,)
        add(log, judged(3, 4))
        assert db.execute(count).fetchone() == (1,)
    assert log.current().num_rows == 2


def test_an_error_within_the_transaction_takes_everything_back(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with pytest.raises(ZeroDivisionError), writing(log.root) as db:
        db.execute("INSERT INTO batches VALUES (2, 'add', 'x', NULL, 0)")
        raise ZeroDivisionError
    assert add(log, judged(5, 6)).batch == 2


def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged())
    with pytest.raises(Unavailable) as caught, writing(log.root) as db:
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0] + 1}")
        many = [(i, "x" * 1000) for i in range(2, 2000)]
        db.executemany("INSERT INTO batches VALUES (?, 'add', ?, NULL, 0)", many)
    assert caught.value.kind == "disk_full"
    assert log.events().num_rows == 1
    assert add(log, judged(5, 6)).batch == 2


def test_making_the_database_fails_at_every_step_without_a_trace(tmp_path: Path) -> None:
    failed = 0
    for step in range(1, 50):
        log = log_in(tmp_path / str(step))
        ops = FaultyOps(fail_at=step)
        try:
            add(AnnotationLog(log.root, ops), judged())
        except (OSError, Unavailable):
            failed += 1
            assert log.current().num_rows == 0, "half a database would be an error"
            assert add(log, judged()).added == 1
        else:
            break
    assert 3 <= failed < 49
    assert log.current().num_rows == 1


def as_nobody(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a function finds as a user whom permissions bind, in a process forked from this one."""
    from_child, to_parent = os.pipe()
    child = os.fork()
    if child == 0:
        answer: dict[str, Any] = {"error": "see stderr"}
        try:  # whatever happens, this process must not go on as a second pytest
            os.close(from_child)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            answer = work()
        finally:
            os.write(to_parent, json.dumps(answer).encode())
            os._exit(0)
    os.close(to_parent)
    with open(from_child, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(child, 0)
    assert "error" not in answer, answer
    return answer


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, whom permissions bind")
@pytest.mark.parametrize("state", ["closed", "crashed", "open"])
def test_a_folder_that_may_not_be_written_to_is_read(tmp_path: Path, state: str) -> None:
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to others
        folder = Path(name)
        folder.chmod(0o755)
        log = log_in(folder)
        add(log, judged(label="first"))
        held = sqlite3.connect(database_path(log.root)) if state != "closed" else None
        if held:  # an open reader keeps what the writer wrote in the side file
            held.execute("SELECT count(*) FROM annotations").fetchone()
        add(log, judged(label="second"))
        if state == "crashed":  # the side file was left behind, and the shared memory is gone
            copy = folder / "copy"
            shutil.copytree(log.root, copy)
            (copy / "annotations.sqlite-shm").unlink()
            log = AnnotationLog(str(copy))
        for path in [Path(log.root), *Path(log.root).rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = sorted(os.listdir(log.root))

        def look() -> dict[str, Any]:
            found: dict[str, Any] = {"rows": labels(log), "files": sorted(os.listdir(log.root))}
            try:
                add(log, judged(8, 9))
            except Unavailable as error:
                found["kind"] = error.kind
            return found

        found = as_nobody(look)
        if held:
            held.close()
        assert found == {"rows": ["first", "second"], "files": before, "kind": "read_only"}


def test_ids_are_never_used_twice(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    add(log, judged(1, 2))
    log.undo(last=True, annotator="Ana")
    add(log, judged(1, 2))
    assert log.current()["annotation_id"].to_pylist() == [2]


def test_a_hundred_thousand_in_seconds(tmp_path: Path) -> None:
    """Generous bounds: it is a twentieth of a second a thousand, not a look-up of the whole table a row."""
    from time import process_time

    log = log_in(tmp_path)
    rows = [
        judged(i // 5000 * 3.0, i // 5000 * 3 + 2.5, f"label {i % 40}", path=f"r{i % 5000}.wav") for i in range(100_000)
    ]
    began = process_time()
    assert log.add(rows, annotator="Ana", provenance="x").added == 100_000
    added = process_time()
    table = log.current()
    read = process_time()
    assert table.num_rows == 100_000
    assert pa.compute.count_distinct(table["annotation_id"]).as_py() == 100_000
    assert added - began < 8
    assert read - added < 2
