"""Running jobs from other terminals: stop, resume, status, Ctrl-C, and what is left when everything was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.job import JobFolder
from tests.cluster.poison import poisoned_env
from tests.cluster.support import cli, living, make_archive, part_files, run, start_cli, wait_for

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 parts."""
    return make_archive(tmp_path_factory.mktemp("jobs") / "archive", sites=8, days=3, files=1)


@pytest.fixture(scope="module")
def clean(archive: Path) -> dict[str, str]:
    run(archive, archive.parent / "clean")
    return part_files(archive.parent / "clean")


@pytest.fixture
def start(archive: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a run whose model is slow, and return once a part is committed."""
    started: list[subprocess.Popen[str]] = []

    def go(*more: object, workers: int = 0, slow_model_s: float = 0.6) -> subprocess.Popen[str]:
        store = tmp_path / "store"
        arguments = [
            "embed",
            archive,
            "--store",
            store,
            "--model",
            "placeholder",
            "--workers",
            workers,
            "--json",
            *more,
        ]
        process = start_cli(*arguments, env=poisoned_env(tmp_path / "slow", slow_model_s=slow_model_s))
        started.append(process)
        wait_for(lambda: part_files(store), "a first part")
        return process

    yield go
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, json.loads(out)


def state(store: Path) -> str:
    return str(document(cli("status", "--store", store, "--json"))["state"])


@pytest.mark.parametrize("workers", [0, 2])
def test_stop_from_another_process_and_resume(
    start: Start, tmp_path: Path, clean: dict[str, str], workers: int
) -> None:
    process = start(workers=workers, slow_model_s=1.5)  # two commands are given while it runs, on whatever machine
    store = tmp_path / "store"
    assert state(store) == "running"
    asked = document(cli("stop", "--store", store, "--finish-parts", "--wait", "--json"))
    assert (asked["asked"], asked["state"]) == (True, "stopped")
    code, report = ended(process)
    assert code == 9
    assert report["state"] == "stopped"
    assert report["pending"] > 0
    assert report["files"] == report["done"] + report["pending"] == 24
    assert state(store) == "stopped"
    assert part_files(store).items() <= clean.items()
    # What was begun is committed: no temporary file is left.
    assert not list((store / "_tmp").iterdir())
    verified = cli("verify", "--store", store, "--json")
    assert verified.returncode == 7
    assert document(verified)["missing"] == report["pending"]
    again = cli("resume", "--store", store, "--workers", 0, "--json", "-q")
    assert again.returncode == 0
    assert (document(again)["done"], document(again)["skipped"]) == (report["pending"], report["done"])
    assert part_files(store) == clean
    assert document(cli("verify", "--store", store, "--deep", "--json"))["ok"]


@pytest.mark.parametrize(
    ("signal_number", "workers", "group"),
    [
        pytest.param(signal.SIGINT, 0, False, id="SIGINT"),
        pytest.param(signal.SIGTERM, 0, False, id="SIGTERM"),
        pytest.param(signal.SIGINT, 2, True, id="Ctrl-C in a terminal: workers get it too"),
    ],
)
def test_a_signal_is_a_stop(
    start: Start, tmp_path: Path, clean: dict[str, str], signal_number: int, workers: int, group: bool
) -> None:
    process = start(workers=workers)
    (os.killpg if group else os.kill)(process.pid, signal_number)
    code, report = ended(process)
    assert code == 9
    assert report["state"] == "stopped"
    assert report["pending"] > 0
    assert report["failed"] == 0
    assert part_files(tmp_path / "store").items() <= clean.items()
    assert state(tmp_path / "store") == "stopped"


def test_a_second_signal_ends_it_at_once(start: Start, tmp_path: Path, clean: dict[str, str]) -> None:
    process = start(slow_model_s=6.0)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: (tmp_path / "store" / "jobs" / "1" / "CANCEL").exists(), "the first to be seen")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert state(tmp_path / "store") == "failed"
    assert part_files(tmp_path / "store").items() <= clean.items()


def test_after_everything_was_killed(start: Start, tmp_path: Path, archive: Path, clean: dict[str, str]) -> None:
    process = start(workers=2)
    store = tmp_path / "store"
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    found = document(cli("status", "--store", store, "--json"))
    assert found["state"] == "dead"
    assert found["parts_planned"] == 24
    assert 1 <= found["parts_committed"] < 24
    text = cli("status", "--store", store).stdout
    assert "is dead" in text
    assert "sonotheque resume" in text
    report = document(cli("report", "--store", store, "--json"))
    assert report["state"] == "dead"
    assert report["files"] == report["done"] + report["skipped"] + report["failed"] + report["pending"] == 24
    assert "pending" in cli("report", "--store", store).stdout
    assert not document(cli("stop", "--store", store, "--json"))["asked"]
    wait_for(lambda: not living(below), "the workers' end")
    assert cli("resume", "--store", store, "--workers", 0, "-q").returncode == 0
    assert part_files(store) == clean
    assert state(store) == "finished"
    assert document(cli("report", "--store", store, "--job", 1, "--json"))["state"] == "dead"


def test_the_first_jobs_settings_are_resumed(tmp_path: Path, archive: Path) -> None:
    store = tmp_path / "store"
    more = ["--hop-s", "0.5", "--site", "X", "--timezone", "UTC", "--no-predictions", "--prefix", "p"]
    done = cli("embed", archive / "site0", "--store", store, "--model", "placeholder", "--workers", 0, "-q", *more)
    assert done.returncode == 0
    kept = JobFolder(str(store), 1).read_json("job.json")["options"]
    assert (kept["hop_s"], kept["site"], kept["timezone"], kept["top_k"], kept["prefix"]) == (0.5, "X", "UTC", 0, "p")
    again = cli("resume", "--store", store, "--json", "-q")
    assert again.returncode == 0
    assert document(again)["skipped"] == 3
    assert JobFolder(str(store), 2).read_json("job.json")["options"] == kept


def test_progress_is_seen_from_outside(start: Start, tmp_path: Path) -> None:
    process = start(workers=0)
    store = tmp_path / "store"
    found = wait_for(
        lambda: (
            (s := document(cli("status", "--store", store, "--json")))["heartbeat"].get("phase") == "embedding" and s
        ),
        "a heartbeat",
    )
    assert found["heartbeat"]["pid"] == process.pid
    assert {"files", "files_total", "audio_s", "audio_total_s", "windows", "x_realtime", "eta_s"} <= set(
        found["heartbeat"]
    )
    assert "24 files" in cli("status", "--store", store).stdout
