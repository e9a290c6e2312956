"""The list of all jobs: each run of the store once, whatever became of the job; what has ended is read once, and never wrongly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.job import JobFolder
from cluster.run import embed
from search_api.boards import Board, listing
from search_api.boards.listing import Listing, forgotten_runs, runs_of, seen_record
from search_api.boards.processes import ProcessMark
from search_api.boards.records import CANCELLED, FAILED, FINISHED, INTERRUPTED, QUEUED, Record, records
from search_api.boards.views import Job
from tests.cluster.support import options as options_of

TOLD = {"kind": "embed", "title": "Embed rec", "request": {}, "by": "Ana"}


@pytest.fixture
def board(own, tmp_path):
    """A board that is not started, of a store with three runs."""
    for _ in range(2):
        embed(options_of(own.recordings, own.store))
    made = Board(own.store, tmp_path / "state", {"rec": str(own.recordings)})
    made.jobs.mkdir(parents=True)
    yield made
    made.close()


def made(board: Board, kind: str = "embed") -> Record:
    return Record.create(board.jobs, {**TOLD, "root": board.root, "kind": kind})


def again(record: Record) -> None:
    job = record.job()
    record.put("job.json", {**job, "attempt": job["attempt"] + 1})


def ids(board: Board) -> list[str]:
    """In order of their names: runs and jobs of one second have no other."""
    return sorted(job.job_id for job in board.list())


def one(board: Board, record: Record) -> Job:
    (found,) = [job for job in board.list() if job.job_id == record.job_id]
    return found


def gone() -> ProcessMark:
    """The mark of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mark = ProcessMark.of(process.pid)
    process.kill()
    process.wait()
    assert mark
    return mark


def test_an_embedding_that_was_resumed_is_listed_once(board) -> None:
    record = made(board)
    record.end(1, CANCELLED, run=2)
    again(record)
    assert ids(board) == [record.job_id, "run-1", "run-3"], "run 3 is nobody's yet"
    record.end(2, FINISHED, run=3)
    assert ids(board) == [record.job_id, "run-1"]
    assert one(board, record).run == 3, "the newest one counts"


def test_a_run_of_an_attempt_whose_end_nobody_took_down_is_the_jobs(board) -> None:
    record = made(board)
    newest = JobFolder(board.root, 3)
    newest.write_json("heartbeat.json", {**newest.read_json("heartbeat.json"), "pid": 2**22 + 7})
    mark = ProcessMark.of(os.getpid())
    record.began(1, mark)
    assert runs_of(board.root, record) == {2}
    again(record)
    assert ids(board) == [record.job_id, "run-1", "run-3"]


def test_runs_of_jobs_whose_folders_went_are_no_runs_of_the_command_line(board, monkeypatch) -> None:
    monkeypatch.setattr("search_api.boards.tending.KEPT", 1)
    monkeypatch.setattr("search_api.boards.tending._AFRESH", 1)
    first, second = made(board), made(board)
    first.end(1, CANCELLED, run=1)
    again(first)
    first.end(2, FAILED, run=2)
    second.end(1, FINISHED, run=3)
    assert ids(board) == [first.job_id, second.job_id]
    board._tender.look()
    assert not first.folder.exists()
    assert ids(board) == [second.job_id]
    assert forgotten_runs(board.jobs) == {1, 2}
    last = made(board, "train")
    last.end(1, FINISHED)
    board._tender.look()
    assert ids(board) == [last.job_id]
    assert forgotten_runs(board.jobs) == {1, 2, 3}


def test_jobs_of_other_kinds_have_no_runs(board) -> None:
    record = made(board, "train")
    record.end(1, FINISHED, run=2)
    assert runs_of(board.root, record) == frozenset()
    assert ids(board) == [record.job_id, "run-1", "run-2", "run-3"]


class Reads:
    """Counts how often a job's files are read."""

    def __init__(self, monkeypatch) -> None:
        self.of: list[str] = []
        monkeypatch.setattr(listing, "seen_record", self._seen)

    def _seen(self, root: str, record: Record):
        self.of.append(record.job_id)
        return seen_record(root, record)

    def taken(self) -> list[str]:
        found, self.of = self.of, []
        return found


def test_what_has_ended_is_read_once_and_again_when_it_is_begun_anew(board, monkeypatch) -> None:
    reads = Reads(monkeypatch)
    over, waits = made(board), made(board, "train")
    over.end(1, CANCELLED, run=2)
    board.list()
    assert reads.taken() == [over.job_id, waits.job_id]
    board.list()
    assert reads.taken() == [waits.job_id]
    assert board.resume(over.job_id).state == QUEUED
    assert (one(board, over).state, one(board, over).attempt) == (QUEUED, 2)
    over.end(2, FINISHED, run=3)
    assert one(board, over).run == 3
    waits.end(1, FAILED)
    board.list()
    reads.taken()
    board.list()
    assert reads.taken() == []
    shutil.rmtree(over.folder)
    assert over.job_id not in ids(board)
    assert set(board._listing._known) == {waits.job_id}, "nothing of it is kept"


def test_an_end_that_is_only_seen_is_looked_at_again(board, monkeypatch) -> None:
    """A job of another machine can look dead and then tell how it ended."""
    reads = Reads(monkeypatch)
    record = made(board, "train")
    record.began(1, gone())
    for _ in range(2):
        assert one(board, record).state == INTERRUPTED
    assert len(reads.taken()) == 2
    record.end(1, FINISHED, result={"version": 1})
    assert one(board, record).state == FINISHED


def test_a_folder_that_cannot_be_read_hides_no_other(board) -> None:
    good, bad = made(board, "train"), made(board, "train")
    (bad.folder / "job.json").write_bytes(b"{")
    assert good.job_id in ids(board) and bad.job_id not in ids(board)
    (bad.folder / "job.json").unlink()
    assert bad.job_id not in ids(board)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["make", "end", "again", "cancel", "remove", "list"]), st.integers(0, 4))))
def test_whatever_happens_the_list_is_what_is_read_afresh(tmp_path_factory, steps) -> None:
    """The twin remembers nothing."""
    root, jobs = str(tmp_path_factory.mktemp("store")), tmp_path_factory.mktemp("jobs")
    kept = Listing(root, jobs)
    for what, n in steps:
        found = records(jobs)
        if what == "make" or not found:
            Record.create(jobs, {**TOLD, "root": root, "kind": ("embed", "train")[n % 2]})
            continue
        record = found[n % len(found)]
        if what == "end":
            record.end(record.attempt(), FINISHED, run=n or None)
        elif what == "again":
            again(record)
        elif what == "cancel":
            record.put(f"cancel-{record.attempt()}.json", {"at_s": 0.0}, once=True)
        elif what == "remove":
            shutil.rmtree(record.folder)
        assert kept.all() == Listing(root, jobs).all()
