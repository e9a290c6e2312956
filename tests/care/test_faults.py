"""A fault at every call of compact, gc and migrate; and a disk that forgets what was not forced to it."""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sonotheque.core.errors import Unavailable
from store import load_ledger, part_id, read_config, verify, write_snapshot
from store.care import collect_garbage, compact, migrate
from store.snapshots import Snapshot, read_snapshots
from tests.care.golden import make_v1
from tests.care.support import commit, later, live_details, seen, seen_now, snap
from tests.store import kit
from tests.store.faults import FAULTS, FaultyOps, ForgetfulOps, LazyUnlinkOps, PowerCut
from tests.store.test_leftovers import gone_pid

POINTS: Counter[str] = Counter()
HALVES = {"eio": 0, "enospc": 1}


def to_compact(folder: Path) -> str:
    """Two sites with three small parts each; a file that changed, one that failed."""
    root, config = kit.new_store(folder)
    first = commit(root, config, ("A/1.wav", 1, 2), ("A/2.wav", 1, 0))
    commit(root, config, ("A/3.wav", 1, 1))
    commit(root, config, ("A/1.wav", 2, 1, [first]))
    commit(root, config, ("B/1.wav", 1, 1), site="B")
    commit(root, config, ("B/2.wav", 1, 1), site="B")
    snap(root, config)
    return root


def to_clean(folder: Path) -> str:
    """Compacted; five versions of one file whose first part lives on for another; an orphan, a leftover, a failed file that changed."""
    root = to_compact(folder)
    config = read_config(root)
    compact(root)
    names = [commit(root, config, ("w.wav", 1, 1))]
    names.append(commit(root, config, ("w.wav", 2, 1, [names[0]]), ("keeps.wav", 1, 1)))
    for version in (3, 4, 5):
        names.append(commit(root, config, ("w.wav", version, 1, [names[-1]])))
    failed = commit(root, config, ("f.wav", 1, 0))
    commit(root, config, ("f.wav", 2, 0, [failed]))
    snap(root, config)
    predictions = next(Path(root, "predictions").glob("*/*"))
    (predictions / f"part-{'0' * 32}.parquet").write_bytes(b"of an attempt that died")
    Path(root, "_tmp", f"x.{socket.gethostname()}.{gone_pid()}.01234567.e").write_bytes(b"half")
    return root


def to_migrate(folder: Path) -> str:
    folder.mkdir(parents=True)
    shutil.copytree(make_v1.GOLDEN / "v1-superseded" / "store", folder / "store")
    commit(str(folder / "store"), read_config(str(folder / "store")), ("late.wav", 1, 1))
    return str(folder / "store")


WORK: dict[str, tuple[Callable[[Path], str], Callable[..., Any]]] = {
    "compact": (to_compact, compact),
    "gc": (to_clean, lambda root, **o: collect_garbage(root, keep_snapshots=1, now=later(25), **o)),
    "migrate": (to_migrate, migrate),
}


def whole(root: str, where: str) -> None:
    """Every snapshot that is there can be read and everything it lists is there; every part has its predictions."""
    for number, content in read_snapshots(root):
        assert isinstance(content, Snapshot), f"{where}: snapshot {number}"
        for part in content.parts:
            for name in (part.embeddings, part.predictions):
                assert os.path.exists(f"{root}/{name}"), f"{where}: {name} of snapshot {number}"
    for part in load_ledger(root).parts.values():
        assert os.path.exists(f"{root}/{part.predictions}"), f"{where}: predictions of {part.part_id}"


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """For each work: the store before, and what a clean run makes of it."""
    found = {}
    for name, (make, work) in WORK.items():
        folder = tmp_path_factory.mktemp(name)
        root = make(folder / "base")
        clean = str(folder / "clean")
        shutil.copytree(root, clean)
        work(clean)
        found[name] = (root, kit.tree(clean), seen_now(root), live_details(root))
    return found


def copy_of(base: str, root: Path) -> str:
    """A copy whose files are links: none of them is ever written to."""
    shutil.copytree(base, root, copy_function=os.link)
    return str(root)


def points(calls: list[str], *, all_writes: bool) -> list[int]:
    """Every call; of a run of writes into one file the first, the second and the last, unless all are asked for."""
    return [
        n
        for n in range(len(calls))
        if all_writes or calls[n] != "write" or {"write"} != set(calls[max(n - 2, 0) : n + 2])
    ]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WORK)
def test_a_fault_at_every_call(tmp_path, bases, name, fault):
    """Whatever call goes wrong: the same rows are live, every snapshot reads, and the next run ends where a clean one does."""
    sweep(tmp_path, bases[name], name, fault, all_writes=False)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_single_write_of_compaction(tmp_path, bases, fault):
    sweep(tmp_path, bases["compact"], "compact", fault, all_writes=True)


def sweep(tmp_path, found, name, fault, *, all_writes):
    base, clean, rows, details = found
    work = WORK[name][1]
    counting = FaultyOps()
    work(copy_of(base, tmp_path / "counted"), ops=counting)
    assert kit.tree(str(tmp_path / "counted")) == clean
    chosen = points(counting.calls, all_writes=all_writes)
    if (
        name == "compact" and fault in HALVES and not all_writes
    ):  # both take the same way out: each goes through half of the calls
        chosen = chosen[HALVES[fault] :: 2]
    halfway = 0
    for n in chosen:
        root = copy_of(base, tmp_path / str(n))
        ops = FaultyOps(n, fault)
        error: BaseException | None = None
        try:
            work(root, ops=ops)
        except (OSError, Unavailable, PowerCut) as caught:
            error = caught
        where = f"{name}: {fault} at call {n}, {ops.failed_call}"
        assert ops.failed_call == counting.calls[n], where
        assert error is not None or ops.failed_call == "unlink", f"{where}: swallowed"
        if fault == "enospc" and error is not None:
            assert isinstance(error, Unavailable) and error.kind == "disk_full", f"{where}: {error!r}"
        assert seen_now(root) == rows, where
        whole(root, where)
        assert read_config(root).format_version in (1, 2)
        halfway += kit.tree(root) not in (clean, kit.tree(base))
        work(root)
        assert kit.tree(root) == clean, where
        if n != chosen[-1]:
            shutil.rmtree(root)
    POINTS[f"{name} {fault}"] = max(POINTS[f"{name} {fault}"], len(chosen))
    assert live_details(root) == details and verify(root, [], deep=True).ok
    assert len(chosen) > {"compact": 30, "gc": 20, "migrate": 20}[name], counting.calls
    assert halfway > 3, "no fault left anything half done"
    wanted = {
        "compact": {"create", "write", "link_new", "sync_dir"},
        "gc": {"unlink", "sync_dir"},
        "migrate": {"replace"},
    }
    assert wanted[name] <= {counting.calls[n] for n in chosen}


@pytest.mark.parametrize("fault", ["cut", "cut_after"])
def test_two_faults_in_a_row(tmp_path, bases, fault):
    """The run after a cut is cut too, at a random call; the third goes through."""
    rng = random.Random(fault)
    for name, (_, work) in WORK.items():
        base, clean, rows, _ = bases[name]
        for _ in range(4):
            root = copy_of(base, tmp_path / "store")
            for _ in range(2):
                try:
                    work(root, ops=FaultyOps(rng.randrange(60), fault))
                except PowerCut:
                    assert seen_now(root) == rows
            work(root)
            assert kit.tree(root) == clean
            shutil.rmtree(root)


# --- a disk that forgets ---


class Watching(ForgetfulOps):
    """Rebuilds what a power cut would leave after every call that changes names."""

    def __init__(self, base: str, out: Path) -> None:
        super().__init__(base)
        self.out, self.states, self.on = out, 0, False

    def look(self) -> None:
        if self.on:
            self.after_power_cut(self.out / str(self.states))
            self.states += 1

    def link_new(self, source, target):
        done = super().link_new(source, target)
        self.look()
        return done

    def sync_dir(self, path):
        super().sync_dir(path)
        self.look()


def test_a_power_cut_at_any_moment_of_compaction(tmp_path):
    base = tmp_path / "disk"
    base.mkdir()
    ops = Watching(str(base), tmp_path / "states")
    root, config = f"{base}/store", kit.store_config()
    kit.create_config(root, config, ops)
    first = commit(root, config, ("1.wav", 1, 2), ("2.wav", 1, 0), ops=ops)
    commit(root, config, ("3.wav", 1, 1), ops=ops)
    commit(root, config, ("1.wav", 2, 1, [first]), ops=ops)
    write_snapshot(root, config, load_ledger(root), ops=ops)
    rows, details = seen(root), live_details(root)
    ops.on = True
    report = compact(root, ops=ops)
    assert ops.states > 10 and report.made == 1
    for number in range(ops.states):
        after = str(tmp_path / "states" / str(number) / "store")
        assert seen_now(after) == rows and live_details(after) == details, number
        whole(after, f"state {number}")
    assert seen(after, report.snapshot) == rows, "what compact returned was not safe"


def with_a_witness(folder: Path) -> str:
    """Two compacted parts, and four versions of a file, of whose parts the third may only go when the first or the second is gone for good."""
    root, config = kit.new_store(folder)
    commit(root, config, ("1.wav", 1, 2))
    commit(root, config, ("2.wav", 1, 1))
    snap(root, config)
    compact(root)
    path = next(p for p in (f"w{k}.wav" for k in range(100)) if _would_come_back(chain_of(config, p)))
    for version, name in enumerate(chain_of(config, path)[:-1], 2):
        if version == 2:
            commit(root, config, (path, 1, 1))
        commit(root, config, (path, version, 1, [name]))
    snap(root, config)
    return root


def chain_of(config: Any, path: str) -> list[str]:
    """The ids of four versions of a file, each replacing the one before."""
    names: list[str] = []
    for version in range(1, 5):
        names.append(part_id(config.digest, [kit.recording(path, version=version, replaces=names[-1:])]))
    return names


def _would_come_back(names: list[str]) -> bool:
    """Without the third part the chains of the second and the fourth are equally long, and the smaller id would win."""
    return names[1] < names[3]


def resurrections(tmp_path: Path, ops: LazyUnlinkOps, root: str, last: int = 1000) -> tuple[int, set[str]]:
    """Look at every state in which a power cut may leave the store; return how many, and what was wrong with some."""
    wrong: set[str] = set()
    count, rows = 0, seen_now(root)
    for tree, back in list(zip(ops.trees, ops.moments, strict=True))[-last:]:
        names = sorted(back)
        chosen = [[], names, *([n] for n in names), *([m for m in names if m != n] for n in names)]
        for returned in {tuple(c) for c in chosen}:
            state = tmp_path / "state"
            for name, data in {**tree, **{os.path.relpath(n, root): back[n] for n in returned}}.items():
                (state / name).parent.mkdir(parents=True, exist_ok=True)
                (state / name).write_bytes(data)
            count += 1
            try:
                whole(str(state), "state")
            except AssertionError as error:
                wrong.add(
                    "a snapshot lists what is gone" if "of snapshot" in str(error) else "a part without predictions"
                )
            else:
                if seen_now(str(state)) != rows:
                    wrong.add("other rows are live")
            shutil.rmtree(state)
    return count, wrong


def cleaned(root: str, ops: LazyUnlinkOps) -> None:
    ops.watched = root
    report = collect_garbage(root, keep_snapshots=1, now=later(25), ops=ops)
    assert (report.parts, report.waiting) == (5, 0)


def test_names_that_come_back_after_a_power_cut(tmp_path):
    """gc removes in waves, and forces folders to disk between them: no subset of what may come back changes an answer."""
    root = with_a_witness(tmp_path / "base")
    rows, ops = seen_now(root), LazyUnlinkOps()
    cleaned(root, ops)
    assert seen_now(root) == rows
    count, wrong = resurrections(tmp_path, ops, root)
    assert not wrong
    assert count > 30 and max(map(len, ops.moments)) > 2, (count, [len(m) for m in ops.moments])


def test_without_the_syncs_the_same_check_fails(tmp_path):
    """Otherwise it could not."""

    class Careless(LazyUnlinkOps):
        def sync_dir(self, path):
            return

    root = with_a_witness(tmp_path / "base")
    ops = Careless()
    cleaned(root, ops)
    _, wrong = resurrections(tmp_path, ops, root, last=4)
    assert wrong == {"other rows are live", "a snapshot lists what is gone", "a part without predictions"}


def test_the_counts_of_the_sweeps(record_property):
    """For the record (``--junit-xml`` has them); a sweep that met few points would prove little."""
    if len(POINTS) < len(WORK) * len(FAULTS):
        pytest.skip("not all sweeps have run")
    for name, count in POINTS.items():
        record_property(name, count)
    assert sum(POINTS.values()) > 500, POINTS
