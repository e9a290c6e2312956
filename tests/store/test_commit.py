"""The commit under faults: an error or a power cut at every call, a disk that forgets, attempts that meet."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sonotheque.core.errors import Damaged, Unavailable
from store import Archive, PartWriter, load_ledger, part_id, verify, write_snapshot
from store.fsops import LocalFileOps
from store.layout import part_name, part_path
from tests.store import kit, racing
from tests.store.faults import FAULTS, FaultyOps, ForgetfulOps, PowerCut

ITEMS = [(kit.recording("a/1.wav"), 3), (kit.recording("a/2.wav"), 0), (kit.recording("a/3.wav"), 2)]
WITH, WITHOUT = kit.store_config(), kit.store_config(top_k=0)
IDENTITY = part_id(WITH.digest, [rec for rec, _ in ITEMS])


def paths(config=WITH, items=ITEMS, site="A", date="2024-05-01"):
    name = part_name(part_id(config.digest, [rec for rec, _ in items]))
    return part_path("embeddings", site, date, name), part_path("predictions", site, date, name)


def attempt(root, config, ops, perturb=0.0):
    """One attempt at the part; returns what it came back with, and the error that stopped it."""
    try:
        return kit.write_part(root, config, ITEMS, ops=ops, perturb=perturb), None
    except (OSError, Unavailable, PowerCut) as error:
        return None, error


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("config", [WITH, WITHOUT], ids=["predictions", "no_predictions"])
def test_a_fault_at_every_call_leaves_all_or_nothing(tmp_path, config, fault):
    reference, _ = kit.new_store(tmp_path / "clean", config)
    kit.write_part(reference, config, ITEMS)
    clean = kit.tree(reference)
    n, committed_anyway = 0, 0
    while True:
        root, _ = kit.new_store(tmp_path / str(n), config)
        ops = FaultyOps(n, fault)
        done, error = attempt(root, config, ops)
        if ops.failed_call is None:
            assert error is None and done.won
            break
        where = f"{fault} at call {n}, {ops.failed_call}"
        ledger = load_ledger(root)
        assert not ledger.damaged, where
        for name, data in kit.tree(root).items():
            assert clean[name] == data, f"{where}: {name} differs from a clean run's"
        if done:
            assert ops.failed_call == "unlink", f"{where}: the error was swallowed"
            assert ledger.parts, where
        if fault == "enospc" and error is not None:
            assert isinstance(error, Unavailable) and error.kind == "disk_full", f"{where}: {error!r}"
        if not fault.startswith("cut") and ops.failed_call != "unlink":
            assert kit.temporary_files(root) == [], f"{where}: a temporary file was left"
        committed_anyway += bool(ledger.parts)
        again = kit.write_part(root, config, ITEMS)
        assert again.won is not bool(ledger.parts), where
        assert kit.tree(root) == clean, where
        n += 1
    assert n > 10, ops.calls
    assert {"makedirs", "create", "write", "sync_file", "close", "link_new", "sync_dir", "unlink"} <= set(ops.calls)
    assert committed_anyway < n / 2  # most points lie before the commit


@pytest.mark.parametrize("fault", ["cut", "cut_after"])
def test_a_retry_on_another_cpu_after_every_cut(tmp_path, fault):
    """The retry's floats differ: vectors and predictions must come from one attempt, whichever that is."""
    n, orphans = 0, 0
    while True:
        root, config = kit.new_store(tmp_path / str(n), WITH)
        ops = FaultyOps(n, fault)
        attempt(root, config, ops)
        if ops.failed_call is None:
            break
        kit.write_part(root, config, ITEMS, perturb=0.5)
        ledger = load_ledger(root)
        (part,) = ledger.parts.values()
        assert kit.sha256_of(f"{root}/{part.predictions}") == part.predictions_sha256, f"{fault} at {n}"
        write_snapshot(root, config, ledger)
        report = verify(root, [], deep=True)
        assert report.ok, report
        with Archive(root) as archive:
            assert archive.sql("SELECT count(*) AS n FROM predictions")["n"][0].as_py() == 10
        orphans += len(report.unused_files)
        n += 1
    assert n > 10
    assert orphans > 0  # the sweep did meet attempts that died between the two links


def test_an_orphan_predictions_file_with_other_bytes_is_stepped_around(tmp_path):
    root, config = kit.new_store(tmp_path)
    embeddings, predictions = paths()
    orphan = Path(root, predictions)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"of an attempt that died")
    kit.write_part(root, config, ITEMS)
    described = kit.footer(f"{root}/{embeddings}")["predictions"]
    assert described["file"] == part_name(IDENTITY, described["sha256"]) != orphan.name
    assert kit.sha256_of(orphan.parent / described["file"]) == described["sha256"]
    assert orphan.read_bytes() == b"of an attempt that died"
    write_snapshot(root, config, load_ledger(root))
    with Archive(root) as archive:
        assert archive.sql("SELECT count(*) AS n FROM predictions")["n"][0].as_py() == 10
    assert verify(root, [], deep=True).unused_files == [predictions]


def test_an_orphan_predictions_file_with_the_same_bytes_is_used(tmp_path):
    donor, config = kit.new_store(tmp_path / "donor")
    kit.write_part(donor, config, ITEMS)
    root, _ = kit.new_store(tmp_path)
    _, predictions = paths()
    Path(root, predictions).parent.mkdir(parents=True)
    Path(root, predictions).write_bytes(Path(donor, predictions).read_bytes())
    assert kit.write_part(root, config, ITEMS).won
    assert kit.tree(root) == kit.tree(donor)


@pytest.mark.parametrize("perturb", [0.0, 0.25], ids=["same_floats", "other_floats"])
def test_the_second_attempt_changes_nothing(tmp_path, perturb):
    root, config = kit.new_store(tmp_path)
    first = kit.write_part(root, config, ITEMS)
    before = kit.tree(root)
    second = kit.write_part(root, config, ITEMS, perturb=perturb)
    assert (first.won, second.won) == (True, False)
    assert second.sha256 == first.sha256 == kit.sha256_of(f"{root}/{paths()[0]}")
    assert kit.tree(root) == before
    assert kit.temporary_files(root) == []


def test_a_predictions_file_that_appears_at_the_last_moment_stops_the_attempt(tmp_path):
    """Another attempt links other predictions after this one chose its name: nothing may be committed."""

    class Late(LocalFileOps):
        def link_new(self, source, target):
            if "/predictions/" in target and not Path(target).exists():
                Path(target).write_bytes(b"of the other attempt")
            return super().link_new(source, target)

    root, config = kit.new_store(tmp_path)
    with pytest.raises(Unavailable, match="try again"):
        kit.write_part(root, config, ITEMS, ops=Late())
    assert load_ledger(root).parts == {} and kit.temporary_files(root) == []
    assert kit.write_part(root, config, ITEMS).won


def test_an_orphan_that_gc_removes_while_it_is_taken_for_ours(tmp_path):
    """The attempt finds its predictions there already, of one that died; they go between that look and the commit."""

    class Meanwhile(LocalFileOps):
        def link_new(self, source, target):
            done = super().link_new(source, target)
            if "/embeddings/" in target:
                Path(root, paths()[1]).unlink()
            return done

    donor, config = kit.new_store(tmp_path / "donor")
    kit.write_part(donor, config, ITEMS)
    root, _ = kit.new_store(tmp_path)
    _, predictions = paths()
    Path(root, predictions).parent.mkdir(parents=True)
    Path(root, predictions).write_bytes(Path(donor, predictions).read_bytes())
    assert kit.write_part(root, config, ITEMS, ops=Meanwhile()).won
    assert kit.tree(root) == kit.tree(donor)
    assert verify(root, [], deep=True).ok


def test_two_processes_race_for_the_same_parts(tmp_path):
    """Each of the parts is won by exactly one process, and holds one process's vectors with that process's predictions."""
    root, config = kit.new_store(tmp_path)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    children = [context.Process(target=racing.run, args=(root, 0.3 * i, barrier, results)) for i in range(2)]
    for child in children:
        child.start()
    won = [results.get(timeout=120) for _ in children]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    for number, (one, other) in enumerate(zip(*won, strict=True)):
        assert sorted([one, other], key=str) in (["lost", "won"], ["refused", "won"]), (number, one, other)
    ledger = load_ledger(root)
    assert len(ledger.parts) == racing.PARTS and not ledger.damaged
    for part in ledger.parts.values():
        assert kit.sha256_of(f"{root}/{part.predictions}") == part.predictions_sha256
    write_snapshot(root, config, ledger)
    assert verify(root, [], deep=True).ok
    assert kit.temporary_files(root) == []


def test_the_order_of_syncs_and_links(tmp_path):
    root, config = kit.new_store(tmp_path)
    ops = ForgetfulOps(str(tmp_path))
    kit.write_part(root, config, ITEMS, ops=ops)
    embeddings, predictions = (f"{root}/{p}" for p in paths())
    log = ops.log
    synced = [i for i, (op, path) in enumerate(log) if op == "sync_file"]
    linked = {path: i for i, (op, path) in enumerate(log) if op == "link_new"}
    assert len(synced) == 2
    assert list(linked) == [predictions, embeddings]
    assert max(synced) < linked[predictions]
    for path in (predictions, embeddings):
        later = [p for op, p in log[linked[path] :] if op == "sync_dir"]
        assert path.rpartition("/")[0] in later, f"the folder of {path} is not synced after the link"
    between = [p for op, p in log[linked[predictions] : linked[embeddings]] if op == "sync_dir"]
    assert predictions.rpartition("/")[0] in between  # before the commit that points to it


def test_a_power_cut_loses_nothing_that_commit_reported(tmp_path):
    """Everything not forced to disk is dropped: names, folders and bytes. What commit() returned must still be there."""
    base = tmp_path / "disk"
    base.mkdir()
    ops = ForgetfulOps(str(base))
    root, config = f"{base}/deep/store", WITH
    kit.create_config(root, config, ops)
    reported = []
    for number in range(3):
        rec = kit.recording(f"b/{number}.wav", site=f"S{number}")
        reported.append(kit.write_part(root, config, [(rec, 2)], ops=ops).sha256)
        after = tmp_path / f"after-{number}"
        ops.after_power_cut(after)
        ledger = load_ledger(str(after / "deep/store"))
        assert not ledger.damaged
        assert sorted(kit.sha256_of(after / "deep/store" / p.embeddings) for p in ledger.parts.values()) == sorted(
            reported
        )
        for part in ledger.parts.values():
            assert kit.sha256_of(after / "deep/store" / part.predictions) == part.predictions_sha256
    snapshot = write_snapshot(root, config, load_ledger(root), ops=ops)
    ops.after_power_cut(tmp_path / "end")
    with Archive(str(tmp_path / "end/deep/store")) as archive:
        assert archive.snapshot == snapshot
        assert archive.sql("SELECT count(*) AS n FROM embeddings")["n"][0].as_py() == 6


def test_a_folder_made_by_another_attempt_and_not_yet_safe(tmp_path):
    """The other attempt made the folder and died before forcing it to disk: this commit must see to that itself."""
    root, config = kit.new_store(tmp_path / "disk")
    ops = ForgetfulOps(str(tmp_path / "disk"))
    ops.sync_dir(str(tmp_path / "disk"))
    ops.sync_dir(root)
    for path in paths():
        Path(root, path).parent.mkdir(parents=True)
    kit.write_part(root, config, ITEMS, ops=ops)
    ops.after_power_cut(tmp_path / "after")
    assert len(load_ledger(str(tmp_path / "after/store")).parts) == 1


def test_the_simulator_does_lose_what_is_not_synced(tmp_path):
    """Without the folder syncs the same check must fail: otherwise it could not."""

    class Careless(ForgetfulOps):
        def sync_dir(self, path):
            return

    base = tmp_path / "disk"
    base.mkdir()
    ops = Careless(str(base))
    kit.create_config(f"{base}/store", WITH, ops)
    kit.write_part(f"{base}/store", WITH, ITEMS, ops=ops)
    ops.after_power_cut(tmp_path / "after")
    assert load_ledger(str(tmp_path / "after/store")).parts == {}


def test_leaving_without_commit_leaves_nothing(tmp_path):
    root, config = kit.new_store(tmp_path)
    before = kit.tree(root)
    with PartWriter(root, config, part_id="ab" * 16, site="A", date=None, classes=kit.CLASSES) as part:
        part.add(kit.window_rows(ITEMS[0][0], 3, config))
        assert part.rows == 3
    assert kit.tree(root) == before and kit.temporary_files(root) == []


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    root, config = kit.new_store(tmp_path)
    before = kit.tree(root)
    with (
        pytest.raises(RuntimeError, match="decoder"),
        PartWriter(root, config, part_id="ab" * 16, site="A", date=None, classes=kit.CLASSES) as part,
    ):
        part.add(kit.window_rows(ITEMS[0][0], 3, config))
        raise RuntimeError("decoder")
    assert kit.tree(root) == before and kit.temporary_files(root) == []


def test_what_does_not_read_back_is_not_committed(tmp_path, monkeypatch):
    root, config = kit.new_store(tmp_path)

    class Corrupting(LocalFileOps):
        def sync_file(self, handle):
            super().sync_file(handle)
            with open(handle.name, "r+b") as again:
                again.seek(-4, 2)
                again.write(b"XXXX")  # the disk lied

    before = kit.tree(root)
    with pytest.raises(Damaged, match="read back"):
        kit.write_part(root, config, ITEMS, ops=Corrupting())
    assert kit.tree(root) == before and kit.temporary_files(root) == []


def test_nothing_is_written_outside_its_place(tmp_path):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, ITEMS)
    assert set(kit.tree(root)) == {"sonotheque.json", *paths()}


def test_temporary_names_are_no_parquet_names(tmp_path):
    """A glob over everything below the store must not meet a half-written file."""
    root, config = kit.new_store(tmp_path)
    with PartWriter(root, config, part_id="ab" * 16, site="A", date=None, classes=kit.CLASSES):
        names = kit.temporary_files(root)
        assert len(names) == 2
        assert not [n for n in names if n.endswith(".parquet")]
        assert all(n.startswith("ab" * 16) for n in names)


def test_commit_reports_what_it_wrote(tmp_path):
    root, config = kit.new_store(tmp_path)
    done = kit.write_part(root, config, ITEMS)
    sizes = [len(data) for name, data in kit.tree(root).items() if name.endswith(".parquet")]
    assert (done.rows, done.bytes_written) == (5, sum(sizes))
    assert pq.read_metadata(f"{root}/{paths()[0]}").num_rows == 5
