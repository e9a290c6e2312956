"""One program over one folder, as a process of its own, and what it took: time, CPU, memory.

A process that measures prints, last of all, one JSON object: ``audio_s``, ``windows``, ``startup_s`` (until its models are ready)
and ``work_s`` (from there to the last result on disk); more keys are kept as they are.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program with its settings.

    Attributes
    ----------
    key : str
        Short name in the results.
    title : str
        What it is, for people.
    model : str
        Results are compared within one model.
    output : str
        ``vectors``, ``vectors + labels`` or ``labels``: what it leaves behind.
    command : callable
        Folder of recordings and a fresh scratch folder -> the command.
    environment : mapping
        Added to this process's.
    """

    key: str
    title: str
    model: str
    output: str
    command: Callable[[Path, Path], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)


def measured(contestant: Contestant, source: Path, scratch: Path) -> dict[str, Any]:
    """Run it once.

    Returns
    -------
    dict
        What it said of itself, and ``wall_s``, ``cpu_s``, ``peak_mb`` of it and its children, ``x_realtime`` (seconds of sound per
        second of work, start-up apart), ``x_realtime_all`` (the same over the whole run, start-up included),
        ``x_realtime_per_cpu_s`` (seconds of sound per CPU second, start-up included).

    Raises
    ------
    RuntimeError
        If it fails; with the end of what it said.
    """
    command = list(contestant.command(source, scratch))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **contestant.environment}
    began, used = time.perf_counter(), _children_cpu_s()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    with _Memory(process.pid) as memory:
        said, complained = process.communicate()
    wall_s, cpu_s = time.perf_counter() - began, _children_cpu_s() - used
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ...: exit {process.returncode}: {complained[-2000:]}")
    told = document(said)
    audio_s = float(told["audio_s"])
    return {
        **told,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu_s, 2),
        "peak_mb": memory.peak_bytes >> 20,
        "x_realtime": round(audio_s / float(told["work_s"]), 2),
        "x_realtime_all": round(audio_s / wall_s, 2),
        "x_realtime_per_cpu_s": round(audio_s / cpu_s, 2),
    }


def document(said: str) -> dict[str, Any]:
    """Return the JSON object at the end of an output: on one line, or all of it.

    Raises
    ------
    RuntimeError
        If there is none.
    """
    lines = said.strip().splitlines()
    for text in (said, lines[-1] if lines else ""):
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            return found
    raise RuntimeError(f"no JSON object at the end of the output: {said[-500:]!r}")


def module(name: str, *arguments: object, python: str = sys.executable) -> list[str]:
    """Return the command of a module of this folder."""
    return [python, "-m", f"benchmarks.{name}", *map(str, arguments)]


def _children_cpu_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


class _Memory:
    """Looks at a process and its children while they run, and keeps the largest sum of what they hold by themselves."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._pid, self._over = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.peak_bytes = max(self.peak_bytes, _held_bytes(self._pid))


def _held_bytes(pid: int) -> int:
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    held = 0
    for process in family:
        try:
            info = process.memory_info()
        except psutil.Error:  # it ended since
            continue
        held += info.rss - getattr(info, "shared", 0)  # pages of libraries and forks would count once a process
    return held
