"""``run-sites`` from one end to the other: in this terminal, and detached from one that goes away."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from cluster.job import new_job
from cluster.status import job_status
from cluster.stopping import stop_now
from sonotheque.cli.children import Child
from sonotheque.cli.main import app
from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from tests.batch.kit import make_sites, whole_tree
from tests.cluster.poison import poisoned_env
from tests.cluster.support import COMMAND, cli, cli_env, living, part_files, run, start_cli, wait_for, write_wav

_HERE = ["--model", "placeholder", "--workers", 0]


def batch(*args: object, **more):
    return cli("run-sites", *args, **more)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """A season with a loose recording, a broken one and a site without any."""
    base = tmp_path_factory.mktemp("season")
    folder = make_sites(base / "season")
    (folder / "bare").mkdir()
    write_wav(folder / "20240507_040000.wav", 4.0, seed=70)
    (folder / "wood" / "20240509_040000.wav").write_bytes(b"RIFF")
    return folder, base / "out", batch(folder, base / "out", *_HERE, "--deep", "--timezone", "Europe/Paris", "-q")


def test_one_command_does_it_all(done) -> None:
    folder, out, process = done
    assert process.returncode == 3, process.stderr
    assert process.stderr == ""
    assert "job 1 finished: 6 files" in process.stdout
    assert f"ok: {out}/store (deep)" in process.stdout
    assert "no recordings in: bare" in process.stdout
    assert sorted(os.listdir(out)) == ["report.csv", "run-sites.json", "sites.csv", "store", "summary.json"]
    rows = list(csv.DictReader((out / "report.csv").open(encoding="utf-8")))
    assert [r["site"] for r in rows if r["path"] == "20240507_040000.wav"] == ["season"]
    assert {r["start"][-6:] for r in rows if r["outcome"] == "done"} == {"+02:00"}
    told = json.loads((out / "summary.json").read_text())
    assert [(s["site"], s["files"], s["failed"], s["windows"]) for s in told["sites"]] == [
        ("bare", 0, 0, 0),
        ("marsh", 2, 0, 4),
        ("season", 1, 0, 2),
        ("wood", 3, 1, 4),
    ]
    assert (told["exit_code"], told["state"], told["loose"], told["verify"]["ok"]) == (3, "finished", 1, True)
    keeper = json.loads((out / "run-sites.json").read_text())
    assert (keeper["stage"], keeper["exit_code"], keeper["log"]) == ("done", 3, None)
    assert sorted(os.listdir(folder)) == ["20240507_040000.wav", "bare", "marsh", "wood"]


def test_again_it_only_looks(done) -> None:
    """And as one document, also of the command that it runs."""
    folder, out, _ = done
    before = part_files(out / "store")
    again = batch(folder, out, *_HERE, "--timezone", "Europe/Paris", "--json", "-q")
    told = json.loads(again.stdout)
    assert (again.returncode, told["job"], told["summary"]["done"]) == (3, 2, 0)
    assert sum(s["in_store"] for s in told["sites"]) == 5
    assert part_files(out / "store") == before


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["nowhere", "out"], NotFound, "nowhere is not there"),
        (["season", "season/out"], Conflict, "where every subfolder is a site"),
        (["season", "season/marsh/20240501_040000.wav/x"], Conflict, "every subfolder"),
        (["season", "out", "--wait"], Invalid, "--wait is for --detach"),
        (["season", "out", "--cluster", "x.yaml", "--workers", "3"], Invalid, "the file says that"),
        (["season", "/proc/nothing/out"], Unavailable, "/proc/nothing/out cannot be made"),
        (["season", "file"], Unavailable, "file cannot be made"),
    ],
)
def test_what_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch, words: list[str], error, says: str) -> None:
    make_sites(tmp_path / "season", sites=("marsh",), days=1)
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says):
        app(["run-sites", *words], standalone_mode=False)
    assert sorted(os.listdir(tmp_path)) == ["file", "season"]


@pytest.mark.parametrize("detached", [False, True])
def test_a_wrong_model_is_told_at_once(tmp_path: Path, detached: bool) -> None:
    make_sites(tmp_path / "season", sites=("marsh",), days=1)
    found = batch("season", "out", "--model", "perch_v9", *(["--detach"] if detached else []), cwd=tmp_path)
    assert "perch_v9" in found.stderr
    assert found.returncode == (6 if detached else 4)
    assert not (tmp_path / "out" / "store").exists()
    assert json.loads((tmp_path / "out" / "run-sites.json").read_text())["exit_code"] == 4


def test_ctrl_c_is_a_stop_in_good_order(tmp_path: Path) -> None:
    """The terminal sends it to the batch; the batch hands it on, once."""
    folder, out = make_sites(tmp_path / "season", days=9), tmp_path / "out"
    env = poisoned_env(tmp_path / "slow", slow_model_s=0.8)
    process = start_cli("run-sites", folder, out, *_HERE, env=env)
    try:
        wait_for(lambda: part_files(out / "store"), "a first part")
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert (process.returncode, "Traceback" in stderr) == (9, False)
    assert "pending" in stdout
    assert "go on with the same command" in stdout
    told = json.loads((out / "summary.json").read_text())
    assert (told["state"], told["verify"]) == ("stopped", None)
    assert sum(s["pending"] for s in told["sites"]) == told["summary"]["pending"] > 0


def test_a_stop_leaves_the_report_to_be_written(tmp_path: Path) -> None:
    """The run is asked once, and the batch that looks after it not at all."""
    folder, out = make_sites(tmp_path / "season", days=9), tmp_path / "out"
    env = poisoned_env(tmp_path / "slow", slow_model_s=1.0)
    process = start_cli("run-sites", folder, out, *_HERE, env=env)
    try:
        wait_for(lambda: part_files(out / "store"), "a first part")
        told = stop_now(str(out / "store"), grace_s=60)
        process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert (told["state"], told["forced"], process.returncode) == ("stopped", False, 9)
    assert json.loads((out / "summary.json").read_text())["exit_code"] == 9
    assert json.loads((out / "run-sites.json").read_text())["exit_code"] == 9


def test_two_batches_do_not_share_an_output_folder(tmp_path: Path) -> None:
    from sonotheque.cli.batch import _alone

    with _alone(tmp_path), pytest.raises(Conflict, match="another batch works on"), _alone(tmp_path):
        pass
    with _alone(tmp_path):
        pass


def test_a_report_that_cannot_be_written_leaves_no_half_and_a_note(tmp_path: Path) -> None:
    folder, out = make_sites(tmp_path / "season", sites=("marsh",), days=1), tmp_path / "out"
    (out / "summary.json").mkdir(parents=True)  # nothing can take its place
    found = batch(folder, out, *_HERE, "-q")
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert json.loads((out / "run-sites.json").read_text())["exit_code"] == 1
    assert not [name for name in os.listdir(out) if name.startswith(".")]


def test_what_a_killed_command_said_is_no_traceback() -> None:
    from sonotheque.cli.batch import _document_of

    for said in ("", '{"job": 1'):
        assert "exit code 137" in _document_of(said, 137)["error"]["message"]
    assert _document_of('{"job": 1}', 0) == {"job": 1}


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_that_is_killed_before_it_planned_is_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """Its job is there and has no plan: no closing sum can be made, and the exit code says what happened."""
    folder, out = make_sites(tmp_path / "season"), tmp_path / "out"

    def killed(child: Child, words: Sequence[str], *, capture: bool) -> tuple[int, str]:
        new_job(str(out / "store"))
        return 128 + signal.SIGKILL, ""

    monkeypatch.setattr(Child, "run", killed)
    words = ["run-sites", str(folder), str(out), *map(str, _HERE), *(["--json"] if as_json else [])]
    assert app(words, standalone_mode=False) == 137
    told = json.loads((out / "summary.json").read_text())
    assert (told["exit_code"], told["state"], told["job"], told["summary"]) == (137, "dead", 1, None)
    assert [(s["site"], s["files"]) for s in told["sites"]] == [("marsh", 0), ("wood", 0)]
    assert json.loads((out / "run-sites.json").read_text())["exit_code"] == 137
    said = capsys.readouterr().out
    assert json.loads(said) == told if as_json else "job 1 ended before it had a plan" in said
    assert "no recordings in" not in said


def test_it_outlives_its_terminal(tmp_path: Path) -> None:
    """Begun in a shell of a terminal that is closed, looked at from elsewhere, stopped, begun again, verified."""
    folder, out = make_sites(tmp_path / "season", days=9), tmp_path / "out"
    store = out / "store"
    run(folder, tmp_path / "clean", site_from="folder")
    words = [*COMMAND, "run-sites", folder, out, "--model", "placeholder", "--workers", 2, "--detach"]
    env = cli_env(poisoned_env(tmp_path / "slow", slow_model_s=1.5))
    shell, terminal = pty.fork()
    if shell == 0:  # the shell of a terminal of its own, which stays in the foreground afterwards
        script = (
            'import subprocess, sys, time; subprocess.run(sys.argv[1:]); print("READY", flush=True); time.sleep(600)'
        )
        signal.signal(
            signal.SIGHUP, signal.SIG_DFL
        )  # whoever runs the tests under nohup ignores it, and so would the shell
        os.execve(sys.executable, [sys.executable, "-c", script, *map(str, words)], env)
    said = b""
    while b"READY" not in said:
        said += os.read(terminal, 4096)
    assert b"sonotheque stop --store" in said
    pid = json.loads((out / "run-sites.json").read_text())["pid"]
    try:
        tree = whole_tree(pid)
        os.close(terminal)  # SIGHUP to everything that belongs to it
        assert os.WTERMSIG(os.waitpid(shell, 0)[1]) == signal.SIGHUP
        wait_for(lambda: part_files(store), "a part that was committed after that")
        assert len(living(tree)) == len(tree)
        found = job_status(str(store))
        assert (found["state"], found["keeper"]["alive"], found["keeper"]["pid"]) == ("running", True, pid)
        with pytest.raises(Conflict, match=f"another batch works on {out}, process {pid}"):
            app(["run-sites", str(folder), str(out)], standalone_mode=False)
        tree = whole_tree(pid)
        assert stop_now(str(store))["left"] == []
        assert not living(tree)
    finally:
        for process in whole_tree(pid) if psutil.pid_exists(pid) else []:
            process.kill()
    assert job_status(str(store))["state"] == "stopped"
    output = json.loads(cli("logs", "--store", store, "--json").stdout)
    assert output["log"] == str(out / "run.log")
    assert any("2 sites in" in line for line in output["output"])
    assert part_files(store).items() < part_files(tmp_path / "clean").items()
    again = cli("resume", "--store", store, "--workers", 0, "-q")
    assert again.returncode == 0, again.stderr
    assert part_files(store) == part_files(tmp_path / "clean")
    assert cli("verify", "--store", store).returncode == 0


def test_detached_and_waited_for(tmp_path: Path) -> None:
    folder, out = make_sites(tmp_path / "season", sites=("marsh",), days=1), tmp_path / "out"
    found = batch(folder, out, *_HERE, "--detach", "--wait", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["sites"][0]["windows"] == 2
    assert "job 1 finished" in (out / "run.log").read_text()
