"""``sonotheque jobs`` and ``jobs report`` through the door."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.perch_log import batch_text, run_text
from tests.cluster.poison import poisoned_env
from tests.cluster.support import cli, make_archive, part_files, start_cli, wait_for

Finished = tuple[Path, Path]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "inference.log"
    path.write_text(batch_text(("SITE1", run_text(100, 11.7), "DONE"), ("SITE2", "x\n", "FAILED")), encoding="utf-8")
    return path


def test_the_list(finished: Finished) -> None:
    done = cli("jobs", "--store", finished[1])
    assert done.returncode == 0, done.stderr
    heading, rule, row, *notes = done.stdout.splitlines()
    assert heading.split()[:4] == ["job", "started", "state", "done"]
    assert set(rule) == {"-", " "}
    assert row.split()[0] == "1"
    assert "finished" in row
    assert "reference fp32" in row
    assert notes == ["  job 1: failed: unreadable 1"]
    found = json.loads(cli("jobs", "--store", finished[1], "--json").stdout)
    assert list(found) == ["jobs"]
    assert (found["jobs"][0]["job"], found["jobs"][0]["failed_by_kind"]) == (1, {"unreadable": 1})


def test_the_report_beside_another_programs_log(finished: Finished, log: Path, tmp_path: Path) -> None:
    arguments = ["jobs", "report", "--store", finished[1], "--perch-cpu-inference", log]
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    assert "perch-cpu-inference SITE1" in done.stdout
    assert "files x 60 s" in done.stdout
    assert "no ratio" in done.stdout
    assert "settings: " in done.stdout
    written = cli(*arguments, "--out", tmp_path / "jobs.csv")
    assert written.returncode == 0, written.stderr
    assert written.stdout == ""
    assert "3 jobs written" in written.stderr
    with (tmp_path / "jobs.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [r["source"] for r in rows] == ["sonotheque", "perch-cpu-inference", "perch-cpu-inference"]
    assert [r["state"] for r in rows] == ["finished", "finished", "failed"]
    assert (rows[1]["x_realtime"], rows[1]["failed"]) == ("512.8", "")
    assert "60 s" in rows[1]["terms"]
    found = json.loads(cli(*arguments, "--json").stdout)
    assert [t["source"] for t in found["totals"]] == ["sonotheque", "perch-cpu-inference"]
    assert found["jobs"][0]["part_x_mean"] > 0


def test_options_before_the_verb_count_too(finished: Finished) -> None:
    done = cli("jobs", "--store", finished[1], "--json", "report")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["jobs"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["jobs"], 2, "--store is missing"),
        (["jobs", "report"], 2, "--store is missing"),
        (["jobs", "--store", "nowhere"], 4, "is not a store"),
        (["jobs", "report", "--store", "STORE", "--out", "jobs.xlsx"], 2, ".csv or .json"),
        (["jobs", "report", "--store", "STORE", "--perch-cpu-inference", "no.log"], 4, "no such log"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be(finished: Finished, arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = cli(*(finished[1] if a == "STORE" else a for a in arguments), cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def listed(store: Path, *verb: str) -> list[dict[str, Any]]:
    done = cli("jobs", *verb, "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["jobs"]
    return rows


def test_a_run_at_work_killed_and_gone_on_with(tmp_path: Path) -> None:
    archive, store = make_archive(tmp_path / "archive", sites=8, days=3, files=1), tmp_path / "store"
    arguments = ["embed", archive, "--store", store, "--model", "placeholder", "--workers", 0, "-q"]
    process = start_cli(*arguments, env=poisoned_env(tmp_path / "slow", slow_model_s=1.0))
    try:
        wait_for(lambda: part_files(store), "a first part")
        (at_work,) = listed(store)
        assert at_work["state"] == "running"
        assert at_work["files"] == 24
        assert at_work["done"] + at_work["pending"] == 24
        assert at_work["bytes"] > 0, "what was committed so far"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    (dead,) = listed(store, "report")
    assert dead["state"] == "dead"
    assert 1 <= dead["done"] < 24
    assert dead["done"] + dead["pending"] == 24
    assert dead["hours"] == pytest.approx(dead["done"] * 4 / 3600, abs=1e-5)
    assert 0 < dead["part_x_min"] <= dead["part_x_mean"] <= dead["part_x_max"]
    assert "dead" in cli("jobs", "--store", store).stdout
    assert cli("resume", "--store", store, "-q").returncode == 0
    before, after = listed(store)
    assert (before["state"], after["state"]) == ("dead", "finished")
    assert after["done"] + after["skipped"] == 24
    assert after["started"] >= before["started"]


def test_a_damaged_job_is_a_row_too(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "jobs" / "7"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text("{")
    (folder / "events.jsonl").write_text("garbage\n")
    done = cli("jobs", "report", "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert "job 7: summary.json cannot be read" in done.stdout
    assert "job 7: events.jsonl has 1 lines that cannot be read" in done.stdout
    assert "1 jobs, 0 files" in done.stdout
