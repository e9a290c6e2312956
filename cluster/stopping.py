"""Ending a run from outside: asked first, and after a grace whatever is left of its processes is ended by force.

The store stays whole either way, since nothing but a finished part is ever put into it: what force costs is the parts in flight,
which the next run begins again.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import psutil

from cluster.holder import Holder, holder_from, holder_of
from cluster.job import DEAD, FAILED, RUNNING, STOPPED, STOPPING, JobFolder, job_numbers, latest_job, now_text
from cluster.keeper import keeper_of
from cluster.processes import Tree, found
from cluster.supervisor_log import supervisor_of
from sonotheque.core.errors import SonothequeError
from store import sweep_leftovers

GRACE_S: Final = 7.0
CLOSING_S: Final = 1.2  # for a run that was told to end at once: it gives back nodes of a cluster
KILLED_S: Final = 1.3
PATIENCE: Final = 0.6  # of the grace: so long whoever looks after a run that was asked is left to it
_POLL_S = 0.1
Tell = Callable[[str], None]


def stop_now(store: str, *, grace_s: float = GRACE_S, tell: Tell | None = None) -> dict[str, Any]:
    """End a store's newest run and every process of it on this machine, within ten seconds.

    Parts in flight may be finished for ``grace_s`` seconds; then the coordinator is told to end at once, and what lives after that
    is killed. Processes are known by number and start, and by who started them. From another machine a run can only be asked, and
    so can one in a process that is not ours, such as a notebook: of that, only what it started for the run is ended.

    Parameters
    ----------
    store : str
    grace_s : float
    tell : callable, optional
        Called with lines for people.

    Returns
    -------
    dict
        ``job``, ``state``, ``asked``; ``host`` of the run; ``here``: whether it runs on this machine; ``forced``: whether anything
        was ended by force; ``processes`` that were seen; ``left``: pids that could not be ended; ``guest``: the pid of a process
        that is not ours and is still at work, or None.

    Raises
    ------
    NotFound
        If nothing was ever run on the store.
    """
    tell = tell or (lambda text: None)
    keepers = keepers_of(store)
    job = _newest(store) if keepers else latest_job(store)
    beat, state = (job.read_json("heartbeat.json"), job.state()) if job else ({}, None)
    result: dict[str, Any] = {
        "job": job.number if job else None,
        "host": beat.get("host"),
        "here": True,
        "forced": False,
        "processes": 0,
        "left": [],
        "guest": None,
    }
    if job and not keepers and beat.get("host") != socket.gethostname():
        # From another machine a run can look dead and not be: asking costs nothing.
        asked = state in (RUNNING, STOPPING, DEAD)
        if asked:
            job.ask_cancel()
        return {**result, "here": False, "asked": asked, "state": job.state()}
    if not keepers and state not in (RUNNING, STOPPING):
        return {**result, "asked": False, "state": state}
    coordinator = found(beat) if state in (RUNNING, STOPPING) else None
    guests = {guest.process for guest in _guests(store)}
    tree = Tree(p for p in [*keepers, *([coordinator] if coordinator else [])] if p not in guests)
    asker = _Asker(store, [p for p in keepers if p in tree], grace_s)
    forced = _end(store, tree, asker, grace_s, tell)
    job = _newest(store)
    if forced and job:
        _note_the_end(job, tree.seen)
        if not _guests(store):
            sweep_leftovers(store)
    return {
        **result,
        "job": job.number if job else None,
        "asked": asker.has_asked,
        "state": job.state() if job else STOPPED,
        "forced": forced,
        "processes": tree.seen,
        "left": [p.pid for p in tree.look()],
        "guest": next((guest.process.pid for guest in _guests(store)), None),
    }


def keepers_of(store: str) -> list[psutil.Process]:
    """Return the processes of this machine that look after a store now, the outermost first: a batch, a supervisor, who plans."""
    keeper, supervisor, holder = keeper_of(store), supervisor_of(store), holder_of(store)
    keepers = [keeper.process if keeper else None]
    with contextlib.suppress(psutil.Error):
        keepers.append(psutil.Process(supervisor) if supervisor else None)
    keepers.append(holder.process if holder else None)
    return [process for process in keepers if process is not None]


def _guests(store: str) -> list[Holder]:
    """Return processes that are at work on a store and are somebody's own, such as a notebook: they are asked, and never ended."""
    job = _newest(store)
    at_work = job is not None and job.state() in (RUNNING, STOPPING)
    beat = job.read_json("heartbeat.json") if job and at_work else {}
    # The lock tells since when; a file system without locks, or an older version's run, has the heartbeat alone.
    told = {holder.process: holder for holder in (holder_from(beat), holder_of(store)) if holder is not None}
    return [holder for holder in told.values() if not holder.own and holder.process.pid != os.getpid()]


def _newest(store: str) -> JobFolder | None:
    """Return the newest job; None before there is one."""
    numbers = job_numbers(store)
    return JobFolder(store, numbers[-1]) if numbers else None


def _end(store: str, tree: Tree, asker: _Asker, grace_s: float, tell: Tell) -> bool:
    """Ask, wait, and end by force what is left. Returns whether force was needed."""

    def over() -> bool:
        return not tree.look() and not _guests(store)

    asker.ask()
    if _wait(over, grace_s, asker.ask):
        return False
    below = Tree([process for guest in _guests(store) for process in guest.started()])
    count = len(tree.look()) + len(below.look())
    if not count:
        return False  # somebody's own process, which was asked
    tell(f"{count} processes are still at work after {grace_s:.0f} s: they are ended now")
    job = _newest(store)
    coordinator = found(job.read_json("heartbeat.json")) if job else None
    if coordinator is not None and coordinator in tree:
        # The second word ends it at once (the first was the request), with its cluster closed and its report written.
        with contextlib.suppress(psutil.Error):
            coordinator.terminate()
        _wait(over, CLOSING_S)

    def kill() -> None:
        for process in [*tree.look(), *below.look()]:
            with contextlib.suppress(psutil.Error):
                process.kill()

    _wait(over, KILLED_S, kill)
    if left := tree.look():
        tell(f"processes {', '.join(str(p.pid) for p in left)} cannot be ended, even by force")
    return True


class _Asker:
    """Asks whatever is at work on a store by now: who looks after a run may begin it anew, or be past it."""

    def __init__(self, store: str, keepers: list[psutil.Process], grace_s: float) -> None:
        self._store, self._keepers = store, keepers[:1]  # it hands on what it is told
        self._patience_until = time.monotonic() + PATIENCE * grace_s
        self._run_asked = False
        self.has_asked = False

    def ask(self) -> None:
        """Ask the newest run if there is one to ask, else whoever looks after it."""
        job = _newest(self._store)
        if job is not None and job.state() in (RUNNING, STOPPING):
            if not job.cancel_asked():
                job.ask_cancel()
            self._run_asked = self.has_asked = True
        elif self._keepers and self._may_signal(job):
            # It plans, waits, verifies or reports; a signal ends that. One is enough: a second one to a run means at once.
            self.has_asked = True
            with contextlib.suppress(psutil.Error):
                self._keepers.pop().terminate()

    def _may_signal(self, job: JobFolder | None) -> bool:
        """Tell whether a signal would hit no run that closes because it was asked, nor the report that follows."""
        if not self._run_asked:
            return True
        closing = job is not None and found(job.read_json("heartbeat.json")) is not None
        return not closing and time.monotonic() >= self._patience_until


def _wait(over: Callable[[], bool], seconds: float, each_time: Callable[[], object] = lambda: None) -> bool:
    """Wait until it is over, doing something each time; tell whether that came about."""
    deadline = time.monotonic() + seconds
    while not over():
        if time.monotonic() >= deadline:
            return False
        each_time()
        time.sleep(_POLL_S)
    return True


def _note_the_end(job: JobFolder, processes: int) -> None:
    """Write down that a run was stopped, which it could not do by itself."""
    if job.state() not in (DEAD, FAILED):
        return
    with contextlib.suppress(SonothequeError):  # a full disk: then it is told as dead, which is true as well
        job.event("stopped by force", processes=processes)
        summary = job.read_json("summary.json")
        if summary.get("state") == FAILED:
            job.write_json("summary.json", {**summary, "state": STOPPED})
        beat = job.read_json("heartbeat.json")
        job.write_json("heartbeat.json", {**beat, "state": STOPPED, "at": now_text(), "at_s": time.time()})
