"""What a supervisor did, as lines of ``jobs/supervisor.jsonl``: any process can read who supervises a store, and how often it restarted."""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from cluster.job import JobFolder, now_text
from cluster.machine import process_name
from cluster.processes import found
from cluster.tailing import event_of

_STARTED, _CLOSED = "started", "closed"
_TAIL_BYTES = 65_536


def signal_name(number: int) -> str:
    """Return a signal's name; of one that has none (the real-time ones between the first and the last) its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def log_path(store: str) -> Path:
    """Return where a store's supervisors leave word."""
    return JobFolder(store, 0).path.parent / "supervisor.jsonl"


class SupervisorLog:
    """Writes the lines. Nothing depends on them: a disk that refuses them is not told here.

    Parameters
    ----------
    store : str
        Its folder may not be there yet: lines wait until a child has made it, so that a mistyped path leaves nothing behind.
    """

    def __init__(self, store: str) -> None:
        self._path = log_path(store)
        self._waiting: list[str] = []

    def started(self, restarts: int) -> None:
        """Say who supervises."""
        pid = os.getpid()
        self._add(_STARTED, host=socket.gethostname(), pid=pid, process=process_name(pid), restarts=restarts)

    def child_started(self, pid: int) -> None:
        """Say which process runs the job."""
        self._add("child", pid=pid, process=process_name(pid))

    def child_ended(self, code: int, why: str | None, new_parts: int, ended: int) -> None:
        """Say how it ended, how many parts it committed, and how many of its processes had to be ended."""
        how = {"signal": signal_name(-code)} if code < 0 else {"code": code}
        self._add("child ended", **how, again=why, new_parts=new_parts, processes_ended=ended)

    def waiting(self, delay_s: float, without: int, restarts: int) -> None:
        """Say that there will be another."""
        self._add("waiting", seconds=delay_s, without_progress=without, restarts=restarts)

    def closed(self, code: int) -> None:
        """Say that it is over."""
        self._add(_CLOSED, pid=os.getpid(), code=code)

    def _add(self, event: str, **facts: Any) -> None:
        self._waiting.append(json.dumps({"at": now_text(), "event": event, **facts}, ensure_ascii=True) + "\n")
        if self._path.parent.is_dir():
            lines, self._waiting = "".join(self._waiting), []
            with suppress(OSError), self._path.open("a", encoding="ascii") as handle:
                handle.write(lines)


def supervisor_of(store: str) -> int | None:
    """Return the process id of the supervisor that looks after a store now, on this machine; None if there is none.

    SIGTERM to it is passed on to the run, also ends a wait between two runs, and starts nothing again.
    """
    last: dict[str, Any] = {}
    for line in _tail(log_path(store)):
        told = event_of(line) or {}  # torn by a crash, or cut by the tail
        if told.get("event") == _STARTED:
            last = told
        elif told.get("event") == _CLOSED and told.get("pid") == last.get("pid"):
            last = {}
    process = found(last)
    return process.pid if process else None


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, handle.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return handle.read().decode("ascii", "replace").splitlines()
    except OSError:
        return []
