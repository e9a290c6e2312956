"""migrate: one small file changes, whatever stops it; rows, ids and digests stay."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sonotheque.core.errors import Conflict, Damaged, NotFound
from store import Archive, StoreConfig, load_ledger, part_id, read_config, verify, write_snapshot
from store.care import collect_garbage, compact, migrate
from store.config import FORMAT_VERSION
from tests.care.golden import make_v1
from tests.care.support import commit, edit_json, later, live_details, seen, snap
from tests.store import kit
from tests.store.faults import ForgetfulOps


@pytest.fixture(params=make_v1.STORES)
def old(request, tmp_path):
    root = str(tmp_path / "store")
    shutil.copytree(make_v1.GOLDEN / request.param / "store", root)
    return root


def numbers(root):
    return [int(p.stem) for p in Path(root, "snapshots").iterdir()]


def test_a_store_of_version_1_becomes_one_of_version_2(old):
    before, config = kit.tree(old), read_config(old)
    rows, details, live = {n: seen(old, n) for n in numbers(old)}, live_details(old), load_ledger(old).live
    report = migrate(old)
    assert (report.changed, report.from_version, report.to_version, report.dry_run) == (True, 1, FORMAT_VERSION, False)
    ledger = load_ledger(old)
    assert (report.parts, report.windows) == (len(ledger.parts), len(seen(old)["embeddings"]))
    new = read_config(old)
    assert (new.format_version, new.made_as) == (2, 1)
    assert new.digest == config.digest and new.model == config.model and new.windows == config.windows
    after = kit.tree(old)
    assert after.pop("sonotheque.v1.json") == before.pop("sonotheque.json") and report.kept == "sonotheque.v1.json"
    settings = json.loads(after.pop("sonotheque.json"))
    assert settings == {**json.loads(Path(old, report.kept).read_bytes()), "format_version": 2, "made_as": 1}
    assert {n: after[n] for n in before} == before, "no other file changes"
    assert ledger.live == live and live_details(old) == details
    assert {n: seen(old, n) for n in rows} == rows
    assert seen(old, report.snapshot) == rows[max(rows)]
    assert verify(old, [], deep=True).ok
    json.dumps(report.to_json())


def test_everything_works_on_it_afterwards(old):
    migrate(old)
    config = read_config(old)
    rec = kit.recording("new.wav")
    name = commit(old, config, ("new.wav", 1, 2))
    assert name == part_id(config.digest, [rec])
    assert kit.footer(f"{old}/{load_ledger(old).parts[name].embeddings}")["format_version"] == 2
    snap(old, config)
    rows = seen(old)
    assert compact(old).made
    assert seen(old) == rows
    collect_garbage(old, keep_snapshots=1, now=later(25))
    assert seen(old) == rows and verify(old, [], deep=True).ok
    with Archive(old) as archive:
        assert archive.sql("SELECT count(*) AS n FROM embeddings")["n"][0].as_py() == len(rows["embeddings"])


def test_part_ids_are_those_of_before(old):
    """A run after the migration must not embed everything again."""
    parts = load_ledger(old).parts
    migrate(old)
    digest = read_config(old).digest
    for name, part in parts.items():
        recordings = [kit.recording(f.path, version=f.size_bytes - 1000, replaces=f.replaces) for f in part.files]
        assert part_id(digest, recordings) == name


def test_a_program_of_version_1_refuses_it_and_names_both(old, monkeypatch):
    migrate(old)
    monkeypatch.setattr("store.config.FORMAT_VERSION", 1)
    with pytest.raises(Damaged, match=r"format version 2; this program reads versions up to 1"):
        read_config(old)


def test_a_dry_run_checks_and_writes_nothing(old):
    before = kit.tree(old)
    told = migrate(old, dry_run=True)
    assert kit.tree(old) == before and kit.temporary_files(old) == []
    done = migrate(old)
    assert told.to_json() == {
        **done.to_json(),
        "dry_run": True,
        "snapshot": max(numbers(old)) - (done.snapshot > told.snapshot),
    }


def test_a_second_time_changes_nothing(old):
    migrate(old)
    before = kit.tree(old)
    report = migrate(old)
    assert (report.changed, report.from_version, report.to_version) == (False, 2, 2)
    assert kit.tree(old) == before


def test_a_new_store_is_of_version_2_and_needs_none(tmp_path):
    root, config = kit.new_store(tmp_path)
    assert (config.format_version, config.made_as) == (2, 2) == (FORMAT_VERSION, FORMAT_VERSION)
    before = kit.tree(root)
    assert migrate(root).changed is False and kit.tree(root) == before


def test_keys_that_this_program_does_not_know_are_kept(old):
    edit_json(Path(old, "sonotheque.json"), note="of the field station")
    migrate(old)
    assert json.loads(Path(old, "sonotheque.json").read_text())["note"] == "of the field station"


def test_parts_committed_since_the_newest_snapshot_are_listed_by_a_new_one(old):
    commit(old, read_config(old), ("late.wav", 1, 2))
    newest = max(numbers(old))
    report = migrate(old)
    assert report.snapshot == newest + 1
    assert any("late.wav" in row for row in seen(old)["embeddings"])


def test_a_damaged_store_is_not_migrated(old):
    victim = next(iter(load_ledger(old).parts.values()))
    Path(old, victim.predictions).write_bytes(b"PAR1")
    before = kit.tree(old)
    with pytest.raises(Damaged, match="was not migrated") as caught:
        migrate(old)
    assert victim.part_id in caught.value.message and kit.tree(old) == before


def test_other_settings_under_the_name_of_the_old_ones(old):
    Path(old, "sonotheque.v1.json").write_text("of somebody else")
    before = kit.tree(old)
    with pytest.raises(Conflict, match=r"sonotheque\.v1\.json is there"):
        migrate(old)
    assert kit.tree(old) == before


def test_no_store(tmp_path):
    with pytest.raises(NotFound):
        migrate(str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format_version": 2}, "made_as"),
        ({"format_version": 2, "made_as": 3}, "made_as 3"),
        ({"format_version": 2, "made_as": 0}, "made_as 0"),
        ({"format_version": 0}, "made_as 0"),
        ({"format_version": "1"}, "format_version|'>' not supported"),
        ({"format_version": None}, "not supported"),
    ],
)
def test_versions_that_cannot_be(old, changes, why):
    edit_json(Path(old, "sonotheque.json"), **changes)
    with pytest.raises(Damaged, match=why):
        migrate(old)


def test_settings_of_both_versions_are_read_back():
    for version, made_as in ((1, 1), (2, 1), (2, 2)):
        config = replace(kit.store_config(), format_version=version, made_as=made_as)
        assert StoreConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
        assert ("made_as" in config.to_json()) is (version > 1)
    one, two = (replace(kit.store_config(), format_version=2, made_as=m) for m in (1, 2))
    assert one.digest != two.digest == kit.store_config().digest


def test_a_power_cut_after_it_loses_nothing(tmp_path):
    base = tmp_path / "disk"
    base.mkdir()
    ops = ForgetfulOps(str(base))
    root, config = f"{base}/store", replace(kit.store_config(), format_version=1, made_as=1)
    kit.create_config(root, config, ops)
    commit(root, config, ("a.wav", 1, 2), ops=ops)
    write_snapshot(root, config, load_ledger(root), ops=ops)  # else making its folder forces the store's to disk
    migrate(root, ops=ops)
    ops.after_power_cut(tmp_path / "after")
    after = str(tmp_path / "after/store")
    assert read_config(after).format_version == 2 and Path(after, "sonotheque.v1.json").exists()
    assert len(seen(after)["embeddings"]) == 2
