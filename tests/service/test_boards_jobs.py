"""Jobs as processes of their own: done once, in turn, ended when asked, reported."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading

import pytest

from cluster.job import JobFolder, heartbeat
from cluster.run import embed
from search_api.annotations import add_annotation
from search_api.boards import Board
from search_api.boards.records import CANCELLED, FAILED, FINISHED, INTERRUPTED, QUEUED, RUNNING, Record
from search_api.boards.store_runs import run_of
from sonotheque.core.errors import Conflict, NotFound, Unavailable
from store import open_archive
from store.probes import ProbeStore
from tests.cluster.support import options as options_of
from tests.search import kit
from tests.service.board_kit import LONG, QUICK, ended, judge, log_of, until


@pytest.fixture
def board(own, tmp_path):
    """A board that looks after its jobs."""
    judge(own.store)
    made = Board(own.store, tmp_path / "state", {"rec": str(own.recordings), "new": str(tmp_path / "new")})
    made.start()
    yield made
    for job in made.list():
        if job.can_cancel:
            made.cancel(job.job_id)
    made.close()


@pytest.fixture
def still(own, tmp_path):
    """A board that is not started: what is asked for waits."""
    judge(own.store)
    made = Board(own.store, tmp_path / "state", {"rec": str(own.recordings)})
    yield made
    made.close()


def stopped_worker(board: Board, job_id: str) -> int:
    """Freeze a job's process in the middle of its work, and return its number."""
    record = Record(board.jobs / job_id)
    mark = until(lambda: record.mark(1), "a process at work")
    os.kill(mark.pid, signal.SIGSTOP)
    assert board.job(job_id).state == RUNNING, "it is too quick for this test"
    return mark.pid


def test_trained_applied_and_indexed(board, own) -> None:
    job = board.train(probe="low", experiment=QUICK, by="Ana")
    assert (job.kind, job.state, job.by, job.title) == ("train", QUEUED, "Ana", "Train probe low")
    done = ended(board, job.job_id)
    assert done.state == FINISHED, (done.error, log_of(board, job.job_id))
    assert done.result["version"] == done.result["in_use"] == 1
    assert done.started and done.ended and done.created <= done.started <= done.ended
    assert [done.progress[key] for key in ("stage", "done", "total")] == ["training", 1, 1]
    assert ProbeStore(own.store).versions("low") == [1]
    assert log_of(board, job.job_id) == ""

    applied = board.apply(probes="all")
    indexed = board.index(action="build")
    done = ended(board, applied.job_id)
    assert done.state == FINISHED, (done.error, log_of(board, applied.job_id))
    assert done.result["windows"] == 18 and done.result["probes"] == [{"name": "low", "version": 1}]
    assert own.rows("SELECT count(*) AS n FROM scores")[0]["n"] > 0
    done = ended(board, indexed.job_id)
    assert done.state == FINISHED, (done.error, log_of(board, indexed.job_id))
    assert done.result["windows"] == 18
    assert [j.job_id for j in board.list()] == [indexed.job_id, applied.job_id, job.job_id, "run-1"], "the newest first"


def test_a_job_that_fails_says_why(board) -> None:
    done = ended(board, board.train(probe="owl", experiment={**QUICK, "classes": ["Strix aluco"]}).job_id)
    assert done.state == FAILED
    assert done.error["kind"] == "not_found" and "Strix aluco" in done.error["message"]
    assert done.result is None and not done.can_resume and not done.can_cancel


def test_a_fault_of_the_program_is_told_and_logged(still, monkeypatch) -> None:
    job = still.train(probe="low", experiment=QUICK)
    record = Record(still.jobs / job.job_id)
    record.put("job.json", {**record.job(), "request": {"experiment": 7}})
    still.start()
    done = ended(still, job.job_id)
    assert done.state == FAILED and done.error["kind"] == "internal"
    assert "Traceback" in log_of(still, job.job_id)


def test_new_recordings_are_embedded_and_reported(board, own, tmp_path) -> None:
    kit.write(tmp_path / "new" / "deep" / "20240601_040000.wav", kit.tone(900.0))
    kit.write(tmp_path / "new" / "deep" / "=1+1.wav", kit.tone(901.0))
    (tmp_path / "new" / "deep" / "broken.wav").write_bytes(b"RIFF\0\0\0\0WAVEnothing")
    job = board.embed(source="new", folder="deep", workers=0, site="fen", timezone="Europe/Paris")
    done = ended(board, job.job_id)
    assert done.state == FINISHED, (done.error, log_of(board, job.job_id))
    assert {k: done.result[k] for k in ("files", "done", "failed", "windows")} == {
        "files": 3,
        "done": 2,
        "failed": 1,
        "windows": 2,
    }
    assert done.run == 2 and done.has_report
    assert {r["path"] for r in own.rows("SELECT path FROM recordings WHERE site = 'fen'")} >= {"deep/=1+1.wav"}
    rows = {r["path"]: r for r in board.report_rows(job.job_id)}
    assert rows["deep/broken.wav"]["outcome"] == "failed"
    assert [r["path"] for r in board.report_rows(job.job_id, failed=True)] == ["deep/broken.wav"]
    assert board.report_sum(job.job_id)["files"] == 3
    assert [j.job_id for j in board.list()] == [job.job_id, "run-1"], "its run is not listed a second time"


def test_dask_workers_embed_too(board, own, tmp_path) -> None:
    kit.write(tmp_path / "new" / "20240601_040000.wav", kit.tone(900.0))
    done = ended(board, board.embed(source="new", workers=1).job_id)
    assert done.state == FINISHED, (done.error, log_of(board, done.job_id))
    assert done.result["windows"] == 1


def test_one_embedding_at_a_time(still) -> None:
    first = still.embed(source="rec", workers=0)
    with pytest.raises(Conflict) as told:
        still.embed(source="rec", folder="north", workers=0)
    assert told.value.kind == "busy" and first.job_id in told.value.message
    assert len(still.list()) == 2
    still.cancel(first.job_id)
    assert still.embed(source="rec", workers=0).state == QUEUED


def test_many_who_ask_at_once_get_one_embedding(still) -> None:
    found = []

    def ask() -> None:
        try:
            found.append(still.embed(source="rec", workers=0).job_id)
        except Conflict as error:
            found.append(error.kind)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(f == "busy" for f in found) == [False] + [True] * 7


def test_a_run_of_the_command_line_is_seen_and_keeps_others_out(still, own) -> None:
    embed(options_of(own.recordings, own.store))
    assert [(j.job_id, j.state, j.kind) for j in still.list()] == [
        ("run-2", FINISHED, "embed"),
        ("run-1", FINISHED, "embed"),
    ]
    seen = still.job("run-1")
    assert seen.result["windows"] == 18 and seen.has_report and "command line" in seen.title
    assert len(list(still.report_rows("run-1"))) == 5
    # One that is at work: this process says so.
    folder = JobFolder(own.store, 2)
    heartbeat(folder, "running", phase="embedding", files=2, files_total=5, eta_s=7, windows=9)
    running = still.job("run-2")
    assert (running.state, running.can_cancel) == (RUNNING, True)
    assert (running.progress["stage"], running.progress["done"], running.progress["total"]) == ("embedding", 2, 5)
    with pytest.raises(Conflict, match="run-2"):
        still.embed(source="rec", workers=0)
    assert still.cancel("run-2").stopping
    assert folder.cancel_asked()


def test_a_run_that_died_is_interrupted_and_can_go_on(board, own) -> None:
    folder = JobFolder(own.store, 1)
    beat = folder.read_json("heartbeat.json")
    folder.write_json("heartbeat.json", {**beat, "state": "running", "pid": 2**22 + 7})
    seen = board.job("run-1")
    assert (seen.state, seen.can_resume) == (INTERRUPTED, True)
    done = ended(board, board.resume("run-1", by="Ana").job_id)
    assert done.state == FINISHED, (done.error, log_of(board, done.job_id))
    assert done.result["skipped"] == 5 and done.by == "Ana"


def test_jobs_wait_for_their_turn(board) -> None:
    first = board.train(probe="a", experiment=LONG)
    pid = stopped_worker(board, first.job_id)
    others = [board.train(probe=name, experiment=QUICK).job_id for name in "bc"]
    embedding = ended(board, board.embed(source="rec", workers=0).job_id)
    assert embedding.state == FINISHED, "an embedding does not wait for a training"
    assert [board.job(j).state for j in others] == [QUEUED, QUEUED]
    assert board.cancel(others[0]).state == CANCELLED
    os.kill(pid, signal.SIGKILL)
    assert ended(board, others[1]).state == FINISHED
    assert board.job(first.job_id).state == INTERRUPTED
    assert not (board.jobs / others[0] / "process-1.json").exists(), "it was never begun"


def test_a_cancelled_training_leaves_nothing_half_made(board, own) -> None:
    job = board.train(probe="low", experiment=LONG)
    pid = stopped_worker(board, job.job_id)
    asked = board.cancel(job.job_id)
    assert asked.state == CANCELLED or asked.stopping
    os.kill(pid, signal.SIGCONT)
    done = ended(board, job.job_id)
    assert done.state == CANCELLED and done.error is None
    with pytest.raises(Conflict, match="cancelled already"):
        board.cancel(job.job_id)
    assert ProbeStore(own.store).names() == []
    assert ended(board, board.train(probe="low", experiment=QUICK).job_id).result["version"] == 1


def test_what_does_not_end_when_asked_is_ended(board, monkeypatch) -> None:
    """A stopped process takes no SIGTERM: it stands for one that hangs."""
    monkeypatch.setattr("search_api.boards.tending._GRACE_S", 0.2)
    job = board.train(probe="low", experiment=LONG)
    stopped_worker(board, job.job_id)
    board.cancel(job.job_id)
    assert ended(board, job.job_id).state == CANCELLED


def test_a_run_at_work_is_asked_to_stop_and_what_it_committed_stays(board, own, tmp_path) -> None:
    for n in range(6):
        kit.write(tmp_path / "new" / f"site{n}" / f"2024060{n + 1}_040000.wav", kit.tone(900.0 + n, 4.0))
    job = board.embed(source="new", workers=0)
    record = Record(board.jobs / job.job_id)
    run = until(lambda: (mark := record.mark(1)) and run_of(board.root, mark), "the run has begun")
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.mark(1).pid, signal.SIGSTOP)
    if board.job(job.job_id).state == RUNNING:
        assert board.job(job.job_id).run == run == 2
        assert board.cancel(job.job_id).stopping
        assert JobFolder(own.store, run).cancel_asked(), "asked as `sonotheque stop` asks"
        os.kill(record.mark(1).pid, signal.SIGCONT)
    done = ended(board, job.job_id)
    assert done.state in (CANCELLED, FINISHED), (done.error, log_of(board, job.job_id))
    assert done.result["done"] + done.result["pending"] == 6
    assert own.rows("SELECT count(*) AS n FROM windows WHERE path LIKE 'site%'")[0]["n"] == 2 * done.result["done"]


def test_an_embedding_that_is_cancelled_keeps_what_it_committed_and_goes_on(board, own, tmp_path) -> None:
    for n in range(4):
        kit.write(tmp_path / "new" / f"site{n}" / f"2024060{n + 1}_040000.wav", kit.tone(900.0 + n, 4.0))
    job = board.embed(source="new", workers=0)
    board.cancel(job.job_id)
    done = ended(board, job.job_id)
    assert done.state in (CANCELLED, FINISHED)
    if done.state == CANCELLED:
        assert done.can_resume
        again = board.resume(job.job_id)
        assert (again.job_id, again.attempt) == (job.job_id, 2)
        done = ended(board, job.job_id)
    assert done.state == FINISHED, (done.error, log_of(board, job.job_id))
    assert {r["n"] for r in own.rows("SELECT count(*) AS n FROM windows WHERE path LIKE 'site%'")} == {8}


def test_what_cannot_be_resumed(board) -> None:
    job = board.train(probe="low", experiment=QUICK)
    ended(board, job.job_id)
    with pytest.raises(Conflict, match="ask for it again"):
        board.resume(job.job_id)
    with pytest.raises(Conflict, match="finished"):
        board.resume("run-1")
    with pytest.raises(NotFound, match="no report"):
        board.report_rows(job.job_id)


@pytest.mark.parametrize(
    "job_id",
    ["", "..", "../state", "run-0", "run-99", "run-1/..", "20250101T000000000000-aaaaaa", "x\0", "run-" + "9" * 30],
)
def test_ids_of_no_job(still, job_id) -> None:
    for call in (still.job, still.cancel, still.resume, still.report_rows, still.report_sum):
        with pytest.raises(NotFound):
            call(job_id)


def test_two_services_on_one_folder_do_each_job_once(board, own, tmp_path) -> None:
    other = Board(own.store, tmp_path / "state", board.ingest_roots)
    other.start()
    try:
        jobs = [(board, other)[n].train(probe=f"p{n}", experiment=QUICK).job_id for n in range(2)]
        assert [ended(board, j).state for j in jobs] == [FINISHED] * 2
        assert [ProbeStore(own.store).versions(f"p{n}") for n in range(2)] == [[1]] * 2
        assert {j.job_id for j in other.list()} == {j.job_id for j in board.list()}
        # The one that has the say goes; the other takes over.
        board.close()
        last = other.train(probe="p9", experiment=QUICK)
        assert ended(other, last.job_id).state == FINISHED
    finally:
        other.close()


def test_judgements_during_a_training_are_all_there(board, own) -> None:
    job = board.train(probe="low", experiment=LONG)
    until(lambda: board.job(job.job_id).state == RUNNING, "the training runs")
    for n in range(10):
        add_annotation(own.store, "north/20240502_040000.wav", 0.0, 2.0, f"label {n}", annotator="Ben")
    assert ended(board, job.job_id).state == FINISHED
    with open_archive(own.store) as archive:
        rows = archive.sql("SELECT label FROM annotations WHERE annotator = 'Ben'").to_pylist()
    assert {r["label"] for r in rows} == {f"label {n}" for n in range(10)}


def test_a_folder_that_is_gone_ends_the_job_not_the_board(board) -> None:
    job = board.train(probe="low", experiment=LONG)
    pid = stopped_worker(board, job.job_id)
    shutil.rmtree(board.jobs / job.job_id)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(NotFound):
        board.job(job.job_id)
    assert ended(board, board.train(probe="low", experiment=QUICK).job_id).state == FINISHED


def test_not_more_than_can_ever_be_done(still, monkeypatch) -> None:
    monkeypatch.setattr("search_api.boards.board.WAITING_MAX", 3)
    jobs = [still.train(probe="low", experiment=QUICK).job_id for _ in range(3)]
    with pytest.raises(Unavailable) as refused:
        still.train(probe="low", experiment=QUICK)
    assert refused.value.kind == "overloaded"
    still.cancel(jobs[1])
    assert still.train(probe="low", experiment=QUICK).state == QUEUED


def test_folders_of_old_jobs_go(still, monkeypatch) -> None:
    monkeypatch.setattr("search_api.boards.tending.KEPT", 2)
    monkeypatch.setattr("search_api.boards.tending._AFRESH", 1)
    monkeypatch.setattr(
        "search_api.boards.tending.begin", lambda *_: (_ for _ in ()).throw(OSError(11, "no more processes"))
    )
    jobs = [still.train(probe="low", experiment=QUICK).job_id for _ in range(4)]
    still.cancel(jobs[0])
    still._tender.look()
    assert not (still.jobs / jobs[0]).exists()
    assert all((still.jobs / job).exists() for job in jobs[1:])
    assert still.job(jobs[3]).state == QUEUED, "what has not ended stays, however many there are"
    failed = still.job(jobs[1])
    assert failed.state == FAILED and "no process can be made" in failed.error["message"]
