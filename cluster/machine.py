"""Which machine leads a run, and which process of it: facts for people to compare runs by, and a name that survives clock steps."""

from __future__ import annotations

import platform
import socket
from pathlib import Path
from typing import Any

import psutil

from cluster.options import cores

_CPU = Path("/proc/cpuinfo")
_OS = Path("/etc/os-release")
CLOCK_STEP_S = 60.0  # a process's start is told by the wall clock, which may be set while it runs
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def machine_facts() -> dict[str, Any]:
    """Return the processor's name, how many cores this process may use, memory in bytes, the system and Python's version."""
    return {
        "host": socket.gethostname(),
        "cpu": _processor(),
        "cores": cores(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "system": _system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = _lines(_CPU)
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _system() -> str:
    """Return distribution, kernel and architecture as far as they are known."""
    told = dict(line.partition("=")[::2] for line in _lines(_OS))
    distribution = told.get("PRETTY_NAME", "").strip().strip('"')
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{distribution}, {kernel}" if distribution else kernel


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system
        return []


def boot_and_ticks(pid: int) -> tuple[str, int] | None:
    """Return a name of this start of the machine, and how long after it a process started, in the system's ticks.

    No setting of the clock changes either.

    Returns
    -------
    tuple of (str, int) or None
        ``("", 0)`` where the system does not tell; None if there is no such process, or it has ended and nobody asked how.
    """
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return "", 0
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    try:
        fields = stat.rpartition(b")")[
            2
        ].split()  # what stands before it is the program's name, which may hold anything
        return None if fields[0] in (b"Z", b"X") else (boot, int(fields[19]))
    except (ValueError, IndexError):  # a system that only looks like Linux
        return "", 0


def process_name(pid: int) -> str | None:
    """Return a name that no other process of this machine ever has, or None if there is none of this id.

    Not made of the wall clock, which may be set while a process runs: Linux counts a process's start from the boot.
    """
    told = boot_and_ticks(pid)
    if told is None:
        return None
    boot, ticks = told
    if boot:
        return f"{boot}:{pid}:{ticks}"
    try:
        return f"{pid}:{psutil.Process(pid).create_time():.0f}"
    except psutil.Error:
        return None


def process_started(pid: int) -> float | None:
    """Return when a process of this machine started, by the wall clock; None if there is none, or nobody asked yet how it ended."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def is_process(pid: int, name: str | None, started: float | None) -> bool:
    """Tell whether a process that was told of lives; a clock that was set since does not change the answer.

    Parameters
    ----------
    pid : int
    name : str or None
        From :func:`process_name`; what wrote an earlier version's heartbeat has none.
    started : float or None
        From :func:`process_started`: with the pid it names a process nearly as well.
    """
    if name and process_name(pid) == name:
        return True
    now = process_started(pid)
    return now is not None and started is not None and abs(now - float(started)) < CLOCK_STEP_S
