"""Snapshots beside damage, gc and a ledger that is out of date; and for very many parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonotheque.core.errors import Damaged, NotFound, Unavailable
from store import Ledger, LedgerFile, Part, load_ledger, read_snapshot, write_snapshot
from store.care import collect_garbage, compact
from store.snapshots import Snapshot, lost_part, read_snapshots, snapshot_numbers
from tests.care.support import commit, later, many_small, seen, snap
from tests.store import kit


@pytest.fixture
def store(tmp_path):
    root, config = kit.new_store(tmp_path)
    for n in range(3):
        commit(root, config, (f"{n}.wav", 1, 1))
        snap(root, config)
    return root, config


@pytest.mark.parametrize("damaged", [[3], [2, 3], [1, 2, 3]], ids=str)
def test_damaged_snapshots_are_named_and_left_behind(store, damaged):
    """A run must not fail, after hours, because an old list cannot be read."""
    root, config = store
    for number in damaged:
        Path(root, f"snapshots/{number}.json").write_bytes(b"{")
    notes: list[str] = []
    made = write_snapshot(root, config, load_ledger(root), note=notes.append)
    assert made.number == 4 and len(made.parts) == 3
    assert [n.split()[1] for n in notes] == [str(n) for n in sorted(damaged, reverse=True)]
    assert all(f"snapshots/{n}.json" in note for n, note in zip(sorted(damaged, reverse=True), notes, strict=True))
    assert read_snapshot(root) == made and made.parts[0].sha256 == kit.sha256_of(f"{root}/{made.parts[0].embeddings}")
    assert snap(root, config).number == 4


def test_digests_come_from_the_newest_one_that_can_be_read(store):
    root, config = store
    known = {p.part_id: "reported" for p in load_ledger(root).parts.values()}
    write_snapshot(root, config, load_ledger(root), known_sha256=known)
    commit(root, config, ("late.wav", 1, 1))
    snap(root, config)
    Path(root, "snapshots/5.json").write_bytes(b"{")
    assert [p.sha256 for p in snap(root, config).parts].count("reported") == 3


def test_a_damaged_newest_one_is_an_error_for_readers_that_says_what_helps(store):
    root, _ = store
    Path(root, "snapshots/3.json").write_bytes(b"{")
    with pytest.raises(Damaged, match=r"snapshots/3\.json .*sonotheque compact"):
        read_snapshot(root)
    assert len(read_snapshot(root, 2).parts) == 2


def test_read_snapshots_gives_all_newest_first(store):
    root, _ = store
    Path(root, "snapshots/2.json").write_bytes(b"{")
    found = list(read_snapshots(root))
    assert [n for n, _ in found] == [3, 2, 1]
    assert [isinstance(content, Snapshot) for _, content in found] == [True, False, True]


def test_one_more_though_nothing_has_changed(store):
    root, config = store
    again = write_snapshot(root, config, load_ledger(root), again=True)
    assert again.number == 4 and again.parts == read_snapshot(root, 3).parts


def test_wholly_superseded_parts_are_not_listed_and_failures_are(tmp_path):
    root, config = kit.new_store(tmp_path)
    first = commit(root, config, ("a.wav", 1, 2))
    failed = commit(root, config, ("failed.wav", 1, 0))
    second = commit(root, config, ("a.wav", 2, 2, [first]))
    assert {p.part_id for p in snap(root, config).parts} == {failed, second}


def test_a_ledger_read_long_ago(tmp_path):
    """A run on another machine writes its snapshot from what it saw at its start; meanwhile parts were merged and removed."""
    root, config = kit.new_store(tmp_path)
    many_small(root, config)
    snap(root, config)
    old = load_ledger(root)
    rows = seen(root)
    compact(root)
    collect_garbage(root, keep_snapshots=1, now=later(25))
    made = write_snapshot(root, config, old)
    assert seen(root, made) == rows and seen(root) == rows


def test_parts_that_change_again_and_again(store, monkeypatch):
    root, config = store
    old = load_ledger(root)
    Path(root, next(iter(old.parts.values())).embeddings).unlink()
    monkeypatch.setattr("store.snapshots.load_ledger", lambda *_: old)
    with pytest.raises(Unavailable, match="try again"):
        write_snapshot(root, config, old)


def test_a_part_whose_footer_cannot_be_read_stays_listed(store):
    """Otherwise the next snapshot would silently do without it."""
    root, config = store
    victim = read_snapshot(root).parts[1]
    Path(root, victim.embeddings).write_bytes(b"PAR1")
    commit(root, config, ("late.wav", 1, 1))
    made = snap(root, config)
    assert victim in made.parts and len(made.parts) == 4
    assert made.parts == tuple(sorted(made.parts, key=lambda p: (p.site, p.date or "", p.part_id)))


# --- a reader that has outlived the grace period ---


def test_the_error_of_a_reader_whose_snapshot_is_gone(store):
    root, _ = store
    held = read_snapshot(root, 1)
    relative = held.parts[0].embeddings
    lost = lost_part(root, held, relative)
    assert isinstance(lost, Damaged) and "snapshot 1" in lost.message and relative in lost.message
    Path(root, "snapshots/1.json").unlink()
    outlived = lost_part(root, held, relative)
    assert isinstance(outlived, Unavailable) and outlived.kind == "snapshot_gone"
    for word in ("snapshot 1", "grace period", "Open the store again", "--grace-h", relative):
        assert word in outlived.message


def test_a_snapshot_removed_by_gc_is_not_found_and_says_so(store):
    root, _ = store
    collect_garbage(root, keep_snapshots=1, now=later(1000))
    with pytest.raises(NotFound, match=r"no snapshot 1: it was removed by `sonotheque gc`; it has 3"):
        read_snapshot(root, 1)
    with pytest.raises(NotFound, match=r"no snapshot 9; it has 3"):
        read_snapshot(root, 9)
    assert snapshot_numbers(root) == [3]


# --- very many parts ---


def test_ten_thousand_parts_take_a_moment(tmp_path, monkeypatch):
    """Ledger in, file out: what is not the file system's own time."""
    root, config = kit.new_store(tmp_path)
    monkeypatch.setattr("store.snapshots.Sizes.__call__", lambda *_: 1000)
    files = tuple(LedgerFile(f"f{n}", 1, 1, n, (), "ok", 10, 1.0) for n in range(100))
    parts = {
        name: Part(name, f"S{n % 50}", "2024-05-01", f"embeddings/{name}", None, 0, None, 1000, config.digest, files)
        for n in range(10_000)
        for name in (f"{n:032x}",)
    }
    ledger = Ledger(parts, {}, {name: set(range(50)) for name in parts})
    known = dict.fromkeys(parts, "ab" * 32)

    first = write_snapshot(root, config, ledger, known_sha256=known)
    again = write_snapshot(root, config, ledger)
    assert again == first and len(first.parts) == 10_000 and first.live_rows == 5_000_000
    assert read_snapshot(root) == first
