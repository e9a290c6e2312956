"""Runs on Dask, with real worker processes: the same store as without it, whatever is killed on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from distributed import LocalCluster, Worker, WorkerPlugin
from distributed.comm import CommClosedError

import cluster.dask_backend
import cluster.dask_cluster
import cluster.dask_connect
import cluster.running
import cluster.worker_side
from cluster.dask_cluster import DaskWorkers
from cluster.payload import TaskPayload
from cluster.run import Silent, embed
from cluster.specs.kinds import Local, Tls
from cluster.status import verify_store
from cluster.watcher import Progress
from sonotheque.core.errors import Invalid, NotFound, SonothequeError, Unavailable
from tests.cluster.poison import poisoned_env, write_poison
from tests.cluster.support import (
    cli,
    cli_env,
    cluster_file,
    living,
    make_archive,
    options,
    part_files,
    run,
    start_cli,
    wait_for,
    windows,
    write_wav,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 parts, one for each site and day."""
    return make_archive(tmp_path_factory.mktemp("dask") / "archive", sites=6, days=3, files=3, seconds=10.0)


@pytest.fixture(scope="module")
def clean(archive: Path) -> dict[str, str]:
    """The part files of a run without Dask and without trouble."""
    run(archive, archive.parent / "clean")
    found = part_files(archive.parent / "clean")
    assert len(found) == 2 * 18
    return found


def worker_processes(parent: int) -> list[psutil.Process]:
    """Return the worker processes below a process, newest first."""
    try:
        children = psutil.Process(parent).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [c for c in children if is_worker(c)][::-1]


def is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


class AtProgress(Silent):
    """Does something once, as soon as some audio is done."""

    def __init__(self, deed: Callable[[], Any], audio_s: float = 0.1) -> None:
        self.deed: Callable[[], Any] | None = deed
        self.audio_s = audio_s

    def progress(self, progress: Progress) -> None:
        if self.deed and progress.audio_s >= self.audio_s:
            self.deed()
            self.deed = None


# ---- the dumb twin ----------------------------------------------------------------------------------------------------


def test_two_workers_write_what_one_process_writes(archive: Path, clean: dict[str, str], tmp_path: Path) -> None:
    report = run(archive, tmp_path / "store", workers=2)
    assert part_files(tmp_path / "store") == clean
    assert report.workers == 2
    assert report.parts == 18
    assert not (tmp_path / "store" / "_tmp").exists() or not list((tmp_path / "store" / "_tmp").iterdir())
    again = run(archive, tmp_path / "store", workers=2)
    assert (again.done, again.skipped) == (0, 54)


def test_the_workers_end_with_the_run(archive: Path, tmp_path: Path) -> None:
    seen: list[psutil.Process] = []
    watcher = AtProgress(lambda: seen.extend(worker_processes(os.getpid())))
    embed(options(archive, tmp_path / "store", workers=1), watcher)
    assert seen
    wait_for(lambda: not living(seen), "the workers' end")


# ---- killed workers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSEGV], ids=["SIGKILL", "SIGSEGV"])
def test_a_killed_worker_costs_nothing(
    archive: Path,
    clean: dict[str, str],
    tmp_path: Path,
    poison: Path,
    monkeypatch: pytest.MonkeyPatch,
    signal_number: int,
) -> None:
    monkeypatch.setenv("SLOW_MODEL_S", "0.05")
    killed: list[int] = []

    def kill_one() -> None:
        victim = worker_processes(os.getpid())[0]
        victim.send_signal(signal_number)
        killed.append(victim.pid)

    report = embed(options(archive, tmp_path / "store", workers=2), AtProgress(kill_one))
    assert killed
    assert (report.done, report.failed, report.state) == (54, 0, "finished")
    assert part_files(tmp_path / "store") == clean
    assert verify_store(str(tmp_path / "store"), deep=True).ok


def test_poison_on_dask_costs_one_file(archive: Path, tmp_path: Path, poison: Path) -> None:
    mixed = make_archive(tmp_path / "mixed", sites=2, days=1, files=3)
    write_poison(mixed / "site0" / "20240501_050001.wav", "kill")
    write_poison(mixed / "site1" / "20240501_050001.wav", "type_error")
    report = run(mixed, tmp_path / "store", workers=2)
    assert report.failed_by_kind == {"decoder_crash": 1, "model_error": 1}
    assert (report.files, report.done) == (8, 6)
    assert {w[0] for w in windows(tmp_path / "store")} == {
        f"site{s}/20240501_0{h}0000.wav" for s in (0, 1) for h in (4, 5, 6)
    }
    # A crash is not tried again unasked; what the model said may pass.
    again = run(mixed, tmp_path / "store", workers=1)
    assert (again.skipped, again.failed, again.parts) == (6, 2, 1)


def test_a_stuck_decoder_on_dask_costs_one_file(tmp_path: Path, poison: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = make_archive(tmp_path / "mixed", sites=2, days=1, files=2)
    write_wav(mixed / "site0" / "stuck_20240501_050001.wav")
    monkeypatch.setattr(cluster.running, "TaskPayload", partial(TaskPayload, stall_s=3.0))
    report = run(mixed, tmp_path / "store", workers=1)
    assert report.failed_by_kind == {"timeout": 1}
    assert report.done == 4


# ---- a scheduler that is running --------------------------------------------------------------------------------------


@pytest.fixture
def foreign() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None, silence_logs=50
    ) as found:
        yield found


def test_a_foreign_scheduler_is_used_and_left_running(
    archive: Path, clean: dict[str, str], tmp_path: Path, foreign: LocalCluster
) -> None:
    for _ in range(2):
        report = run(archive, tmp_path / "store", scheduler=foreign.scheduler_address)
    assert report.skipped == 54
    assert part_files(tmp_path / "store") == clean
    assert len(foreign.workers) == 1
    assert not foreign.scheduler.tasks
    assert set(foreign.scheduler.worker_plugins) == {"shuffle"}, "Dask's own"


def test_two_runs_on_one_scheduler_know_nothing_of_each_other(
    archive: Path, clean: dict[str, str], tmp_path: Path, foreign: LocalCluster
) -> None:
    """Of the same recordings into two stores: jobs and parts have the same names, while both have tasks out."""

    def other() -> None:
        run(archive, tmp_path / "second", scheduler=foreign.scheduler_address)

    report = embed(options(archive, tmp_path / "first", scheduler=foreign.scheduler_address), AtProgress(other))
    assert (report.done, report.failed, report.state) == (54, 0, "finished")
    assert part_files(tmp_path / "first") == part_files(tmp_path / "second") == clean
    assert set(foreign.scheduler.worker_plugins) == {"shuffle"}, "Dask's own"


def test_workers_elsewhere_get_absolute_paths(
    archive: Path, clean: dict[str, str], tmp_path: Path, foreign: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    plain = cluster.dask_backend.DaskBackend.submit

    def submit(self: Any, payload: TaskPayload, *, guarded: bool = False) -> None:
        sent.append(payload.to_json())
        plain(self, payload, guarded=guarded)

    monkeypatch.setattr(cluster.dask_backend.DaskBackend, "submit", submit)
    monkeypatch.chdir(tmp_path)
    run(archive, "store", scheduler=foreign.scheduler_address)
    assert {p["store"] for p in sent} == {str(tmp_path / "store")}
    assert {p["progress_folder"] for p in sent} == {str(tmp_path / "store" / "jobs" / "1" / "progress")}
    assert all(os.path.isabs(p["root"]) for p in sent)


def test_workers_that_see_another_folder_end_the_run_and_make_nothing_there(
    archive: Path, clean: dict[str, str], tmp_path: Path, foreign: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.worker_side, "_SHOWN_AFTER_S", (0.05,))
    (tmp_path / "here").mkdir()
    keys = {"kind": "ssh", "scheduler": "tcp://here:8786", "hosts": ["node1"]}
    file = cluster_file(tmp_path, **keys, paths={str(tmp_path / "here"): str(tmp_path / "there")})
    asked = {"cluster": file, "scheduler": foreign.scheduler_address}
    with pytest.raises(NotFound, match=r"does not see the store .*/there/store\. .*the key paths") as caught:
        embed(options(archive, tmp_path / "here" / "store", **asked))
    assert caught.value.kind == "no_store"
    assert not (tmp_path / "there").exists(), "nothing is made on a node that is set up wrongly"
    (tmp_path / "there").symlink_to(tmp_path / "here")
    run(archive, tmp_path / "here" / "store", **asked)
    assert part_files(tmp_path / "here" / "store") == clean


def test_no_scheduler_there(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.dask_connect, "_CONNECT_S", 1)
    with pytest.raises(Unavailable, match=r"tcp://127\.0\.0\.1:9.*--scheduler") as caught:
        embed(options(archive, tmp_path / "store", scheduler="tcp://127.0.0.1:9"))
    assert caught.value.kind == "unavailable"


@pytest.mark.parametrize("address", ["nonsense://x:1", "tcp://localhost", "127.0.0.1"])
def test_no_address_at_all(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(cluster.dask_connect, "_CONNECT_S", 1)
    with pytest.raises((Invalid, Unavailable), match="--scheduler"):
        embed(options(archive, tmp_path / "store", scheduler=address))


def test_a_scheduler_without_workers(archive: Path, tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, dashboard_address=None, host="127.0.0.1", silence_logs=50) as empty,
        pytest.raises(Unavailable, match="no workers"),
    ):
        embed(options(archive, tmp_path / "store", scheduler=empty.scheduler_address))


_CLUSTER = """
import time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs=50)
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""


@contextmanager
def far_cluster(script: Path, env: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Run a cluster in another process; gives its address and process group."""
    script.write_text(_CLUSTER)
    command = [sys.executable, str(script)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)
    assert other.stdout is not None
    try:
        yield other.stdout.readline().strip(), other.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(other.pid, signal.SIGKILL)
        other.communicate()


def test_a_scheduler_that_dies_ends_the_run_and_harms_nothing(
    archive: Path, clean: dict[str, str], tmp_path: Path, poison: Path
) -> None:
    env = cli_env(poisoned_env(poison, slow_model_s=0.1))
    with far_cluster(tmp_path / "far.py", env) as (address, group):
        watcher = AtProgress(lambda: os.killpg(group, signal.SIGKILL))
        with pytest.raises(Unavailable) as caught:
            embed(options(archive, tmp_path / "store", scheduler=address), watcher)
    assert caught.value.kind == "workers_lost"
    assert part_files(tmp_path / "store").items() <= clean.items()
    assert run(archive, tmp_path / "store").failed == 0
    assert part_files(tmp_path / "store") == clean


def test_workers_without_this_program(archive: Path, tmp_path: Path) -> None:
    """A script called cluster.py hides our package from its own workers."""
    with (
        far_cluster(tmp_path / "cluster.py", cli_env()) as (address, _),
        pytest.raises(Unavailable, match=r"Install it on every worker"),
    ):
        embed(options(archive, tmp_path / "store", scheduler=address))


# ---- workers that die over their start -------------------------------------------------------------------------------


class _Named(WorkerPlugin):
    name = "named"


def _with_client(monkeypatch: pytest.MonkeyPatch, register: Callable[..., None], status: str) -> DaskWorkers:
    monkeypatch.setattr(cluster.dask_connect, "_AGAIN_AFTER_S", (0.0, 0.0))
    workers = DaskWorkers()
    monkeypatch.setattr(workers, "_client", SimpleNamespace(register_plugin=register, status=status))
    return workers


def test_a_worker_that_dies_over_a_plugin_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def register(plugin: object, name: str) -> None:
        asked.append(plugin)
        if len(asked) < 3:
            raise CommClosedError("in <TCP (closed) Scheduler Broadcast>")

    plugin = _Named()
    _with_client(monkeypatch, register, "running").register(plugin)
    assert asked == [plugin] * 3


@pytest.mark.parametrize(("status", "times"), [("running", 3), ("connecting", 1)])
def test_workers_that_die_over_a_plugin_again_and_again(
    monkeypatch: pytest.MonkeyPatch, status: str, times: int
) -> None:
    """Without its scheduler a client would wait for that each time: once is enough."""
    asked: list[object] = []

    def register(plugin: object, name: str) -> None:
        asked.append(plugin)
        raise CommClosedError("in <TCP (closed) Scheduler Broadcast>")

    workers = _with_client(monkeypatch, register, status)
    with pytest.raises(Unavailable, match=r"went away while they were made ready .*run the same command") as caught:
        workers.register(_Named())
    assert caught.value.kind == "workers_lost"
    assert len(asked) == times


def test_what_a_plugin_itself_says_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def register(_: object, name: str) -> None:
        raise Unavailable("the weights are missing", kind="download_failed")

    with pytest.raises(Unavailable, match="the weights are missing") as caught:
        _with_client(monkeypatch, register, "running").register(_Named())
    assert caught.value.kind == "download_failed"


@pytest.mark.parametrize("broken", ["LocalCluster", "Client"])
@pytest.mark.parametrize(
    "error", [RuntimeError("Nanny failed to start."), OSError("Timed out"), TimeoutError()], ids=repr
)
def test_workers_that_die_while_they_start(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception
) -> None:
    closed: list[object] = []

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(
        cluster.dask_cluster, "LocalCluster", lambda **_: SimpleNamespace(close=lambda **_: closed.append(1))
    )
    monkeypatch.setattr(cluster.dask_cluster, broken, fail)
    with pytest.raises(Unavailable, match=r"ended while they were started .*fewer --workers.*run the same") as caught:
        embed(options(archive, tmp_path / "store", workers=2))
    assert caught.value.kind == "workers_lost"
    assert len(closed) == (broken == "Client"), "a cluster that nobody talks to is ended as well"


def test_tls_files_of_this_machine_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nonsense", "ascii")
    file = str(tmp_path / "x.pem")
    with pytest.raises(Invalid, match="files below tls cannot be used"):
        DaskWorkers(cluster=Local(tls=Tls(ca=file, cert=file, key=file))).start()


@pytest.mark.parametrize("stays", [True, False], ids=["a scheduler that stays", "workers of our own"])
def test_plugins_are_taken_from_workers_that_stay(foreign: LocalCluster, stays: bool) -> None:
    """Also if somebody took them away before, or their end fails on a worker."""

    class Failing(WorkerPlugin):
        def __init__(self, name: str) -> None:
            self.name = name

        def teardown(self, worker: Worker) -> None:
            raise KeyError(self.name)

    workers = DaskWorkers(scheduler=foreign.scheduler_address)
    client = workers.start()
    for name in ("failing", "gone", "plain"):
        workers.register(Failing(name))
    gone, *rest = (f"{name}-{workers.run}" for name in ("gone", "failing", "plain"))
    assert set(foreign.scheduler.worker_plugins) == {"shuffle", gone, *rest}
    foreign.scheduler.worker_plugins.pop(gone)
    if not stays:
        workers._scheduler = None
    workers.close()
    assert client.status == "closed"
    assert set(foreign.scheduler.worker_plugins) == {"shuffle", *(() if stays else rest)}


# ---- the kill sweep ---------------------------------------------------------------------------------------------------


def kill_and_resume(archive: Path, clean: dict[str, str], folder: Path, seed: int, workers: int = 2) -> int:
    """Kill a run's whole process group at seeded moments until one gets through; return how many were killed."""
    chance = random.Random(seed)
    store = folder / f"store{seed}"
    env = poisoned_env(folder / "slow", slow_model_s=0.03)
    killed = 0
    for attempt in range(12):
        process = start_cli(
            "embed", archive, "--store", store, "--model", "placeholder", "--workers", workers, "-q", env=env
        )
        # The first before any run can be through, then later each time, so that one gets through.
        at_s = chance.uniform(0.3, 2.2) + 0.4 * attempt if attempt else chance.uniform(0.2, 0.6)
        workers_seen: list[psutil.Process] = []
        try:
            process.communicate(timeout=at_s)
        except subprocess.TimeoutExpired:
            workers_seen = psutil.Process(process.pid).children(recursive=True)
            if chance.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)
            else:  # the coordinator alone: its workers have to notice
                process.kill()
            process.communicate()
            killed += 1
            wait_for(lambda seen=workers_seen: not living(seen), "the workers' end")
            assert part_files(store).items() <= clean.items()
            continue
        assert process.returncode == 0
        break
    report = run(archive, store)
    assert (report.failed, report.pending) == (0, 0)
    assert part_files(store) == clean
    return killed


@pytest.mark.parametrize("seed", range(2))
def test_killed_runs_resume_to_the_same_bytes(
    archive: Path, clean: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None], seed: int
) -> None:
    killed = kill_and_resume(archive, clean, tmp_path, seed)
    record_property("killed", killed)
    assert killed >= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, *range(100, 120)])
def test_killed_runs_resume_to_the_same_bytes_at_length(
    archive: Path, clean: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None], seed: int
) -> None:
    killed = kill_and_resume(archive, clean, tmp_path, seed, workers=1 + seed % 3)
    record_property("killed", killed)
    assert killed >= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_workers_killed_again_and_again(
    archive: Path, clean: dict[str, str], tmp_path: Path, poison: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Innocent parts are blamed for dead workers; none may be lost for it."""
    monkeypatch.setenv("SLOW_MODEL_S", "0.05")
    chance = random.Random(seed)
    stop = threading.Event()

    def killer() -> None:
        while not stop.wait(chance.uniform(0.5, 1.5)):
            for victim in worker_processes(os.getpid())[:1]:
                victim.kill()

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        embed(options(archive, tmp_path / "store", workers=2))
    except SonothequeError as error:
        assert error.kind == "workers_lost"
    finally:
        stop.set()
        thread.join()
    assert part_files(tmp_path / "store").items() <= clean.items()
    report = run(archive, tmp_path / "store")
    assert report.failed == 0
    assert part_files(tmp_path / "store") == clean


def test_two_runs_at_once_on_one_store(archive: Path, tmp_path: Path, poison: Path) -> None:
    env = poisoned_env(poison, slow_model_s=0.6)  # the first must outlive the second's imports
    first = start_cli(
        "embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--workers", 0, env=env
    )
    wait_for(lambda: (tmp_path / "store" / "jobs" / "1").exists(), "the first job")
    second = cli("embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--workers", 0)
    first.communicate()
    assert first.returncode == 0
    assert second.returncode == 5
    assert "sonotheque status" in second.stderr
