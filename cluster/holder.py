"""Who holds a store: written into the lock's own file, so that a run can be found while it still plans and has no job."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import psutil

from cluster.processes import found, named
from sonotheque.core.own import is_own_process
from store import layout
from store.state import state_root

OWN_PROCESS = "own_process"  # of a heartbeat too: whether the process may be ended together with the run
_CLOCK_S = 1.0  # starts of processes are told to a hundredth of a second, and counted from the boot


@dataclass(frozen=True, slots=True)
class Holder:
    """A process of this machine that plans, embeds, or does something else that must be alone on a store.

    Attributes
    ----------
    process : psutil.Process
    own : bool
        Whether it is a program of ours; else it is somebody's that calls us, and only what we started in it may be ended.
    since_s : float
        When it began with this store; 0 if that is not known.
    """

    process: psutil.Process
    own: bool
    since_s: float = 0.0

    def started(self) -> list[psutil.Process]:
        """Return the processes that it has started since."""
        with contextlib.suppress(psutil.Error):
            return [p for p in self.process.children() if p.create_time() >= self.since_s - _CLOCK_S]
        return []


def lock_path(store: str) -> Path:
    """Return the file whose lock is the right to plan on a store."""
    return Path(state_root(store)) / layout.JOBS / "lock"


@contextmanager
def held_by_this_process(handle: TextIO) -> Iterator[None]:
    """Have a lock's file name this process while it is held; the disk may refuse that, and the lock holds all the same."""
    with contextlib.suppress(OSError):
        _write(handle, json.dumps({**named(), OWN_PROCESS: is_own_process(), "since_s": time.time()}))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            _write(handle, "")


def _write(handle: TextIO, text: str) -> None:
    os.ftruncate(handle.fileno(), 0)  # it is open for appending
    os.write(handle.fileno(), text.encode("ascii"))


def holder_of(store: str) -> Holder | None:
    """Return who holds a store, if it lives on this machine."""
    try:
        told = json.loads(lock_path(store).read_text(encoding="ascii"))
    except (OSError, ValueError):  # nobody, or it is being written
        return None
    return holder_from(told) if isinstance(told, dict) else None


def holder_from(told: Mapping[str, Any]) -> Holder | None:
    """Return the process that a lock or a heartbeat names, if it lives on this machine."""
    process = found(told)
    since_s = told.get("since_s")
    known = float(since_s) if isinstance(since_s, int | float) else 0.0
    return None if process is None else Holder(process, told.get(OWN_PROCESS) is True, known)
