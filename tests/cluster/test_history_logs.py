"""Logs of perch-cpu-inference become rows with its own terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.history_logs import SOURCE, TERMS, read_log
from cluster.history_table import SOURCE as OURS
from cluster.history_table import totals
from sonotheque.core.errors import Invalid, NotFound
from tests.cluster.perch_log import batch_text, run_text


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "inference.log"


@pytest.mark.parametrize(("encoding", "colour"), [("utf-8", False), ("utf-8", True), ("ascii", False)])
def test_a_finished_job_is_what_it_printed(log: Path, encoding: str, colour: bool) -> None:
    text = run_text(6800, 941.0, encoding=encoding, colour=colour, sizes=("0.75", "37.90"))
    log.write_text(batch_text(("WYTHAM_A4", text, "DONE")), encoding="utf-8")
    (row,) = read_log(str(log))
    assert (row.source, row.where, row.job, row.name) == (SOURCE, str(log), 1, "WYTHAM_A4")
    assert SOURCE != OURS
    assert (row.state, row.started) == ("finished", "09:01:02")
    assert (row.files, row.done, row.skipped, row.pending) == (6800, 6800, 0, 0)
    assert row.failed is None, "it does not tell which files it could not decode"
    assert row.hours == round(6800 * 60 / 3600, 6)
    assert (row.wall_s, row.x_realtime) == (941.0, 433.6)
    assert (row.part_x_min, row.part_x_mean, row.part_x_max) == (None, None, None)
    assert row.windows == 6800 * 12
    assert row.bytes == 787_900_000
    assert row.bytes_per_window == round(787_900_000 / 81_600, 1)
    assert (row.workers, row.machine) == (32, "96 hardware threads")
    assert row.settings["batch_size"] == "4"
    assert row.settings["dtype"] == "float32"
    assert row.settings["ram_budget"] == "10.0 GB"
    assert row.precision == "fp32"
    assert row.terms == TERMS
    assert "60 s" in TERMS
    assert row.notes == ["its log gives times without a day; begun Mon Jun  2 09:00:00 UTC 2025"]


def test_every_end_of_a_job_is_a_row(log: Path) -> None:
    killed = run_text(2000, 0.0, groups=(745, 1490), ends=False)
    log.write_text(
        batch_text(
            ("a", run_text(100, 11.7), "DONE"),
            ("with a space", "Traceback (most recent call last):\nMemoryError\n", "FAILED"),
            ("empty", "x No files found\n", "DONE"),
            ("again", run_text(10, 5.0, already=90), "DONE"),
            ("cut", run_text(100, 10.0), ""),
            ("killed", killed, ""),
        ),
        encoding="utf-8",
    )
    rows = read_log(str(log))
    assert [r.name for r in rows] == ["a", "with a space", "empty", "again", "cut", "killed"]
    assert [r.job for r in rows] == [1, 2, 3, 4, 5, 6]
    assert [r.state for r in rows] == ["finished", "failed", "finished", "finished", "finished", "unknown"]
    assert [r.x_realtime for r in rows] == [512.8, None, None, 120.0, 600.0, None]
    failed, empty, again, last = rows[1], rows[2], rows[3], rows[5]
    assert (failed.files, failed.hours, failed.windows) == (None, 0.0, None)
    assert "No files found: nothing was embedded" in empty.notes
    assert (again.files, again.skipped, again.done, again.hours) == (100, 90, 10, round(600 / 3600, 6))
    assert again.bytes is not None
    assert again.bytes_per_window is None, "the folder holds the earlier run's rows as well"
    assert (last.done, last.pending, last.wall_s) == (1490, 510, None)
    assert any("no end" in note for note in last.notes)


def test_outputs_of_single_runs_and_logs_that_were_added_to(log: Path) -> None:
    log.write_text(run_text(10, 5.0) + run_text(20, 5.0), encoding="utf-8")
    rows = read_log(str(log))
    assert [(r.name, r.done, r.state, r.started) for r in rows] == [("", 10, "finished", ""), ("", 20, "finished", "")]
    assert rows[0].notes == []
    twice = batch_text(("a", run_text(10, 5.0), "DONE")) + batch_text(("a", run_text(10, 4.0), "DONE"))
    log.write_text(twice, encoding="utf-8")
    assert [r.wall_s for r in read_log(str(log))] == [5.0, 4.0]


def test_a_log_with_bytes_that_are_no_text(log: Path) -> None:
    log.write_bytes(b"\xff\xfe\x00junk\n" + batch_text(("\u00e9", run_text(10, 5.0), "DONE")).encode())
    (row,) = read_log(str(log))
    assert (row.name, row.done) == ("\u00e9", 10)


def test_numbers_that_make_no_sense_are_left_out(log: Path) -> None:
    log.write_text(run_text(10, 5.0, **{"Inference Workers": "many", "System CPUs": "-"}), encoding="utf-8")
    (row,) = read_log(str(log))
    assert (row.workers, row.machine, row.done) == (None, "", 10)


def test_jobs_are_summed_with_their_audio_as_weight(log: Path) -> None:
    log.write_text(
        batch_text(("a", run_text(100, 10.0), "DONE"), ("b", run_text(300, 60.0), "DONE"), ("c", "boom\n", "FAILED")),
        encoding="utf-8",
    )
    (total,) = totals(read_log(str(log)))
    assert (total["source"], total["jobs"], total["timed_jobs"], total["done"]) == (SOURCE, 3, 2, 400)
    assert (total["job_x_min"], total["job_x_mean"], total["job_x_max"]) == (300.0, 375.0, 600.0)
    assert total["x_realtime"] == pytest.approx(400 * 60 / 70, abs=0.01)
    assert total["terms"] == TERMS


def test_what_is_no_log_is_refused(log: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such log"):
        read_log(str(log))
    log.write_text("some other program\n[x] Starting\n| a | b |\n")
    with pytest.raises(Invalid, match=r"no job is in it.*Starting: SITE"):
        read_log(str(log))
    with pytest.raises(Invalid, match="cannot be read"):
        read_log(str(tmp_path))
