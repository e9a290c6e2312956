"""gc: only what has been out of use for the grace period, and never what a reader or the ledger still needs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from sonotheque.core.errors import Damaged, Invalid, NotFound
from store import Archive, load_ledger, read_snapshot, verify
from store.care import GRACE_H, KEEP_SNAPSHOTS, collect_garbage, compact
from store.fsops import LocalFileOps
from store.snapshots import snapshot_numbers
from tests.care.support import (
    HOUR_S,
    TARGET,
    commit,
    later,
    live_details,
    many_small,
    part_files,
    seen,
    set_times,
    snap,
)
from tests.store import kit
from tests.store.test_leftovers import gone_pid
from tests.store.test_verify import flip


@pytest.fixture
def store(tmp_path):
    """Six parts compacted into two: six superseded parts, two snapshots."""
    root, config = kit.new_store(tmp_path)
    many_small(root, config)
    snap(root, config)
    compact(root, target=TARGET)
    return root, config


def parts_of(root):
    return set(load_ledger(root).parts)


def dead(root):
    ledger = load_ledger(root)
    return {name for name, p in ledger.parts.items() if ledger.is_dead(p)}


def test_within_the_grace_period_nothing_goes(store):
    root, _ = store
    before = kit.tree(root)
    report = collect_garbage(root, keep_snapshots=1, now=later(GRACE_H - 0.1))
    assert kit.tree(root) == before
    assert (report.parts, report.bytes_freed, report.snapshots, report.snapshots_kept) == (0, 0, [], [1, 2])
    assert report.waiting == 6 and report.waiting_bytes == sum(
        len(before[n]) for n in part_files(root) if any(d in n for d in dead(root))
    )


def test_after_it_superseded_parts_and_old_snapshots_go(store):
    root, _ = store
    rows, details, gone = seen(root), live_details(root), dead(root)
    before = kit.tree(root)
    report = collect_garbage(root, keep_snapshots=1, now=later(GRACE_H + 0.1))
    after = kit.tree(root)
    assert set(before) - set(after) == {n for n in before if any(d in n for d in gone)} | {"snapshots/1.json"}
    assert {n: before[n] for n in after} == after
    assert (report.parts, report.snapshots, report.snapshots_kept, report.waiting) == (6, [1], [2], 0)
    assert report.bytes_freed == sum(len(before[n]) for n in set(before) - set(after))
    assert seen(root) == rows and live_details(root) == details
    checked = verify(root, [], deep=True)
    assert checked.ok and checked.superseded_windows == checked.dead_parts == 0 and checked.unused_files == []
    with Archive(root) as archive:
        assert archive.sql("SELECT count(*) AS n FROM embeddings")["n"][0].as_py() == len(rows["embeddings"])
    json.dumps(report.to_json())


def test_a_dry_run_tells_the_same_and_removes_nothing(store):
    root, _ = store
    before = kit.tree(root)
    told = collect_garbage(root, keep_snapshots=1, dry_run=True, now=later(25))
    assert kit.tree(root) == before
    done = collect_garbage(root, keep_snapshots=1, now=later(25))
    assert told.to_json() == {**done.to_json(), "dry_run": True}
    assert done.parts == 6


def test_parts_of_a_kept_snapshot_stay_and_it_can_be_read(store):
    root, config = store
    rows = seen(root, 1)
    for hours in (25, 1000):
        report = collect_garbage(root, keep_snapshots=2, now=later(hours))
        assert report.parts == 0 and report.waiting == 6
        assert seen(root, 1) == rows
    commit(root, config, ("new.wav", 1, 1))
    assert snap(root, config).number == 3
    assert collect_garbage(root, keep_snapshots=2, now=later(1000)).parts == 6
    assert snapshot_numbers(root) == [2, 3] and seen(root, 2) == rows


def test_by_default_three_snapshots_stay(tmp_path):
    root, config = kit.new_store(tmp_path)
    for n in range(6):
        commit(root, config, (f"{n}.wav", 1, 1))
        snap(root, config)
    report = collect_garbage(root, now=later(1000))
    assert KEEP_SNAPSHOTS == 3 and report.snapshots == [1, 2, 3] and snapshot_numbers(root) == [4, 5, 6]
    assert all(len(seen(root, n)["embeddings"]) == n for n in (4, 5, 6))
    with pytest.raises(NotFound, match=r"removed by `sonotheque gc`; it has 4, 5, 6"):
        read_snapshot(root, 2)


def test_the_clock_is_that_of_the_snapshot_not_of_the_part(store):
    """Old parts superseded a moment ago stay; parts with new times (a restored copy) superseded long ago go."""
    root, _ = store
    set_times(root, part_files(root), time.time() - 1000 * HOUR_S)
    assert collect_garbage(root, keep_snapshots=1, now=later(1)).parts == 0
    set_times(root, ["snapshots/1.json"], time.time() - 50 * HOUR_S)
    assert collect_garbage(root, keep_snapshots=1, now=later(1)).parts == 0
    set_times(root, ["snapshots/2.json"], time.time() - 25 * HOUR_S)
    set_times(root, part_files(root), time.time() - 30 * HOUR_S)
    assert collect_garbage(root, keep_snapshots=1, now=later(0)).parts == 6


def test_a_copied_store_whose_parts_are_younger_than_its_snapshots_starts_its_clock(store):
    root, _ = store
    Path(root, "snapshots/1.json").unlink()  # nothing says any more that the parts were ever listed
    set_times(root, ["snapshots/2.json"], time.time() - 50 * HOUR_S)
    assert collect_garbage(root, keep_snapshots=1, now=later(0)).parts == 0
    assert snapshot_numbers(root) == [2, 3]
    collect_garbage(root, keep_snapshots=1, now=later(1))
    assert snapshot_numbers(root) == [2, 3], "one new snapshot is enough"
    assert collect_garbage(root, keep_snapshots=1, now=later(25)).parts == 6


def test_a_part_that_was_superseded_and_never_listed(tmp_path):
    root, config = kit.new_store(tmp_path)
    commit(root, config, ("a.wav", 1, 1))
    snap(root, config)
    first = commit(root, config, ("b.wav", 1, 1))
    commit(root, config, ("b.wav", 2, 1, [first]))
    assert collect_garbage(root, now=later(23)).parts == 0  # writes the snapshot that does not list it
    assert first in parts_of(root) and snapshot_numbers(root) == [1, 2]
    assert collect_garbage(root, now=later(1000)).parts == 1


def test_what_was_superseded_after_the_newest_snapshot_begins_to_wait_now(tmp_path):
    root, config = kit.new_store(tmp_path)
    first = commit(root, config, ("a.wav", 1, 1))
    snap(root, config)
    commit(root, config, ("a.wav", 2, 1, [first]))
    set_times(root, ["snapshots/1.json"], time.time() - 1000 * HOUR_S)
    report = collect_garbage(root, keep_snapshots=1, now=later(0))
    assert report.parts == 0 and snapshot_numbers(root) == [1, 2], "the old one was the newest until now"
    assert collect_garbage(root, keep_snapshots=1, now=later(25)).parts == 1


@pytest.mark.parametrize("windows", [0, 2], ids=["failed", "with_windows"])
def test_a_part_is_the_ledger_of_its_failed_files_too(tmp_path, windows):
    """The file with windows was replaced, the failed one was not: without the part it would be tried again."""
    root, config = kit.new_store(tmp_path)
    first = commit(root, config, ("a.wav", 1, 2), ("failed.wav", 1, 0))
    snap(root, config)
    commit(root, config, ("a.wav", 2, 1, [first]))
    snap(root, config)
    assert collect_garbage(root, keep_snapshots=1, now=later(25)).parts == 0
    commit(root, config, ("failed.wav", 2, windows, [first]))
    snap(root, config)
    assert collect_garbage(root, keep_snapshots=1, now=later(50)).parts == 1
    assert {e.path: e.size_bytes for _, e in load_ledger(root).live.values()} == {"a.wav": 1002, "failed.wav": 1002}


def test_a_part_with_failures_alone(tmp_path):
    root, config = kit.new_store(tmp_path)
    first = commit(root, config, ("a.wav", 1, 0))
    snap(root, config)
    commit(root, config, ("a.wav", 1, 3, [first]))
    snap(root, config)
    assert collect_garbage(root, keep_snapshots=1, now=later(25)).parts == 1
    assert verify(root, [("a.wav", 1001, 1_700_000_000_000_000_001)], deep=True).ok


def test_a_witness_stays_while_what_it_stands_against_is_there(tmp_path):
    """Four versions; the first part lives on for another file. Without the third nothing would tell the second's chain from the fourth's."""
    root, config = kit.new_store(tmp_path)
    names = [commit(root, config, ("a.wav", 1, 1))]
    names.append(commit(root, config, ("a.wav", 2, 1, [names[0]]), ("keeps.wav", 1, 1)))
    for version in (3, 4):
        names.append(commit(root, config, ("a.wav", version, 1, [names[-1]])))
    snap(root, config)
    rows = seen(root)
    for hours in (25, 50, 75):
        collect_garbage(root, keep_snapshots=1, now=later(hours))
        assert seen(root) == rows
        assert {e.path: e.size_bytes for _, e in load_ledger(root).live.values()} == {"a.wav": 1004, "keeps.wav": 1001}
    assert parts_of(root) >= {names[1], names[3]}
    compact(root)
    collect_garbage(root, keep_snapshots=1, now=later(100))
    assert len(parts_of(root)) == 1 and dead(root) == set()
    assert live_details(root).keys() == {"a.wav", "keeps.wav"} and len(seen(root)["embeddings"]) == 2


def orphan(root, name="0" * 32):
    folder = next(Path(root, "predictions").glob("*/*"))
    path = folder / f"part-{name}.parquet"
    path.write_bytes(b"of an attempt that died")
    return path


@pytest.mark.parametrize("name", ["0" * 32, "suffixed"])
def test_orphaned_predictions_go_after_the_grace_period(store, name):
    root, _ = store
    if name == "suffixed":
        name = next(iter(parts_of(root) - dead(root))) + ".0123456789ab"
    path = orphan(root, name)
    assert collect_garbage(root, now=later(23)).predictions == 0 and path.exists()
    assert verify(root, []).unused_files == [path.relative_to(root).as_posix()]
    report = collect_garbage(root, now=later(25))
    assert report.predictions == 1 and not path.exists() and report.bytes_freed >= 23
    assert verify(root, [], deep=True).ok


def test_predictions_of_a_part_committed_meanwhile_stay(store):
    """Between reading the ledger and looking at the orphans another machine commits."""
    root, config = store

    class Meanwhile(LocalFileOps):
        done = False

        def listdir(self, path):
            if "/predictions" in path and not self.done:
                self.done = True
                commit(root, config, ("meanwhile.wav", 1, 1))
                set_times(root, part_files(root), time.time() - 1000 * HOUR_S)
            return super().listdir(path)

    collect_garbage(root, keep_snapshots=1, ops=Meanwhile(), now=later(0))
    snap(root, config)
    assert "meanwhile.wav" in live_details(root) and verify(root, [], deep=True).ok


def test_leftovers_of_dead_processes_go(store):
    root, _ = store
    path = Path(root, "_tmp", f"part.{socket.gethostname()}.{gone_pid()}.01234567.e")
    path.write_bytes(b"half a part")
    assert collect_garbage(root, dry_run=True).temporary_files == 1 and path.exists()
    assert collect_garbage(root).temporary_files == 1 and not path.exists()


def test_catalogs_of_snapshots_that_went_go_too(store):
    root, _ = store
    with Archive(root, snapshot=1), Archive(root):
        pass
    manifests = {p.name for p in Path(root, "catalog").rglob("s*-m*.json")}
    assert {n.partition("-")[0] for n in manifests} == {"s1", "s2"}
    assert collect_garbage(root, keep_snapshots=1, now=later(23)).catalog_files == 0
    report = collect_garbage(root, keep_snapshots=1, now=later(25))
    assert report.catalog_files > 0
    assert {p.name.partition("-")[0] for p in Path(root, "catalog").rglob("s*-m*.json")} == {"s2"}
    rows = len(seen(root)["embeddings"])
    with Archive(root) as archive:
        assert archive.sql("SELECT count(*) AS n FROM windows")["n"][0].as_py() == rows


def test_a_damaged_snapshot_may_list_anything_while_it_is_there(store):
    root, config = store
    commit(root, config, ("x.wav", 1, 1))
    snap(root, config)
    Path(root, "snapshots/2.json").write_bytes(b"{")
    report = collect_garbage(root, keep_snapshots=3, now=later(1))
    assert report.notes and "snapshot 2" in report.notes[0] and report.parts == 0
    report = collect_garbage(root, keep_snapshots=1, now=later(25))
    assert snapshot_numbers(root) == [3] and report.parts == 6  # it was superseded more than a day ago


def test_the_number_of_a_damaged_newest_snapshot_is_not_given_again(store):
    root, _ = store
    Path(root, "snapshots/2.json").write_bytes(b"{")
    collect_garbage(root, keep_snapshots=1, now=later(1000))
    assert snapshot_numbers(root)[-1] == 3
    assert read_snapshot(root).number == 3


def test_a_part_that_cannot_be_read_stops_everything(store):
    root, _ = store
    name = next(iter(dead(root)))
    victim = Path(root, load_ledger(root).parts[name].embeddings)
    data = victim.read_bytes()
    victim.write_bytes(data[:-1])
    before = kit.tree(root)
    with pytest.raises(Damaged, match=victim.name):
        collect_garbage(root, keep_snapshots=1, now=later(1000))
    assert kit.tree(root) == before
    victim.write_bytes(data)
    assert collect_garbage(root, keep_snapshots=1, now=later(1000)).parts == 6


@pytest.mark.parametrize("dataset", ["embeddings", "predictions"])
def test_the_sources_of_a_damaged_copy_stay(store, dataset):
    """As long as they are there, the rows can be had back."""
    root, _ = store
    rows = seen(root)
    copy = next(p for p in load_ledger(root).parts.values() if p.compacted_from)
    flip(Path(root, getattr(copy, dataset)), 0.3)
    before = kit.tree(root)
    with pytest.raises(Damaged, match="Nothing was removed") as caught:
        collect_garbage(root, keep_snapshots=1, now=later(1000))
    assert getattr(copy, dataset) in caught.value.message
    assert kit.tree(root) == before
    shutil.move(Path(root, copy.embeddings), Path(root).parent / "moved")  # as the message says
    assert compact(root, target=TARGET).made == 1
    assert seen(root) == rows
    # Predictions under another name, so another footer: snapshot 2 still lists the damaged ones.
    assert verify(root, [], deep=True).damaged_files.keys() <= {"snapshots/2.json"}
    collect_garbage(root, keep_snapshots=1, now=later(1000))
    assert seen(root) == rows and verify(root, [], deep=True).ok


def test_a_snapshot_with_a_lost_part_is_not_one_of_those_kept(store):
    root, config = store
    commit(root, config, ("x.wav", 1, 1))
    lost = load_ledger(root).live[kit.recording("x.wav").recording_id][0]
    snap(root, config)
    Path(root, load_ledger(root).parts[lost].embeddings).unlink()
    report = collect_garbage(root, keep_snapshots=2, now=later(1000))
    assert report.snapshots_kept == [2, 4]


@pytest.mark.parametrize(
    "options", [{"grace_h": -1}, {"grace_h": float("nan")}, {"grace_h": float("inf")}, {"keep_snapshots": 0}]
)
def test_what_cannot_be_asked_for(store, options):
    root, _ = store
    before = kit.tree(root)
    with pytest.raises(Invalid, match=r"--grace-h|--keep-snapshots"):
        collect_garbage(root, **options)
    assert kit.tree(root) == before


def test_no_store(tmp_path):
    with pytest.raises(NotFound):
        collect_garbage(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_empty_store(tmp_path):
    root, _ = kit.new_store(tmp_path)
    before = kit.tree(root)
    report = collect_garbage(root, grace_h=0)
    assert report.bytes_freed == 0 and kit.tree(root) == before


def test_a_second_run_finds_nothing(store):
    root, _ = store
    collect_garbage(root, keep_snapshots=1, now=later(25))
    before = kit.tree(root)
    report = collect_garbage(root, keep_snapshots=1, now=later(25))
    assert report.bytes_freed == 0 and kit.tree(root) == before


def test_files_that_are_none_of_ours_stay(store):
    root, _ = store
    strangers = [
        "notes.txt",
        "embeddings/notes.txt",
        "predictions/site=A/readme",
        "snapshots/old.json",
        "snapshots/007.json",
    ]
    for name in strangers:
        Path(root, name).write_text("?")
        os.utime(Path(root, name), (0, 0))
    collect_garbage(root, grace_h=0, keep_snapshots=1, now=later(1000))
    assert all(Path(root, name).exists() for name in strangers)
