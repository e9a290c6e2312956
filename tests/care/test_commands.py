"""The verbs compact, gc, migrate: what they print, their JSON, their exit codes, and that only one is at work at a time."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.care import clean_store, compact_store, migrate_store
from cluster.job import heartbeat, new_job, store_lock
from cluster.status import verify_store
from sonotheque.cli.main import app
from sonotheque.core.errors import Conflict, NotFound
from store import load_ledger, read_config, read_snapshot
from tests.care.golden import make_v1
from tests.care.support import many_small, seen, set_times, snap
from tests.cluster.support import cli, make_archive, write_wav
from tests.cluster.support import run as embed_run
from tests.store import kit
from tests.store.test_verify import flip


@pytest.fixture
def store(tmp_path):
    root, config = kit.new_store(tmp_path)
    many_small(root, config)
    snap(root, config)
    return root


@pytest.fixture
def old(tmp_path):
    shutil.copytree(make_v1.GOLDEN / "v1-superseded" / "store", tmp_path / "old")
    return str(tmp_path / "old")


def run(*words: object) -> str:
    """One verb in this process; its standard output."""
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False, standalone_mode=False)
    assert done.return_value in (0, None), done.output
    return done.stdout


def test_compact_tells_what_it_did(store):
    rows = seen(store)
    told = run("compact", "--store", store, "--dry-run")
    assert "6 parts would be merged into 1; 6 -> 1 parts in use" in told and "snapshot 1" in told
    assert len(load_ledger(store).parts) == 6
    told = run("compact", "--store", store, "-q")
    assert "6 parts were merged into 1; 6 -> 1 parts in use" in told
    assert "16 windows of 12 recordings were moved, 0 superseded rows left behind" in told
    assert f"sonotheque gc --store {store}" in told and "snapshot 2" in told
    assert seen(store) == rows
    assert "nothing to compact in 1 parts; snapshot 2" in run("compact", "--store", store)


def test_compact_builds_the_catalog_of_its_snapshot(store):
    run("compact", "--store", store)
    assert list(Path(store, "catalog").rglob("s2-m0.json"))


def test_compact_as_json(store):
    found = json.loads(run("compact", "--store", store, "--json"))
    assert set(found) == {
        "dry_run", "parts_before", "parts_after", "merged", "made", "files", "windows", "superseded_windows", "bytes_read",
        "bytes_written", "snapshot", "left_alone", "notes",
    }  # fmt: skip
    assert (found["parts_before"], found["parts_after"], found["windows"]) == (6, 1, 16)


def test_min_parts(store):
    assert "nothing to compact" in run("compact", "--store", store, "--min-parts", 7)
    assert "6 parts were merged" in run("compact", "--store", store, "--min-parts", 6)


def test_gc_tells_what_it_did(store):
    run("compact", "--store", store)
    told = run("gc", "--store", store)
    assert ": 0 superseded parts" in told and "6 superseded parts" in told and "stay for now" in told
    assert "--keep-snapshots" not in told
    set_times(store, ["snapshots/1.json", "snapshots/2.json"], time.time() - 48 * 3600)
    for part in load_ledger(store).parts.values():
        set_times(store, [part.embeddings, part.predictions], time.time() - 49 * 3600)
    assert "6 of them only because a kept snapshot lists them: --keep-snapshots 1" in run("gc", "--store", store)
    dry = json.loads(run("gc", "--store", store, "--keep-snapshots", 1, "--dry-run", "--json"))
    told = run("gc", "--store", store, "--keep-snapshots", 1)
    assert (
        "freed: 6 superseded parts, 0 orphaned predictions files, 1 snapshots" in told and "snapshots kept: 2" in told
    )
    assert (dry["dry_run"], dry["parts"], dry["snapshots"], dry["snapshots_kept"]) == (True, 6, [1], [2])
    assert set(dry) == {
        "dry_run", "bytes_freed", "parts", "predictions", "snapshots", "snapshots_kept", "catalog_files", "index_files",
        "temporary_files", "score_files", "waiting", "waiting_bytes", "listed", "notes",
    }  # fmt: skip
    assert len(load_ledger(store).parts) == 1


def test_migrate_tells_what_it_did(old):
    told = run("migrate", "--store", old, "--dry-run")
    assert "would become a store of format version 2 (from 1): 5 parts with 8 windows checked" in told
    assert read_config(old).format_version == 1
    found = json.loads(run("migrate", "--store", old, "--json"))
    assert (found["changed"], found["from_version"], found["to_version"], found["kept"]) == (
        True,
        1,
        2,
        "sonotheque.v1.json",
    )
    assert "is of format version 2 already" in run("migrate", "--store", old)


def test_verify_names_what_gc_would_remove(store):
    run("compact", "--store", store)
    assert "no longer needed: 6 superseded parts, 0 predictions files" in run("verify", "--store", store, "--deep")
    found = json.loads(run("verify", "--store", store, "--json"))
    assert found["ok"] and found["dead_parts"] == 6


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["compact", "--store", "{old}"], 5, "sonotheque migrate --store"),
        (["compact", "--store", "{tmp}/nothing"], 4, "is not a store"),
        (["gc", "--store", "{tmp}/nothing"], 4, "is not a store"),
        (["migrate", "--store", "{tmp}/nothing"], 4, "is not a store"),
        (["compact", "--store", "{store}", "--min-parts", "1"], 2, "--min-parts 1"),
        (["gc", "--store", "{store}", "--grace-h", "-3"], 2, "--grace-h -3"),
        (["gc", "--store", "{store}", "--keep-snapshots", "0"], 2, "--keep-snapshots 0"),
        (["compact", "--store", "{damaged}"], 7, "--skip-damaged"),
    ],
    ids=lambda v: " ".join(v[:1]) if isinstance(v, list) else str(v)[:20],
)
def test_exit_codes_and_messages(tmp_path, store, old, words, code, said):
    damaged = str(tmp_path / "damaged")
    shutil.copytree(store, damaged)
    flip(Path(damaged, read_snapshot(damaged).parts[0].embeddings), 0.3)
    names = {"old": old, "tmp": tmp_path, "store": store, "damaged": damaged}
    done = cli(*(w.format(**names) for w in words))
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "nothing").exists()


def test_damaged_parts_are_skipped_on_request_and_named(store):
    victim = read_snapshot(store).parts[2]
    flip(Path(store, victim.embeddings), 0.3)
    told = run("compact", "--store", store, "--skip-damaged")
    assert "5 parts were merged" in told and f"left alone: {victim.embeddings}" in told


# --- one at a time ---

VERBS = {
    "compact": lambda store, **o: compact_store(store, min_parts=2, **o),
    "gc": lambda store, **o: clean_store(store, grace_h=24, keep_snapshots=3, **o),
    "migrate": migrate_store,
}


@pytest.mark.parametrize("verb", VERBS)
def test_refused_while_another_process_holds_the_store(store, verb):
    before = kit.tree(store)
    with store_lock(store):
        before = kit.tree(store)
        with pytest.raises(Conflict) as caught:
            VERBS[verb](store)
        assert caught.value.kind == "busy"
        VERBS[verb](store, dry_run=True)  # looking is always allowed
    without_holder = {n: d for n, d in before.items() if n != "jobs/lock"}  # which names who holds it, while it is held
    assert {n: d for n, d in kit.tree(store).items() if n != "jobs/lock"} == without_holder
    VERBS[verb](store)


@pytest.mark.parametrize("verb", VERBS)
def test_refused_while_a_run_on_another_machine_beats(store, verb):
    """Locks do not reach other machines on every file system."""
    job = new_job(store)
    heartbeat(job, "running")
    beat = job.read_json("heartbeat.json")
    job.write_json("heartbeat.json", {**beat, "host": "elsewhere"})
    before = kit.tree(store)
    with pytest.raises(Conflict, match="another machine") as caught:
        VERBS[verb](store)
    assert caught.value.kind == "busy"
    assert {n: d for n, d in kit.tree(store).items() if n != "jobs/lock"} == before
    job.write_json("heartbeat.json", {**beat, "host": "elsewhere", "at_s": time.time() - 3600})
    VERBS[verb](store)


def test_a_dead_run_of_this_machine_is_not_in_the_way(store):
    job = new_job(store)
    heartbeat(job, "running")
    beat = job.read_json("heartbeat.json")
    job.write_json("heartbeat.json", {**beat, "process": None, "process_started": beat["process_started"] - 1000})
    assert beat["host"] == socket.gethostname() and job.state() == "dead"
    assert compact_store(store, min_parts=2).made == 1


def test_a_mistyped_path_gets_no_lock_file(tmp_path):
    for verb in VERBS.values():
        with pytest.raises(NotFound):
            verb(str(tmp_path / "no"))
        with pytest.raises(NotFound):
            verb(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_catalog_that_cannot_be_built_is_told_and_no_error(store, monkeypatch):
    def refuse(*_: object) -> None:
        raise Conflict("no catalog today")

    monkeypatch.setattr("cluster.care.open_catalog", refuse)
    told: list[str] = []
    assert compact_store(store, min_parts=2, note=told.append).made == 1
    assert told == ["the catalog was not built: no catalog today"]


def test_a_dry_run_leaves_nothing_at_all(store):
    before = sorted(p.as_posix() for p in Path(store).rglob("*"))
    for verb in VERBS.values():
        verb(store, dry_run=True)
    assert sorted(p.as_posix() for p in Path(store).rglob("*")) == before


def test_runs_before_and_after(tmp_path):
    """Embedded folder by folder, compacted, cleaned: the next run has nothing to do, a changed file is done again, all adds up."""
    archive, store = make_archive(tmp_path / "archive", sites=2, days=1, files=4), str(tmp_path / "store")
    for folder in sorted(p for p in archive.rglob("*") if p.is_dir()):
        for file in sorted(folder.glob("*.wav")):
            embed_run(file, tmp_path / "store", root=str(archive))
    first = verify_store(store)
    assert first.ok and first.planned == 8 and first.parts == 8
    rows = seen(store)
    assert compact_store(store, min_parts=2).parts_after == 2
    assert seen(store) == rows
    again = embed_run(archive, tmp_path / "store")
    assert (again.done, again.skipped, again.failed) == (0, 8, 0) and len(load_ledger(store).parts) == 10
    changed = next(archive.rglob("*.wav"))
    write_wav(changed, 7.0, seed=99)
    third = embed_run(archive, tmp_path / "store")
    assert (third.done, third.skipped, third.changed) == (1, 7, 1)
    assert compact_store(store, min_parts=2).superseded_windows > 0
    clean_store(store, grace_h=0, keep_snapshots=1)
    report = verify_store(store, deep=True)
    assert report.ok and (report.committed, report.missing, report.foreign) == (8, 0, 0)
    assert (report.parts, report.dead_parts, report.superseded_windows) == (2, 0, 0)
    assert embed_run(archive, tmp_path / "store").skipped == 8
