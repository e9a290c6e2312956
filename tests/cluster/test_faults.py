"""What goes wrong around a run: disks, clocks, sources that change, workers that are frozen or vanish together."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import cluster.dask_cluster
import cluster.run
import store.probing_fs
from cluster.dask_settings import SETTINGS
from cluster.job import JobFolder
from cluster.run import embed, prepare
from cluster.status import job_status, verify_store
from cluster.watcher import Progress, Silent
from sonotheque.core.errors import Unavailable
from tests.cluster.poison import poisoned_env
from tests.cluster.support import (
    cli_env,
    make_archive,
    options,
    part_files,
    report_rows,
    run,
    wait_for,
    windows,
    write_wav,
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive", sites=2, days=2, files=2)


@pytest.fixture
def store_folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def events(folder: Path, number: int = 1) -> dict[str, dict[str, Any]]:
    lines = JobFolder(str(folder), number).file("events.jsonl").read_text().splitlines()
    return {e["event"]: e for e in map(json.loads, lines)}


# ---- the store's file system ------------------------------------------------------------------------------------------


def test_file_system_and_machine_are_known_of_each_job(archive: Path, store_folder: Path) -> None:
    run(archive, store_folder)
    told = events(store_folder)
    assert told["file system"]["commit"] == "link"
    assert told["machine"]["cores"] >= 1
    status = job_status(str(store_folder))
    assert status["file_system"]["hard_links"] is True
    assert status["machine"]["python"] == told["machine"]["python"]
    assert not list((store_folder / "_tmp").iterdir())


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_disk_without_links_and_locks_works_and_is_told(
    archive: Path, store_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(archive, tmp_path / "clean")

    def refused(*args: Any, **more: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr("fcntl.flock", refused)
    watcher = Notes()
    embed(options(archive, store_folder), watcher)
    assert part_files(store_folder) == part_files(tmp_path / "clean")
    told = events(store_folder)["file system"]
    assert (told["commit"], told["hard_links"], told["locks"]) == ("rename", False, False)
    assert len([n for n in watcher.notes if "no hard links" in n or "no locks" in n]) == 2
    assert verify_store(str(store_folder), deep=True).ok


def test_a_store_that_cannot_be_written_to_is_told_before_the_plan(
    archive: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(archive, store_folder)
    before = sorted(store_folder.rglob("*"))
    write_wav(archive / "site0" / "20240501_090000.wav", seed=50)

    def refused(path: str, *args: Any, **more: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(store.probing_fs.LocalFileOps, "create", refused)
    monkeypatch.setattr(cluster.run, "prepare", lambda *_: pytest.fail("planned"))
    with pytest.raises(Unavailable) as caught:
        embed(options(archive, store_folder))
    assert caught.value.kind == "read_only"
    assert sorted(store_folder.rglob("*")) == before


# ---- sources ------------------------------------------------------------------------------------------------------------


def at_prepare(monkeypatch: pytest.MonkeyPatch, deed: Any) -> None:
    """Do something between plan and run."""
    plain = cluster.run.prepare

    def then(*args: Any) -> Any:
        prepared = plain(*args)
        deed()
        return prepared

    monkeypatch.setattr(cluster.run, "prepare", then)


def grow(path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(b"\0" * 4096)


CHANGES = {
    "grows": (grow, "changed"),
    "shrinks": (lambda path: os.truncate(path, 1000), "changed"),
    "is_touched": (lambda path: os.utime(path, ns=(1, 1)), "changed"),
    "vanishes": (lambda path: path.unlink(), "vanished"),
    "becomes_a_folder": (lambda path: (path.unlink(), path.mkdir()), "unreadable"),
    "becomes_a_pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "unreadable"),
    "is_closed_to_us": (lambda path: os.replace(path, path.with_suffix(".x")), "vanished"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_changes_between_plan_and_run(
    archive: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = archive / "site1" / "20240502_050000.wav"
    whole, deed = path.read_bytes(), CHANGES[change]
    with monkeypatch.context() as patch:
        at_prepare(patch, lambda: deed[0](path))
        report = run(archive, store_folder)
    assert report.failed_by_kind == {deed[1]: 1}
    assert (report.done, report.files) == (7, 8)
    assert len(windows(store_folder)) == 7 * 2
    assert not [w for w in windows(store_folder) if "site1/20240502_05" in w[0]]
    # As it was again, or as it is now: the next run takes it in unasked.
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    assert run(archive, store_folder).done == 1
    assert len(windows(store_folder)) == len(set(windows(store_folder))) == 8 * 2


def test_a_disk_that_is_away_comes_back_with_the_same_files(
    archive: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Names, sizes and times are as before: nothing says that the files are new, and yet they must not count as settled."""
    with monkeypatch.context() as patch:
        at_prepare(patch, lambda: archive.rename(tmp_path / "away"))
        report = run(archive, store_folder)
    assert report.failed_by_kind == {"vanished": 8}
    (tmp_path / "away").rename(archive)
    assert prepare(options(archive, store_folder)).plan.new == 8
    assert run(archive, store_folder).done == 8
    assert run(archive, store_folder).done == 0


# ---- clocks ---------------------------------------------------------------------------------------------------------------


def test_a_clock_that_steps_back_and_forth_changes_nothing(
    archive: Path, store_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(archive, tmp_path / "clean")
    chance, plain, gmtime = random.Random(7), time.time, time.gmtime
    steps = (plain() + chance.uniform(-10, 10) * 86_400 for _ in itertools.count())
    monkeypatch.setattr(time, "time", lambda: next(steps))
    monkeypatch.setattr(time, "gmtime", lambda *given: gmtime(*given) if given else gmtime(next(steps)))
    began = time.monotonic()
    half = run(archive / "site0", store_folder, root=str(archive))
    whole = run(archive, store_folder)
    took_s = time.monotonic() - began
    assert (half.done, whole.done, whole.skipped) == (4, 4, 4)
    assert (half.job, whole.job, whole.snapshot) == (1, 2, half.snapshot + 1)
    assert part_files(store_folder) == part_files(tmp_path / "clean")
    for report in (half, whole):
        assert 0 < report.work_s <= report.wall_s <= took_s
        assert all(row["seconds"] >= 0 for row in report_rows(report).values())
    assert job_status(str(store_folder))["state"] == "finished"


# ---- frozen and thawed ------------------------------------------------------------------------------------------------------


_TASK = """
import json, os, signal, sys
from store.fsops import LocalFileOps
plain, freeze_at, calls = LocalFileOps.link_new, int(sys.argv[2]), []
def link_new(self, source, target):
    calls.append(target)
    if len(calls) == freeze_at:
        os.kill(os.getpid(), signal.SIGSTOP)
    return plain(self, source, target)
LocalFileOps.link_new = link_new
from cluster.backends import run_part
from cluster.payload import TaskPayload
outcome = run_part(TaskPayload.from_json(json.load(open(sys.argv[1]))), guarded=False)
print(json.dumps([outcome.committed, outcome.rows]))
"""


@pytest.fixture
def tasks() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for task in started:
        if task.poll() is None:
            task.kill()
        task.communicate()


@pytest.mark.parametrize("freeze_at", [1, 2], ids=["predictions", "embeddings"])
def test_a_task_that_was_frozen_runs_twice_and_commits_once(
    store_folder: Path, tmp_path: Path, tasks: list[subprocess.Popen[str]], freeze_at: int
) -> None:
    """A worker is frozen just before a file gets its name, another runs the same task to its end, and the first is thawed."""
    from cluster.payload import ModelChoice, TaskPayload
    from cluster.plan import pack
    from embedder.models import load_model
    from store import create_config

    archive = make_archive(tmp_path / "in", sites=1, days=1, files=3)
    prepared = prepare(options(archive, store_folder))
    config = create_config(str(store_folder), prepared.settled.config_for(load_model("placeholder").spec))
    (part,) = pack(list(prepared.inventory.new), config.digest, 1e9)
    payload = TaskPayload(str(store_folder), config, part, str(archive), "", ModelChoice("placeholder"), str(tmp_path))
    (tmp_path / "payload.json").write_text(json.dumps(payload.to_json()))

    def task(freeze_at: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _TASK, str(tmp_path / "payload.json"), str(freeze_at)]
        tasks.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cli_env()))
        return tasks[-1]

    frozen = task(freeze_at)
    wait_for(lambda: psutil.Process(frozen.pid).status() == psutil.STATUS_STOPPED, "the freeze")
    assert json.loads(task(0).communicate(timeout=60)[0]) == [True, 6]
    before = part_files(store_folder)
    frozen.send_signal(signal.SIGCONT)
    assert json.loads(frozen.communicate(timeout=60)[0]) == [False, 6]
    assert part_files(store_folder) == before
    run(archive, tmp_path / "clean")
    assert before == part_files(tmp_path / "clean")
    assert not list((store_folder / "_tmp").iterdir())
    assert run(archive, store_folder).done == 0


# ---- machines that vanish in groups --------------------------------------------------------------------------------------------


class KillsAll(Silent):
    """Kills every worker again and again for a while, also those that are being started again."""

    def __init__(self) -> None:
        self.killed = 0

    def progress(self, progress: Progress) -> None:
        if self.killed or not progress.audio_s:
            return
        until = time.monotonic() + 2.0
        # Two die at once; the third has to be started first, which takes as long as it takes.
        while (now := time.monotonic()) < until or (self.killed < 3 and now < until + 60):
            for worker in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if "spawn_main" in " ".join(worker.cmdline()):
                        worker.kill()
                        self.killed += 1
            time.sleep(0.05)


def test_all_workers_vanish_at_once_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that die while they start are given up by their nannies, and have to be made anew."""
    archive = make_archive(tmp_path / "in", sites=3, days=2, files=2)
    run(archive, tmp_path / "clean")
    for name, value in poisoned_env(tmp_path / "slow", slow_model_s=0.1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(SETTINGS, "distributed.deploy.lost-worker-timeout", "1s")
    monkeypatch.setattr(cluster.dask_cluster, "_SLOTS_EVERY_S", 0.5)
    watcher = KillsAll()
    report = embed(options(archive, tmp_path / "store", workers=2), watcher)
    assert watcher.killed >= 3
    assert (report.failed, report.pending, report.done) == (0, 0, 12)
    assert part_files(tmp_path / "store") == part_files(tmp_path / "clean")
