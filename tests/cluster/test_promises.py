"""What a user is told, and what is refused: each test is a way in which a run once could mislead."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from cluster.estimate import FIRST_GUESS_X_REALTIME
from cluster.guard import _INTERRUPTIONS
from cluster.heart import Heart
from cluster.job import JobFolder, heartbeat, latest_job, new_job
from cluster.options import cores, default_workers
from cluster.report import export_rows
from cluster.resuming import resume
from cluster.run import Run, embed, prepare
from cluster.status import ask_stop, job_report, verify_store
from cluster.sums import Books, RunReport
from sonotheque.core.errors import Conflict, NotFound, Unavailable
from tests.cluster.support import cli, make_archive, options, report_rows, run, wait_for, write_wav


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive", sites=2, days=1, files=2)


# ---- workers ----------------------------------------------------------------------------------------------------------


def test_a_worker_that_runs_several_tasks_at_once_is_refused(archive: Path, store: Path) -> None:
    """Two tasks would share one model, and vectors would land under the wrong recordings."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None, host="127.0.0.1", silence_logs=50
        ) as wide,
        pytest.raises(Unavailable, match=r"2 threads.*--nthreads 1"),
    ):
        embed(options(archive, store, scheduler=wide.scheduler_address))
    assert not (store / "embeddings").exists()


def test_workers_by_default_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class Memory:
        total = 8 << 30

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr("cluster.options.cores", lambda: 8)
    assert default_workers("placeholder") == 8
    assert default_workers("birdnet_v2.4") == 6
    assert default_workers("perch_v2") == 2
    assert default_workers("perch_v2", "hf:someone/perch/perch_v2.onnx") == 4
    Memory.total = 1 << 30
    assert default_workers("perch_v2") == 1
    assert cores() >= 1


# ---- what is told of times --------------------------------------------------------------------------------------------


def test_a_recorder_s_clock_is_not_taken_for_the_site_s_without_a_word(tmp_path: Path, store: Path) -> None:
    write_wav(tmp_path / "in" / "site" / "2024-05-01T04-00-00Z.wav")
    write_wav(tmp_path / "in" / "site" / "SwiftOne_20240501_040000_-0400.wav", seed=2)
    without = run(tmp_path / "in", store)
    rows = report_rows(without)
    known = sum(bool(r["start"]) for r in rows.values())
    assert without.without_zone == known > 0
    assert prepare(options(tmp_path / "in", tmp_path / "other", timezone="America/Bogota")).plan.without_zone == 0


def test_doubts_about_times_are_in_the_report_and_counted(tmp_path: Path, store: Path) -> None:
    write_wav(tmp_path / "in" / "site" / "20241027_023000.wav")
    report = run(tmp_path / "in", store, timezone="Europe/Berlin")
    assert report.time_issues == {"ambiguous_local_time": 1}
    assert report_rows(report)["site/20241027_023000.wav"]["time_issues"] == "ambiguous_local_time"


def test_a_time_zone_that_comes_too_late_is_said_to(archive: Path, store: Path) -> None:
    run(archive, store)
    notes = prepare(options(archive, store, timezone="Europe/Paris")).plan.notes
    assert len(notes) == 1
    assert "--timezone was None, is Europe/Paris" in notes[0]
    assert prepare(options(archive, store)).plan.notes == []


# ---- several runs on one store ----------------------------------------------------------------------------------------


def test_what_an_earlier_run_left_is_resumed_though_a_later_one_finished(archive: Path, store: Path) -> None:
    halves = archive / "site0", archive / "site1"
    root = str(archive)
    run(halves[0], store, root=root)
    # A run over the whole that was stopped before its first task.
    stopped = new_job(str(store))
    told = latest_told(store, 1)
    told["options"]["sources"] = [root]
    stopped.write_json("job.json", told)
    plan = list(JobFolder(str(store), 1).read_plan())
    extra = {**plan[0], "path": "site1/20240501_040000.wav"}
    stat = (halves[1] / "20240501_040000.wav").stat()
    stopped.write_plan(iter([*plan, {**extra, "size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}]))
    heartbeat(stopped, "stopped")
    embed(options(halves[0], store, root=root))
    assert verify_store(str(store)).missing_paths == ["site1/20240501_040000.wav"]
    assert resume(str(store)).done == 2
    assert verify_store(str(store)).ok


def latest_told(store: Path, number: int) -> dict[str, dict[str, object]]:
    told: dict[str, dict[str, object]] = JobFolder(str(store), number).read_json("job.json")
    return told


def test_a_file_deleted_before_it_was_embedded_is_not_missed_for_ever(archive: Path, store: Path) -> None:
    run(archive / "site0", store, root=str(archive))
    job = JobFolder(str(store), 1)
    plan = list(job.read_plan())
    job.write_plan(iter([*plan, {**plan[0], "path": "site0/gone.wav"}]))
    assert verify_store(str(store)).missing == 1
    embed(options(archive / "site0", store, root=str(archive)))
    assert verify_store(str(store)).ok


def test_the_report_of_a_killed_run_has_its_windows(archive: Path, store: Path) -> None:
    whole = run(archive, store)
    job = latest_job(str(store))
    job.file("summary.json").unlink()
    lines = job.file("report.jsonl").read_text().splitlines(keepends=True)
    job.file("report.jsonl").write_text("".join(lines[:3]))
    found = job_report(str(store))
    assert (found["done"], found["pending"], found["windows"]) == (3, 1, 3 * whole.windows // 4)
    assert found["audio_s"] == 12.0
    assert found["problems"] is None
    shown = cli("report", "--store", store)
    assert shown.returncode == 0, shown.stderr
    assert "6 windows so far" in shown.stdout


# ---- estimates --------------------------------------------------------------------------------------------------------


def test_overlap_and_time_expansion_are_counted_once(archive: Path, tmp_path: Path) -> None:
    plain = prepare(options(archive, tmp_path / "a", workers=1)).plan
    assert plain.wall_s == pytest.approx(16.0 / FIRST_GUESS_X_REALTIME["placeholder"])
    assert prepare(options(archive, tmp_path / "b", hop_s=1.0, workers=1)).plan.wall_s == pytest.approx(
        2 * plain.wall_s
    )
    # A store's own last run has its overlap in its speed already.
    told = tmp_path / "c"
    run(archive, told, hop_s=1.0)
    job = latest_job(str(told))
    job.write_json(
        "summary.json", {**job.read_json("summary.json"), "audio_s": 1000.0, "x_realtime": 10.0, "workers": 2}
    )
    write_wav(archive / "site0" / "20240501_090000.wav", 40.0, seed=9)
    assert prepare(options(archive, told, workers=1)).plan.wall_s == pytest.approx(40.0 / 5.0)
    assert "2 workers" in prepare(options(archive, told, scheduler="tcp://nowhere:1")).plan.speed_from


# ---- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".xlsx"])
def test_a_report_that_cannot_be_written_is_a_sentence(tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"report{ending}"
    target.mkdir()
    with pytest.raises(Unavailable, match="store is unharmed"):
        export_rows([], target)


def test_the_summary_comes_before_a_report_that_fails(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "r.xlsx").mkdir()
    done = cli(
        "embed",
        archive,
        "--store",
        tmp_path / "s",
        "--model",
        "placeholder",
        "--workers",
        0,
        "-q",
        "--report",
        tmp_path / "r.xlsx",
    )
    assert done.returncode == Unavailable.exit_code
    assert "done     4" in done.stdout
    assert "Traceback" not in done.stderr


def test_ctrl_c_blames_no_file() -> None:
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} == set(_INTERRUPTIONS)


def test_a_busy_run_keeps_its_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.heart.EVERY_S", 0.02)
    job = new_job(str(tmp_path))
    with Heart(job) as heart:
        first = job.read_json("heartbeat.json")
        heart.tell(phase="embedding", files=3)
        deadline = time.monotonic() + 10
        while job.read_json("heartbeat.json").get("files") != 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        later = job.read_json("heartbeat.json")
    assert (first["phase"], later["phase"], later["files"]) == ("starting", "embedding", 3)
    assert later["at_s"] > first["at_s"]
    assert job.state() == "running"


@pytest.mark.parametrize("state", ["finished", "failed"])
def test_a_run_that_closes_its_books_for_long_keeps_its_heartbeat(
    archive: Path, store: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """The last snapshot and the catalog of a large store take minutes, far more than makes a run look dead from elsewhere."""
    monkeypatch.setattr("cluster.heart.EVERY_S", 0.02)
    close = Books.close
    beats: list[dict[str, Any]] = []

    def slowly(books: Books, *words: Any) -> RunReport:
        job = latest_job(str(store))
        since_s = time.time()

        def fresh() -> dict[str, Any] | None:
            beat = job.read_json("heartbeat.json")
            return beat if beat["at_s"] > since_s + 0.1 else None

        beats.append(wait_for(fresh, "a beat while the books are closed", timeout_s=10))
        return close(books, *words)

    def broken(run: Run) -> None:
        raise Unavailable("the plug was pulled")

    monkeypatch.setattr(Books, "close", slowly)
    if state == "failed":
        monkeypatch.setattr(Run, "_work", broken)
        with pytest.raises(Unavailable, match="plug"):
            embed(options(archive, store))
    else:
        assert embed(options(archive, store)).state == state
    job = latest_job(str(store))
    assert [b["state"] for b in beats] == ["running"]
    assert job.read_json("heartbeat.json")["state"] == job.read_json("summary.json")["state"] == state
    assert not [t for t in threading.enumerate() if t.name == "heartbeat"]
    assert json.loads(job.file("events.jsonl").read_text().splitlines()[-1])["event"] == state


def test_what_cannot_be_resumed_is_told_by_name(archive: Path, store: Path) -> None:
    with pytest.raises(Conflict, match="has no job to resume"):
        resume(str(store))
    with pytest.raises(NotFound, match="has no job 7; it has none"):
        resume(str(store), job=7)
    run(archive, store)
    with pytest.raises(NotFound, match=r"has no job 7; it has 1$"):
        resume(str(store), job=7)
    JobFolder(str(store), 1).file("job.json").write_text("{")
    with pytest.raises(Conflict, match=r"settings of job 1 cannot be read.*sonotheque embed"):
        resume(str(store), job=1)
    with pytest.raises(Conflict, match=r"settings of any of its jobs \(1\) cannot be read.*sonotheque embed"):
        resume(str(store))


def test_a_run_that_looks_dead_from_elsewhere_can_still_be_asked_to_stop(tmp_path: Path) -> None:
    job = new_job(str(tmp_path))
    beat = {"state": "running", "host": "another-node", "pid": 1, "process_started": 1.0, "at_s": time.time() - 3600}
    job.write_json("heartbeat.json", beat)
    assert job.state() == "dead"
    assert ask_stop(str(tmp_path), wait=False)["asked"]
    assert job.cancel_asked()


def test_vectors_too_large_for_float16_cost_their_window_and_nothing_else(archive: Path, store: Path) -> None:
    """Through the guarded path's own process, so that the model can be changed without a hook in the program."""
    code = """
import sys, numpy as np
import embedder.models.placeholder as place
real = place.PlaceholderEmbedder.embed
def embed(self, frames, *, logits=True):
    out = real(self, frames, logits=logits)
    out.embeddings[np.abs(frames).max(axis=1) > 0.9] = 1e5
    return out
place.PlaceholderEmbedder.embed = embed
from cluster.run import embed as run
from tests.cluster.support import options
report = run(options(sys.argv[1], sys.argv[2]))
print(report.done, report.failed, report.windows, report.noted_by_status)
"""
    import soundfile as sf

    loud = archive / "site0" / "20240501_040000.wav"
    sound, rate = sf.read(loud)
    sound[rate // 2] = 0.99  # in the first of its two windows
    sf.write(loud, sound, rate, subtype="PCM_16")
    here = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": here}
    done = subprocess.run(
        [sys.executable, "-c", code, str(archive), str(store)], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "4 0 7 {'nonfinite': 1}", done.stderr
    assert verify_store(str(store), deep=True).ok


def test_json_of_a_report_is_one_document(archive: Path, store: Path) -> None:
    run(archive, store)
    done = cli("report", "--store", store, "--json")
    found = json.loads(done.stdout)
    assert found["files"] == 4
    assert math.isfinite(found["x_realtime"])
