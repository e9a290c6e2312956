"""A job's folder and its process: the state follows from what is there, whatever died when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.boards.processes import ProcessMark, end_hard, end_softly
from search_api.boards.records import (
    CANCELLED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    JOB_ID,
    QUEUED,
    RUNNING,
    Record,
    new_job_id,
    records,
)
from search_api.boards.telling import Teller
from search_api.boards.work import _Looking
from search_api.boards.worker import main as worker
from sonotheque.core.errors import Unavailable

TOLD = {"kind": "train", "title": "Train probe owl", "root": "/nowhere", "request": {}, "by": "Ana"}


@pytest.fixture
def record(tmp_path) -> Record:
    return Record.create(tmp_path / "jobs", TOLD)


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_new_job_is_queued_and_whole(record, tmp_path) -> None:
    assert record.state() == QUEUED
    assert JOB_ID.fullmatch(record.job_id)
    assert {k: record.job()[k] for k in TOLD} == TOLD
    assert record.job()["attempt"] == record.attempt() == 1
    assert [p.name for p in (tmp_path / "jobs").iterdir()] == [record.job_id], "nothing half-made beside it"


def test_ids_sort_by_time_and_are_listed_in_order(tmp_path) -> None:
    ids = [Record.create(tmp_path, TOLD).job_id for _ in range(20)]
    assert ids == sorted(ids)
    (tmp_path / ".new-20250101T000000000000-aaaaaa").mkdir()  # left by a crash
    (tmp_path / "somebody's notes").mkdir()
    assert [r.job_id for r in records(tmp_path)] == ids
    assert records(tmp_path / "not there") == []
    assert len({new_job_id() for _ in range(500)}) == 500


def test_running_while_its_process_lives_interrupted_after(record, sleeper) -> None:
    mark = ProcessMark.of(sleeper.pid)
    assert mark
    record.began(1, mark)
    assert record.state() == RUNNING
    sleeper.kill()
    sleeper.wait()
    assert record.state() == INTERRUPTED


def test_a_process_that_has_ended_and_was_not_waited_for_is_dead(record, sleeper) -> None:
    mark = ProcessMark.of(sleeper.pid)
    assert mark and mark.is_alive
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert not mark.is_alive
    assert ProcessMark.of(sleeper.pid) is None


def test_gone_after_it_was_asked_to_stop_is_cancelled(record, sleeper) -> None:
    record.began(1, ProcessMark.of(sleeper.pid))
    assert record.put("cancel-1.json", {"at_s": 0.0}, once=True)
    assert record.state() == RUNNING
    sleeper.kill()
    sleeper.wait()
    assert record.state() == CANCELLED


def test_the_first_end_counts(record) -> None:
    assert record.end(1, FINISHED, result={"version": 3})
    assert not record.end(1, INTERRUPTED)
    assert record.state() == FINISHED
    assert record.read("end-1.json")["result"] == {"version": 3}
    events = [json.loads(line) for line in (record.folder / "events.jsonl").read_text().splitlines()]
    assert [e["state"] for e in events] == [QUEUED, FINISHED]


def test_one_end_of_many_at_once(record) -> None:
    won = []
    threads = [
        threading.Thread(target=lambda n=n: won.append((record.end(1, FAILED, result={"n": n}), n))) for n in range(16)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    (winner,) = [n for is_won, n in won if is_won]
    assert record.read("end-1.json")["result"] == {"n": winner}
    assert not list(record.folder.glob(".end*"))


def test_another_attempt_is_another_story(record, sleeper) -> None:
    record.end(1, INTERRUPTED)
    record.put("job.json", {**record.job(), "attempt": 2})
    assert record.state() == QUEUED
    record.began(2, ProcessMark.of(sleeper.pid))
    assert record.state() == RUNNING


@pytest.mark.parametrize(
    "change",
    [
        {"ticks": 1},
        {"boot": "another"},
        {"host": "elsewhere"},
        {"pid": 2**22 + 5},
    ],
)
def test_a_number_that_was_given_again_is_not_taken_for_the_process(sleeper, change) -> None:
    mark = ProcessMark.of(sleeper.pid)
    assert mark and mark.is_alive
    other = replace(mark, **change)
    assert not other.is_alive
    assert not end_hard(other) and not end_softly(other, group=True)
    assert sleeper.poll() is None, "no signal went to a process that it is not"


def test_a_clock_that_is_set_does_not_matter(sleeper) -> None:
    mark = ProcessMark.of(sleeper.pid)
    assert mark and replace(mark, created=mark.created - 86_400).is_alive


def test_without_ticks_the_clock_tells(sleeper) -> None:
    mark = ProcessMark.of(sleeper.pid)
    assert mark and replace(mark, ticks=0).is_alive
    assert not replace(mark, ticks=0, created=mark.created - 86_400).is_alive


def test_marks_survive_json(sleeper) -> None:
    mark = ProcessMark.of(sleeper.pid)
    assert mark and ProcessMark.from_json(json.loads(json.dumps(mark.to_json()))) == mark
    for wrong in ({}, {"pid": 1}, {**mark.to_json(), "pid": "x"}):
        assert ProcessMark.from_json(wrong) is None


def test_ended_by_force_with_all_of_its_session() -> None:
    child_code = "import time; time.sleep(60)"
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child_code!r}]); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert parent.stdout
    child = ProcessMark.of(int(parent.stdout.readline()))
    mark = ProcessMark.of(parent.pid)
    assert child and child.is_alive and mark
    assert end_hard(mark)
    assert parent.wait() == -signal.SIGKILL
    for _ in range(500):
        if not child.is_alive:
            break
        threading.Event().wait(0.01)
    assert not child.is_alive


def test_files_that_cannot_be_read_are_none(record) -> None:
    for content in (b"", b"{", b"[1]", b"\xff\xfe"):
        (record.folder / "end-1.json").write_bytes(content)
        assert record.read("end-1.json") == {}
    assert record.state() == QUEUED


def test_a_long_event_stays_one_line(record) -> None:
    record.event("note", text="x" * 20_000)
    last = (record.folder / "events.jsonl").read_bytes().splitlines()[-1]
    assert len(last) <= 4000
    assert json.loads(last)["text"].startswith("xxx")


def test_the_last_event_of_a_name(record) -> None:
    assert record.last("progress") is None
    for n in range(400):
        record.event("progress", stage="training", done=n)
    record.event("note", text="é")
    assert record.last("progress")["done"] == 399
    with (record.folder / "events.jsonl").open("ab") as handle:
        handle.write(b'{"event": "progress", "done": 9')  # torn by a crash
    assert record.last("progress")["done"] == 399
    assert Record(record.folder / "gone").last("progress") is None


def test_the_lock_is_one_mans(record) -> None:
    with record.held() as mine, record.held() as also:
        assert mine and not also
    with record.held() as again:
        assert again


def test_a_full_disk_is_told(record, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("search_api.boards.records.os.fsync", full)
    with pytest.raises(Unavailable) as told:
        record.put("end-1.json", {"state": FINISHED})
    assert told.value.kind == "disk_full"
    assert record.state() == QUEUED
    assert not list(record.folder.glob(".end*")), "the half-written file is gone"


# The worker's own part, in this process: nothing below starts one.


def test_a_worker_leaves_a_job_that_is_done_or_begun(record, tmp_path, sleeper) -> None:
    record.end(1, FINISHED)
    assert worker([str(record.folder)]) == 75
    assert record.mark(1) is None
    begun = Record.create(tmp_path / "jobs", TOLD)
    begun.began(1, ProcessMark.of(sleeper.pid))
    assert worker([str(begun.folder)]) == 75
    assert begun.mark(1).pid == sleeper.pid
    assert worker([str(tmp_path / "jobs")]) == 75, "no job"


def test_a_worker_leaves_a_job_that_another_holds(record, monkeypatch) -> None:
    monkeypatch.setattr("search_api.boards.worker._PATIENCE_S", 0.05)
    with record.held():
        assert worker([str(record.folder)]) == 75
    assert record.state() == QUEUED


def test_a_worker_of_a_job_that_was_cancelled_before_it_came(record) -> None:
    record.put("cancel-1.json", {"at_s": 0.0}, once=True)
    assert worker([str(record.folder)]) == 0
    assert record.state() == CANCELLED
    assert record.mark(1) is None


# Progress.


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def progress_of(record: Record) -> list[dict]:
    lines = (record.folder / "events.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == "progress"]


def test_progress_is_told_now_and_then_and_stages_always(record) -> None:
    clock = Clock()
    teller = Teller(record, clock)
    for n in range(100):
        clock.now = n / 100
        teller.stage("clips", n, 200)
    teller.stage("training", 0, 1)
    teller.stage("training", 1, 1)
    told = progress_of(record)
    assert [(t["stage"], t["done"]) for t in told] == [("clips", 0), ("clips", 50), ("training", 0), ("training", 1)]
    assert told[1]["eta_s"] == pytest.approx(1.5), "50 in half a second, 150 left"


def test_looking_for_files_does_not_pretend_to_know_how_many_there_are(record) -> None:
    clock = Clock()
    looking = _Looking(Teller(record, clock))
    for n in range(100):
        clock.now = n / 100
        looking.looking(n)
    assert [(t["stage"], t["done"], t["total"]) for t in progress_of(record)] == [
        ("looking", 0, None),
        ("looking", 50, None),
    ]


def test_a_job_of_a_day_leaves_a_small_file(record) -> None:
    clock = Clock()
    teller = Teller(record, clock)
    for n in range(86_400 // 5):
        clock.now = 5.0 * n
        teller.stage("embedding", n, 10**9)
    assert len(progress_of(record)) < 10_000


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10), st.floats(0, 5)), min_size=1, max_size=40))
def test_the_last_of_each_stage_is_never_far_behind(steps) -> None:
    """Against a twin that tells everything: what was told last is the same stage, and no older than the pause allows."""

    class Heard:
        def __init__(self) -> None:
            self.told: list[tuple[float, str, int]] = []

        def event(self, name: str, **facts: object) -> None:
            self.told.append((clock.now, str(facts["stage"]), int(str(facts["done"]))))

    clock, heard, everything = Clock(), Heard(), []
    teller = Teller(heard, clock)  # type: ignore[arg-type]
    for stage, done, pause in steps:
        clock.now += pause
        teller.stage(stage, done, 10)
        everything.append((clock.now, stage, done))
    now, stage, _ = everything[-1]
    at, told_stage, _ = heard.told[-1]
    assert told_stage == stage
    assert now - at < max(0.5, now / 200)
    assert set(heard.told) <= set(everything)
    for done in (s for s in everything if s[2] == 10):
        assert done in heard.told, "an end of a stage is always told"
