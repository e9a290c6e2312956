"""A real scheduler and real workers, each a process as a person or an orchestrator starts them, and started again when they die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
from distributed import rpc
from distributed.chaos import KillWorker
from distributed.protocol.pickle import dumps

from cluster.dask_settings import SETTINGS, as_environment
from tests.chaos.deeds import NODES
from tests.cluster.poison import poisoned_env
from tests.cluster.support import cli_env, living, wait_for

_DASK = [sys.executable, "-m", "dask"]
_ANSWER_S = 5.0
_STUCK_S = 60.0
_T = TypeVar("_T")
# What a run waits for, shortened: a frozen worker is given up after ten heartbeats (5 s, and Dask looks as often as this says), and on
# one machine a connection is there at once or never.
_SHORT = {"distributed.scheduler.worker-ttl": "1 s", "distributed.comm.timeouts.connect": "1 s"}


class Stuck(Exception):  # noqa: N818 - the end of a seed, not of the sweep
    """Something that has to happen did not."""


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition.

    Raises
    ------
    Stuck
        If it does not come true within a time that is far above what it takes.
    """
    try:
        return wait_for(condition, what, _STUCK_S)
    except AssertionError as error:
        raise Stuck(str(error)) from None


@dataclass(slots=True)
class Node:
    """A machine of the cluster: ``dask worker``, which is a nanny with a worker below it, or a worker alone."""

    process: subprocess.Popen[bytes]
    nanny: bool
    _worker: psutil.Process | None = None

    def worker(self) -> psutil.Process | None:
        """Return the process that runs tasks; None while there is none."""
        if self._worker is None or not living([self._worker]):  # under a frozen nanny a killed one stays, as a zombie
            self._worker = self._find()
        return self._worker

    def _find(self) -> psutil.Process | None:
        try:
            here = psutil.Process(self.process.pid)
            if not self.nanny:
                return here
            return next((c for c in here.children() if "spawn_main" in " ".join(c.cmdline())), None)
        except psutil.Error:
            return None


class Cluster:
    """A scheduler and ``NODES`` nodes with one worker each.

    Parameters
    ----------
    folder : Path
        For logs and working folders.
    slow_model_s : float
        How long the model takes for a batch, so that a moment in the middle of a part can be met.
    """

    def __init__(self, folder: Path, *, slow_model_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._env = cli_env(
            {
                **as_environment(SETTINGS),
                **poisoned_env(folder / "slow", slow_model_s=slow_model_s),
            }
        )
        self._scheduler_env = self._env | as_environment(_SHORT | {"temporary-directory": str(folder)})
        self._port = 0
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.nodes: list[Node] = []
        self.restarts = {"scheduler": 0, "nodes": 0}

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return f"tcp://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start everything, and wait until every worker is there; after ``stop``, all of it anew."""
        self._start_scheduler()
        self.nodes = [self._start_node(i) for i in range(NODES)]
        self.wait_whole()

    def mend(self) -> None:
        """Start again what is dead, as an orchestrator does: each thing by itself and at once."""
        if self.scheduler and self.scheduler.poll() is not None:
            self._start_scheduler()
            self.restarts["scheduler"] += 1
        for i, node in enumerate(self.nodes):
            if node.process.poll() is not None:
                self.nodes[i] = self._start_node(i, nanny=node.nanny)
                self.restarts["nodes"] += 1

    def exchange(self, number: int, *, nanny: bool) -> None:
        """End a node and start one with or without a nanny in its place."""
        end(self.nodes[number].process)
        self.nodes[number] = self._start_node(number, nanny=nanny)
        self.wait_whole()

    def wait_whole(self) -> None:
        """Wait, mending, until the scheduler has just the workers of the nodes: all of them, and no orphan."""

        def whole() -> bool:
            self.mend()
            known = self.known()
            return len(known) == len(self.nodes) and all(known & listening(n) for n in self.nodes)

        until(whole, f"{NODES} workers at the scheduler; logs in {self._folder}")

    def known(self) -> set[str]:
        """Return the addresses of the workers that the scheduler counts among its own; none if it does not answer."""

        async def ask() -> set[str]:
            async with rpc(self.address) as scheduler:
                return set((await scheduler.identity(n_workers=-1))["workers"])

        return _within(ask) or set()

    def address_of(self, node: Node) -> str | None:
        """Return the address of a node's worker, if the scheduler knows it."""
        return next(iter(self.known() & listening(node)), None)

    def segfault(self, address: str) -> None:
        """Let Dask's own chaos plugin read a null pointer in a worker, a moment from now."""

        async def ask() -> None:
            async with rpc(address) as worker:
                await worker.run(function=dumps(_arm))

        _within(ask)

    def stop(self) -> None:
        """End everything, frozen or not."""
        for process in [n.process for n in self.nodes] + ([self.scheduler] if self.scheduler else []):
            end(process)
        self.scheduler, self.nodes = None, []

    def _start_scheduler(self) -> None:
        told = self._folder / "scheduler.json"
        told.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", self._port, "--no-dashboard",
            "--dashboard-address", "127.0.0.1:0",
            "--scheduler-file", told, "--idle-timeout", "15 minutes",
        )  # fmt: skip
        if not self._port:
            address = until(lambda: _address(told), f"the scheduler's address; its log is in {self._folder}")
            self._port = int(address.rpartition(":")[2])

    def _start_node(self, number: int, *, nanny: bool = True) -> Node:
        process = self._start(
            "worker", self.address, "--nworkers", 1, "--nthreads", 1, "--host", "127.0.0.1", "--no-dashboard",
            "--memory-limit", 0, "--death-timeout", 120, "--local-directory", self._folder / f"node{number}",
            "--nanny" if nanny else "--no-nanny",
        )  # fmt: skip
        return Node(process, nanny)

    def _start(self, *args: object) -> subprocess.Popen[bytes]:
        with (self._folder / f"{args[0]}.log").open("ab") as log:
            command = [*_DASK, *map(str, args)]
            env = self._scheduler_env if args[0] == "scheduler" else self._env
            return subprocess.Popen(command, env=env, cwd=self._folder, stdout=log, stderr=log, start_new_session=True)


async def _arm(dask_worker: Any) -> None:
    await KillWorker(delay="20 ms", mode="segfault").setup(dask_worker)


def _within(ask: Callable[[], Coroutine[Any, Any, _T]]) -> _T | None:
    """Ask a process that may be dead, frozen or new; None is no answer."""

    async def limited() -> _T:
        return await asyncio.wait_for(ask(), _ANSWER_S)

    try:
        return asyncio.run(limited())
    except (OSError, TimeoutError):
        return None


def listening(node: Node) -> set[str]:
    """Return where a node's worker listens, as the scheduler names it."""
    worker = node.worker()
    try:
        found = worker.net_connections("tcp") if worker else []
    except psutil.Error:
        return set()
    return {f"tcp://{c.laddr.ip}:{c.laddr.port}" for c in found if c.status == psutil.CONN_LISTEN}


def _address(told: Path) -> str:
    try:
        return str(json.loads(told.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError):  # half written
        return ""


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process and all of its group, and wait for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
