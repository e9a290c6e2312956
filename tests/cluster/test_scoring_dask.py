"""Probes on Dask, with real worker processes: the same bytes as without it, whatever is killed on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import psutil
import pytest
from distributed import Client, LocalCluster

from cluster import score_dask, worker_side
from cluster.scoring import score_snapshot
from sonotheque.core.errors import Invalid, NotFound
from store import read_config, read_snapshot
from tests.cluster.support import cli, cluster_file, write_tls
from tests.clusters_real.kit_ssh import free_port
from tests.scores import kit
from tests.scores.kit import linked, poisoned, probe, scores_tree, snap, some_probes
from tests.store import kit as stores


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Twenty parts, one with a file that was embedded again; and their scores without Dask."""
    folder = tmp_path_factory.mktemp("dask")
    root, config = stores.new_store(folder)
    for number in range(20):
        kit.commit(root, config, (f"{number}.wav", 1, 5))
    snap(root)
    clean = linked(root, folder / "clean")
    score(clean)
    return root, scores_tree(clean)


@pytest.fixture(scope="module")
def scheduler():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


def score(root, probes=None, **options):
    return score_snapshot(root, read_snapshot(root), probes or some_probes(), **options)


def test_workers_give_the_same_bytes(base, tmp_path, monkeypatch):
    root, clean = base
    linked(root, tmp_path / "store")
    monkeypatch.chdir(tmp_path)  # a relative path is the same for workers
    told: list[tuple[int, int]] = []
    report = score("store", workers=2, progress=lambda done, total: told.append((done, total)))
    assert scores_tree("store") == clean
    assert (report.parts_scored, report.windows, report.where) == (20, 100, "2 worker processes on this machine")
    assert told[-1] == (100, 100)
    again = score("store", workers=2)
    assert (again.parts_held, again.parts_scored, again.where) == (20, 0, "this process"), (
        "nothing to do starts no workers"
    )


def test_a_running_scheduler_several_sets_and_parts_that_fail(base, tmp_path, scheduler):
    root, _ = base
    twin, store = linked(root, tmp_path / "twin"), linked(root, tmp_path / "store")
    reports = []
    for where, options in ((twin, {"lanes": 1}), (store, {"scheduler": scheduler})):
        parts = read_snapshot(where).parts
        poisoned(where, float("nan"), (2,), part=0)
        os.unlink(f"{where}/{parts[1].embeddings}")
        score(where, [some_probes()[0]], parts=parts[2:6], **options)
        reports.append(score(where, [*some_probes(), probe("owl", 2)], **options))
    assert scores_tree(twin) == scores_tree(store)
    mine, dask = reports
    reasons = [report.failures[0]["reason"].replace(where, "") for report, where in ((mine, twin), (dask, store))]
    assert reasons[0] == reasons[1] and len(dask.failures) == len(mine.failures) == 1
    assert dask.not_scored == mine.not_scored and len(mine.not_scored) == 1
    assert (dask.parts_scored, dask.windows, dask.window_scores) == (
        mine.parts_scored,
        mine.windows,
        mine.window_scores,
    )
    assert dask.where == f"the Dask scheduler at {scheduler}"


def test_two_runs_of_one_set_on_one_scheduler_know_nothing_of_each_other(base, tmp_path):
    root, clean = base
    first, second = linked(root, tmp_path / "first"), linked(root, tmp_path / "second")
    reports = []
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None, silence_logs=50
    ) as foreign:
        at = {"scheduler": foreign.scheduler_address}
        told = lambda done, total: reports or reports.append(score(second, **at))  # noqa: E731 - once, while parts are out
        reports.append(score(first, progress=told, **at))
        assert set(foreign.scheduler.worker_plugins) == {"shuffle"}, "Dask's own"
        assert not score_dask._STACKS
    assert [report.parts_scored for report in reports] == [20, 20]
    assert scores_tree(first) == scores_tree(second) == clean


def test_a_worker_that_is_killed_costs_nothing(base, tmp_path):
    root, clean = base
    store = linked(root, tmp_path / "store")
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 60
        while not killed and time.monotonic() < until:
            if len(scores_tree(store)) > 1:
                for process in psutil.Process().children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        if process.pid not in before and "spawn_main" in " ".join(process.cmdline()):
                            os.kill(process.pid, signal.SIGKILL)
                            killed.append(process.pid)
                            return
            time.sleep(0.001)

    thread = threading.Thread(target=kill)
    thread.start()
    score(store, workers=2)
    thread.join()
    assert killed, "everything was done before a worker could be killed"
    score(store)
    assert scores_tree(store) == clean


def test_a_cluster_file_of_this_machine(base, tmp_path):
    root, clean = base
    store = linked(root, tmp_path / "store")
    file = cluster_file(tmp_path, kind="local", workers=1, threads=2, tls=write_tls(tmp_path))
    dry = score(store, cluster=file, dry_run=True)
    assert (dry.parts, dry.parts_held, dry.parts_scored, dry.to_score) == (20, 0, 0, 100)
    assert scores_tree(store) == {}
    report = score(store, cluster=file)
    assert (report.parts_scored, report.where) == (20, "1 worker process on this machine")
    assert scores_tree(store) == clean
    assert score(store, cluster=file, dry_run=True).to_score == 0


def test_a_cluster_that_is_started_followed_and_ended(base, tmp_path, monkeypatch):
    """Kind gpu, with a stand-in for the driver's program: processes of this machine that look for a scheduler in this one."""
    root, clean = base
    store = linked(root, tmp_path / "store")
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\n", "ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    address = f"tcp://127.0.0.1:{free_port()}"
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    report = score(store, cluster=cluster_file(tmp_path, kind="gpu", scheduler=address, devices=[0]))
    assert report.where == "1 worker process on this machine"
    assert scores_tree(store) == clean
    assert {p.pid for p in psutil.Process().children(recursive=True)} <= before
    with pytest.raises(NotFound, match="GPU 7 is not on this machine"):
        score(store, [probe("owl", 5)], cluster=cluster_file(tmp_path, kind="gpu", scheduler=address, devices=[7]))


def test_folders_of_the_nodes_are_the_files(base, tmp_path, scheduler):
    root, clean = base
    (tmp_path / "here").mkdir()
    store = linked(root, tmp_path / "here" / "store")
    keys = {"kind": "ssh", "scheduler": "tcp://here:8786", "hosts": ["node1"]}
    astray = cluster_file(tmp_path, **keys, paths={str(tmp_path / "here"): str(tmp_path / "there")})
    with Client(scheduler) as client:  # nothing comes late here
        client.run(setattr, worker_side, "_SHOWN_AFTER_S", (0.05,))
    with pytest.raises(Invalid, match=r"does not see the scores begun in .*/there/store\. .*the key paths"):
        score(store, cluster=astray, scheduler=scheduler)
    assert not (tmp_path / "there").exists(), "nothing is made on a node that is set up wrongly"
    (tmp_path / "there").symlink_to(tmp_path / "here")
    assert score(store, cluster=astray, scheduler=scheduler).parts_scored == 20
    assert scores_tree(store) == clean
    with pytest.raises(Invalid, match="its kind is local"):
        score(store, cluster=cluster_file(tmp_path, kind="local"), scheduler=scheduler)


def test_the_command_line_counts_first(base, tmp_path):
    root, _ = base
    store = linked(root, tmp_path / "store")
    for one in some_probes():
        kit.keep(store, one)
    file = cluster_file(tmp_path, kind="slurm", scheduler="tcp://login1:8786", jobs=2, walltime="1:00:00")
    dry = cli("probe", "apply", "--all", "--store", store, "--cluster", file, "--dry-run")
    assert "100 windows of 20 parts would be scored by call 1, hoot 1, owl 1" in dry.stdout, dry.stderr
    assert "#SBATCH --time=01:00:00" in dry.stdout
    assert f"sonotheque probe apply --all --store {store} --cluster {file} --scheduler tcp://login1:8786" in dry.stdout
    assert scores_tree(store) == {}


def test_addresses_that_are_none(base, tmp_path):
    root, _ = base
    store = linked(root, tmp_path / "store")
    with pytest.raises(Invalid, match="An address looks like"):
        score(store, scheduler="nowhere://x")
    assert read_config(store)
