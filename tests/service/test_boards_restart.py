"""The service is killed, the job is killed: nothing is lost, nothing is done twice, nothing is left half-made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search_api.boards import Board
from search_api.boards.records import FINISHED, INTERRUPTED, QUEUED, RUNNING, Record, records
from search_api.probes.versions import show
from store import open_archive
from store.probes import ProbeStore
from tests.service.board_kit import LONG, QUICK, ended, judge, log_of, until

ROOT = Path(__file__).parents[2]


class Service:
    """A service that can be killed."""

    def __init__(self, store: str, state: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.service.dying_service", store, str(state)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, **what: object) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def world(own, tmp_path):
    """A judged store, where its services keep their state, and a service."""
    judge(own.store)
    service = Service(own.store, tmp_path / "state")
    yield own.store, tmp_path / "state", service
    service.kill()


def labels_of(store: str, annotator: str) -> set[str]:
    with open_archive(store) as archive:
        rows = archive.sql("SELECT label FROM annotations WHERE annotator = ?", [annotator]).to_pylist()
    return {r["label"] for r in rows}


def test_a_training_outlives_its_service_and_is_done_once(world) -> None:
    store, state, service = world
    job_id = service.ask(train="low", experiment=LONG)
    waiting = [service.ask(train="later", experiment=QUICK)]
    record = Record(state / "jobs" / job_id)
    mark = until(lambda: record.mark(1), "the training runs")
    os.kill(mark.pid, signal.SIGSTOP)  # so that it is in the middle of it, whatever the machine's speed
    told = {service.ask(path="north/20240502_040000.wav", label=f"label {n}") and f"label {n}" for n in range(5)}
    assert record.state() == RUNNING
    service.kill()
    assert record.state() == RUNNING, "the job goes on"

    board = Board(store, state)
    board.start()
    try:
        assert board.job(job_id).state == RUNNING
        assert {board.job(j).state for j in waiting} == {QUEUED}, (
            "there is one slot, and it is taken by what is followed on"
        )
        os.kill(mark.pid, signal.SIGCONT)
        done = ended(board, job_id)
        assert done.state == FINISHED, (done.error, log_of(board, job_id))
        assert done.attempt == 1 and done.result["version"] == 1
        assert record.mark(1) == mark, "no second process"
        assert [ended(board, j).state for j in waiting] == [FINISHED]
    finally:
        board.close()
    assert ProbeStore(store).versions("low") == [1]
    assert show(store, "low")["report"]["version"] == 1
    assert labels_of(store, "Ben") == told, "every judgement that was answered is there"


def test_a_training_that_ends_while_no_service_is_there(world) -> None:
    store, state, service = world
    job_id = service.ask(train="low", experiment=QUICK)
    record = Record(state / "jobs" / job_id)
    until(lambda: record.mark(1) or record.state() == FINISHED, "the training runs")
    service.kill()
    until(lambda: record.state() == FINISHED, "it ends by itself")
    board = Board(store, state)
    assert board.job(job_id).result["version"] == 1, "told before anything is started"
    board.start()
    board.close()
    assert ProbeStore(store).versions("low") == [1]


def test_a_training_that_is_killed_with_its_service_is_interrupted(world) -> None:
    store, state, service = world
    job_id = service.ask(train="low", experiment=LONG)
    record = Record(state / "jobs" / job_id)
    mark = until(lambda: record.mark(1), "the training runs")
    os.kill(mark.pid, signal.SIGSTOP)
    service.kill()
    os.kill(mark.pid, signal.SIGKILL)
    until(lambda: record.state() == INTERRUPTED, "it is seen to be gone, by anybody who looks")
    board = Board(store, state)
    board.start()
    try:
        until(lambda: record.read("end-1.json"), "its end is taken down")
        seen = board.job(job_id)
        assert (seen.state, seen.can_resume, seen.can_cancel) == (INTERRUPTED, False, False)
        assert "ask for it again" in seen.error["message"]
        assert ProbeStore(store).names() == [], "no half version"
        assert ended(board, board.train(probe="low", experiment=QUICK).job_id).result["version"] == 1
    finally:
        board.close()


def test_the_service_is_killed_between_the_job_and_its_process(world) -> None:
    """Whatever it had come to, the job is done once by the next service."""
    store, state, service = world
    for n in range(2):
        service.ask(train=f"p{n}", experiment=QUICK)
    service.kill()  # at once: the first may be on its way
    board = Board(store, state)
    board.start()
    try:
        found = [ended(board, r.job_id) for r in records(state / "jobs")]
        assert [(j.state, j.result["version"]) for j in found] == [(FINISHED, 1)] * 2
    finally:
        board.close()
    assert [ProbeStore(store).versions(f"p{n}") for n in range(2)] == [[1]] * 2


def test_another_process_of_the_same_number_is_not_the_job(world) -> None:
    """After a reboot, say: the record's number belongs to somebody else now."""
    store, state, service = world
    job_id = service.ask(train="low", experiment=LONG)
    record = Record(state / "jobs" / job_id)
    mark = until(lambda: record.mark(1), "the training runs")
    os.kill(mark.pid, signal.SIGKILL)
    service.kill()
    other = record.read("process-1.json")
    other["mark"] |= {"pid": os.getpid()}
    record.put("process-1.json", other)
    assert record.state() == INTERRUPTED
    board = Board(store, state)
    board.start()
    try:
        assert ended(board, job_id).state == INTERRUPTED
    finally:
        board.close()
