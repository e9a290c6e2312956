"""``stop`` ends every process of a run and no other one; the store stays whole, and the next run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster.job import JobFolder, heartbeat, new_job, store_lock
from cluster.keeper import keeper_of, new_keeper
from cluster.machine import process_name
from cluster.processes import Tree, found, named
from cluster.status import job_status
from cluster.stopping import stop_now
from sonotheque.cli.main import app
from tests.batch.kit import whole_tree
from tests.cluster.poison import poisoned_env, write_poison
from tests.cluster.support import cli, cli_env, living, make_archive, part_files, run, start_cli, wait_for

_STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
_PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {_STUBBORN!r}]).wait()"


@pytest.fixture
def sleeper():
    """A process that is in nobody's way."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_frozen_decoder_is_ended_with_its_whole_tree(tmp_path: Path) -> None:
    """Two workers; in one of them a file hangs, which no request to stop can reach."""
    archive, store = make_archive(tmp_path / "in", sites=4, days=1, files=1), tmp_path / "store"
    run(archive, tmp_path / "clean")
    poison = write_poison(archive / "site0" / "20240509_040000.wav", "hang")
    env = poisoned_env(tmp_path / "poison")
    process = start_cli("embed", archive, "--store", store, "--model", "placeholder", "--workers", 2, env=env)
    try:
        wait_for(lambda: len(part_files(store)) >= 8, "all parts but the poisoned one")
        tree = whole_tree(process.pid)
        assert len(tree) >= 3
        done = cli("stop", "--store", store, "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["asked"], told["forced"], told["state"], told["left"]) == (True, True, "stopped", [])
        assert told["processes"] >= 3
        process.communicate(timeout=20)
        assert not living(tree)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert job_status(str(store))["state"] == "stopped"
    poison.unlink()
    assert cli("resume", "--store", store, "--workers", 0, "-q").returncode == 0
    assert part_files(store) == part_files(tmp_path / "clean")
    assert not os.listdir(store / "_tmp")
    assert cli("verify", "--store", store, "--deep").returncode == 0


def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path, sleeper) -> None:
    """The run has ended, and its process id names another one by now."""
    job = new_job(str(tmp_path))
    beat = {**named(sleeper.pid), "state": "running"}
    wrong = {**beat, "process": "another boot:1:2", "process_started": beat["process_started"] - 1000}
    job.write_json("heartbeat.json", wrong)
    assert stop_now(str(tmp_path), grace_s=0)["asked"] is False
    assert sleeper.poll() is None
    assert found(beat) == psutil.Process(sleeper.pid)
    assert found(wrong) is None


@pytest.mark.parametrize(
    "told", [{}, {"pid": "1"}, {"pid": -1}, {"pid": 10**12}, {"pid": None, "host": 3}, {"pid": True, "process": 5}]
)
def test_nonsense_names_no_process(told) -> None:
    import socket

    assert found({"host": socket.gethostname(), "process_started": 1.0, **told}) is None


def test_on_another_machine_it_can_only_ask(tmp_path: Path, sleeper, capsys) -> None:
    job = new_job(str(tmp_path))
    heartbeat(job, "running")
    job.write_json("heartbeat.json", {**job.read_json("heartbeat.json"), "host": "elsewhere", "pid": sleeper.pid})
    told = stop_now(str(tmp_path), grace_s=0)
    assert (told["asked"], told["here"], told["host"], told["processes"]) == (True, False, "elsewhere", 0)
    assert job.cancel_asked()
    assert sleeper.poll() is None
    app(["stop", "--store", str(tmp_path)], standalone_mode=False)
    text = capsys.readouterr().out
    assert "on elsewhere (where alone its processes can be ended) was asked to stop" in text


def test_whoever_asks_is_not_ended(tmp_path: Path) -> None:
    """A program that runs a job in a thread of its own and stops it."""
    job = new_job(str(tmp_path))
    heartbeat(job, "running")
    told = stop_now(str(tmp_path), grace_s=0)
    assert (told["asked"], told["processes"]) == (True, 0)
    assert job.cancel_asked()


def test_orphans_that_ignore_a_request_are_ended_too(tmp_path: Path) -> None:
    """The parent dies in the grace; what it had started, in a session of its own even, is not lost sight of."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.DEVNULL, start_new_session=True)
    child = wait_for(lambda: psutil.Process(parent.pid).children(), "a child")[0]
    job = new_job(str(tmp_path))
    job.write_json("heartbeat.json", {**named(parent.pid), "state": "running"})
    tree = Tree([psutil.Process(parent.pid)])
    assert tree.seen == 2
    job.write_json("heartbeat.json", {**named(parent.pid), "state": "running", "own_process": True})
    told = stop_now(str(tmp_path), grace_s=0)
    parent.wait()
    assert (told["forced"], told["processes"], told["left"]) == (True, 2, [])
    assert not tree.look()
    assert not living([child])


def test_somebodys_own_process_is_asked_and_only_what_it_started_is_ended(tmp_path: Path, capsys) -> None:
    """A notebook's kernel, in which a run was called."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        child = wait_for(lambda: psutil.Process(parent.pid).children(), "a child")[0]
        job = new_job(str(tmp_path))
        job.write_json("heartbeat.json", {**named(parent.pid), "state": "running"})
        os.kill(parent.pid, signal.SIGSTOP)  # it does not notice its child's end, and so lives
        told = stop_now(str(tmp_path), grace_s=0)
        assert (told["asked"], told["forced"], told["guest"], told["left"]) == (True, True, parent.pid, [])
        assert job.cancel_asked()
        assert parent.poll() is None
        assert not living([child])
        app(["stop", "--store", str(tmp_path)], standalone_mode=False)
        assert "is not ended by force" in capsys.readouterr().out
    finally:
        parent.kill()
        parent.wait()


_PLANS = """
import sys, time
from cluster.job import store_lock
from sonotheque.core.own import claim_process
claim_process()
with store_lock(sys.argv[1]):
    print(flush=True)
    time.sleep(600)
"""


def test_a_run_that_still_plans_is_found_by_the_lock(tmp_path: Path) -> None:
    from cluster.holder import holder_of

    heartbeat(new_job(str(tmp_path)), "finished")
    command = [sys.executable, "-c", _PLANS, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=cli_env())
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert job_status(str(tmp_path))["holder"] == process.pid
        told = stop_now(str(tmp_path), grace_s=10)
        assert (told["asked"], told["forced"], told["processes"]) == (True, False, 1)
        assert process.wait() == -signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
    assert holder_of(str(tmp_path)) is None
    with store_lock(str(tmp_path)):
        assert job_status(str(tmp_path))["holder"] == os.getpid()
    assert job_status(str(tmp_path))["holder"] is None


def test_this_process_and_those_above_it_are_spared() -> None:
    here = psutil.Process()
    assert Tree([here, *here.parents()]).seen == 0


def test_a_batch_that_verifies_is_ended_by_a_signal(tmp_path: Path, sleeper) -> None:
    """Its run has finished: there is nobody to ask but the batch itself."""
    job = new_job(str(tmp_path / "store"))
    heartbeat(job, "finished")
    keeper = new_keeper(tmp_path, store=tmp_path / "store", log=None).say(**named(sleeper.pid), stage="verify")
    assert keeper.process == psutil.Process(sleeper.pid)
    told = stop_now(str(tmp_path / "store"), grace_s=10)
    assert (told["asked"], told["forced"], told["state"]) == (True, False, "finished")
    assert sleeper.wait() == -signal.SIGTERM
    assert not job.cancel_asked()
    after = keeper_of(str(tmp_path / "store"))
    assert after is not None
    assert after.process is None


def test_a_note_of_another_store_or_half_a_note_is_none(tmp_path: Path) -> None:
    new_keeper(tmp_path, store=tmp_path / "store", log=None)
    assert keeper_of(str(tmp_path / "other")) is None
    (tmp_path / "run-sites.json").write_text('{"pid": 1')
    assert keeper_of(str(tmp_path / "store")) is None
    (tmp_path / "run-sites.json").write_text('["store"]')
    assert keeper_of(str(tmp_path / "store")) is None


def test_a_run_that_was_killed_before_is_not_running(tmp_path: Path, sleeper, capsys) -> None:
    job: JobFolder = new_job(str(tmp_path))
    job.write_json("heartbeat.json", {**named(sleeper.pid), "state": "running"})
    assert process_name(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert stop_now(str(tmp_path))["asked"] is False
    app(["stop", "--store", str(tmp_path)], standalone_mode=False)
    assert "is not running: it is dead" in capsys.readouterr().out
