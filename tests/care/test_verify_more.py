"""verify beyond the parts: every snapshot, the metadata, the annotations, and what compaction leaves behind."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from store import load_ledger, verify
from store.annotations.database import writing
from store.beside import faults_beside
from store.care import compact
from store.metadata import SiteChange, write_change
from tests.care.support import commit, edit_json, many_small, snap
from tests.store import kit
from tests.store.test_verify import flip


@pytest.fixture
def store(tmp_path):
    root, config = kit.new_store(tmp_path)
    many_small(root, config, 3)
    snap(root, config)
    commit(root, config, ("x.wav", 1, 2))
    snap(root, config)
    compact(root)
    return root


def damaged(root, *, deep=False):
    report = verify(root, [], deep=deep)
    assert report.ok is (not report.damaged_files)
    json.dumps(report.to_json())
    return report.damaged_files


def test_a_sound_store(store):
    assert damaged(store, deep=True) == {}
    report = verify(store, [])
    assert (report.snapshot, report.dead_parts, report.parts) == (3, 4, 5)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_snapshot_is_looked_at(store, number):
    Path(store, f"snapshots/{number}.json").write_bytes(b'{"parts": [')
    assert list(damaged(store)) == [f"snapshots/{number}.json"]


def test_several_damaged_snapshots_are_all_named(store):
    for number in (1, 3):
        Path(store, f"snapshots/{number}.json").write_bytes(b"")
    assert sorted(damaged(store)) == ["snapshots/1.json", "snapshots/3.json"]


def test_a_part_that_an_old_snapshot_lists_and_that_is_gone(store):
    """The newest does not need it any more; whoever opens snapshot 1 does."""
    lost = next(p for p in load_ledger(store).parts.values() if not p.compacted_from and p.files[0].path != "x.wav")
    Path(store, lost.embeddings).unlink()
    found = damaged(store)
    assert list(found) == [lost.embeddings] and "listed in snapshot 2 and not there" in found[lost.embeddings]


def test_snapshots_that_do_not_agree(store):
    path = Path(store, "snapshots/1.json")
    parts = json.loads(path.read_text())["parts"]
    parts[0]["sha256"] = "00" * 32
    edit_json(path, parts=parts)
    found = damaged(store)
    assert list(found) == ["snapshots/1.json"] and parts[0]["part_id"] in found["snapshots/1.json"]


@pytest.mark.parametrize("dataset", ["embeddings", "predictions"])
def test_a_flipped_bit_in_a_compacted_part_is_found_by_the_deep_check(store, dataset):
    copy = next(p for p in load_ledger(store).parts.values() if p.compacted_from)
    path = getattr(copy, dataset)
    flip(Path(store, path), 0.3)
    assert path in damaged(store, deep=True)


# --- metadata ---


@pytest.fixture
def corrected(store):
    for number in range(3):
        write_change(store, SiteChange(f"A{number or ''}", rename=f"A{number + 1}"))
    return store


def test_sound_metadata(corrected):
    assert damaged(corrected) == {}


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"null", b'"text"'])
@pytest.mark.parametrize("number", [1, 3])
def test_a_damaged_change_is_named(corrected, number, data):
    Path(corrected, f"metadata/{number}.json").write_bytes(data)
    assert list(damaged(corrected)) == [f"metadata/{number}.json"]


def test_a_change_that_is_missing_in_between_is_named(corrected):
    Path(corrected, "metadata/2.json").unlink()
    found = damaged(corrected)
    assert list(found) == ["metadata/2.json"] and "metadata/3.json" in found["metadata/2.json"]


def test_a_change_that_says_nothing_known_is_named(corrected):
    Path(corrected, "metadata/2.json").write_text("{}")
    found = damaged(corrected)
    assert list(found) == ["metadata"] and "2" in found["metadata"]


def test_other_files_beside_the_changes_are_no_fault(corrected):
    Path(corrected, "metadata/notes.txt").write_text("?")
    assert damaged(corrected) == {}


# --- annotations ---


@pytest.fixture
def annotated(store):
    with writing(store) as connection:
        connection.execute("SELECT 1")
    assert Path(store, "annotations.sqlite").exists()
    return store


def test_sound_annotations_are_not_touched(annotated):
    before = Path(annotated, "annotations.sqlite").read_bytes()
    assert damaged(annotated) == {}
    assert Path(annotated, "annotations.sqlite").read_bytes() == before


@pytest.mark.parametrize("harm", ["emptied", "cut", "overwritten", "a_page"])
def test_damaged_annotations_are_named(annotated, harm):
    path = Path(annotated, "annotations.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE filler (x TEXT)")
        connection.executemany("INSERT INTO filler VALUES (?)", [("y" * 500,)] * 200)
    connection.close()
    data = path.read_bytes()
    path.write_bytes(
        {
            "emptied": b"",
            "cut": data[: len(data) // 2],
            "overwritten": b"\0" * len(data),
            "a_page": data[: len(data) // 2] + b"\xa5" * 4096 + data[len(data) // 2 + 4096 :],
        }[harm]
    )
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    assert list(damaged(annotated)) == ["annotations.sqlite"], harm


def test_another_program_s_database_is_named(store):
    with sqlite3.connect(Path(store, "annotations.sqlite")) as connection:
        connection.execute("CREATE TABLE birds (x TEXT)")
    assert list(faults_beside(store)) == ["annotations.sqlite"]
