"""Which store a state folder belongs to: an address can hold another store than it did, in a bucket that was emptied or on another server.

The first writer leaves a random id in the bucket, in the object that it tries the server with; a state folder notes it. If the two differ,
what was derived from the other store, its jobs and the annotations made of it are set aside, and come back should that store come back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from typing import Final

from sonotheque.core.places import is_object
from store import layout
from store.fsops import FileOps, store_errors
from store.state import state_root

PROBE: Final = "_put-if-absent"  # an object that every writer tries to make: a second success would mean that the server overwrites
_OF, _OTHERS = "store-id", "others"
_ID = re.compile(rb"^store ([0-9a-f]{32})$", re.MULTILINE)
_OWN: Final = (
    layout.CATALOG,
    layout.INDEX,
    *(f"{layout.ANNOTATIONS}{end}" for end in ("", "-wal", "-shm", "-journal")),
)


def probe_text() -> bytes:
    """Return what the object holds that a store's first writer makes."""
    return f"made by sonotheque: see FORMAT.md, section 14\nstore {secrets.token_hex(16)}\n".encode("ascii")


def settle_state(root: str, ops: FileOps) -> None:
    """Make sure that the state folder of a store in an object store is of the store that lies there now.

    Nothing is done for a store in a folder, nor for one that no writer has given an id (a copy of a folder that is only read).

    Raises
    ------
    Unavailable
        If what is of another store cannot be set aside.
    """
    if not is_object(root):
        return
    try:
        found = _ID.search(ops.read(f"{root}/{PROBE}"))
    except FileNotFoundError:
        return
    home = state_root(root)
    if found is None or _noted(home) == (wanted := found[1].decode("ascii")):
        return
    with contextlib.suppress(OSError):  # where nothing can be written, nothing of another store was
        os.makedirs(home, exist_ok=True)
    if os.access(home, os.W_OK):
        with store_errors(home):
            _exchange(home, wanted)


def _noted(home: str) -> str | None:
    try:
        with open(f"{home}/{_OF}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _exchange(home: str, wanted: str) -> None:
    with open(f"{home}/.{_OF}.lock", "a", encoding="ascii") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        before = _noted(home)
        if before == wanted:
            return
        if before:
            _move(home, f"{home}/{_OTHERS}/{before}")
            _move(f"{home}/{_OTHERS}/{wanted}", home)
        temporary = f"{home}/.{_OF}.{os.getpid()}"
        with open(temporary, "w", encoding="ascii") as file:
            file.write(f"{wanted}\n")
        os.replace(temporary, f"{home}/{_OF}")


def _move(source: str, target: str) -> None:
    names = list(_OWN)
    os.makedirs(target, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        jobs = [f"{layout.JOBS}/{name}" for name in os.listdir(f"{source}/{layout.JOBS}") if name.isdigit()]
        if jobs:
            os.makedirs(f"{target}/{layout.JOBS}", exist_ok=True)
        names += jobs
    for name in names:
        # What is at the target already was moved before a crash.
        if os.path.lexists(f"{source}/{name}") and not os.path.lexists(f"{target}/{name}"):
            os.rename(f"{source}/{name}", f"{target}/{name}")
