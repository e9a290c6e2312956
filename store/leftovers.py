"""Temporary files of processes that died: never read, and in the way of nobody but the disk."""

from __future__ import annotations

import os
import socket
import time

from store import layout
from store.fsops import FileOps, ops_of
from store.state import state_root

GRACE_S = 24 * 3600.0  # for files of other machines, whose processes cannot be asked


def sweep_leftovers(root: str, ops: FileOps | None = None, *, dry_run: bool = False) -> int:
    """Remove files in ``_tmp/`` whose writer is gone: of this machine by its process id, of others after a day.

    Returns
    -------
    int
        Files removed, or to be removed.
    """
    ops = ops or ops_of(root)
    folder = f"{state_root(root)}/{layout.TMP}"
    removed = 0
    for name in ops.listdir(folder):
        # `temp_name` makes <stem>.<host>.<pid>.<random>, and a part's files add a letter; hosts' names may hold dots.
        host, pid = _writer(name)
        path = f"{folder}/{name}"
        ours = host == socket.gethostname() and pid is not None
        if (ours and not _alive(pid)) or (not ours and _age_s(path) > GRACE_S):
            if not dry_run:
                ops.unlink(path)
            removed += 1
    return removed


def _writer(name: str) -> tuple[str, int | None]:
    words = name.split(".")
    if len(words[-1]) == 1:
        words.pop()
    if len(words) < 4 or not words[-2].isdigit():
        return "", None
    return ".".join(words[1:-2]), int(words[-2])


def _alive(pid: int | None) -> bool:
    if pid is None:
        return False
    import psutil  # here: only where there is a temporary file to ask about

    try:
        # One that was killed and that nobody asked how it ended has still a number, and writes nothing more.
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's process
        return True


def _age_s(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0
