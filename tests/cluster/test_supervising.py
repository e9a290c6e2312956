"""A run that is started again: when, how often, and what is left of the one before. Children here are short scripts; the last tests
supervise real runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

import cluster.supervising
from cluster.history import job_history
from cluster.orphans import SUPERVISED, end_processes, marked_processes
from cluster.status import verify_store
from cluster.supervising import PASSING_KINDS, Supervisor, is_supervised, own_command, telling_supervisor
from cluster.supervisor_log import log_path, supervisor_of
from sonotheque.core.errors import KINDS, Conflict, Invalid, SonothequeError, Unavailable
from tests.cluster.poison import poisoned_env
from tests.cluster.support import (
    cli,
    cli_env,
    living,
    make_archive,
    part_files,
    run,
    start_cli,
    uninstalled_python,
    wait_for,
)

COMMIT = """
import os, sys, pathlib
folder = pathlib.Path(sys.argv[1]) / "embeddings" / "site=a" / "date=2024-05-01"
folder.mkdir(parents=True, exist_ok=True)
def commit():
    (folder / f"part-{len(list(folder.iterdir())):032x}.parquet").touch()
    job = pathlib.Path(sys.argv[1], "jobs", str(life + 1))
    job.mkdir(exist_ok=True)
    with (job / "events.jsonl").open("a") as file: file.write('{"event": "part"}\\n{"torn')
def foreign(): (folder / f"part-f{len(list(folder.iterdir())):031x}.parquet").touch()
lives = pathlib.Path(sys.argv[1]) / "lives"
life = int(lives.read_text()) if lives.exists() else 0
lives.write_text(str(life + 1))
def end(passing, kind="workers_lost"):
    import json
    pathlib.Path(os.environ["SONOTHEQUE_SUPERVISED"], "ended.json").write_text(
        json.dumps({"kind": kind, "passing": passing, "error": "it went away"}))
    sys.exit(6)
"""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.supervising, "DELAY_S", 0.01)
    monkeypatch.setattr(cluster.supervising, "DELAY_S_MAX", 0.04)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store" / "jobs").mkdir(parents=True)
    return tmp_path / "store"


def supervisor(store: Path, script: str, **more: Any) -> Supervisor:
    return Supervisor([sys.executable, "-c", COMMIT + script, str(store)], str(store), **more)


def lives(store: Path) -> int:
    return int((store / "lives").read_text())


def events(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log_path(str(store)).read_text().splitlines()]


# ---- when it is started again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("death", ["SIGKILL", "SIGSEGV", "SIGBUS", "SIGABRT"])
def test_a_child_that_is_killed_is_started_again(store: Path, death: str) -> None:
    notes: list[str] = []
    script = f"import signal\nif life < 2: os.kill(os.getpid(), signal.{death})\nprint('done')"
    ended = supervisor(store, script, note=notes.append).run()
    assert (ended.code, ended.output, lives(store)) == (0, b"done\n", 3)
    assert len(notes) == 2
    assert death in notes[0]
    assert [e["event"] for e in events(store)] == [
        "started",
        *(["child", "child ended", "waiting"] * 2),
        *("child", "child ended", "closed"),
    ]


def test_a_passing_end_is_tried_again_and_another_is_not(store: Path) -> None:
    assert supervisor(store, "end(True) if life < 2 else sys.exit(3)").run().code == 3
    assert lives(store) == 3
    assert supervisor(store, "end(False, 'disk_full')").run().code == 6
    assert lives(store) == 4


@pytest.mark.parametrize("code", [0, 1, 2, 3, 5, 6, 9, 130])
def test_an_exit_without_a_word_stays(store: Path, code: int) -> None:
    assert supervisor(store, f"sys.exit({code})").run().code == code
    assert lives(store) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_somebody_ended_the_child(store: Path, number: signal.Signals) -> None:
    script = f"import signal\nsignal.signal({number:d}, signal.SIG_DFL)\nos.kill(os.getpid(), {number:d})"
    assert supervisor(store, script).run().code == 128 + number
    assert lives(store) == 1


def test_a_job_that_was_asked_to_stop_is_not_begun_anew_when_it_is_killed(store: Path) -> None:
    (store / "jobs" / "1").mkdir()
    (store / "jobs" / "1" / "CANCEL").touch()  # of an earlier run: that counts for nothing
    script = """
import signal
(pathlib.Path(sys.argv[1]) / "jobs" / f"{life + 2}").mkdir()
if life == 1: (pathlib.Path(sys.argv[1]) / "jobs" / "3" / "CANCEL").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert supervisor(store, script).run().code == 128 + signal.SIGKILL
    assert lives(store) == 2
    told = [json.loads(line) for line in (store / "jobs" / "2" / "events.jsonl").read_text().splitlines()]
    assert [(e["event"], "SIGKILL" in e["text"]) for e in told] == [("started again", True)]


def test_restarts_without_a_new_part_are_counted_and_progress_begins_the_count_anew(store: Path) -> None:
    notes: list[str] = []
    assert supervisor(store, "end(True)", restarts=3, note=notes.append).run().code == 6
    assert lives(store) == 1 + 3
    assert "given up after 3 restarts" in notes[-1]
    waits = [(e["seconds"], e["without_progress"]) for e in events(store) if e["event"] == "waiting"]
    assert waits == [(0.01, 1), (0.02, 2), (0.04, 3)]
    (store / "lives").write_text("0")
    assert supervisor(store, "if life in (2, 5, 7): commit()\nend(True)", restarts=2).run().code == 6
    assert lives(store) == 8 + 1 + 2  # life 7 committed the last part: the restart after it is not counted
    assert supervisor(store, "end(True)", restarts=0).run().code == 6


def test_parts_that_others_commit_are_no_progress(store: Path) -> None:
    assert supervisor(store, "foreign()\nend(True)", restarts=2).run().code == 6
    assert lives(store) == 1 + 2
    assert {e["new_parts"] for e in events(store) if e["event"] == "child ended"} == {0}


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="no real-time signals here")
def test_a_signal_without_a_name(store: Path) -> None:
    number = signal.SIGRTMIN + 3
    notes: list[str] = []
    assert supervisor(store, f"if life < 1: os.kill(os.getpid(), {number:d})", note=notes.append).run().code == 0
    assert f"signal {number:d}" in notes[0]


def test_only_the_last_childs_output_is_kept(store: Path) -> None:
    script = "print('x' * 100 * (2 - life), flush=True)\nif life < 1: os.kill(os.getpid(), 9)"
    assert supervisor(store, script).run().output == b"x" * 100 + b"\n"


def test_nothing_is_made_of_a_mistyped_path(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit(4)"]
    assert Supervisor(command, str(tmp_path / "nowhere")).run().code == 4
    assert not (tmp_path / "nowhere").exists()


def test_a_checkout_that_is_not_installed(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder is where the first process found our packages; ``-P`` keeps the next one from looking where the user stands."""
    python, libraries = uninstalled_python(tmp_path)
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setenv("PYTHONPATH", libraries)
    monkeypatch.chdir(tmp_path)
    lost = subprocess.run([python, "-c", "import cluster"], capture_output=True, text=True, check=False)
    assert "No module named 'cluster'" in lost.stderr
    ended = Supervisor(own_command(["status", "--store", str(store), "--json"]), str(store)).run()
    assert (ended.code, json.loads(ended.output)["error"]["kind"]) == (4, "not_found")


# ---- what ended the run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (Unavailable("x", kind="workers_lost"), True),
        (Unavailable("x", kind="download_failed"), True),
        (Unavailable("x", kind="store_unreachable"), True),
        (Unavailable("x"), True),
        (Unavailable("x", kind="disk_full"), False),
        (Unavailable("x", kind="read_only"), False),
        (Unavailable("x", kind="engine_missing"), False),
        (Conflict("x", kind="busy"), False),
        (Invalid("x"), False),
        (OSError(116, "Stale file handle"), True),
        (OSError(5, "Input/output error"), True),
        (OSError(28, "No space left on device"), False),
        (PermissionError(13, "Permission denied"), False),
    ],
    ids=lambda v: f"{type(v).__name__} {v}" if isinstance(v, Exception) else "",
)
def test_what_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, passing: bool) -> None:
    monkeypatch.setenv(SUPERVISED, str(tmp_path))
    assert is_supervised()
    with pytest.raises(type(error)), telling_supervisor():
        raise error
    assert json.loads((tmp_path / "ended.json").read_text())["passing"] is passing


def test_without_a_supervisor_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SUPERVISED, str(tmp_path / "gone"))
    assert not is_supervised()
    with pytest.raises(SonothequeError), telling_supervisor():
        raise Invalid("x")
    assert not list(tmp_path.iterdir())


def test_only_known_kinds_pass() -> None:
    assert set(KINDS) >= PASSING_KINDS


# ---- what is left of the one before -----------------------------------------------------------------------------------------


def test_what_the_dead_child_started_is_gone_before_the_next(store: Path) -> None:
    """One in the child's session, one in a session of its own, one that heeds no SIGTERM, one that is frozen."""
    script = """
import signal, subprocess, time
if life == 0:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    plain = "import time; print(1, flush=True); time.sleep(600)"
    kids = [subprocess.Popen([sys.executable, "-c", code], start_new_session=own, stdout=subprocess.PIPE)
            for code, own in [(plain, False), (plain, True), (stubborn, True), (plain, True)]]
    for kid in kids: kid.stdout.readline()
    kids[3].send_signal(signal.SIGSTOP)
    pathlib.Path(sys.argv[1], "kids").write_text(" ".join(str(k.pid) for k in kids))
    os.kill(os.getpid(), signal.SIGKILL)
import psutil
kids = [int(k) for k in pathlib.Path(sys.argv[1], "kids").read_text().split()]
print([k for k in kids if psutil.pid_exists(k) and psutil.Process(k).status() != "zombie"])
"""
    assert supervisor(store, script).run().output == b"[]\n"
    assert [e["processes_ended"] for e in events(store) if e["event"] == "child ended"] == [4, 0]


def test_processes_of_others_are_left_alone(tmp_path: Path) -> None:
    code = "import time; print(1, flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, SUPERVISED: "another's"}, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        assert end_processes(str(tmp_path)) == 0
        assert other.poll() is None
        assert [p.pid for p in marked_processes("another's")] == [other.pid]
        assert end_processes("another's") == 1
    assert other.returncode == -signal.SIGTERM


# ---- signals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_once_and_nothing_is_started_again(store: Path, number: signal.Signals) -> None:
    script = f"""
import signal, time
signal.signal({number:d}, lambda *_: (print("asked", flush=True), end(True)))
pathlib.Path(sys.argv[1], "ready").touch()
while True: time.sleep(60)
"""

    def send() -> None:
        wait_for((store / "ready").exists, "the child")
        assert supervisor_of(str(store)) == os.getpid()
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    before = signal.getsignal(number)
    ended = supervisor(store, script).run()
    thread.join()
    assert (ended.code, ended.output, lives(store)) == (6, b"asked\n", 1)
    assert signal.getsignal(number) is before
    assert supervisor_of(str(store)) is None


def test_a_signal_ends_a_wait(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.supervising, "DELAY_S", 600.0)
    monkeypatch.setattr(cluster.supervising, "DELAY_S_MAX", 600.0)

    def send() -> None:
        wait_for(lambda: log_path(str(store)).exists() and "waiting" in log_path(str(store)).read_text(), "the wait")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    assert supervisor(store, "end(True)").run().code == 6
    thread.join()
    assert lives(store) == 1


def test_who_supervises(store: Path) -> None:
    assert supervisor_of(str(store)) is None
    log_path(str(store)).write_text('{"event": "started", "pid": 1}\n{"torn')
    assert supervisor_of(str(store)) is None


# ---- real runs ----------------------------------------------------------------------------------------------------------------


def kill_coordinator(store: Path, supervising: int, parts: int) -> list[psutil.Process]:
    """Kill the process that runs the job once so many parts are committed; return what it had started."""
    wait_for(lambda: len(part_files(store)) >= 2 * parts, f"{parts} parts")
    child = psutil.Process(supervising).children()[0]
    below = child.children(recursive=True)
    child.kill()
    return below


def test_a_killed_run_goes_on_by_itself(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "in", sites=3, days=3, files=2)
    run(archive, tmp_path / "clean")
    env = poisoned_env(tmp_path / "slow", slow_model_s=0.4)
    store = tmp_path / "store"
    told = ("--model", "placeholder", "--workers", 2, "--supervise", "--json")
    process = start_cli("embed", archive, "--store", store, *told, env=env)
    below = kill_coordinator(store, process.pid, 2)
    assert len(below) >= 2
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "supervisor: the run was killed (SIGKILL); starting it again" in err
    assert json.loads(out)["state"] == "finished"
    assert part_files(store) == part_files(tmp_path / "clean")
    assert not living(below)
    assert verify_store(str(store), deep=True).ok
    first, *_ = job_history(str(store))
    assert first.state == "dead"
    assert "no closing sum: added up from its report" in first.notes
    assert "started again: the run was killed (SIGKILL)" in first.notes


def test_what_cannot_work_is_said_once(tmp_path: Path) -> None:
    done = cli(
        "embed", tmp_path / "nowhere", "--store", tmp_path / "s", "--model", "placeholder", "--supervise", "--json"
    )
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["kind"] == "not_found"
    assert not (tmp_path / "s").exists()
    assert cli("resume", "--store", tmp_path / "s", "--supervise").returncode == 5


def test_a_scheduler_that_comes_back_is_used_again(tmp_path: Path) -> None:
    """The scheduler dies with its workers and is there again, at the same address, a moment later."""
    archive = make_archive(tmp_path / "in", sites=3, days=3, files=2)
    run(archive, tmp_path / "clean")
    env = cli_env({**poisoned_env(tmp_path / "slow", slow_model_s=0.4)})
    script = tmp_path / "far.py"
    script.write_text(_FAR)
    store = tmp_path / "store"

    def far(port: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(port)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)

    first = far(0)
    others = [first]
    try:
        assert first.stdout
        address = first.stdout.readline().strip()
        process = start_cli(
            "embed", archive, "--store", store, "--model", "placeholder", "--scheduler", address, "--supervise", env=env
        )
        wait_for(lambda: len(part_files(store)) >= 4, "two parts")
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        others.append(far(int(address.rpartition(":")[2])))
        _, err = process.communicate(timeout=120)
    finally:
        for other in others:
            if other.poll() is None:
                os.killpg(other.pid, signal.SIGKILL)
            other.communicate()
    assert process.returncode == 0, err
    assert "the Dask scheduler went away" in err
    assert part_files(store) == part_files(tmp_path / "clean")


_FAR = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1",
                           scheduler_port=int(sys.argv[1]), silence_logs=50)
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""
