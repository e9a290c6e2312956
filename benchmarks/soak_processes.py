"""The processes of the soak: a scheduler and workers as anybody starts them, and the coordinator beside them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from cluster.dask_settings import SETTINGS, as_environment

_WAIT_S = 60.0
_HERE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment: parts done, memory and open files by process."""

    parts: int
    memory_mb: dict[str, float]
    files: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {"parts": self.parts, "memory_mb": self.memory_mb, "files": self.files}


class Cluster:
    """A scheduler and workers with nannies, in a session of their own; use as a context manager."""

    def __init__(self, folder: Path, *, workers: int) -> None:
        self._folder, self._workers = folder.absolute(), workers
        self._started: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        told = self._folder / "scheduler.json"
        try:
            self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", told)
            _wait(told.exists, "the scheduler")
            self.address = _wait(lambda: _address(told), "the scheduler's address")
            self._start("worker", self.address, "--nworkers", self._workers, "--nthreads", 1, "--no-dashboard")
            said = self._folder / "worker.log"
            _wait(lambda: said.read_text(errors="replace").count("Registered to") >= self._workers, "the workers")
        except BaseException:
            self._end()
            raise
        return self

    def _start(self, *words: object) -> None:
        command = [sys.executable, "-m", "distributed.cli.dask_" + str(words[0]), *map(str, words[1:])]
        env = {**os.environ, **as_environment(SETTINGS), "PYTHONPATH": str(_HERE)}
        env["DASK_TEMPORARY_DIRECTORY"] = str(self._folder)
        with (self._folder / f"{words[0]}.log").open("wb") as log:
            self._started.append(
                subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True, cwd=self._folder)
            )

    @property
    def scheduler(self) -> int:
        """Its process id."""
        return self._started[0].pid

    def tasks(self) -> int:
        """Return how many tasks the scheduler still knows: those whose futures nobody has released."""
        from distributed import Client

        with Client(self.address, timeout=_WAIT_S, set_as_default=False) as client:
            return int(client.run_on_scheduler(_known_tasks))

    def _worker_processes(self) -> list[psutil.Process]:
        children = psutil.Process(self._started[1].pid).children(recursive=True)
        found = []
        for child in children:
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return sorted(found, key=lambda process: process.pid)

    def worker_files(self) -> dict[str, int]:
        """Return the open files of each worker."""
        return {f"worker {i}": open_files(process.pid) for i, process in enumerate(self._worker_processes(), 1)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for process in reversed(self._started):
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)


@contextmanager
def coordinator(source: Path, store: Path, scheduler: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``sonotheque embed`` on a scheduler; what is left of it at the end is killed."""
    command = [sys.executable, "-m", "sonotheque.cli.main", "embed", str(source), "--store", str(store)]
    command += ["--model", "placeholder", "--scheduler", scheduler, "--quiet"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_HERE)},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended_well(process: subprocess.Popen[str]) -> None:
    """Wait for a coordinator's end.

    Raises
    ------
    RuntimeError
        If it did not end with 0.
    """
    _, said = process.communicate(timeout=_WAIT_S)
    if process.returncode:
        raise RuntimeError(f"the coordinator ended with {process.returncode}: {said[-2000:]}")


def memory_mb(pid: int) -> float | None:
    """Return what a process holds in memory; None if it has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return round(process.memory_info().rss / 1e6, 2)
    except psutil.NoSuchProcess:
        return None


def open_files(pid: int) -> int:
    """Return how many descriptors a process has open; 0 if it has ended."""
    try:
        return int(psutil.Process(pid).num_fds())
    except psutil.Error:
        return 0


def _known_tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


def _address(told: Path) -> str:
    try:
        return str(json.loads(told.read_text(encoding="utf-8"))["address"])
    except (ValueError, KeyError):  # half written
        return ""


def _wait(condition: Any, what: str) -> Any:
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise RuntimeError(f"waited {_WAIT_S:g} s in vain for {what}")
