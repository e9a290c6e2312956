"""Snapshots: numbered, put if absent, never changed; a reader at an old one keeps its answer."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from sonotheque.core.errors import Damaged, NotFound, Unavailable
from store import Archive, load_ledger, read_snapshot, write_snapshot
from store.fsops import LocalFileOps
from store.snapshots import latest_number
from tests.store import kit, racing
from tests.store.faults import FAULTS, FaultyOps, PowerCut


def snap(root, config, **options):
    return write_snapshot(root, config, load_ledger(root), **options)


@pytest.fixture
def store(tmp_path):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording("a.wav"), 3)])
    return root, config


def test_numbers_go_up_from_one_when_something_changes(store):
    root, config = store
    assert snap(root, config).number == 1
    for number in (2, 3):
        kit.write_part(root, config, [(kit.recording(f"{number}.wav"), 1)])
        assert snap(root, config).number == number
    assert sorted(p.name for p in Path(root, "snapshots").iterdir()) == ["1.json", "2.json", "3.json"]
    assert latest_number(root) == 3


def test_unchanged_gives_the_same_number_and_bytes(store):
    root, config = store
    first = snap(root, config)
    before = kit.tree(root)
    assert snap(root, config) == first
    assert kit.tree(root) == before


def test_an_old_snapshot_never_changes(store):
    root, config = store
    snap(root, config)
    before = Path(root, "snapshots/1.json").read_bytes()
    (old,) = load_ledger(root).parts
    kit.write_part(root, config, [(kit.recording("a.wav", version=2, replaces=[old]), 1)])
    snap(root, config)
    assert Path(root, "snapshots/1.json").read_bytes() == before


def test_what_a_snapshot_says_of_a_part(store):
    root, config = store
    kit.write_part(root, config, [(kit.recording("b.wav"), 3), (kit.recording("c.wav"), 2)])
    (old,) = (name for name, p in load_ledger(root).parts.items() if p.rows == 5)
    rec = kit.recording("b.wav", version=2, replaces=[old])
    kit.write_part(root, config, [(rec, 1)], site="x/y", date=None)
    snapshot = snap(root, config)
    assert snapshot.store_digest == config.digest
    assert snapshot.live_rows == 6
    by_id = {p.part_id: p for p in snapshot.parts}
    assert len(by_id) == 3
    for p in snapshot.parts:
        sizes = [Path(root, f).stat().st_size for f in (p.embeddings, p.predictions)]
        assert p.bytes == sum(sizes)
        assert p.sha256 == kit.sha256_of(f"{root}/{p.embeddings}")
    assert (by_id[old].rows, by_id[old].live_rows, by_id[old].superseded) == (5, 2, (rec.recording_id,))
    (new,) = (p.part_id for p in snapshot.parts if p.site == "x/y")
    assert (by_id[new].site, by_id[new].date, by_id[new].superseded) == ("x/y", None, ())
    assert snapshot.bytes == sum(p.bytes for p in snapshot.parts)


def test_a_snapshot_is_read_back_equal(store):
    root, config = store
    written = snap(root, config)
    assert read_snapshot(root) == read_snapshot(root, 1) == written


def test_digests_that_tasks_reported_are_taken_and_kept(store):
    root, config = store
    (identity,) = load_ledger(root).parts
    first = snap(root, config, known_sha256={identity: "reported"})
    assert first.parts[0].sha256 == "reported"
    kit.write_part(root, config, [(kit.recording("b.wav"), 1)])
    second = snap(root, config)
    assert {p.sha256 for p in second.parts} > {"reported"}  # not read again, the other computed
    assert all(p.sha256 == "reported" or p.sha256 == kit.sha256_of(f"{root}/{p.embeddings}") for p in second.parts)


def test_a_reader_pinned_to_an_old_snapshot_keeps_its_answer(store):
    root, config = store
    snap(root, config)
    query = "SELECT path, start_sample, embedding, site FROM embeddings ORDER BY ALL"
    with Archive(root) as reader:
        before = reader.sql(query)
        (old,) = load_ledger(root).parts
        kit.write_part(root, config, [(kit.recording("a.wav", version=2, replaces=[old]), 1)])
        kit.write_part(root, config, [(kit.recording("b.wav"), 5)])
        snap(root, config)
        assert reader.sql(query) == before
        assert sum(t.num_rows for t, _ in reader.vectors()) == 3
    with Archive(root, snapshot=1) as pinned, Archive(root) as newest:
        assert pinned.sql(query) == before
        assert newest.sql(query).num_rows == 6
        assert (pinned.snapshot.number, newest.snapshot.number) == (1, 2)


def test_parts_without_a_snapshot_are_not_seen(store):
    root, config = store
    snap(root, config)
    kit.write_part(root, config, [(kit.recording("b.wav"), 5)])
    with Archive(root) as archive:
        assert archive.sql("SELECT count(*) AS n FROM embeddings")["n"][0].as_py() == 3


@pytest.mark.parametrize("number", [None, 7], ids=["newest", "7"])
def test_no_such_snapshot(store, number):
    with pytest.raises(NotFound, match="no snapshot" + (f" {number}" if number else "")):
        read_snapshot(store[0], number)


BAD = {
    "empty": b"",
    "half": b'{"format_version": 1, "parts": [{"part_id"',
    "not_utf8": b"\xff\xfe",
    "a_list": b"[]",
    "no_parts": b'{"snapshot": 1, "store_digest": ""}',
    "a_part_without_keys": b'{"snapshot": 1, "store_digest": "", "parts": [{}]}',
    "parts_of_numbers": b'{"snapshot": 1, "store_digest": "", "parts": [1]}',
    "null": b"null",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_damaged_snapshot_is_named(store, data):
    root, config = store
    snap(root, config)
    Path(root, "snapshots/1.json").write_bytes(data)
    with pytest.raises(Damaged, match=r"snapshots/1\.json"):
        Archive(root)


@pytest.mark.parametrize(
    "name", ["notes.txt", "x.json", "²", "².json", "007.json", "0.json", "-9.json", "9.json.tmp", "1.5.json"]
)
def test_other_files_in_the_folder_are_no_snapshots(store, name):
    root, config = store
    snap(root, config)
    Path(root, "snapshots", name).write_bytes(b"?")
    assert latest_number(root) == 1
    assert snap(root, config).number == 1


def test_put_if_absent_takes_the_next_free_number(store):
    """Another program writes the same number between the look and the link."""

    class Late(LocalFileOps):
        def link_new(self, source, target):
            if target.endswith("/1.json"):
                Path(target).write_bytes(b"of the other program")
            return super().link_new(source, target)

    root, config = store
    assert snap(root, config, ops=Late()).number == 2
    assert Path(root, "snapshots/1.json").read_bytes() == b"of the other program"
    assert json.loads(Path(root, "snapshots/2.json").read_bytes())["snapshot"] == 2


def test_numbering_under_a_race(store):
    root, _ = store
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    children = [context.Process(target=racing.snapshots, args=(root, f"p{i}", barrier, results)) for i in range(2)]
    for child in children:
        child.start()
    answers = [results.get(timeout=120) for _ in children]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert kit.temporary_files(root) == []
    numbers = sorted(int(p.stem) for p in Path(root, "snapshots").iterdir())
    assert numbers == list(range(1, len(numbers) + 1))
    for number, parts in (pair for answer in answers for pair in answer):
        assert sorted(p.part_id for p in read_snapshot(root, number).parts) == parts  # each got what it was told
    everything = sorted(load_ledger(root).parts)
    assert len(everything) == 1 + 2 * racing.SNAPSHOTS


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_call_leaves_all_or_nothing(tmp_path, fault):
    n = 0
    while True:
        root, config = kit.new_store(tmp_path / str(n))
        kit.write_part(root, config, [(kit.recording("a.wav"), 3)])
        ops = FaultyOps(n, fault)
        try:
            snap(root, config, ops=ops)
        except (OSError, PowerCut):
            assert fault != "enospc"
        except Unavailable as error:
            assert fault == "enospc" and error.kind == "disk_full"
        if ops.failed_call is None:
            break
        number = latest_number(root)
        assert number in (0, 1)
        again = snap(root, config)
        assert again.number == 1
        assert read_snapshot(root) == again
        n += 1
    assert n >= 8
