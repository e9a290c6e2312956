"""Processes of jobs: begun in a session of their own, known again after a restart, ended as a group."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.machine import CLOCK_STEP_S, boot_and_ticks, process_started
from search_api.threads import for_a_job
from sonotheque.core.modules import our_module, with_home


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """What names one process for good: a number alone is given to another process later.

    Attributes
    ----------
    host : str
    boot : str
        Of this start of the machine; empty where it is not told.
    pid : int
    ticks : int
        When it started, counted from the machine's start; no setting of the clock changes it. 0 where it is not told.
    created : float
        The same by the wall clock, Unix seconds.
    """

    host: str
    boot: str
    pid: int
    ticks: int
    created: float

    @classmethod
    def of(cls, pid: int) -> ProcessMark | None:
        """Return the mark of a process of this machine; None if there is none, or it has ended and nobody asked how."""
        told, created = boot_and_ticks(pid), process_started(pid)
        return cls(socket.gethostname(), told[0], pid, told[1], created) if told and created is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether this very process runs; one of another machine counts as ended."""
        now = ProcessMark.of(self.pid) if self.host == socket.gethostname() else None
        if now is None or now.boot != self.boot:
            return False
        return now.ticks == self.ticks if now.ticks and self.ticks else abs(now.created - self.created) < CLOCK_STEP_S

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ProcessMark | None:
        """Rebuild from :meth:`to_json`; None if it is something else."""
        try:
            return cls(
                str(value["host"]),
                str(value["boot"]),
                int(value["pid"]),
                int(value["ticks"]),
                float(value["created"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def tell(self, number: int, *, group: bool) -> bool:
        """Send a signal to it, or to all of its session; False if it has ended."""
        if not self.is_alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)
            return True
        return False


def begin(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the worker of a job folder, in a session of its own: what ends the service leaves it alone.

    Raises
    ------
    OSError
        If no process can be made.
    """
    command, env = our_module("search_api.boards.worker", str(folder)), with_home(for_a_job(os.environ))
    with log.open("ab") as told:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, env=env, start_new_session=True
        )


def end_softly(mark: ProcessMark, *, group: bool) -> bool:
    """Ask a process to end."""
    return mark.tell(signal.SIGTERM, group=group)


def end_hard(mark: ProcessMark) -> bool:
    """End a process and all of its session."""
    return mark.tell(signal.SIGKILL, group=True)
