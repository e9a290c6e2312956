"""The job folder: states, the lock, numbers, and files that a reader never sees half."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cluster.job
import cluster.machine
from cluster.job import (
    DEAD,
    FAILED,
    FINISHED,
    RUNNING,
    STALE_S,
    STOPPED,
    STOPPING,
    JobFolder,
    heartbeat,
    job_numbers,
    latest_job,
    new_job,
    store_lock,
)
from sonotheque.core.errors import Conflict, NotFound, Unavailable
from store.fsops import LocalFileOps
from tests.cluster.support import cli_env, wait_for


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return new_job(str(tmp_path))


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def set_beat(job: JobFolder, **facts: Any) -> None:
    job.write_json("heartbeat.json", {**job.read_json("heartbeat.json"), **facts})


# ---- states ----------------------------------------------------------------------------------------------------------


def test_a_running_job_runs_until_it_is_asked_to_stop(job: JobFolder) -> None:
    heartbeat(job, RUNNING, phase="starting")
    assert job.state() == RUNNING
    job.ask_cancel()
    assert job.state() == STOPPING


@pytest.mark.parametrize("state", [FINISHED, STOPPED, FAILED])
def test_an_ended_job_says_so_whoever_asks(job: JobFolder, state: str) -> None:
    heartbeat(job, state)
    set_beat(job, pid=2**22 + 1, host="another", at_s=0.0)
    assert job.state() == state


def test_no_heartbeat_is_dead(job: JobFolder) -> None:
    assert job.state() == DEAD


def test_a_gone_process_is_dead(job: JobFolder, other_process: subprocess.Popen[bytes]) -> None:
    heartbeat(job, RUNNING)
    started = cluster.machine.process_started(other_process.pid)
    set_beat(job, pid=other_process.pid, process_started=started)
    assert job.state() == RUNNING
    other_process.kill()
    other_process.wait()
    assert job.state() == DEAD


def test_a_pid_that_was_given_to_another_process_is_dead(job: JobFolder) -> None:
    heartbeat(job, RUNNING)
    beat = job.read_json("heartbeat.json")
    set_beat(job, process_started=beat["process_started"] - 3600, process=beat["process"] + "0")
    assert job.state() == DEAD


def test_a_clock_that_was_set_by_a_day_does_not_kill_a_job(job: JobFolder) -> None:
    """The kernel tells a process's start from the boot's, and that moves when the clock is set."""
    heartbeat(job, RUNNING)
    set_beat(job, process_started=job.read_json("heartbeat.json")["process_started"] + 86_400)
    assert job.state() == RUNNING


def test_a_clock_that_was_set_a_little_does_not_kill_a_job(job: JobFolder) -> None:
    heartbeat(job, RUNNING)
    set_beat(job, process_started=job.read_json("heartbeat.json")["process_started"] + 2.0, process=None)
    assert job.state() == RUNNING


@pytest.mark.parametrize(("age_s", "state"), [(0.0, RUNNING), (STALE_S - 5, RUNNING), (STALE_S + 5, DEAD), (1e6, DEAD)])
def test_another_hosts_job_is_judged_by_its_last_word(job: JobFolder, age_s: float, state: str) -> None:
    heartbeat(job, RUNNING)
    set_beat(job, host="another", at_s=time.time() - age_s, pid=2**22 + 1)
    assert job.state() == state


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"state": "runn', "null", "\udcff"], ids=repr)
def test_a_broken_heartbeat_is_dead_and_no_error(job: JobFolder, content: str) -> None:
    job.file("heartbeat.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    assert job.state() == DEAD


def test_the_heartbeat_names_this_process(job: JobFolder) -> None:
    heartbeat(job, RUNNING, files=3)
    beat = job.read_json("heartbeat.json")
    assert (beat["pid"], beat["host"], beat["files"]) == (os.getpid(), socket.gethostname(), 3)


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_reader_sees_whole_files_only(job: JobFolder) -> None:
    values = [{"text": letter * 100_000} for letter in "ab"]
    job.write_json("x.json", values[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for value in values:
                job.write_json("x.json", value)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            assert job.read_json("x.json") in values
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("size", [0, 1000, 3900, 4000, 5000, 100_000])
def test_an_event_is_one_json_line_below_4_kb(job: JobFolder, size: int) -> None:
    job.event("trouble", text="é" * size, part="p")
    job.event("finished")
    lines = job.file("events.jsonl").read_bytes().splitlines(keepends=True)
    assert all(len(line) < 4096 and line.endswith(b"\n") for line in lines)
    told = [json.loads(line) for line in lines]
    assert [t["event"] for t in told] == ["trouble", "finished"]
    assert told[0]["part"] == "p"


def test_events_of_several_writers_do_not_mix(job: JobFolder) -> None:
    def write(number: int) -> None:
        for i in range(100):
            job.event("part", writer=number, i=i, text="x" * 3000)

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    told = [json.loads(line) for line in job.file("events.jsonl").read_text().splitlines()]
    assert sorted((t["writer"], t["i"]) for t in told) == [(n, i) for n in range(4) for i in range(100)]


def test_a_plan_is_there_whole_or_not_at_all(job: JobFolder) -> None:
    assert list(job.read_plan()) == []
    lines = [{"path": f"é\udcff{i}", "size_bytes": i} for i in range(3)]

    def dies() -> Iterator[dict[str, Any]]:
        yield lines[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.write_plan(dies())
    assert list(job.read_plan()) == []
    assert job.write_plan(iter(lines)) == 3
    assert list(job.read_plan()) == lines


@pytest.mark.parametrize("call", ["write_json", "event", "write_plan"])
def test_a_full_disk_is_told_as_one(job: JobFolder, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFileOps, "create", full)
    monkeypatch.setattr(LocalFileOps, "append", full)
    arguments: dict[str, list[Any]] = {"write_json": ["x.json", {}], "event": ["x"], "write_plan": [iter([])]}
    with pytest.raises(Unavailable) as caught:
        getattr(job, call)(*arguments[call])
    assert caught.value.kind == "disk_full"


# ---- numbers and the lock --------------------------------------------------------------------------------------------


def test_numbers(tmp_path: Path) -> None:
    assert job_numbers(str(tmp_path)) == []
    with pytest.raises(NotFound, match="sonotheque embed"):
        latest_job(str(tmp_path))
    assert [new_job(str(tmp_path)).number for _ in range(11)] == list(range(1, 12))
    (tmp_path / "jobs" / "notes").mkdir()
    (tmp_path / "jobs" / "lock").touch()
    assert latest_job(str(tmp_path)).number == 11


def test_racing_for_a_number_gives_each_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Barrier(8)
    plain = cluster.job.job_numbers

    def all_see_the_same(store: str) -> list[int]:
        found = plain(store)
        gate.wait(10)
        return found

    monkeypatch.setattr(cluster.job, "job_numbers", all_see_the_same)
    made: list[int] = []
    racers = [threading.Thread(target=lambda: made.append(new_job(str(tmp_path)).number)) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(made) == list(range(1, 9))


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with store_lock(str(tmp_path)), pytest.raises(Conflict) as caught, store_lock(str(tmp_path)):
            raise AssertionError("held twice")
        assert caught.value.kind == "busy"
        assert "sonotheque status" in caught.value.message


def test_a_killed_holder_gives_the_lock_back(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom cluster.job import store_lock\n"
        "with store_lock(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=cli_env())
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Conflict), store_lock(str(tmp_path)):
            raise AssertionError("held twice")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()

    def free() -> bool:
        try:
            with store_lock(str(tmp_path)):
                return True
        except Conflict:
            return False

    wait_for(free, "the lock", timeout_s=5)


def test_a_file_system_without_locks_is_worked_on_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*args: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with store_lock(str(tmp_path)):
        pass


def test_any_other_fault_of_the_lock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("fcntl.flock", broken)
    with pytest.raises(Unavailable, match="Input/output"), store_lock(str(tmp_path)):
        pass
