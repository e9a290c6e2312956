"""Probes on Dask, with real worker processes: the same bytes as without it, whatever is killed on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import psutil
import pytest
from distributed import LocalCluster

from cluster.scoring import score_snapshot
from sonotheque.core.errors import Invalid
from store import read_config, read_snapshot
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


def test_addresses_that_are_none(base, tmp_path):
    root, _ = base
    store = linked(root, tmp_path / "store")
    with pytest.raises(Invalid, match="An address looks like"):
        score(store, scheduler="nowhere://x")
    assert read_config(store)
