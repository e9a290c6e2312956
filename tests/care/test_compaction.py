"""Compaction: fewer parts, the same rows bit for bit, the same ledger; and what is damaged is never copied."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound, Unavailable
from store import Archive, load_ledger, read_snapshot, verify, write_snapshot
from store.care import compact
from store.care.rewriting import SourceFault, compacted_id
from store.ledger import read_part
from store.schema import embeddings_schema, predictions_schema
from tests.care.support import TARGET, commit, live_details, many_small, part_files, seen, snap
from tests.store import kit
from tests.store.test_verify import flip


@pytest.fixture
def store(tmp_path):
    """Six parts of one site and date, a second site, an unknown date, a file that changed, one that failed and then did not."""
    root, config = kit.new_store(tmp_path)
    many_small(root, config)
    commit(root, config, ("B/1.wav", 1, 3), site="B")
    commit(root, config, ("B/2.wav", 1, 1), site="B")
    commit(root, config, ("C/1.wav", 1, 1), site="C", date=None)
    commit(root, config, ("C/2.wav", 1, 0), site="C", date=None)
    ledger = load_ledger(root)
    holder = {e.path: name for name, e in ledger.live.values()}
    commit(root, config, ("A/001a.wav", 2, 3, [holder["A/001a.wav"]]), ("A/003b.wav", 2, 1, [holder["A/003b.wav"]]))
    snap(root, config)
    return root, config


def compacted(root):
    return [p for p in load_ledger(root).parts.values() if p.compacted_from]


def test_rows_and_ledger_are_the_same_and_parts_are_fewer(store):
    root, _ = store
    rows, details, files = seen(root), live_details(root), kit.tree(root)
    report = compact(root, target=TARGET)
    assert (report.parts_before, report.parts_after) == (11, 5)
    assert seen(root) == rows and live_details(root) == details
    after = kit.tree(root)
    assert {n: after[n] for n in files} == files, "an old file was touched"
    assert report.snapshot == 2 and len(read_snapshot(root).parts) == report.parts_after
    ledger = load_ledger(root)
    assert report.parts_after == sum(not ledger.is_dead(p) for p in ledger.parts.values())
    assert report.made == len(compacted(root)) and not report.left_alone and not report.notes
    for deep in (False, True):
        checked = verify(root, [], deep=deep)
        assert checked.ok and checked.windows == len(rows["embeddings"]), checked
        assert checked.dead_parts == report.merged
    assert kit.temporary_files(root) == []


def test_old_snapshots_give_their_rows_from_the_old_parts(store):
    root, config = store
    before = seen(root, 1)
    compact(root, target=TARGET)
    commit(root, config, ("A/009.wav", 1, 2))
    snap(root, config)
    assert seen(root, 1) == before == seen(root, 2)
    assert len(seen(root, 3)["embeddings"]) == len(before["embeddings"]) + 2


def test_planned_is_committed_through_compaction(store):
    root, _ = store
    planned = [(e.path, e.size_bytes, e.mtime_ns) for _, e in load_ledger(root).live.values()]
    assert verify(root, planned).committed == len(planned)
    compact(root, target=TARGET)
    report = verify(root, planned, deep=True)
    assert report.ok and (report.committed, report.missing, report.foreign) == (len(planned), 0, 0)


def test_the_numbers_of_the_report(store):
    root, _ = store
    report = compact(root, target=TARGET)
    made = compacted(root)
    assert report.windows == sum(p.rows for p in made)
    assert report.files == sum(len(p.files) for p in made)
    assert report.merged == len({name for p in made for name in p.compacted_from})
    assert report.superseded_windows == 2  # the old rows of A/001a.wav; A/003b.wav had failed
    written = [Path(root, f).stat().st_size for p in made for f in (p.embeddings, p.predictions)]
    assert report.bytes_written == sum(written)
    sources = [p for p in load_ledger(root).parts.values() if any(p.part_id in m.compacted_from for m in made)]
    read = [Path(root, f).stat().st_size for p in sources for f in (p.embeddings, p.predictions)]
    assert report.bytes_read == sum(read)
    json.dumps(report.to_json())


def test_a_dry_run_tells_the_same_and_writes_nothing(store):
    root, _ = store
    before = kit.tree(root)
    told = compact(root, target=TARGET, dry_run=True)
    assert kit.tree(root) == before and kit.temporary_files(root) == []
    done = compact(root, target=TARGET)
    changed = {"dry_run": True, "bytes_written": 0, "snapshot": 1}
    assert told.to_json() == {**done.to_json(), **changed}


def test_a_second_run_does_nothing(store):
    root, _ = store
    compact(root, target=TARGET)
    before = kit.tree(root)
    report = compact(root, target=TARGET)
    assert (report.made, report.merged, report.parts_before, report.parts_after) == (0, 0, 5, 5)
    assert kit.tree(root) == before


def test_by_default_a_part_holds_two_hours(store):
    root, _ = store
    report = compact(root)
    assert report.parts_after == 3  # one for each site and date
    assert verify(root, [], deep=True).ok


def test_what_the_footer_says(store):
    """FORMAT.md, section 9."""
    root, config = store
    before = {p.part_id: p for p in load_ledger(root).parts.values()}
    compact(root, target=TARGET)
    for part in compacted(root):
        footer = kit.footer(f"{root}/{part.embeddings}")
        assert footer["compacted_from"] == sorted(footer["compacted_from"])
        assert footer["part_id"] == compacted_id(config.digest, footer["compacted_from"], footer["files"])
        assert footer["format_version"] == 2 and footer["store_digest"] == config.digest
        paths = [f["path"] for f in footer["files"]]
        assert paths == sorted(paths)
        row = 0
        for f in footer["files"]:
            assert f["first_row"] == row
            row += f["windows"]
            assert f["origin"] in footer["compacted_from"] and f["moved_from"] == []
            assert f["recording_id"] in {x.recording_id for x in before[f["origin"]].files}
        assert row == footer["rows"]


def test_rows_lie_in_order_and_in_full_row_groups(tmp_path):
    root, config = kit.new_store(tmp_path)
    for n in range(24):
        commit(root, config, (f"{n % 7}/{n}.wav", 1, 100))
    snap(root, config)
    compact(root)
    (part,) = compacted(root)
    file = pq.ParquetFile(f"{root}/{part.embeddings}")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert sizes == [1024, 1024, 352]
    for dataset, columns in (
        (part.embeddings, ["path", "start_sample"]),
        (part.predictions, ["path", "start_sample", "rank"]),
    ):
        rows = [
            tuple(r.values())
            for r in pq.read_table(f"{root}/{dataset}", columns=columns, partitioning=None).to_pylist()
        ]
        assert rows == sorted(rows) and len(rows) == len(set(rows))


def test_a_compacted_part_has_the_bytes_of_one_that_was_written_at_once(tmp_path):
    """But for the footers: the same schema, encodings and row groups."""
    root, config = kit.new_store(tmp_path)
    items = [(kit.recording(f"{n}.wav"), 400) for n in range(6)]
    for item in items:
        kit.write_part(root, config, [item])
    snap(root, config)
    compact(root)
    whole, _ = kit.new_store(tmp_path / "whole")
    kit.write_part(whole, config, items)
    (one,), (other,) = compacted(root), load_ledger(whole).parts.values()
    assert Path(root, one.predictions).read_bytes() == Path(whole, other.predictions).read_bytes()
    first, second = (pq.ParquetFile(f"{r}/{p.embeddings}") for r, p in ((root, one), (whole, other)))
    assert first.schema_arrow.remove_metadata() == second.schema_arrow.remove_metadata()
    for i in range(second.metadata.num_row_groups):
        a, b = first.metadata.row_group(i), second.metadata.row_group(i)
        for c in range(a.num_columns):
            assert a.column(c).to_dict() == {**b.column(c).to_dict()}
    assert first.read().equals(second.read())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("top_k", [0, 2], ids=["no_predictions", "predictions"])
def test_every_kind_of_store(tmp_path, dtype, top_k):
    root, config = kit.new_store(tmp_path, kit.store_config(dtype=dtype, top_k=top_k))
    many_small(root, config)
    commit(root, config, ("failed.wav", 1, 0))
    snap(root, config)
    rows, details = seen(root), live_details(root)
    assert compact(root).parts_after == 1
    assert seen(root) == rows and live_details(root) == details
    assert verify(root, [], deep=True).ok
    (part,) = compacted(root)
    assert pq.read_schema(f"{root}/{part.embeddings}").remove_metadata() == embeddings_schema(kit.DIM, dtype)
    assert (part.predictions is None) is (top_k == 0)
    if part.predictions:
        assert pq.read_schema(f"{root}/{part.predictions}").remove_metadata() == predictions_schema()


def test_extreme_vectors_keep_every_bit(tmp_path):
    """Subnormal, largest and negative zero: a cast on the way would show."""
    root, config = kit.new_store(tmp_path)
    patterns = np.array([0x0001, 0x03FF, 0x7BFF, 0xFBFF, 0x8000, 0x8001, 0x3C01, 0x0400], np.uint16)
    made = []
    for n in range(3):
        rec = kit.recording(f"{n}.wav")
        rows = kit.window_rows(rec, 1, config)
        vectors = np.roll(patterns, n).view(np.float16).astype(np.float32).reshape(1, -1)
        with_bits = type(rows)(rec, rows.start_samples, rows.valid_samples, vectors, rows.top)
        from store import PartWriter, part_id

        with PartWriter(
            root, config, part_id=part_id(config.digest, [rec]), site="A", date=None, classes=kit.CLASSES
        ) as part:
            part.add(with_bits)
            part.commit(kit.entries([(rec, 1)]))
        made.append(np.roll(patterns, n).tolist())
    snap(root, config)
    compact(root)
    (part,) = compacted(root)
    column = pq.ParquetFile(f"{root}/{part.embeddings}").read()["embedding"].combine_chunks()
    bits = np.frombuffer(column.flatten().buffers()[1], np.uint16)[: 3 * 8].reshape(3, 8)
    assert bits.tolist() == made


def test_the_archive_answers_the_same(store):
    root, _ = store
    query = "SELECT path, start_sample, embedding, site FROM embeddings ORDER BY ALL"
    labels = "SELECT path, start_sample, rank, label, score FROM predictions ORDER BY ALL"
    with Archive(root) as old:
        before, before_labels = old.sql(query), old.sql(labels)
        compact(root, target=TARGET)
        with Archive(root) as new:
            assert new.snapshot.number == old.snapshot.number + 1
            assert new.sql(query) == before and new.sql(labels) == before_labels
        assert old.sql(query) == before and old.sql(labels) == before_labels


def test_the_same_inputs_give_the_same_parts_on_any_machine(store, tmp_path):
    root, _ = store
    copy = str(tmp_path / "elsewhere")
    shutil.copytree(root, copy)
    compact(root, target=TARGET)
    compact(copy, target=TARGET)
    assert kit.tree(copy) == kit.tree(root)


def test_a_compacted_part_is_compacted_again(store):
    root, _ = store
    rows, details = seen(root), live_details(root)
    compact(root, target=TARGET)
    compact(root)
    assert seen(root) == rows and live_details(root) == details
    ledger = load_ledger(root)
    newest = [p for p in ledger.parts.values() if p.compacted_from and not ledger.is_dead(p)]
    twice = [f for p in newest for f in p.files if f.moved_from]
    assert len(newest) == 3 and twice
    for f in twice:
        (middle,) = f.moved_from
        assert ledger.parts[middle].compacted_from and f.origin in ledger.parts[middle].compacted_from
    assert verify(root, [], deep=True).ok


def test_a_file_that_changes_after_compaction_is_replaced(store):
    root, config = store
    compact(root, target=TARGET)
    held, entry = next((name, e) for name, e in load_ledger(root).live.values() if e.path == "A/002a.wav")
    assert entry.origin and held != entry.origin
    commit(root, config, ("A/002a.wav", 5, 1, [held]))
    live = {e.path: e for _, e in load_ledger(root).live.values()}
    assert live["A/002a.wav"].size_bytes == 1005 and live["A/002a.wav"].windows == 1
    snap(root, config)
    assert verify(root, [], deep=True).ok
    compact(root, target=TARGET)
    (entry,) = (e for _, e in load_ledger(root).live.values() if e.path == "A/002a.wav")
    assert entry.size_bytes == 1005
    assert verify(root, [], deep=True).ok


def test_a_version_planned_before_and_committed_after_wins(store):
    """On another machine, where no lock reaches: planned against the old part, committed beside the compacted one."""
    root, config = store
    old = next(name for name, e in load_ledger(root).live.values() if e.path == "A/002a.wav")
    compact(root, target=TARGET)
    commit(root, config, ("A/002a.wav", 7, 2, [old]))
    (entry,) = (e for _, e in load_ledger(root).live.values() if e.path == "A/002a.wav")
    assert entry.size_bytes == 1007
    snap(root, config)
    assert [r for r in seen(root)["embeddings"] if "A/002a.wav" in r] and verify(root, [], deep=True).ok


def test_a_compacted_part_that_is_lost_brings_its_sources_back(store):
    root, config = store
    rows = seen(root)
    compact(root, target=TARGET)
    for part in compacted(root):
        Path(root, part.embeddings).unlink()
    write_snapshot(root, config, load_ledger(root))
    assert seen(root) == rows


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 5)), min_size=1, max_size=4, unique_by=lambda f: f[0]
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 12),
)
def test_any_store_keeps_its_rows(tmp_path_factory, parts, target):
    root, config = kit.new_store(tmp_path_factory.mktemp("any"))
    holder: dict[str, str] = {}
    for version, files in enumerate(parts, 1):
        name = commit(root, config, *((p, version, n, [holder[p]] if p in holder else []) for p, n in files))
        holder.update({p: name for p, _ in files})
    snap(root, config)
    rows, details = seen(root), live_details(root)
    compact(root, target=target)
    assert seen(root) == rows == seen(root, 1) and live_details(root) == details
    assert verify(root, [], deep=True).ok
    assert compact(root, target=target).made == 0


# --- what must not happen ---


@pytest.mark.parametrize("n", [-1, 0, 1])
def test_fewer_than_two_parts_cannot_be_asked_for(store, n):
    with pytest.raises(Invalid, match=f"--min-parts {n}"):
        compact(store[0], min_parts=n)


def test_no_store(tmp_path):
    with pytest.raises(NotFound) as caught:
        compact(str(tmp_path))
    assert caught.value.kind == "no_store" and not list(tmp_path.iterdir())


def test_nothing_committed(tmp_path):
    root, _ = kit.new_store(tmp_path)
    report = compact(root)
    assert (report.made, report.parts_before) == (0, 0)


def harm_vectors(root, part):
    flip(Path(root, part.embeddings), 0.3)
    return part.embeddings


def harm_predictions(root, part):
    flip(Path(root, part.predictions), 0.3)
    return part.predictions


def drop_predictions(root, part):
    Path(root, part.predictions).unlink()
    return part.predictions


def other_columns(root, part):
    path = Path(root, part.embeddings)
    file = pq.ParquetFile(path)
    table = file.read().append_column("extra", pa.array(range(part.rows), pa.int64()))
    pq.write_table(table.replace_schema_metadata(file.metadata.metadata), path)
    return part.embeddings


def other_rows(root, part):
    """The rows of two recordings take each other's place: the ledger's counts still agree."""
    path = Path(root, part.embeddings)
    file = pq.ParquetFile(path)
    table = file.read()
    turned = pa.concat_tables([table.slice(2), table.slice(0, 2)])
    pq.write_table(turned.replace_schema_metadata(file.metadata.metadata), path)
    return part.embeddings


HARM = [harm_vectors, harm_predictions, drop_predictions, other_columns, other_rows]


@pytest.mark.parametrize(
    ("harm", "listed"),
    # Without a snapshot nothing tells what a vector was.
    [(harm, listed) for harm in HARM for listed in (True, False) if listed or harm is not harm_vectors],
    ids=lambda v: v.__name__ if callable(v) else "in_a_snapshot" if v else "in_none",
)
def test_damage_is_named_and_never_copied(tmp_path, harm, listed):
    root, config = kit.new_store(tmp_path)
    many_small(root, config)
    if listed:
        snap(root, config)
    victim = next(p for p in load_ledger(root).parts.values() if p.files[0].path == "A/002a.wav")
    named = harm(root, victim)
    before = kit.tree(root)
    with pytest.raises(Damaged) as caught:
        compact(root)
    assert named in caught.value.message and "--skip-damaged" in caught.value.message
    assert kit.tree(root) == before and kit.temporary_files(root) == []
    report = compact(root, skip_damaged=True)
    assert list(report.left_alone) == [victim.embeddings] and report.made == 1 and report.merged == 5
    assert victim.part_id not in compacted(root)[0].compacted_from
    assert victim.part_id in {p.part_id for p in read_snapshot(root).parts}, "readers are to stumble over it still"


def test_a_footer_that_cannot_be_read_stops_it(store):
    root, _ = store
    victim = next(iter(load_ledger(root).parts.values()))
    Path(root, victim.embeddings).write_bytes(b"PAR1")
    before = kit.tree(root)
    for skip in (False, True):
        with pytest.raises(Damaged, match=victim.part_id):
            compact(root, skip_damaged=skip)
    assert kit.tree(root) == before


def test_a_part_of_another_store_is_not_merged(store, tmp_path):
    root, _ = store
    other, config = kit.new_store(tmp_path / "other", kit.store_config(hop_samples=72_000))
    kit.write_part(other, config, [(kit.recording("A/x.wav"), 2)])
    for name in part_files(other):
        Path(root, name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(other, name), Path(root, name))
    with pytest.raises(Damaged, match="other settings"):
        compact(root)
    report = compact(root, skip_damaged=True)
    assert len(report.left_alone) == 1 and report.made


def test_a_damaged_snapshot_is_named_and_a_new_one_written(store):
    root, _ = store
    Path(root, "snapshots/1.json").write_bytes(b"{")
    report = compact(root, target=TARGET)
    assert report.snapshot == 2 and "snapshot 1" in report.notes[0]
    assert read_snapshot(root).number == 2


def test_a_part_that_is_gone_is_told(store):
    root, _ = store
    lost = next(p for p in load_ledger(root).parts.values() if p.site == "B")
    Path(root, lost.embeddings).unlink()
    report = compact(root, target=TARGET)
    assert any(lost.embeddings in note for note in report.notes)


def test_a_source_fault_crosses_processes():
    import pickle

    again = pickle.loads(pickle.dumps(SourceFault("e", "p", "cannot be read")))
    assert isinstance(again, SourceFault) and (again.embeddings, again.relative, again.why) == (
        "e",
        "p",
        "cannot be read",
    )


def test_more_parts_than_a_process_may_open(tmp_path):
    root, config = kit.new_store(tmp_path)
    for n in range(40):
        commit(root, config, (f"{n:03}.wav", 1, 1))
    snap(root, config)
    rows = seen(root)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 28, hard))
    try:
        report = compact(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (report.merged, report.made) == (40, 1)
    assert seen(root) == rows


def test_parts_whose_files_are_interleaved(tmp_path):
    """Every second file lies in the other part, so the reader goes back and forth; more sources than it keeps open."""
    root, config = kit.new_store(tmp_path)
    for n in range(18):
        commit(root, config, *((f"{k:02}/{n:02}.wav", 1, 1) for k in range(5)))
    snap(root, config)
    rows = seen(root)
    compact(root)
    assert seen(root) == rows
    (part,) = compacted(root)
    assert [f.path for f in part.files] == sorted(f.path for f in part.files)
    assert [f.detail["first_row"] for f in read_part(root, part.embeddings).files] == list(range(90))


def test_progress_goes_up_to_the_end(store):
    told = []
    report = compact(store[0], target=TARGET, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1] == (report.windows, report.windows) and len(told) == report.made


def test_a_full_disk_is_said_and_leaves_what_was(store, monkeypatch):
    from tests.store.faults import FaultyOps

    root, _ = store
    rows = seen(root)
    with pytest.raises(Unavailable) as caught:
        compact(root, target=TARGET, ops=FaultyOps(3, "enospc"))
    assert caught.value.kind == "disk_full"
    assert seen(root) == rows and kit.temporary_files(root) == []


def test_conflict_is_of_a_kind_of_its_own(tmp_path):
    from dataclasses import replace

    root, _ = kit.new_store(tmp_path, replace(kit.store_config(), format_version=1, made_as=1))
    with pytest.raises(Conflict) as caught:
        compact(root, dry_run=True)
    assert caught.value.kind == "old_format"
