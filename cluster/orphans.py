"""Processes that a dead run has left behind on this machine: found by a mark in their environment, never by name."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

from cluster.processes import lives

SUPERVISED = "SONOTHEQUE_SUPERVISED"  # a folder's name that no other run has; every process of a run inherits it
_GRACE_S, _KILL_S = 3.0, 5.0
_POLL_S = 0.05


def marked_processes(mark: str, session: int = 0) -> list[psutil.Process]:
    """Return this user's processes that carry a mark, or are of the session that a run was started in; not this one.

    Parameters
    ----------
    mark : str
        Value of ``SONOTHEQUE_SUPERVISED``.
    session : int, optional
    """
    return [p for p in psutil.process_iter() if p.pid != os.getpid() and _is_marked(p, mark, session) and lives(p)]


def _is_marked(process: psutil.Process, mark: str, session: int) -> bool:
    with suppress(OSError):
        if session and os.getsid(process.pid) == session:
            return True
    try:
        return bool(process.environ().get(SUPERVISED) == mark)
    except (psutil.Error, OSError):  # another user's, or gone
        return False


def end_processes(mark: str, session: int = 0) -> int:
    """End what a run has left behind: asked first, killed after three seconds, also where it is frozen.

    Returns
    -------
    int
        How many there were. One that no signal ends (it waits for a dead disk) is left alone: its commit can harm nothing.
    """
    left = marked_processes(mark, session)
    count = len(left)
    for end, wait_s in (("terminate", _GRACE_S), ("kill", _KILL_S)):
        for process in left:
            with suppress(psutil.Error):
                getattr(process, end)()
        until = time.monotonic() + wait_s
        while left and time.monotonic() < until:
            time.sleep(_POLL_S)
            left = [p for p in left if lives(p)]
        # What a process started while it was being ended.
        left = marked_processes(mark, session)
        if not left:
            break
    return count
