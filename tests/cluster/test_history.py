"""A store's jobs as rows: whatever became of them, and whatever became of their folders."""

from __future__ import annotations

import csv
import gzip
import json
import os
import platform
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.history import job_history
from cluster.history_table import (
    COLUMNS,
    JobRow,
    counts_text,
    export_history,
    history_document,
    require_history_target,
    spread,
    totals,
)
from cluster.job import JobFolder
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from tests.cluster.support import make_archive, run, write_wav


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three jobs: one with a failure, one with nothing to do, one with settings."""
    folder = tmp_path_factory.mktemp("history")
    archive = make_archive(folder / "archive", sites=2, days=1, files=2)
    (archive / "site0" / "bad.wav").write_bytes(b"no sound")
    run(archive, folder / "store", engine="auto")
    run(archive, folder / "store", engine="auto")
    write_wav(folder / "more" / "a.wav", 6.0, seed=99)
    run(folder / "more", folder / "store", prefix="more", timezone="UTC", site="X", engine="auto")
    return folder / "store"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def first(store: Path, *, speeds: bool = True) -> JobRow:
    return job_history(str(store), speeds=speeds)[0]


def unclosed(store: Path, state: str = "running", **beat: Any) -> Path:
    """Make the first job one that was never closed."""
    folder = store / "jobs" / "1"
    (folder / "summary.json").unlink()
    told = json.loads((folder / "heartbeat.json").read_text())
    (folder / "heartbeat.json").write_text(json.dumps({**told, "state": state, **beat}))
    return folder


def test_finished_jobs(made: Path) -> None:
    rows = job_history(str(made))
    assert [(r.source, r.job, r.state) for r in rows] == [("sonotheque", n, "finished") for n in (1, 2, 3)]
    one, two, three = rows
    summary = JobFolder(str(made), 1).read_json("summary.json")
    assert (one.files, one.done, one.skipped, one.failed, one.pending) == (5, 4, 0, 1, 0)
    assert one.hours == pytest.approx(16 / 3600, abs=1e-6)
    for name in ("windows", "wall_s", "x_realtime", "bytes", "bytes_per_window", "device", "failed_by_kind", "model"):
        assert getattr(one, name) == summary[name], name
    assert (one.engine, one.precision) == ("reference", "fp32")
    assert (one.machine, one.workers) == (socket.gethostname(), 1)
    assert one.started.endswith("Z")
    assert one.settings == {"workers": 0}
    assert one.sources == [str(made.parent / "archive")]
    assert one.notes == []
    assert (two.done, two.skipped, two.failed, two.engine, two.bytes_per_window) == (0, 4, 1, "", None)
    assert three.settings == {"prefix": "more", "site": "X", "timezone": "UTC", "workers": 0}
    assert (one.part_x_min, one.part_x_mean) == (None, None), "asked for only"


def test_speeds_of_parts_are_weighted_by_audio(store: Path) -> None:
    folder = store / "jobs" / "1"
    row = first(store)
    parts = {
        e["part"]: e["wall_s"]
        for e in map(json.loads, (folder / "events.jsonl").read_text().splitlines())
        if e["event"] == "part" and e["rows"]
    }
    assert len(parts) == 2
    speeds = [8.0 / wall_s for wall_s in parts.values()]  # two files of 4 s each
    assert (row.part_x_min, row.part_x_max) == (round(min(speeds), 2), round(max(speeds), 2))
    assert row.part_x_mean == round(sum(speeds) / 2, 2)
    # Of an attempt that did not win nothing counts.
    text = (folder / "events.jsonl").read_text()
    (folder / "events.jsonl").write_text(text.replace('"won": true', '"won": false'))
    assert first(store).part_x_mean is None


def test_the_mean_of_a_spread() -> None:
    assert spread([]) == (None, None, None)
    assert spread([(1.0, 100.0), (3.0, 20.0)]) == (20.0, 40.0, 100.0)


def test_a_job_that_died(made: Path, store: Path) -> None:
    unclosed(store, pid=2**22 - 1, process_started=1.0, at_s=4e9)
    row = first(store)
    assert row.state == "dead"
    assert (row.files, row.done, row.skipped, row.failed, row.pending) == (5, 4, 0, 1, 0)
    assert (row.hours, row.windows) == (pytest.approx(16 / 3600, abs=1e-6), 8)
    assert row.failed_by_kind == {"unreadable": 1}
    assert row.bytes == JobFolder(str(made), 1).read_json("summary.json")["bytes"]
    assert row.bytes_per_window == round(row.bytes / 8, 1)
    assert row.wall_s
    assert row.x_realtime == round(16 / row.wall_s, 2)
    assert row.part_x_mean
    assert row.workers == 1
    assert any("added up from its report" in note for note in row.notes)
    assert any("last word" in note for note in row.notes)


def test_sizes_of_an_open_job_of_an_earlier_version_are_not_known(store: Path) -> None:
    events = unclosed(store) / "events.jsonl"
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    events.write_text("".join(json.dumps({k: v for k, v in e.items() if k != "bytes"}) + "\n" for e in lines))
    assert (first(store).bytes, first(store).bytes_per_window) == (None, None)


def test_the_machine_and_restarts_are_told(store: Path) -> None:
    row = first(store)
    assert re.fullmatch(r".+, \d+ cores, [\d.,]+ GiB", row.processor), row.processor
    assert row.system.endswith(f"Python {platform.python_version()}")
    job = JobFolder(str(store), 1)
    job.event("started again", text="the run was killed (SIGKILL)")
    assert first(store).notes == ["started again: the run was killed (SIGKILL)"]
    told = job.read_json("job.json")
    for machine in (None, 7, {}, {"cores": "many", "memory_bytes": None, "cpu": 3}):
        job.write_json("job.json", {**told, "machine": machine})
        assert first(store).machine == row.machine


def test_a_job_that_runs_or_was_stopped(store: Path) -> None:
    me = psutil.Process(os.getpid())
    folder = unclosed(store, pid=me.pid, process_started=me.create_time())
    assert first(store).state == "running"
    assert any("so far" in note for note in first(store).notes)
    (folder / "CANCEL").touch()
    assert first(store).state == "stopping"
    unclosed_two = store / "jobs" / "2" / "heartbeat.json"
    unclosed_two.write_text(unclosed_two.read_text().replace("finished", "stopped"))
    assert job_history(str(store))[1].state == "stopped"


def test_a_half_written_report_leaves_the_rest_pending(store: Path) -> None:
    folder = unclosed(store)
    lines = (folder / "report.jsonl").read_text().splitlines(keepends=True)
    (folder / "report.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    row = first(store)
    assert (row.done, row.failed, row.pending) == (2, 1, 2)
    assert not any("cannot be read" in note for note in row.notes), "a torn last line is no damage"


def test_what_ended_it_is_told(store: Path) -> None:
    JobFolder(str(store), 1).event("ended by an error", error="no space left")
    assert "ended by an error: no space left" in first(store).notes


FILES = ["job.json", "heartbeat.json", "summary.json", "events.jsonl", "plan.jsonl.gz", "report.jsonl"]
_ODD = (
    b'{"part_id": ["x"], "path": 3, "part": [], "event": "part", "won": true, "wall_s": 1, "outcome": [], "duration_s": "x"}\n'
    b'{"part_id": "x", "path": {}, "part": "x", "event": "part", "won": 1, "wall_s": -1, "outcome": "done", "windows": "2"}\n'
)
DAMAGE = {
    "gone": None,
    "empty": b"",
    "bytes": b"\xff\xfe\x00\x01",
    "torn": b'{"options": {"sour',
    "a list": b"[1, 2]\n",
    "other types": b'{"options": [1], "state": 7, "pid": "x", "files": "many", "wall_s": [], "failed_by_kind": 3}\n',
    "odd lines": _ODD,
    "odd lines in an archive": gzip.compress(_ODD),
    "a torn archive": gzip.compress(b'{"path": "a", "part_id": "b"}\n' * 9)[:-12],
    "infinite": b'{"state": "running", "host": "HOST", "pid": Infinity, "x_realtime": NaN, "audio_s": 1e999, "at": "x"}\n',
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", FILES)
def test_any_file_may_be_missing_or_damaged(store: Path, file: str, damage: str, tmp_path: Path) -> None:
    target, value = store / "jobs" / "1" / file, DAMAGE[damage]
    target.unlink()
    if value is not None:
        target.write_bytes(value.replace(b"HOST", socket.gethostname().encode()))
    for closed in (True, False):
        if not closed:
            (store / "jobs" / "1" / "summary.json").unlink(missing_ok=True)
        rows = job_history(str(store), speeds=True)
        assert [r.job for r in rows] == [1, 2, 3]
        assert [r.state for r in rows[1:]] == ["finished", "finished"]
        json.dumps(history_document(rows), allow_nan=False)
        export_history(rows, tmp_path / "jobs.csv")


def test_damage_is_told(store: Path) -> None:
    folder = store / "jobs" / "1"
    for name in ("job.json", "summary.json", "heartbeat.json"):
        (folder / name).write_bytes(b"{")
    lines = (folder / "report.jsonl").read_bytes().split(b"\n")
    (folder / "report.jsonl").write_bytes(b"\n".join([lines[0], b"garbage", *lines[1:]]))
    row = first(store)
    assert {"job.json cannot be read", "summary.json cannot be read", "heartbeat.json cannot be read"} <= set(row.notes)
    assert "report.jsonl has 1 lines that cannot be read" in row.notes
    assert (row.state, row.done, row.failed, row.settings, row.sources) == ("dead", 4, 1, {}, [])


def test_a_folder_without_anything_and_a_file_in_its_place(store: Path) -> None:
    (store / "jobs" / "4").mkdir()
    (store / "jobs" / "5").write_text("")
    rows = job_history(str(store), speeds=True)
    assert [(r.job, r.state, r.files) for r in rows[3:]] == [(4, "dead", None), (5, "dead", None)]


def test_the_environment_is_no_default(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads((store / "jobs" / "1" / "job.json").read_text())
    told["options"] |= {"engine": "onnxruntime", "of_a_later_version": 3}
    (store / "jobs" / "1" / "job.json").write_text(json.dumps(told))
    monkeypatch.setenv("SONOTHEQUE_ENGINE", "onnxruntime")
    assert first(store).settings == {"engine": "onnxruntime", "of_a_later_version": 3, "workers": 0}


def test_a_store_without_jobs_and_no_store(store: Path, tmp_path: Path) -> None:
    shutil.rmtree(store / "jobs")
    assert job_history(str(store)) == []
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotFound) as error:
            job_history(str(folder))
        assert error.value.kind == "no_store"


def test_written_and_read_again(made: Path, tmp_path: Path) -> None:
    rows = job_history(str(made), speeds=True)
    export_history(rows, tmp_path / "jobs.csv")
    with (tmp_path / "jobs.csv").open(encoding="utf-8", newline="") as handle:
        table = list(csv.DictReader(handle))
    assert tuple(table[0]) == COLUMNS
    assert [r["job"] for r in table] == ["1", "2", "3"]
    assert (table[0]["failed_by_kind"], table[0]["settings"]) == ("unreadable 1", "workers=0")
    assert (table[0]["part_x_min"], table[1]["part_x_min"]) == (str(rows[0].part_x_min), "")
    export_history(rows, tmp_path / "jobs.json")
    assert json.loads((tmp_path / "jobs.json").read_text()) == json.loads(json.dumps(history_document(rows)))


def test_a_file_name_is_no_formula_and_needs_no_utf_8(tmp_path: Path) -> None:
    row = JobRow("sonotheque", "=1+1", 1, machine="@x", sources=["a\udcff"])
    export_history([row], tmp_path / "jobs.csv")
    with (tmp_path / "jobs.csv").open(encoding="utf-8", newline="") as handle:
        (line,) = csv.DictReader(handle)
    assert (line["where"], line["machine"], line["sources"]) == ("'=1+1", "'@x", "a\\udcff")


def test_a_target_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"\.csv or \.json"):
        require_history_target(tmp_path / "jobs.xlsx")
    with pytest.raises(NotFound, match="no folder"):
        require_history_target(tmp_path / "none" / "jobs.csv")
    (tmp_path / "jobs.csv").mkdir()
    with pytest.raises(Unavailable, match="cannot be written"):
        export_history([], tmp_path / "jobs.csv")


def test_sums_leave_out_what_is_not_known() -> None:
    known = JobRow("sonotheque", "s", 1, done=2, hours=2.0, wall_s=72.0, x_realtime=100.0, bytes=10)
    idle = JobRow("sonotheque", "s", 2, done=0, hours=0.0, wall_s=1.0, x_realtime=0.0)
    (total,) = totals([known, idle, JobRow("sonotheque", "s", 3)])
    assert (total["jobs"], total["timed_jobs"], total["x_realtime"], total["job_x_mean"]) == (3, 1, 100.0, 100.0)
    assert (total["done"], total["hours"], total["bytes"]) == (2, 2.0, 10)
    assert totals([]) == []
    assert totals([idle])[0]["x_realtime"] is None
    assert counts_text({"empty": 1, "unreadable": 3}) == "unreadable 3; empty 1"
