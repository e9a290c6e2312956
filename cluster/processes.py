"""Processes of a run: named so that no other can be meant, and taken together with everything they started."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

import psutil

from cluster.machine import is_process, process_name


def named(pid: int | None = None) -> dict[str, Any]:
    """Return what names a process of this machine for good: a number alone is given to another process later.

    Parameters
    ----------
    pid : int, optional
        This process by default.
    """
    pid = os.getpid() if pid is None else pid
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "process": process_name(pid),
        "process_started": psutil.Process(pid).create_time(),
    }


def age_s() -> float:
    """Return how long this process has been running, in seconds."""
    return max(0.0, time.time() - float(psutil.Process().create_time()))


def found(told: Mapping[str, Any]) -> psutil.Process | None:
    """Return the process that was named, if it lives on this machine.

    Parameters
    ----------
    told : mapping
        ``host``, ``pid``, and ``process`` or at least ``process_started``, as :func:`named` or a heartbeat has them; anything
        else names no process.
    """
    pid, name, started = (told.get(key) for key in ("pid", "process", "process_started"))
    if told.get("host") != socket.gethostname() or type(pid) is not int or not isinstance(started, int | float | None):
        return None
    try:
        # Where the exact name is known it decides: what is found here may be ended by force.
        same = process_name(pid) == name if name else is_process(pid, None, started)
        return psutil.Process(pid) if same else None
    except (psutil.Error, ValueError, OverflowError):
        return None


class Tree:
    """Processes and all that they started, also what outlives its parent: whoever was seen once is not lost sight of.

    Parameters
    ----------
    roots : iterable of psutil.Process
        This process and those above it are left out: nobody ends himself by mistake.
    """

    def __init__(self, roots: Iterable[psutil.Process]) -> None:
        here = psutil.Process()
        self._spared = {here.pid, *(p.pid for p in here.parents())}
        self._seen: dict[int, psutil.Process] = {p.pid: p for p in roots if p.pid not in self._spared}
        self.look()

    def look(self) -> list[psutil.Process]:
        """Look for what was started since, and return all that live."""
        living = self._living()
        pids = {p.pid for p in living}
        for process in living:
            with contextlib.suppress(psutil.Error):
                # Those below a living parent are found from there.
                if process.ppid() not in pids:
                    below = process.children(recursive=True)
                    self._seen.update({p.pid: p for p in below if p.pid not in self._spared | self._seen.keys()})
        return self._living()

    def __contains__(self, process: psutil.Process) -> bool:
        """Tell whether a process was seen, and may be ended therefore."""
        return process.pid in self._seen

    @property
    def seen(self) -> int:
        """How many processes were seen in all."""
        return len(self._seen)

    def _living(self) -> list[psutil.Process]:
        return [p for p in self._seen.values() if lives(p)]


def lives(process: psutil.Process) -> bool:
    """Tell whether this very process runs: it has not ended, and its number names no other one by now."""
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
