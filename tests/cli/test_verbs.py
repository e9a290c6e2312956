"""The verbs on a store: what they print, their documents' keys, their exit codes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support import cli, cli_env, make_archive, part_files, write_wav

Finished = tuple[Path, Path]

# DESIGN.md, section 9: names that may be added to, never taken away.
RUN_KEYS = {
    "files",
    "done",
    "skipped",
    "failed",
    "audio_s",
    "windows",
    "wall_s",
    "x_realtime",
    "bytes_per_window",
    "failures",
}
VERIFY_KEYS = {"ok", "planned", "committed", "missing", "foreign", "duplicate_windows", "damaged"}
PLAN_KEYS = {
    "files",
    "new",
    "settled",
    "changed",
    "audio_s",
    "new_audio_s",
    "parts",
    "windows",
    "bytes",
    "wall_s",
    "sites",
    "problems",
}
STATUS_KEYS = {"job", "state", "parts_planned", "parts_committed", "heartbeat"}
INFO_KEYS = {"store", "model", "dtype", "window_s", "hop_s", "snapshot", "parts", "windows", "bytes", "sites"}


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the one document on stdout; anything beside it is an error here."""
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_embed_prints_one_document(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive", sites=1, days=1, files=2)
    (archive / "site0" / "bad.wav").write_bytes(b"no sound")
    arguments = ["embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--workers", 0, "--json"]
    done = cli(*arguments)
    found = document(done)
    assert done.returncode == 3
    assert set(found) >= RUN_KEYS
    assert (found["files"], found["done"], found["skipped"], found["failed"], found["windows"]) == (3, 2, 0, 1, 4)
    assert [set(f) for f in found["failures"]] == [{"path", "kind", "reason"}]
    assert found["failures"][0]["path"] == "site0/bad.wav"
    assert "3 files" in done.stderr  # the plan is for people, on stderr
    quiet = cli(*arguments, "-q")
    assert quiet.stderr == ""
    assert document(quiet)["windows"] == 0


def test_embed_prints_a_summary(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive", sites=1, days=1, files=2)
    done = cli("embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--workers", 1, "-q")
    assert done.returncode == 0
    assert "2 files" in done.stdout
    assert "done     2" in done.stdout


def test_a_dry_run_shows_the_plan_and_does_nothing(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive", sites=2, days=1, files=2)
    arguments = ["embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--dry-run"]
    done = cli(*arguments, "--json")
    assert done.returncode == 0
    found = document(done)
    assert set(found) >= PLAN_KEYS
    assert (found["files"], found["new"], found["windows"]) == (4, 4, 8)
    text = cli(*arguments)
    assert "4 to embed with placeholder" in text.stdout
    assert "--timezone" in text.stdout
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "xlsx"])
def test_embed_writes_the_report(tmp_path: Path, ending: str) -> None:
    archive = make_archive(tmp_path / "archive", sites=1, days=1, files=2)
    target = tmp_path / f"r.{ending}"
    arguments = ["embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--workers", 0, "-q"]
    assert cli(*arguments, "--report", target).returncode == 0
    if ending == "xlsx":
        assert zipfile.is_zipfile(target)
    else:
        assert len(target.read_text(encoding="utf-8").splitlines()) == 2 + (ending == "csv")


@pytest.mark.parametrize("option", ["--report", "--out"])
@pytest.mark.parametrize(("name", "code"), [("r.pdf", 2), ("missing/r.csv", 4), ("missing/r.xlsx", 4)])
def test_a_report_that_cannot_be_written_is_told_before_anything_is_done(
    finished: Finished, tmp_path: Path, option: str, name: str, code: int
) -> None:
    archive, store = finished
    verb = ["report", "--store", store] if option == "--out" else ["embed", archive, "--store", tmp_path / "new"]
    done = cli(*verb, option, tmp_path / name, "--json")
    assert done.returncode == code, done.stderr
    assert document(done)["error"]["message"].startswith(option)
    assert not (tmp_path / "new").exists()


def test_status(finished: Finished) -> None:
    found = document(cli("status", "--store", finished[1], "--json"))
    assert set(found) >= STATUS_KEYS
    assert (found["state"], found["parts_planned"], found["parts_committed"]) == ("finished", 3, 3)
    text = cli("status", "--store", finished[1])
    assert "job 1 is finished: 3 of 3 parts" in text.stdout
    assert text.stderr == ""


def test_verify(finished: Finished) -> None:
    for deep in ([], ["--deep"]):
        done = cli("verify", "--store", finished[1], "--json", *deep)
        found = document(done)
        assert done.returncode == 0
        assert set(found) >= VERIFY_KEYS
        assert (found["ok"], found["planned"], found["committed"], found["deep"]) == (True, 6, 6, bool(deep))
    assert cli("verify", "--store", finished[1]).stdout.startswith("ok: ")


def test_verify_finds_what_is_missing_and_damaged(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive", sites=3, days=1, files=1)
    store = tmp_path / "store"
    assert cli("embed", archive, "--store", store, "--model", "placeholder", "--workers", 0, "-q").returncode == 0
    parts = [store / p for p in part_files(store) if p.startswith("embeddings")]
    parts[0].unlink()
    parts[1].write_bytes(parts[1].read_bytes()[:-50])
    done = cli("verify", "--store", store, "--json")
    found = document(done)
    assert done.returncode == 7
    assert not found["ok"]
    assert (found["planned"], found["committed"], found["missing"]) == (3, 1, 2)
    assert found["damaged"] == 2
    text = cli("verify", "--store", store)
    assert text.returncode == 7
    assert "NOT OK" in text.stdout
    assert "sonotheque resume" in text.stdout


def test_report(finished: Finished) -> None:
    found = document(cli("report", "--store", finished[1], "--json"))
    assert set(found) >= RUN_KEYS
    assert (found["files"], found["done"], found["skipped"], found["failed"]) == (6, 4, 1, 1)
    assert found["files"] == found["done"] + found["skipped"] + found["failed"] + found["pending"]
    text = cli("report", "--store", finished[1]).stdout
    assert "done     4" in text
    assert "sonotheque report" in text


def test_report_of_failures(finished: Finished) -> None:
    done = cli("report", "--store", finished[1], "--failed")
    assert done.stdout.splitlines() == [line for line in done.stdout.splitlines() if line.startswith("unreadable")]
    assert "site0/=bad.wav" in done.stdout


@pytest.mark.parametrize("failed", [False, True])
def test_report_to_a_table(finished: Finished, tmp_path: Path, failed: bool) -> None:
    more = ["--failed"] if failed else []
    done = cli("report", "--store", finished[1], "--out", tmp_path / "r.csv", *more)
    assert done.returncode == 0
    assert done.stdout == ""
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == (1 if failed else 6)
    assert {r["outcome"] for r in rows} == ({"failed"} if failed else {"done", "skipped", "failed"})


def test_report_to_a_sheet_and_a_document(finished: Finished, tmp_path: Path) -> None:
    done = cli("report", "--store", finished[1], "--out", tmp_path / "r.xlsx", "--json")
    assert document(done)["files"] == 6
    assert "6 recordings" in done.stderr
    assert zipfile.is_zipfile(tmp_path / "r.xlsx")


def test_info(finished: Finished) -> None:
    found = document(cli("info", "--store", finished[1], "--json"))
    assert set(found) >= INFO_KEYS
    assert (found["windows"], found["model"]["name"]) == (8, "placeholder")
    assert "8 windows of placeholder" in cli("info", "--store", finished[1]).stdout


def test_stop_when_nothing_runs(finished: Finished) -> None:
    found = document(cli("stop", "--store", finished[1], "--json"))
    assert (found["asked"], found["state"]) == (False, "finished")
    assert not (finished[1] / "jobs" / "1" / "CANCEL").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["status"], 4, "not_found"),
        (["stop"], 4, "not_found"),
        (["report"], 4, "not_found"),
        (["resume"], 5, "conflict"),
        (["verify"], 4, "no_store"),
        (["info"], 4, "no_store"),
        (["report", "--job", "7"], 4, "not_found"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_no_store_there(tmp_path: Path, arguments: list[str], code: int, kind: str) -> None:
    done = cli(*arguments, "--store", tmp_path / "nowhere", "--json")
    assert done.returncode == code
    assert document(done)["error"]["kind"] == kind
    assert done.stderr.startswith("sonotheque: ")
    assert not (tmp_path / "nowhere").exists()


def test_a_job_that_is_not_there(finished: Finished) -> None:
    done = cli("report", "--store", finished[1], "--job", 9)
    assert done.returncode == 4
    assert "it has 1" in done.stderr


def test_names_that_are_not_utf8_do_not_stop_the_output(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"arch\xffive")
    write_wav(folder / "a.wav")
    (folder / os.fsdecode(b"lost\xfe.wav")).symlink_to("nowhere")
    store = tmp_path / "store"
    done = cli("embed", folder, "--store", store, "--model", "placeholder", "--workers", 0, "--json", "-q")
    assert done.returncode == 3, done.stderr
    found = document(done)
    assert found["problems"][0]["path"] == str(folder / os.fsdecode(b"lost\xfe.wav"))
    assert cli("status", "--store", store).returncode == 0
    assert cli("report", "--store", store).returncode == 0
    assert document(cli("verify", "--store", store, "--json"))["ok"]
    refused = cli("embed", folder, "--store", tmp_path / os.fsdecode(b"sto\xffre"), "--json")
    assert refused.returncode == 2
    assert "UTF-8" in document(refused)["error"]["message"]
    missing = cli("embed", folder / os.fsdecode(b"\xff"), "--store", store, "--json")
    assert missing.returncode == 4
    assert document(missing)["error"]["kind"] == "not_found"


def test_resume_from_another_folder(tmp_path: Path) -> None:
    make_archive(tmp_path / "here" / "archive", sites=1, days=1, files=2)
    (tmp_path / "there").mkdir()
    first = cli("embed", "archive", "--store", "store", "--model", "placeholder", "--workers", 0, cwd=tmp_path / "here")
    assert first.returncode == 0, first.stderr
    again = cli("resume", "--store", tmp_path / "here" / "store", "--json", cwd=tmp_path / "there")
    assert again.returncode == 0, again.stderr
    assert document(again)["skipped"] == 2


def test_a_closed_pipe_ends_quietly(finished: Finished) -> None:
    command = f"{sys.executable} -m sonotheque.cli.main report --store {finished[1]} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=cli_env(), timeout=60)
    assert done.stderr == ""
