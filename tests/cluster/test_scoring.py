"""Probes over a snapshot, in this process: what is scored, what is skipped, what fails alone, and what a fault leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cluster.scoring import ScoringReport, score_snapshot
from sonotheque.core.errors import Conflict, Damaged, Invalid, Unavailable
from store import Archive, layout, read_config, read_snapshot
from store.care import compact
from store.scores import HeldScores
from store.scores.writer import scores_footer
from tests.scores import kit
from tests.scores.kit import linked, poisoned, probe, scores_tree, snap, some_probes
from tests.store import kit as stores
from tests.store.faults import FAULTS, FaultyOps, ForgetfulOps, PowerCut


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return kit.small(tmp_path_factory.mktemp("scoring"))


@pytest.fixture
def store(base, tmp_path) -> str:
    return linked(base, tmp_path / "store")


def score(root: str, probes=None, **options) -> ScoringReport:
    return score_snapshot(root, read_snapshot(root), some_probes() if probes is None else probes, **options)


def rows(root: str) -> list[dict]:
    """Every row of every file of scores that holds, with the path of its recording; live ones alone."""
    held = HeldScores(root)
    with Archive(root) as archive:
        windows = {
            (w["recording_id"], w["start_sample"], w["part_id"]): w["path"] for w in archive.windows().to_pylist()
        }
        keys = [p.key for s in held.sets.values() for p in s.probes]
        found = []
        for (name, taken), parts in held.chosen([p.part_id for p in archive.live_parts], set(keys)).items():
            for part in parts:
                for row in pq.read_table(held.path(name, part), partitioning=None).to_pylist():
                    path = windows.get((row["recording_id"], row["start_sample"], part))
                    if path and (row["probe"], row["version"]) in taken:
                        found.append({**row, "path": path})
    return found


def check(root: str, probes=None, floor: float = 0.01) -> None:
    with Archive(root) as archive:
        expected = kit.twin(archive, some_probes() if probes is None else probes, floor)
    kit.check_scores(rows(root), expected, floor)


# --- what is scored ---


@pytest.mark.parametrize("floor", [0.0, 0.01, 0.5])
def test_scores_are_those_of_each_probe_and_window(store, floor):
    report = score(store, floor=floor)
    check(store, floor=floor)
    assert (report.parts, report.parts_scored, report.parts_held, report.parts_failed) == (3, 3, 0, 0)
    assert report.windows == 16 and report.window_scores == 64, "superseded rows are scored too"
    assert report.failures == report.not_scored == []
    if floor == 0.0:
        assert report.scores == 16 * (3 + 3 + 1 + 4)
    told = report.to_json()
    assert told["windows_per_s"] > 0 and told["window_scores_per_s"] > told["windows_per_s"]


def test_float32_vectors(tmp_path):
    root = kit.small(tmp_path, dtype="float32", dim=16)
    probes = some_probes(read_config(root).model)
    score(root, probes)
    check(root, probes)


def test_a_footer_tells_what_was_looked_at(store):
    score(store, floor=0.0)
    (name,) = HeldScores(store).sets
    for part in read_snapshot(store).parts:
        found = scores_footer(f"{store}/{layout.score_part(name, part.part_id)}")
        assert found == {
            "part_id": part.part_id,
            "set": name,
            "windows": part.rows,
            "rows": part.rows * 11,
            "not_scored": [],
        }


def test_a_part_of_several_blocks_and_flushes(tmp_path, monkeypatch):
    """Rows are sorted class by class within what is written at a time, and every window is there once."""
    from store.scores import reading, writer

    monkeypatch.setattr(reading, "_GROUPS", 1)
    monkeypatch.setattr(writer, "_WAITING_ROWS", 4000)
    monkeypatch.setattr(writer, "_GROUP_ROWS", 512)
    root, _ = stores.new_store(tmp_path)
    kit.commit(root, read_config(root), ("long.wav", 1, 2500))
    snap(root)
    probes = [probe(), probe("which", kind="multiclass", classes=kit.CLASSES)]
    score(root, probes, floor=0.0)
    (name,) = HeldScores(root).sets
    (path,) = Path(root, "scores", name).glob("*.parquet")
    table = pq.read_table(path, partitioning=None)
    assert table.num_rows == 2500 * 7
    pairs = set(
        zip(table["start_sample"].to_pylist(), table["label"].to_pylist(), table["probe"].to_pylist(), strict=True)
    )
    assert len(pairs) == 2500 * 7
    with Archive(root) as archive:
        vectors = archive.vectors_of(archive.windows())
    logits = dict(
        zip(pairs_of(table, "owl", "hoot"), np.array(table["logit"])[mask_of(table, "owl", "hoot")], strict=True)
    )
    expected = probes[0].logits(vectors)[:, 1]
    np.testing.assert_allclose([logits[i * stores.WINDOW] for i in range(2500)], expected, rtol=1e-3, atol=1e-4)


def mask_of(table, name, label):
    return (np.array(table["probe"].to_pylist()) == name) & (np.array(table["label"].to_pylist()) == label)


def pairs_of(table, name, label):
    return np.array(table["start_sample"])[mask_of(table, name, label)].tolist()


def test_lanes_and_runs_give_the_same_bytes(store, base, tmp_path):
    score(store, lanes=1)
    other = linked(base, tmp_path / "other")
    score(other, lanes=3)
    assert scores_tree(store) == scores_tree(other)


# --- what is skipped ---


def test_a_second_run_reads_nothing(store):
    score(store)
    before = scores_tree(store)
    for part in read_snapshot(store).parts:
        os.unlink(f"{store}/{part.embeddings}")
    report = score(store)
    assert (report.parts_held, report.parts_scored, report.windows) == (3, 0, 0)
    assert scores_tree(store) == before


def test_only_new_parts(store):
    score(store)
    before = scores_tree(store)
    kit.commit(store, read_config(store), ("C/1.wav", 1, 6), site="C")
    snap(store)
    report = score(store)
    assert (report.parts_held, report.parts_scored, report.windows) == (3, 1, 6)
    after = scores_tree(store)
    assert {k: after[k] for k in before} == before and len(after) == len(before) + 1
    check(store)


def test_a_new_version_of_one_of_many_scores_that_one_alone(store):
    score(store)
    newer = [probe("owl", 2), *some_probes()[1:]]
    report = score(store, newer)
    assert (report.parts_scored, report.windows, report.window_scores) == (3, 16, 16)
    check(store, [*some_probes(), newer[0]])


def test_a_probe_that_some_parts_have(store):
    """What is missing differs from part to part: each gets just that."""
    snapshot = read_snapshot(store)
    score(store, some_probes()[:2], parts=snapshot.parts[:1])
    score(store, some_probes()[1:3], parts=snapshot.parts[1:2])
    report = score(store)
    assert report.window_scores == 2 * snapshot.parts[0].rows + 2 * snapshot.parts[1].rows + 4 * snapshot.parts[2].rows
    check(store)


def test_a_lower_floor_scores_again_and_nothing_is_doubled(store):
    score(store, floor=0.5)
    assert score(store, floor=0.6).parts_held == 3, "what is kept from 0.5 on holds all from 0.6 on"
    assert score(store, floor=0.01).parts_scored == 3
    check(store, floor=0.01)


def test_compacted_parts_are_scored_anew(store):
    score(store)
    compact(store)
    report = score(store)
    assert report.parts_scored > 0
    check(store)


def test_some_parts_alone(store):
    parts = [p for p in read_snapshot(store).parts if p.site == "B"]
    report = score(store, parts=parts)
    assert (report.parts, report.windows) == (1, 4)


def test_a_store_without_windows(tmp_path):
    root, config = stores.new_store(tmp_path)
    kit.commit(root, config, ("bad.wav", 1, 0))
    snap(root)
    report = score(root)
    assert (report.parts, report.windows) == (0, 0) and scores_tree(root) == {}


def test_progress_ends_at_all(store):
    told: list[tuple[int, int]] = []
    score(store, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (16, 16) and [d for d, _ in told] == sorted(d for d, _ in told)


# --- bad input ---


def test_a_probe_of_another_model_is_refused_and_both_are_named(store):
    other = probe("owl", spec=stores.model_spec(name="perch_v2", version="2", weights_digest="cd" * 32))
    with pytest.raises(Conflict, match=r"perch_v2 2 \(weights cdcdcdcdcdcd.*tiny 1 \(weights abababababab") as raised:
        score(store, [probe("hoot"), other])
    assert raised.value.kind == "model_conflict" and scores_tree(store) == {}


@pytest.mark.parametrize(
    ("probes", "options", "said"),
    [
        ([], {}, "no probe is given"),
        ([probe(), probe()], {}, "given twice"),
        ([probe(version=0)], {}, "no version yet"),
        ([probe()], {"floor": 1.5}, "--floor 1.5"),
        ([probe()], {"workers": 0}, "--workers 0"),
    ],
)
def test_what_cannot_be_right(store, probes, options, said):
    with pytest.raises(Invalid, match=said):
        score(store, probes, **options)
    assert scores_tree(store) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_window_that_is_not_finite_is_named_and_has_no_score(store, value):
    poisoned(store, value)
    report = score(store, floor=0.0)
    named = [(w["path"], w["start_s"]) for w in report.not_scored]
    assert len(named) == 2 and all(path in ("A/1.wav", "A/2.wav", "B/1.wav") for path, _ in named)
    assert report.scores == (16 - 2) * 11 and report.parts_failed == 0
    found = {(r["recording_id"], r["start_sample"]) for r in rows(store)}
    assert not {(w["recording_id"], w["start_sample"]) for w in report.not_scored} & found


def test_a_part_that_cannot_be_read_fails_alone(store):
    part = read_snapshot(store).parts[1]
    path = Path(store, part.embeddings)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])
    report = score(store)
    assert (report.parts_scored, report.parts_failed) == (2, 1)
    (failure,) = report.failures
    assert failure["part"] == part.part_id and failure["reason"].startswith(f"{part.embeddings} cannot be read: ")
    path.unlink()
    path.write_bytes(data)
    assert score(store).parts_scored == 1
    check(store)


def test_a_part_that_is_lost_fails_alone_and_one_of_a_removed_snapshot_says_so(store):
    snapshot = read_snapshot(store)
    os.unlink(f"{store}/{snapshot.parts[1].embeddings}")
    assert "is listed in snapshot 1" in score(store, lanes=1).failures[0]["reason"]
    os.unlink(f"{store}/{layout.snapshot_path(1)}")
    with pytest.raises(Unavailable, match="Open the store again") as raised:
        score_snapshot(store, snapshot, some_probes(), lanes=2)
    assert raised.value.kind == "snapshot_gone"


def test_a_damaged_set_is_told_before_anything_is_read(store):
    score(store)
    (name,) = HeldScores(store).sets
    path = Path(store, layout.score_set(name))
    path.unlink()
    path.write_text("{")
    with pytest.raises(Damaged, match=f"remove the folder .*{name}"):
        score(store)


# --- faults ---


def two_parts(root: str):
    return read_snapshot(root).parts[:2]


def after_fault(root: str, clean: dict[str, bytes], where: str) -> None:
    """What is there is what a clean run makes; the next run ends where a clean one does, and leaves nothing behind."""
    there = scores_tree(root)
    assert all(clean[name] == data for name, data in there.items()), f"{where}: a file is not what it should be"
    score(root, lanes=1, parts=two_parts(root))
    assert scores_tree(root) == clean, where


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_call(base, tmp_path, fault):
    counting = FaultyOps()
    first = linked(base, tmp_path / "clean")
    score(first, lanes=1, parts=two_parts(first), ops=counting)
    clean = scores_tree(first)
    assert len(clean) == 3
    calls = counting.calls
    points = [n for n in range(len(calls)) if calls[n] != "write" or {"write"} != set(calls[max(n - 2, 0) : n + 2])]
    assert len(points) > 20
    for point in points:
        root = linked(base, tmp_path / str(point))
        ops = FaultyOps(point, fault)
        where = f"{fault} at call {point}, {calls[point]}"
        if fault.startswith("cut"):
            with pytest.raises(PowerCut):
                score(root, lanes=1, parts=two_parts(root), ops=ops)
        else:
            try:
                score(root, lanes=1, parts=two_parts(root), ops=ops)
            except (Unavailable, OSError, Damaged):
                assert ops.failed_call
        after_fault(root, clean, where)
        shutil.rmtree(root)


def test_what_a_run_returned_survives_a_power_cut(base, tmp_path):
    folder = tmp_path / "disk"
    root = linked(base, folder / "store")
    ops = ForgetfulOps(str(folder))
    ops.sync_dir(root)
    ops._entries[str(folder)] = {"store": os.stat(root).st_ino}
    score(root, lanes=1, ops=ops)
    ops.after_power_cut(tmp_path / "after")
    assert scores_tree(str(tmp_path / "after" / "store")) == scores_tree(root) != {}


def test_temporary_files_of_dead_processes_are_swept(base, tmp_path):
    root = linked(base, tmp_path / "store")
    with pytest.raises(PowerCut):
        score(root, lanes=1, ops=FaultyOps(12, "cut"))
    assert stores.temporary_files(root)
    for name in stores.temporary_files(root):  # its process is this one, and alive: the next run leaves it alone
        os.unlink(f"{root}/_tmp/{name}")
    score(root)
    assert stores.temporary_files(root) == []


CHILD = """
import sys
from tests.cluster.test_scoring import score
from tests.scores.kit import some_probes
sys.stdout.write("begun\\n"); sys.stdout.flush()
score(sys.argv[1], lanes=2)
sys.stdout.write("ended\\n"); sys.stdout.flush()
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> tuple[str, dict[str, bytes]]:
    """Sixty parts, and their scores as a clean run makes them."""
    folder = tmp_path_factory.mktemp("many")
    root, config = stores.new_store(folder)
    for number in range(60):
        kit.commit(root, config, (f"{number}.wav", 1, 8))
    snap(root)
    clean = linked(root, folder / "clean")
    score(clean)
    return root, scores_tree(clean)


def test_kill_9_loses_nothing_and_doubles_nothing(many, tmp_path):
    """Killed again and again, each time a little later; what is committed stays, and in the end it is what a clean run makes."""
    base, clean = many
    root = linked(base, tmp_path / "store")
    held = 0
    for attempt in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, root], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        assert child.stdout is not None and child.stdout.readline() == "begun\n"
        until = time.monotonic() + 20
        while len(scores_tree(root)) < min(held + 8, len(clean)) and time.monotonic() < until and child.poll() is None:
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        child.stdout.close()
        there = scores_tree(root)
        assert all(clean[name] == data for name, data in there.items()), f"attempt {attempt}"
        assert len(there) >= held
        held = len(there)
    score(root)
    assert scores_tree(root) == clean
    assert stores.temporary_files(root) == []
    check(root)


def test_two_runs_at_once_commit_each_part_once(many, tmp_path):
    base, clean = many
    root = linked(base, tmp_path / "store")
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, root], stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
        for _ in range(2)
    ]
    assert [child.wait(120) for child in children] == [0, 0]
    assert scores_tree(root) == clean


def test_a_full_disk_ends_the_run_and_nothing_else(base, tmp_path):
    root = linked(base, tmp_path / "store")
    with pytest.raises(Unavailable, match="no room to write") as raised:
        score(root, lanes=2, ops=FaultyOps(30, "enospc"))
    assert raised.value.kind == "disk_full"
    score(root)
    check(root)
