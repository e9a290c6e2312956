"""The job folder: what any process on any machine can know of a run, also after every process is dead.

Which of its files outlast a power cut, and which need not:

================= ======= =================================================================================================
file              forced  why
================= ======= =================================================================================================
job.json          yes     `resume` asks for the same again; before the plan, so that no plan lies there without its sources
plan.jsonl.gz     yes     `verify` holds the store against it; before the first part is handed out
report.jsonl/csv  at end  parts carry their own ledgers: rows of a run that was cut off are told again by the next one
summary.json      yes     the closing sum of a run that said it ended
heartbeat.json    at end  while it runs, the next one comes in 5 s; a run whose machine lost power is dead anyway
events.jsonl      no      for people to read; nothing is decided by it
progress/, CANCEL no      of a run that is alive; with its machine they lose their meaning
================= ======= =================================================================================================

Every file but the lines of events and reports appears whole or not at all to a reader.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import io
import json
import os
import signal
import socket
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.holder import OWN_PROCESS, held_by_this_process, lock_path
from cluster.machine import is_process
from cluster.payload import CANCEL
from cluster.processes import named
from sonotheque.core.errors import Conflict, Damaged, NotFound, Unavailable
from sonotheque.core.own import is_own_process
from store import layout
from store.fsops import LocalFileOps, put_over, store_errors
from store.state import state_root

STALE_S = 30.0
_EVENT_BYTES_MAX = 4000
_PLAN_BUFFER_BYTES = 1 << 16  # a line at a time, the compressor took as long to call as to work
_compact = json.JSONEncoder(
    separators=(",", ":")
).encode  # made once: `dumps` makes one a call when it is given separators
_DISK = LocalFileOps()  # a job's files lie in a folder of a machine, whatever holds the store
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
        return Path(state_root(self.store)) / layout.job_path(self.number)

    def file(self, name: str) -> Path:
        """Return a file of the folder."""
        return self.path / name

    def write_json(self, name: str, value: dict[str, Any], *, forced: bool = True) -> None:
        """Replace a small file at once, so that a reader sees the old or the new one, never half.

        Parameters
        ----------
        name : str
        value : dict
        forced : bool
            Whether it must outlast a power cut; see the table above.
        """
        data = json.dumps(value, indent=1).encode()
        with store_errors(self.store):
            put_over(_DISK, str(self.path), _temporary(name), str(self.file(name)), data, forced=forced)

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a file's object; empty if it is not there (yet) or cannot be read."""
        try:
            value = json.loads(self.file(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def event(self, name: str, **facts: Any) -> None:
        """Append a line to ``events.jsonl``: one write of less than 4 KB, so lines of several processes do not mix.

        A full or read-only disk raises. A line that the disk refused for a passing reason (EIO, ESTALE ...) is given up: no run
        of a week ends because a line for people to read could not be written.
        """
        told = {"at": now_text(), "event": name, **facts}
        while len(line := json.dumps(told, ensure_ascii=True)) > _EVENT_BYTES_MAX:
            longest = max(told, key=lambda key: len(str(told[key])))
            told[longest] = str(told[longest])[: len(str(told[longest])) // 2]
        with contextlib.suppress(OSError), store_errors(self.store):
            _DISK.append(str(self.file("events.jsonl")), f"{line}\n".encode("ascii"))

    def cancel_asked(self) -> bool:
        """Tell whether somebody asked the run to stop."""
        return self.file(CANCEL).exists()

    def ask_cancel(self) -> None:
        """Ask the run to stop; its coordinator looks twice a second."""
        with store_errors(self.store):
            _DISK.append(str(self.file(CANCEL)), b"")

    def make_progress(self) -> None:
        """Make the folder in which tasks leave word of how far they are."""
        with store_errors(self.store):
            _DISK.make_folder(str(self.file("progress")))

    def write_plan(self, lines: Iterator[dict[str, Any] | str]) -> int:
        """Write ``plan.jsonl.gz``: one object, or its JSON, a file of the inventory. Returns the number of lines."""
        temporary = f"{self.path}/{_temporary('plan.jsonl.gz')}"
        count = 0
        with store_errors(self.store):
            try:
                with _DISK.create(temporary) as file:
                    with io.BufferedWriter(gzip.GzipFile("", "wb", 3, file, mtime=0), _PLAN_BUFFER_BYTES) as packed:
                        for line in lines:
                            packed.write((line if isinstance(line, str) else _compact(line)).encode() + b"\n")
                            count += 1
                    _DISK.sync_file(file)
                _DISK.replace(temporary, str(self.file("plan.jsonl.gz")))
                _DISK.sync_dir(str(self.path))
            finally:
                _DISK.unlink(temporary)
        return count

    def has_plan(self) -> bool:
        """Tell whether the run came as far as a plan."""
        return self.file("plan.jsonl.gz").exists()

    def read_plan(self) -> Iterator[dict[str, Any]]:
        """Yield the plan's objects; none if the run died before it had planned.

        Raises
        ------
        Damaged
            If it cannot be read to its end. A run writes it whole or not at all, so this is a fault of the disk.
        """
        try:
            with gzip.open(self.file("plan.jsonl.gz"), "rt", encoding="ascii") as handle:
                for line in handle:
                    yield json.loads(line)
        except FileNotFoundError:
            return
        except (EOFError, zlib.error, ValueError, gzip.BadGzipFile) as error:
            raise Damaged(
                f"the plan of job {self.number} cannot be read to its end: {self.file('plan.jsonl.gz')}: {error}. No part is harmed; "
                f"`sonotheque embed` with the same recordings and --store {self.store} plans again, and its plan then counts"
            ) from error

    def state(self) -> str:
        """Return one of the state words; ``dead`` if it says it runs and its process is gone or silent."""
        beat = self.read_json("heartbeat.json")
        state = str(beat.get("state", DEAD))
        if state != RUNNING:
            return state
        if beat.get("host") == socket.gethostname():
            alive = is_process(int(beat["pid"]), beat.get("process"), beat.get("process_started"))
        else:
            alive = time.time() - float(beat.get("at_s", 0.0)) < STALE_S
        if not alive:
            return DEAD
        return STOPPING if self.cancel_asked() else RUNNING


def _temporary(name: str) -> str:
    """Return a hidden name that no other process, thread or earlier attempt has."""
    return f".{name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"


def now_text() -> str:
    """Return the time as ISO 8601, UTC, for people to read; nothing is ordered by it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def heartbeat(job: JobFolder, state: str, **facts: Any) -> None:
    """Write ``heartbeat.json``: who runs this job, and how far it is."""
    job.write_json(
        "heartbeat.json",
        {
            "state": state,
            **named(),
            OWN_PROCESS: is_own_process(),
            "at": now_text(),
            "at_s": time.time(),
            **facts,
        },
        forced=state != RUNNING,
    )


def job_numbers(store: str) -> list[int]:
    """Return the numbers of a store's jobs, oldest first."""
    folder = Path(state_root(store)) / layout.JOBS
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
    folder = str(Path(state_root(store)) / layout.JOBS)
    with store_errors(store):
        _DISK.makedirs(folder)
        while not _DISK.make_folder(str(JobFolder(store, number).path)):
            number += 1
        _DISK.sync_dir(folder)
    return JobFolder(store, number)


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
    path = lock_path(store)
    with store_errors(store):
        _DISK.makedirs(str(path.parent))
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
        with held_by_this_process(handle):
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
