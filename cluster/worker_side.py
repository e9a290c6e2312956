"""What every task's process on a worker sees to first: that it looks at the coordinator's folder, and that Ctrl-C is not its own."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

_SHOWN_AFTER_S = (0.2, 1.0, 4.0, 10.0)  # a folder of several machines may show a new file to this one a little later


def shows(path: str) -> bool:
    """Return whether this machine has a file that the coordinator has just written, and wait a while for it.

    Parameters
    ----------
    path : str
        Absolute. Where it is not seen, nothing is made.
    """
    for wait_s in _SHOWN_AFTER_S:
        if os.path.exists(path):
            return True
        time.sleep(wait_s)
        with contextlib.suppress(OSError):
            os.listdir(_nearest(path))  # makes NFS ask its server again for names that it holds to be missing
    return os.path.exists(path)


def _nearest(path: str) -> str:
    """Return the closest folder above that is there: the file's own may be as new as the file."""
    folder = os.path.dirname(path)
    while folder != os.path.dirname(folder) and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def leave_interrupts() -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the one that hands out the tasks."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
