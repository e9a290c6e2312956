"""All jobs of a folder as they are told, and which of the store's runs are theirs; what has ended is read once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from search_api.boards.records import ENDED, Record, records
from search_api.boards.requests import EMBED
from search_api.boards.store_runs import run_of
from search_api.boards.views import Job, seen

_FORGOTTEN: Final = "forgotten.json"
_Stamp = tuple[int, int, int]
_Known = tuple[_Stamp, Job, frozenset[int]]


def seen_record(root: str, record: Record) -> Job:
    """Return a job of the board.

    Parameters
    ----------
    root : str
        The store.
    record : Record
    """
    job = record.job()
    attempt = int(job.get("attempt", 1))
    return seen(record, _run_of_attempt(root, record, attempt) if job.get("kind") == EMBED else None)


def runs_of(root: str, record: Record) -> frozenset[int]:
    """Return the store's runs that a job was, one of each attempt that came so far."""
    job = record.job()
    if job.get("kind") != EMBED:
        return frozenset()
    found = (_run_of_attempt(root, record, n) for n in range(1, int(job.get("attempt", 1)) + 1))
    return frozenset(run for run in found if run is not None)


def _run_of_attempt(root: str, record: Record, attempt: int) -> int | None:
    if end := record.read(f"end-{attempt}.json"):
        run: int | None = end.get("run")
        return run
    return run_of(root, record.mark(attempt))


def forgotten_runs(jobs: Path) -> frozenset[int]:
    """Return the store's runs that were jobs whose folders have been removed."""
    runs: list[Any] = Record(jobs).read(_FORGOTTEN).get("runs") or []
    return frozenset(int(run) for run in runs)


def keep_runs(root: str, jobs: Path, going: Iterable[Record]) -> None:
    """Take down the runs of jobs whose folders are about to be removed: they are no runs of the command line then.

    Raises
    ------
    Unavailable
        Disk full or read-only.
    """
    before = forgotten_runs(jobs)
    now = before.union(*(runs_of(root, record) for record in going))
    if now != before:
        Record(jobs).put(_FORGOTTEN, {"runs": sorted(now)})


class Listing:
    """The jobs of a folder. Safe to use from several threads.

    What has ended stays as it is until it is begun anew, which replaces its ``job.json``: so that file alone is looked at.

    Parameters
    ----------
    root : str
        The store.
    jobs : Path
    """

    def __init__(self, root: str, jobs: Path) -> None:
        self._root, self._jobs = root, jobs
        self._known: dict[str, _Known] = {}

    def all(self) -> tuple[list[Job], frozenset[int]]:
        """Return the jobs, oldest first, and the store's runs that are theirs, or were of jobs that have been removed."""
        before = self._known
        kept: dict[str, _Known] = {}
        found: list[Job] = []
        claimed = set(forgotten_runs(self._jobs))
        for record in records(self._jobs):
            stamp = _stamp(record)  # before anything is read: what changes meanwhile is read again
            known = before.get(record.job_id)
            if stamp is None:
                continue
            if known is None or known[0] != stamp:
                if not record.job():  # it is being removed, or was damaged
                    continue
                known = (stamp, seen_record(self._root, record), runs_of(self._root, record))
            if _is_over(known[1]):
                kept[record.job_id] = known
            found.append(known[1])
            claimed |= known[2]
        self._known = kept
        return found, frozenset(claimed)


def _stamp(record: Record) -> _Stamp | None:
    try:
        told = os.stat(record.folder / "job.json")
    except OSError:
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns


def _is_over(job: Job) -> bool:
    """Tell whether a job will stay as it is: its end is written down, not only seen."""
    return job.state in ENDED and job.ended is not None
