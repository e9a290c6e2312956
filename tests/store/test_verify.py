"""``verify`` on whole and on damaged stores: it names the file, and never raises."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store import load_ledger, verify, write_snapshot
from store.schema import LEDGER_KEY
from tests.store import kit

ITEMS = {
    "A": [(kit.recording("a/1.wav"), 3), (kit.recording("a/2.wav"), 0), (kit.recording("a/3.wav"), 2)],
    "B": [(kit.recording("b/1.wav", site="B"), 4)],
}
PLANNED = [(r.source.path, r.source.size_bytes, r.source.mtime_ns) for items in ITEMS.values() for r, _ in items]


def check(root, planned=PLANNED, *, deep=False):
    report = verify(root, planned, deep=deep)
    json.dumps(report.to_json())
    assert report.ok is not bool(report.missing or report.duplicate_windows or report.damaged)
    assert report.damaged == len(report.damaged_files) and report.missing == len(report.missing_paths)
    return report


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    root, config = kit.new_store(tmp_path_factory.mktemp("clean"))
    for items in ITEMS.values():
        kit.write_part(root, config, items)
    write_snapshot(root, config, load_ledger(root))
    return root


@pytest.fixture
def store(clean, tmp_path):
    root = str(tmp_path / "copy")
    shutil.copytree(clean, root)
    return root


def part_of(root, site="A"):
    return next(p for p in load_ledger(root).parts.values() if p.site == site)


@pytest.mark.parametrize("deep", [False, True], ids=["quick", "deep"])
def test_a_clean_store_is_ok(clean, deep):
    report = check(clean, deep=deep)
    assert report.ok and report.deep is deep
    assert (report.planned, report.committed, report.missing, report.foreign) == (4, 4, 0, 0)
    assert (report.parts, report.windows, report.superseded_windows, report.snapshot) == (2, 9, 0, 1)
    assert (report.damaged_files, report.unused_files) == ({}, [])


@pytest.mark.parametrize("deep", [False, True], ids=["quick", "deep"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("top_k", [0, 2], ids=["no_predictions", "predictions"])
def test_every_kind_of_clean_store_is_ok(tmp_path, deep, dtype, top_k):
    root, config = kit.new_store(tmp_path, kit.store_config(dtype=dtype, top_k=top_k))
    assert check(root, [], deep=deep).ok  # nothing in it yet
    kit.write_part(root, config, ITEMS["A"], date=None, site="x/y")
    kit.write_part(root, config, [(kit.recording("only/failed.wav"), 0)])
    assert check(root, PLANNED[:3], deep=deep).ok  # no snapshot yet
    write_snapshot(root, config, load_ledger(root))
    report = check(root, PLANNED[:3], deep=deep)
    assert report.ok and (report.windows, report.parts) == (5, 2)
    assert report.foreign_paths == ["only/failed.wav"]


def test_superseded_rows_are_counted_and_no_fault(store):
    config = kit.store_config()
    old = part_of(store)
    newer = kit.recording("a/1.wav", version=2, replaces=[old.part_id])
    kit.write_part(store, config, [(newer, 1)])
    key = (newer.source.path, newer.source.size_bytes, newer.source.mtime_ns)
    report = check(store, [key, *PLANNED[1:]], deep=True)
    assert report.ok and (report.windows, report.superseded_windows) == (7, 3)
    outdated = check(store)  # the plan still has the older version
    assert (outdated.missing_paths, outdated.ok) == (["a/1.wav"], False)


# --- damage: each returns the path, relative to the store, that the report must name ---


def truncate(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0x40
    path.write_bytes(bytes(data))


def embeddings(root: str) -> Path:
    return Path(root, part_of(root).embeddings)


def predictions(root: str) -> Path:
    return Path(root, part_of(root).predictions)


def on(find: Callable[[str], Path], harm: Callable[[Path], object]) -> Callable[[str], str]:
    def damage(root: str) -> str:
        path = find(root)
        harm(path)
        return path.relative_to(root).as_posix()

    return damage


def renamed(root: str) -> str:
    target = embeddings(root).with_name(f"part-{'0' * 32}.parquet")
    embeddings(root).rename(target)
    return target.relative_to(root).as_posix()


def moved(root: str) -> str:
    source = embeddings(root)
    target = Path(root, "embeddings/site=C/date=2024-05-01", source.name)
    target.parent.mkdir(parents=True)
    source.rename(target)
    return target.relative_to(root).as_posix()


def moved_to_another_date(root: str) -> str:
    source = embeddings(root)
    target = Path(root, "embeddings/site=A/date=__HIVE_DEFAULT_PARTITION__", source.name)
    target.parent.mkdir(parents=True)
    source.rename(target)
    return target.relative_to(root).as_posix()


def copied(root: str) -> str:
    source = embeddings(root)
    target = source.with_name(source.name.replace(".parquet", ".copy.parquet"))
    shutil.copy(source, target)
    return target.relative_to(root).as_posix()


def rewritten(change: Callable[[pa.Table, dict], tuple[pa.Table, dict | None]]) -> Callable[[str], str]:
    """A part written by hand under its own name, with other rows or another ledger."""

    def damage(root: str) -> str:
        path = embeddings(root)
        table = pq.ParquetFile(path).read()
        changed, ledger = change(table.replace_schema_metadata(None), kit.footer(path))
        metadata = {} if ledger is None else {LEDGER_KEY: json.dumps(ledger).encode()}
        pq.write_table(changed.replace_schema_metadata(metadata), path)
        return path.relative_to(root).as_posix()

    return damage


def swapped(root: str) -> str:
    """The predictions of another part with as many rows."""
    path = predictions(root)
    table = pq.ParquetFile(path).read()
    pq.write_table(table.set_column(table.column_names.index("rank"), "rank", pc_negate(table["rank"])), path)
    return path.relative_to(root).as_posix()


def pc_negate(column):
    import pyarrow.compute as pc

    return pc.negate(column)


def not_finite(table, ledger):
    vectors = pa.array(np.full(table.num_rows * kit.DIM, np.nan, np.float16))
    kind = table.schema.field("embedding").type
    return table.set_column(
        table.column_names.index("embedding"),
        table.schema.field("embedding"),
        pa.FixedSizeListArray.from_arrays(vectors, type=kind),
    ), ledger


def other_rows(table, ledger):
    """As many rows as the ledger says, all of one recording."""
    return pa.concat_tables([table.slice(0, 1)] * table.num_rows), ledger


def wrong_dim(table, ledger):
    kind = pa.list_(pa.float16(), 3)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(table.num_rows * 3, np.float16)), type=kind)
    return table.set_column(table.column_names.index("embedding"), "embedding", vectors), ledger


def text_vectors(table, ledger):
    words = pa.array(["x"] * table.num_rows)
    return table.set_column(table.column_names.index("embedding"), "embedding", words), ledger


def other_key(key, value):
    return rewritten(lambda table, ledger: (table, {**ledger, key: value}))


QUICK = {
    "truncated": on(embeddings, lambda p: truncate(p, 0.5)),
    "truncated_by_a_byte": on(embeddings, lambda p: p.write_bytes(p.read_bytes()[:-1])),
    "empty_file": on(embeddings, lambda p: p.write_bytes(b"")),
    "other_bytes": on(embeddings, lambda p: p.write_bytes(b"PAR1" * 100)),
    "a_folder": on(embeddings, lambda p: (p.unlink(), p.mkdir())),
    "deleted": on(embeddings, Path.unlink),
    "renamed": renamed,
    "moved_to_another_site": moved,
    "moved_to_another_date": moved_to_another_date,
    "copied_beside_itself": copied,
    "footer_removed": rewritten(lambda table, ledger: (table, None)),
    "ledger_is_a_list": rewritten(lambda table, ledger: (table, [1])),
    "ledger_without_files": rewritten(lambda table, ledger: (table, {k: v for k, v in ledger.items() if k != "files"})),
    "files_are_numbers": other_key("files", [1, 2]),
    "site_is_null": other_key("site", None),
    "predictions_are_text": other_key("predictions", "yes"),
    "other_store": other_key("store_digest", "00" * 16),
    "rows_missing": rewritten(lambda table, ledger: (table.slice(0, 4), ledger)),
    "ledger_adds_up_wrong": other_key("rows", 6),
    "rows_of_other_recordings": rewritten(other_rows),
    "no_vectors": rewritten(lambda table, ledger: (table.drop_columns(["embedding"]), ledger)),
    "no_identity": rewritten(lambda table, ledger: (table.drop_columns(["start_sample"]), ledger)),
    "vectors_of_another_length": rewritten(wrong_dim),
    "vectors_of_text": rewritten(text_vectors),
}
PREDICTIONS = {
    "predictions_deleted": on(predictions, Path.unlink),
    "predictions_truncated": on(predictions, lambda p: truncate(p, 0.5)),
    "predictions_empty": on(predictions, lambda p: p.write_bytes(b"")),
    "predictions_of_another_part": on(
        predictions, lambda p: shutil.copy(next(p.parents[1].parent.glob("site=B/*/*.parquet")), p)
    ),
}
DEEP = {
    "predictions_swapped": swapped,
    "vectors_not_finite": rewritten(not_finite),
    **{f"flipped_at_{at}": on(embeddings, lambda p, at=at: flip(p, at)) for at in (0.05, 0.2, 0.4, 0.6, 0.9)},
    **{f"predictions_flipped_at_{at}": on(predictions, lambda p, at=at: flip(p, at)) for at in (0.1, 0.5)},
}


def named(report) -> str:
    return " ".join([*report.damaged_files, *report.damaged_files.values()])


@pytest.mark.parametrize("deep", [False, True], ids=["quick", "deep"])
@pytest.mark.parametrize("damage", [*QUICK.values(), *PREDICTIONS.values()], ids=[*QUICK, *PREDICTIONS])
def test_damage_is_found_and_named(store, damage, deep):
    file = damage(store)
    report = check(store, deep=deep)
    assert not report.ok
    assert file in named(report)


@pytest.mark.parametrize("damage", DEEP.values(), ids=DEEP)
def test_damage_inside_pages_is_found_by_a_deep_look(store, damage):
    file = damage(store)
    check(store)  # may miss it, must not fail over it
    report = check(store, deep=True)
    assert not report.ok
    assert file in named(report)


@pytest.mark.parametrize("damage", ["deleted", "truncated", "renamed", "moved_to_another_site"])
def test_the_files_of_a_lost_part_are_missing(store, damage):
    QUICK[damage](store)
    report = check(store)
    assert report.missing_paths == ["a/1.wav", "a/2.wav", "a/3.wav"]
    assert report.committed == 1


@pytest.mark.parametrize("kind", ["embeddings", "predictions"])
def test_no_flip_and_no_cut_makes_it_raise(store, kind):
    """Every damage to a file is a report, wherever it hits; a deep look finds each of them."""
    path = (embeddings if kind == "embeddings" else predictions)(store)
    data = path.read_bytes()
    rng = random.Random(7)
    for at in sorted({0, 3, len(data) - 1, len(data) - 5, len(data) - 9, *rng.sample(range(len(data)), 60)}):
        harmed = bytearray(data)
        harmed[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(harmed))
        assert not check(store, deep=True).ok, f"a flipped bit at {at} of {len(data)}"
        path.write_bytes(data[:at])
        assert not check(store, deep=True).ok, f"cut at {at} of {len(data)}"
    path.write_bytes(data)
    assert check(store, deep=True).ok


def test_a_part_by_hand_with_rows_that_others_hold(store):
    """A ledger that names another file, over rows of a recording that is live elsewhere: readers would see them twice."""
    config = kit.store_config(top_k=0)
    source = embeddings(store)
    ledger = kit.footer(source)
    identity = "ef" * 16
    files = [{**f, "path": f"z{i}", "recording_id": i} for i, f in enumerate(ledger["files"])]
    ledger = {**ledger, "part_id": identity, "files": files, "predictions": None, "rows": 5}
    table = pq.ParquetFile(source).read().replace_schema_metadata({LEDGER_KEY: json.dumps(ledger).encode()})
    target = source.with_name(f"part-{identity}.parquet")
    pq.write_table(table, target)
    assert config.top_k == 0
    report = check(store)
    assert not report.ok
    assert target.relative_to(store).as_posix() in named(report)


def test_the_same_window_twice_in_one_part(store):
    source = embeddings(store)
    ledger = kit.footer(source)
    table = pq.ParquetFile(source).read()
    doubled = pa.concat_tables([table.slice(0, 1), table.slice(0, 1), *[table.slice(i, 1) for i in range(2, 5)]])
    pq.write_table(doubled.replace_schema_metadata({LEDGER_KEY: json.dumps(ledger).encode()}), source)
    report = check(store)
    assert (report.ok, report.duplicate_windows) == (False, 1)


def test_missing_planned_files_are_named(store):
    report = check(store, [*PLANNED, ("new.wav", 1, 1), ("a/0.wav", 2, 2)])
    assert (report.ok, report.planned, report.committed) == (False, 6, 4)
    assert report.missing_paths == ["new.wav", "a/0.wav"]


@pytest.mark.parametrize("change", [(1, 0), (0, 1)], ids=["size", "mtime"])
def test_a_file_planned_in_another_version_is_missing(store, change):
    path, size, mtime = PLANNED[0]
    report = check(store, [(path, size + change[0], mtime + change[1]), *PLANNED[1:]])
    assert (report.ok, report.missing_paths) == (False, [path])


def test_foreign_files_are_named_and_no_fault(store):
    report = check(store, PLANNED[1:])
    assert (report.ok, report.foreign, report.foreign_paths) == (True, 1, ["a/1.wav"])


def test_unused_predictions_are_named_and_no_fault(store):
    orphan = predictions(store).with_name(f"part-{'0' * 32}.parquet")
    shutil.copy(predictions(store), orphan)
    report = check(store, deep=True)
    assert report.ok and report.unused_files == [orphan.relative_to(store).as_posix()]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"parts": [{}]}'], ids=repr)
@pytest.mark.parametrize("deep", [False, True], ids=["quick", "deep"])
def test_a_damaged_snapshot_is_named(store, data, deep):
    Path(store, "snapshots/1.json").write_bytes(data)
    report = check(store, deep=deep)
    assert (report.ok, list(report.damaged_files)) == (False, ["snapshots/1.json"])


def test_a_snapshot_with_another_digest_is_found_by_a_deep_look(store):
    path = Path(store, "snapshots/1.json")
    value = json.loads(path.read_text())
    value["parts"][0]["sha256"] = "00" * 32
    path.write_text(json.dumps(value))
    assert check(store).ok
    assert list(check(store, deep=True).damaged_files) == [value["parts"][0]["embeddings"]]


@pytest.mark.parametrize("path", ["caf\udce9.wav", "日本.wav"], ids=ascii)
def test_paths_that_are_not_ascii(tmp_path, path):
    root, config = kit.new_store(tmp_path)
    rec = kit.recording(path)
    kit.write_part(root, config, [(rec, 1)])
    key = (path, rec.source.size_bytes, rec.source.mtime_ns)
    assert check(root, [key], deep=True).ok
    assert check(root, []).foreign_paths == [path]


def test_a_temporary_file_is_no_fault(store):
    Path(store, "_tmp").mkdir(exist_ok=True)
    Path(store, "_tmp", "ab.host.1.ff.e").write_bytes(b"half")
    assert check(store, deep=True).ok


def test_nothing_is_changed(store):
    before = kit.tree(store)
    QUICK["truncated"](store)
    harmed = kit.tree(store)
    check(store, deep=True)
    assert kit.tree(store) == harmed != before
