"""A fault at every call of a build and of an update, builds that are killed, and builds and readers at once."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from sonotheque.core.errors import Unavailable
from store import Archive, read_config
from store.fsops import LocalFileOps
from store.index import IndexWishes, SearchQuery, build_index, open_index, read_info, update_index
from store.index.manifest import index_numbers, read_version
from store.index.sweeping import sweep_index
from store.metadata import SiteChange, write_change
from tests.care.test_faults import points
from tests.index import kit, working
from tests.store.faults import FAULTS, FaultyOps, ForgetfulOps, PowerCut
from tests.store.kit import temporary_files, tree

CONTEXT = multiprocessing.get_context("spawn")
DIM = 16


def small(folder: Path) -> str:
    rng = np.random.default_rng(1)
    parts = [{f"{site}/{n}-0.wav": kit.clustered(rng, 25, DIM) for n in range(2)} for site in kit.SITES]
    return kit.new_store(folder, parts, kit.config_of(DIM))[0]


def build_again(root: str, ops: LocalFileOps | None = None) -> None:
    with Archive(root) as archive:
        build_index(archive, IndexWishes(kind="coded"), ops=ops)


def update(root: str, ops: LocalFileOps | None = None) -> None:
    with Archive(root) as archive:
        update_index(archive, ops=ops)


WORK = {"first build": build_again, "build again": build_again, "update": update}


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, str]:
    """For each work: the store before it."""
    folder = tmp_path_factory.mktemp("bases")
    found = {"first build": small(folder)}
    held = kit.copied(found["first build"], folder / "held")
    kit.build(held, kind="coded", seed=9)
    with Archive(held) as archive:
        open_index(archive)
    found["build again"] = held
    found["update"] = kit.copied(held, folder / "grown")
    kit.add_fresh(found["update"], read_config(held))
    for root in found.values():
        Archive(root).close()  # makes the catalog, which is not what is tested here
    return found


def linked(base: str, folder: Path) -> str:
    shutil.copytree(base, folder, copy_function=os.link)
    return str(folder)


def check_answers(root: str, number: int | None, where: str, twin: kit.Twin | None = None) -> None:
    with Archive(root) as archive:
        index, twin = open_index(archive), twin or kit.Twin(archive)
        if number is not None:
            assert (index.version.number if index.version else 0) == number, where
        for vector in kit.queries(1, DIM):
            query = SearchQuery(vector, 60)
            kit.check(index.search(query), query, twin)
        if index.version:
            assert read_info(archive, deep=True).damaged == [], where


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WORK)
def test_a_fault_at_a_fifth_of_the_calls(tmp_path, bases, monkeypatch, name, fault):
    """Every call meets one of the faults; the suite below tries them all at each."""
    sweep(tmp_path, bases[name], name, fault, monkeypatch, every=len(FAULTS))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WORK)
def test_a_fault_at_every_call(tmp_path, bases, monkeypatch, name, fault):
    sweep(tmp_path, bases[name], name, fault, monkeypatch, every=1)


def sweep(tmp_path, base, name, fault, monkeypatch, *, every):
    """The index that was there, or the new one, answers rightly; the next run goes through and leaves no litter."""
    kit.plans(monkeypatch, "codes")
    work = WORK[name]
    before = max(index_numbers(base, LocalFileOps()), default=0)
    counting = FaultyOps()
    work(linked(base, tmp_path / "counted"), counting)
    chosen = points(counting.calls, all_writes=False)[FAULTS.index(fault) % every :: every]
    with Archive(base) as archive:
        twin = kit.Twin(archive)
        kept_old = sum(one_fault(linked(base, tmp_path / str(n)), n, fault, work, before, twin) for n in chosen)
    assert len(chosen) >= 24 // every and kept_old > len(chosen) // 2
    if every == 1:
        assert {"create", "write", "sync_file", "link_new", "sync_dir"} <= {counting.calls[n] for n in chosen}


def one_fault(root, n, fault, work, before, twin) -> bool:
    """Returns whether the index is the one from before."""
    ops = FaultyOps(n, fault)
    error: BaseException | None = None
    try:
        work(root, ops)
    except (OSError, Unavailable, PowerCut) as caught:
        error = caught
    where = f"{fault} at call {n}, {ops.failed_call}"
    assert ops.failed_call is not None, where
    assert error is not None or ops.failed_call == "unlink", f"{where}: swallowed"
    if fault == "enospc" and error is not None:
        assert isinstance(error, Unavailable) and error.kind == "disk_full", f"{where}: {error!r}"
    now = max(index_numbers(root, LocalFileOps()), default=0)
    assert now in (before, before + 1), where
    check_answers(root, now, where, twin)
    work(root, None)
    check_answers(root, None, where, twin)
    with Archive(root) as archive:
        assert read_info(archive).fresh_windows == 0
    if not isinstance(error, PowerCut):
        assert len(temporary_files(root)) <= (ops.failed_call == "unlink"), where
    shutil.rmtree(root)
    return now == before


def test_a_power_cut_at_any_moment_of_a_build(tmp_path):
    """On a disk that forgets what was not forced to it: no version names a file that is not there whole."""
    base = tmp_path / "disk"
    base.mkdir()
    states = tmp_path / "states"

    class Watching(ForgetfulOps):
        states = 0

        def look(self) -> None:
            self.after_power_cut(states / str(self.states))
            self.states += 1

        def link_new(self, source, target):
            done = super().link_new(source, target)
            self.look()
            return done

        def sync_dir(self, path):
            super().sync_dir(path)
            self.look()

    root = f"{base}/store"
    shutil.copytree(small(tmp_path), root)
    ops = Watching(str(base))
    ops.sync_dir(root)
    ops._entries[str(base)] = {"store": os.stat(root).st_ino}
    build_again(root, ops)
    assert ops.states > 8
    seen = 0
    for number in range(ops.states):
        after = str(states / str(number) / "store")
        for version in index_numbers(after, LocalFileOps()):
            for file in read_version(after, version, LocalFileOps()).files:
                assert kit_sha(f"{after}/{file.path}") == file.sha256, f"state {number}: {file.path}"
            seen += 1
    assert seen, "what build_index returned was not safe"
    assert read_version(after, 1, LocalFileOps()).number == 1


def kit_sha(path: str) -> str:
    from tests.store.kit import sha256_of

    return sha256_of(path)


@pytest.mark.parametrize("delay_s", [0.02, 0.1, 0.3])
def test_a_build_that_is_killed(bases, tmp_path, monkeypatch, delay_s):
    """With SIGKILL, at any moment: the newest whole version answers; the next build goes through."""
    kit.plans(monkeypatch, "codes")
    root = linked(bases["build again"], tmp_path / "store")
    begun = CONTEXT.Event()
    child = CONTEXT.Process(target=working.build, args=(root, begun))
    child.start()
    assert begun.wait(60)
    time.sleep(delay_s)
    child.kill()
    child.join(30)
    assert child.exitcode == -9
    number = max(index_numbers(root, LocalFileOps()))
    check_answers(root, number, "after the kill")
    build_again(root)
    check_answers(root, number + 1, "after the next build")


def run(*jobs) -> list:
    results = CONTEXT.Queue()
    children = [CONTEXT.Process(target=function, args=(*arguments, results)) for function, *arguments in jobs]
    for child in children:
        child.start()
    told = [results.get(timeout=240) for _ in children]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    return told


def test_two_builds_at_once(bases, tmp_path):
    """Both end; each has a number of its own, and the later one is the index."""
    root = linked(bases["first build"], tmp_path / "store")
    barrier = CONTEXT.Barrier(2)
    numbers = run((working.build_at_once, root, 1, barrier), (working.build_at_once, root, 2, barrier))
    assert sorted(numbers) == [1, 2]
    check_answers(root, 2, "after both")


def test_searches_while_another_process_builds_and_updates(bases, tmp_path):
    root = linked(bases["build again"], tmp_path / "store")
    stop = CONTEXT.Event()
    told = run((working.read, root, stop), (working.maintain, root, stop))
    for who, count, error in told:
        assert error == "" and count >= 3, (who, count, error)


# --- what is removed ---


def test_a_sweep_removes_only_what_the_newest_version_does_not_need(bases, tmp_path):
    root = linked(bases["build again"], tmp_path / "store")
    ops = LocalFileOps()
    kit.build(root, kind="coded", seed=2)
    Path(root, "index", "v1", "notes.txt").write_text("somebody's own")
    old = read_version(root, 2, ops)
    (table,) = {n for n in tree(root) if n.endswith(".arrow")}
    write_change(root, SiteChange("Fen", rename="Moor"), by="test")  # another table of windows
    kit.build(root, kind="coded", seed=3)
    with Archive(root) as archive:
        open_index(archive)
    newest = max(index_numbers(root, ops))
    used = {f.path for f in read_version(root, newest, ops).files}
    stale = {f.path for f in old.files} - used
    assert {n.rpartition(".")[2] for n in stale} == {"faiss", "npz"}, "nothing is stale: the test would show nothing"
    stale.add(table)
    there = {n for n in tree(root) if n.startswith("index/")}
    assert stale <= there, "within the grace period of an hour nothing goes but versions"
    assert sweep_index(root, ops)[0] == 0
    dry = sweep_index(root, ops, now=lambda: time.time() + 7200, dry_run=True)
    assert {n for n in tree(root) if n.startswith("index/")} == there
    done = sweep_index(root, ops, now=lambda: time.time() + 7200)
    left = {n for n in tree(root) if n.startswith("index/")}
    assert dry == done and done[0] == len(there - left) >= len(stale)
    assert used <= left and not stale & left and "index/v1/notes.txt" in left
    assert len([n for n in left if n.endswith(".arrow")]) == 1
    check_answers(root, newest, "after the sweep")


def test_a_sweep_touches_nothing_if_the_newest_version_cannot_be_read(bases, tmp_path):
    root = kit.copied(bases["build again"], tmp_path / "store")
    Path(root, "index", "v1", "7.json").write_text("{")
    before = tree(root)
    assert sweep_index(root, LocalFileOps(), now=lambda: time.time() + 9e6) == (0, 0)
    assert tree(root) == before


def test_an_open_index_outlives_the_sweep_of_its_files(bases, tmp_path, monkeypatch):
    kit.plans(monkeypatch, "codes")
    root = kit.copied(bases["build again"], tmp_path / "store")
    with Archive(root) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        query = SearchQuery(kit.queries(1, DIM)[0], 30)
        kit.build(root, kind="coded", seed=3)
        sweep_index(root, LocalFileOps(), now=lambda: time.time() + 7200)
        answer = index.search(query)
        assert answer.plan.index == 1
        kit.check(answer, query, twin)


def test_a_build_uses_what_a_killed_one_had_finished(bases, tmp_path):
    """Vectors are copied once: the file of a build that died is taken over if it is whole."""
    root = linked(bases["first build"], tmp_path / "store")
    counting = FaultyOps()
    build_again(linked(bases["first build"], tmp_path / "counted"), counting)
    third = [n for n, call in enumerate(counting.calls) if call == "link_new"][2]
    with pytest.raises(PowerCut):
        build_again(root, FaultyOps(third, "cut"))
    held = {p: p.stat().st_ino for p in Path(root, "index", "v1").iterdir() if p.is_file()}
    assert len(held) == 2, "vectors and clusters"
    build_again(root)
    assert {p: p.stat().st_ino for p in held} == held
    (torn,) = [p for p in held if p.suffix == ".f16"]
    data = torn.read_bytes()
    torn.unlink()
    torn.write_bytes(bytes(len(data)))
    build_again(root)
    assert torn.read_bytes() == data, "a file that does not hold what its name says was used"
