"""The job folder: what any process on any machine can know of a run, also after every process is dead."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.payload import CANCEL
from sonotheque.core.errors import Conflict, NotFound, Unavailable
from store import layout
from store.fsops import store_errors

STALE_S = 30.0
_EVENT_BYTES_MAX = 4000
_CLOCK_STEP_S = 60.0  # a process's start is told by the wall clock, which may be set while it runs
RUNNING, STOPPING, FINISHED, STOPPED, FAILED, DEAD = "running", "stopping", "finished", "stopped", "failed", "dead"


@dataclass(frozen=True, slots=True)
class JobFolder:
    """``<store>/jobs/<n>``.

    Attributes
    ----------
    store : str
    number : int
    """

    store: str
    number: int

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.store) / layout.job_path(self.number)

    def file(self, name: str) -> Path:
        """Return a file of the folder."""
        return self.path / name

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Replace a small file at once, so that a reader sees the old or the new one, never half."""
        temporary = self.file(f".{name}.{os.getpid()}")
        with store_errors(self.store):
            temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
            temporary.replace(self.file(name))

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a file's object; empty if it is not there (yet) or cannot be read."""
        try:
            value = json.loads(self.file(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def event(self, name: str, **facts: Any) -> None:
        """Append a line to ``events.jsonl``: one write of less than 4 KB, so lines of several processes do not mix."""
        told = {"at": now_text(), "event": name, **facts}
        while len(line := json.dumps(told, ensure_ascii=True)) > _EVENT_BYTES_MAX:
            longest = max(told, key=lambda key: len(str(told[key])))
            told[longest] = str(told[longest])[: len(str(told[longest])) // 2]
        with store_errors(self.store), self.file("events.jsonl").open("a", encoding="ascii") as handle:
            handle.write(line + "\n")

    def cancel_asked(self) -> bool:
        """Tell whether somebody asked the run to stop."""
        return self.file(CANCEL).exists()

    def ask_cancel(self) -> None:
        """Ask the run to stop; its coordinator looks every second."""
        self.file(CANCEL).touch()

    def write_plan(self, lines: Iterator[dict[str, Any]]) -> int:
        """Write ``plan.jsonl.gz``: one object a file of the inventory. Returns the number of lines."""
        temporary = self.file(".plan.jsonl.gz")
        count = 0
        with store_errors(self.store):
            with gzip.open(temporary, "wt", encoding="ascii", compresslevel=3) as handle:
                for line in lines:
                    handle.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")
                    count += 1
            temporary.replace(self.file("plan.jsonl.gz"))
        return count

    def has_plan(self) -> bool:
        """Tell whether the run came as far as a plan."""
        return self.file("plan.jsonl.gz").exists()

    def read_plan(self) -> Iterator[dict[str, Any]]:
        """Yield the plan's objects; none if the run died before it had planned."""
        try:
            with gzip.open(self.file("plan.jsonl.gz"), "rt", encoding="ascii") as handle:
                for line in handle:
                    yield json.loads(line)
        except FileNotFoundError:
            return

    def state(self) -> str:
        """Return one of the state words; ``dead`` if it says it runs and its process is gone or silent."""
        beat = self.read_json("heartbeat.json")
        state = str(beat.get("state", DEAD))
        if state != RUNNING:
            return state
        if beat.get("host") == socket.gethostname():
            now, then = _process_started(int(beat["pid"])), beat.get("process_started")
            alive = now is not None and then is not None and abs(now - float(then)) < _CLOCK_STEP_S
        else:
            alive = time.time() - float(beat.get("at_s", 0.0)) < STALE_S
        if not alive:
            return DEAD
        return STOPPING if self.cancel_asked() else RUNNING


def now_text() -> str:
    """Return the time as ISO 8601, UTC, for people to read; nothing is ordered by it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _process_started(pid: int) -> float | None:
    """Return when a process of this machine started: with the pid it names a process, also after pids wrap around."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def heartbeat(job: JobFolder, state: str, **facts: Any) -> None:
    """Write ``heartbeat.json``: who runs this job, and how far it is."""
    pid = os.getpid()
    job.write_json(
        "heartbeat.json",
        {
            "state": state,
            "host": socket.gethostname(),
            "pid": pid,
            "process_started": _process_started(pid),
            "at": now_text(),
            "at_s": time.time(),
            **facts,
        },
    )


def job_numbers(store: str) -> list[int]:
    """Return the numbers of a store's jobs, oldest first."""
    folder = Path(store) / layout.JOBS
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []


def latest_job(store: str) -> JobFolder:
    """Return a store's newest job.

    Raises
    ------
    NotFound
        If nothing was ever run on it.
    """
    numbers = job_numbers(store)
    if not numbers:
        raise NotFound(
            f"{store} has no job yet: `sonotheque embed RECORDINGS --store {store}` starts one", kind="not_found"
        )
    return JobFolder(store, numbers[-1])


def new_job(store: str) -> JobFolder:
    """Make the next job folder."""
    number = (job_numbers(store) or [0])[-1] + 1
    with store_errors(store):
        while True:
            job = JobFolder(store, number)
            job.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                job.path.mkdir()
            except FileExistsError:
                number += 1
                continue
            return job


@contextmanager
def store_lock(store: str) -> Iterator[None]:
    """Hold the right to plan on a store; the kernel gives it back when the process dies, however it dies.

    It keeps two coordinators from planning the same files apart. What protects the data is the commit, not this lock: on a
    file system without locks the run goes on without it.

    Raises
    ------
    Conflict
        If another process holds it (kind ``busy``).
    """
    path = Path(store) / layout.JOBS / "lock"
    with store_errors(store):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another job is at work on {store}. `sonotheque status --store {store}` shows it; `sonotheque stop --store {store}` ends it",
                kind="busy",
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise Unavailable(f"cannot lock {path}: {error.strerror}") from error
        yield


@contextmanager
def stop_on_signals(job: JobFolder) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the run as `sonotheque stop` does; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if job.cancel_asked():
            raise KeyboardInterrupt
        job.ask_cancel()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
