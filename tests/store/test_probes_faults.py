"""A fault, a power cut or a kill at every call of adding a version and of taking one into use: the old state or the new one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from sonotheque.core.errors import NotFound, Unavailable
from store.fsops import LocalFileOps
from store.probes import ProbeStore, in_use
from tests.store.faults import FAULTS, FaultyOps, ForgetfulOps, PowerCut
from tests.store.kit import temporary_files, tree
from tests.store.probes_racing import NAMES, add_and_die

OLD, NEW = dict.fromkeys(NAMES, b"old"), dict.fromkeys(NAMES, b"new")


def add(root: str, ops: LocalFileOps | None = None) -> None:
    ProbeStore(root, ops).add("owl", NEW)


def promote(root: str, ops: LocalFileOps | None = None) -> None:
    ProbeStore(root, ops).promote("owl", 2, "better", by="Ana")


WORK = {"first": add, "add": add, "promote": promote}


@pytest.fixture
def base(tmp_path):
    """Gives the store before some work."""

    def made(name: str) -> str:
        root = tmp_path / f"{name} before"
        root.mkdir()
        if name != "first":
            store = ProbeStore(str(root))
            store.add("owl", OLD)
            store.promote("owl", 1, "first", by="Ana")
            if name == "promote":
                store.add("owl", NEW)
        return str(root)

    return made


def state(root: str) -> dict[int, dict[str, bytes]]:
    store = ProbeStore(root)
    return {v: store.read("owl", v) for v in store.versions("owl")}


def check(root: str, name: str, where: str) -> bool:
    """Look at what readers see; returns whether it is the new state."""
    found, used = state(root), in_use(root).get("owl")
    assert all(files in (OLD, NEW) for files in found.values()), f"{where}: half a version"
    before = {"first": {}, "add": {1: OLD}, "promote": {1: OLD, 2: NEW}}[name]
    assert {v: f for v, f in found.items() if v in before} == before, f"{where}: an old version changed"
    new = sorted(set(found) - set(before))
    assert len(new) <= 1 and all(found[v] == NEW for v in new), where
    if name == "promote":
        assert not new and used in (1, 2), where
        assert [p.version for p in ProbeStore(root).promotions("owl")] in ([1], [1, 2]), where
        return used == 2
    assert used == (None if name == "first" else 1), where
    return bool(new)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WORK)
def test_a_fault_at_every_call(tmp_path, base, name, fault, monkeypatch):
    monkeypatch.setattr(
        os, "fsync", lambda _: None
    )  # hundreds of runs; what is safe is looked at below, on a disk that forgets
    start = base(name)
    counting = FaultyOps()
    counted = shutil.copytree(start, tmp_path / "counted")
    WORK[name](str(counted), counting)
    assert check(str(counted), name, "no fault")
    assert {"create", "write", "sync_file", "link_new", "sync_dir"} <= set(counting.calls)
    new = 0
    for n in range(len(counting.calls)):
        root = str(shutil.copytree(start, tmp_path / str(n)))
        ops = FaultyOps(n, fault)
        error: BaseException | None = None
        try:
            WORK[name](root, ops)
        except (OSError, Unavailable, PowerCut) as caught:
            error = caught
        except NotFound as caught:  # a cut leaves no power to look with
            assert fault.startswith("cut"), caught
            error = caught
        where = f"{fault} at call {n}, {ops.failed_call}"
        assert error is not None, f"{where}: swallowed"
        if fault == "enospc":
            assert isinstance(error, Unavailable) or ops.failed_call == "exists", where
        is_new = check(root, name, where)
        new += is_new
        if not fault.startswith("cut"):
            assert len(temporary_files(root)) <= (ops.failed_call == "unlink"), where
        WORK[name](root, None)
        numbers = ProbeStore(root).versions("owl")
        assert state(root)[numbers[-1]] == NEW, f"{where}: the next one did not go through"
        shutil.rmtree(root)
    assert new < len(counting.calls) / 2, "the new state before the last file was there"


@pytest.mark.parametrize("name", WORK)
def test_the_new_state_is_told_only_when_it_is_safe(tmp_path, base, name):
    """On a disk that forgets what was not forced to it: after every step a power cut leaves a whole state; at the end, the new one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    root = f"{disk}/store"
    states = tmp_path / "states"

    class Watching(ForgetfulOps):
        seen = 0

        def look(self) -> None:
            self.after_power_cut(states / str(self.seen))
            self.seen += 1

        def link_new(self, source: str, target: str) -> bool:
            done = super().link_new(source, target)
            self.look()
            return done

        def sync_dir(self, path: str) -> None:
            super().sync_dir(path)
            self.look()

    ops = Watching(str(disk))
    ops.makedirs(root)
    if name != "first":
        store = ProbeStore(root, ops)
        store.add("owl", OLD)
        store.promote("owl", 1, "first")
        if name == "promote":
            store.add("owl", NEW)
    begun = ops.seen
    WORK[name](root, ops)
    told = [check(str(states / str(n) / "store"), name, f"state {n}") for n in range(begun, ops.seen)]
    assert told[-1] and not told[0] and told == sorted(told)


def test_a_process_that_is_killed_at_every_call(tmp_path, monkeypatch):
    """With SIGKILL: whole versions alone, the one in use among them; the next training goes through."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the child is forked, and a kill loses nothing that was written
    context = multiprocessing.get_context("fork")
    survived, new = False, 0
    for at in range(80):
        root = str(tmp_path / str(at))
        Path(root).mkdir()
        store = ProbeStore(root)
        store.add("owl", OLD)
        store.promote("owl", 1, "first")
        child = context.Process(target=add_and_die, args=(root, at))
        child.start()
        child.join(60)
        found, used = state(root), in_use(root)["owl"]
        assert found[1] == OLD and all(files == NEW for v, files in found.items() if v > 1), at
        assert used in found, at
        new += len(found) > 1
        number = store.add("owl", NEW)
        assert store.promote("owl", number, "").version == in_use(root)["owl"] == number
        if child.exitcode == 0:
            survived = True
            break
        assert child.exitcode == -9, at
    assert survived and 3 < new < at


def test_a_read_only_disk_is_told(tmp_path, monkeypatch):
    class ReadOnly(LocalFileOps):
        def create(self, path: str):
            raise OSError(30, "Read-only file system")

    with pytest.raises(Unavailable) as caught:
        ProbeStore(str(tmp_path), ReadOnly()).add("owl", NEW)
    assert caught.value.kind == "read_only" and not [n for n in tree(str(tmp_path)) if n.startswith("probes")]
