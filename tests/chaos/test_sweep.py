"""What the sweep says it has done it has done: told here without a cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.chaos.deeds import KINDS, Deed, Kind
from tests.chaos.processes import Node, end
from tests.chaos.sweep import Trial
from tests.cluster.support import wait_for

# A nanny that never asks how its worker ended.
_NANNY = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)  # spawn_main']); time.sleep(60)"


class Nobody:
    """A cluster whose workers are not there, or not yet at the scheduler."""

    def __init__(self, worker: psutil.Process | None) -> None:
        process = SimpleNamespace(pid=worker.pid if worker else 0)
        self.nodes: list[Any] = [SimpleNamespace(process=process, worker=lambda: worker)]
        self.scheduler = None
        self.segfaults: list[str] = []

    def address_of(self, node: Any) -> str | None:
        return None

    def segfault(self, address: str) -> None:
        self.segfaults.append(address)


def trial_on(cluster: Nobody, folder: Path) -> Trial:
    stage: Any = SimpleNamespace(cluster=cluster, folder=folder)
    return Trial(stage, 0)


def deed_of(kind: Kind) -> Deed:
    return Deed(kind, 0, 3, 0.01, 0.2, late=False)


@pytest.mark.parametrize("kind", [k for k in KINDS if k.what in ("segfault", "freeze_long")], ids=str)
def test_what_goes_by_address_waits_until_the_scheduler_knows_the_worker(kind: Kind, tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        cluster = Nobody(psutil.Process(sleeper.pid))
        trial = trial_on(cluster, tmp_path)
        assert trial._do(deed_of(kind)) is False
        assert (trial.told, trial._frozen, cluster.segfaults) == ([], [], [])
        assert psutil.Process(sleeper.pid).status() != psutil.STATUS_STOPPED
    finally:
        end_alone(sleeper)


@pytest.mark.parametrize("whom", ["worker", "workers", "scheduler", "coordinator"])
@pytest.mark.parametrize("what", ["kill", "freeze"])
def test_what_hits_nobody_is_not_told(what: str, whom: str, tmp_path: Path) -> None:
    trial = trial_on(Nobody(None), tmp_path)
    assert trial._do(deed_of(Kind(what, whom))) is False
    assert (trial.told, trial._frozen, trial._doomed) == ([], [], [])


def test_a_worker_that_was_killed_under_a_frozen_nanny_is_no_worker() -> None:
    nanny = subprocess.Popen([sys.executable, "-c", _NANNY], start_new_session=True)
    try:
        node = Node(nanny, nanny=True)
        worker = wait_for(node.worker, "the worker")
        psutil.Process(nanny.pid).suspend()
        worker.kill()
        wait_for(lambda: worker.status() == psutil.STATUS_ZOMBIE, "the end of the worker")
        assert node.worker() is None
    finally:
        end(nanny)


def end_alone(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
