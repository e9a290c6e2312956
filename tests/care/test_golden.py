"""Stores of format version 1, made before version 2 existed: read, written, verified, cleaned, and refused where they must be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sonotheque.core.errors import Conflict
from store import (
    Archive,
    create_config,
    load_ledger,
    part_id,
    read_config,
    read_snapshot,
    require_same,
    verify,
    write_snapshot,
)
from store.care import collect_garbage, compact
from tests.care.golden import make_v1
from tests.care.support import commit, later, seen
from tests.store import kit

NAMES = make_v1.STORES


@pytest.fixture(params=NAMES)
def golden(request, tmp_path):
    shutil.copytree(make_v1.GOLDEN / request.param, tmp_path / request.param)
    expected = json.loads((tmp_path / request.param / "expected.json").read_text())
    return str(tmp_path / request.param / "store"), expected


def test_settings_and_ledger_are_read(golden):
    root, expected = golden
    config = read_config(root)
    assert (config.format_version, config.made_as) == (1, 1)
    assert config.digest == expected["store_digest"]
    ledger = load_ledger(root)
    assert not ledger.damaged and sorted(ledger.parts) == expected["parts"]
    live = {e.path: [p, e.size_bytes, e.mtime_ns, e.status, e.windows] for p, e in ledger.live.values()}
    assert live == expected["live"]


def test_every_snapshot_gives_its_rows(golden):
    root, expected = golden
    for number, rows in expected["snapshots"].items():
        found = make_v1.rows_of(Path(root), json.loads(Path(root, f"snapshots/{number}.json").read_text()))
        assert found == rows
        assert read_snapshot(root, int(number)).live_rows == len(rows["embeddings"])


def test_the_archive_reads_them(golden):
    root, expected = golden
    newest = max(expected["snapshots"], key=int)
    with Archive(root) as archive:
        rows = archive.sql("SELECT path, start_sample, embedding FROM embeddings").to_pylist()
        assert archive.sql("SELECT count(*) AS n FROM predictions")["n"][0].as_py() == len(
            expected["snapshots"][newest]["predictions"]
        )
    wanted = {(r["path"], r["start_sample"]): r["embedding"] for r in expected["snapshots"][newest]["embeddings"]}
    assert {(r["path"], r["start_sample"]): list(map(float, r["embedding"])) for r in rows} == wanted


def test_verify_finds_nothing(golden):
    root, _ = golden
    report = verify(root, [], deep=True)
    assert report.ok, report


def test_the_settings_on_disk_are_never_touched(golden):
    root, _ = golden
    before = Path(root, "sonotheque.json").read_bytes()
    config = read_config(root)
    wanted = kit.store_config()  # as a run of today wants it
    require_same(root, config, wanted)
    assert create_config(root, wanted) == config
    assert Path(root, "sonotheque.json").read_bytes() == before
    assert json.loads(before) == config.to_json()


def test_parts_written_now_are_of_version_1_and_have_the_ids_of_then(golden):
    root, expected = golden
    config = read_config(root)
    for name, part in load_ledger(root).parts.items():
        recordings = [kit.recording(f.path, version=f.size_bytes - 1000, replaces=f.replaces) for f in part.files]
        assert part_id(config.digest, recordings) == name
    name = commit(root, config, ("new.wav", 1, 2))
    (part,) = (p for p in load_ledger(root).parts.values() if p.part_id == name)
    assert part.store_digest == expected["store_digest"]
    assert kit.footer(f"{root}/{part.embeddings}")["format_version"] == 1
    number = write_snapshot(root, config, load_ledger(root)).number
    assert json.loads(Path(root, f"snapshots/{number}.json").read_text())["format_version"] == 1
    assert verify(root, []).ok


def test_a_store_of_version_1_made_now_is_the_same_byte_for_byte(golden, tmp_path):
    """The script that made them, run by the program of today; bytes follow the Parquet library, so only with that one."""
    root, _ = golden
    made = tmp_path / "made"
    name = Path(root).parent.name
    make_v1.MAKE[name](made)
    old, new = kit.tree(root), kit.tree(str(made / "store"))
    parts = {n for n in old if n.endswith(".parquet")}
    assert {n for n in new if n.endswith(".parquet")} == parts
    writer = pq.read_metadata(f"{root}/{min(parts)}").created_by
    if writer == f"parquet-cpp-arrow version {pa.__version__}":
        assert {n: new[n] for n in parts} == {n: old[n] for n in parts}
    assert new["sonotheque.json"] == old["sonotheque.json"]


def test_compaction_is_refused_and_says_what_to_do(golden):
    root, _ = golden
    before = kit.tree(root)
    with pytest.raises(Conflict, match="sonotheque migrate --store") as caught:
        compact(root)
    assert caught.value.kind == "old_format"
    assert kit.tree(root) == before


def test_gc_removes_what_is_wholly_superseded_and_nothing_else(golden):
    root, expected = golden
    before = seen(root)
    collect_garbage(root, now=later(0))  # writes the snapshot that begins the grace period
    assert set(load_ledger(root).parts) == set(expected["parts"])
    collect_garbage(root, keep_snapshots=1, now=later(25))
    needed = {part for part, *_ in expected["live"].values()}
    assert set(load_ledger(root).parts) == needed
    assert seen(root) == before
    assert verify(root, [], deep=True).ok
