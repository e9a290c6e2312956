"""Whether a store that was disturbed is the store that a quiet run makes: file by file, row by row, job by job."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.job import FINISHED, RUNNING, JobFolder, job_numbers
from cluster.report import read_rows
from cluster.status import job_report, verify_store
from sonotheque.core.errors import NotFound, SonothequeError
from tests.cluster.support import SUM_KEYS, part_files, predictions, windows

_WINDOW = "path, start_s, end_s, valid_s, site, recording_id"
_PREDICTION = "path, start_s, rank, label, logit, score"


@dataclass(frozen=True, slots=True)
class Clean:
    """What a run that nobody disturbed has made.

    Attributes
    ----------
    files : dict
        Digest of every part file, by its path in the store.
    windows, predictions : Counter
        Rows.
    statuses : dict
        What the report says of every recording: ``(failed, status)``.
    """

    files: dict[str, str]
    windows: Counter[tuple[Any, ...]]
    predictions: Counter[tuple[Any, ...]]
    statuses: dict[str, tuple[bool, str]]

    @property
    def parts(self) -> int:
        """How many parts it has."""
        return sum(name.startswith("embeddings/") for name in self.files)

    @classmethod
    def of(cls, store: Path) -> Clean:
        """Read a store whose newest job is through."""
        return cls(
            part_files(store),
            Counter(windows(store, _WINDOW)),
            Counter(predictions(store, _PREDICTION)),
            _statuses(read_rows(JobFolder(str(store), job_numbers(str(store))[-1]).path)),
        )


@dataclass(slots=True)
class Verdict:
    """What came of a seed.

    Attributes
    ----------
    faults : list of str
        Empty if the store is the clean one.
    rows, lost, doubled : int
        Windows and predictions of the store; those that a clean run has and this does not; those there more than once.
    files, different : int
        Part files, and those that are missing, too many, or of other bytes.
    twice : int
        Parts that two tasks embedded to the end, of which one could commit.
    """

    faults: list[str] = field(default_factory=list)
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    files: int = 0
    different: int = 0
    twice: int = 0


def judge(store: Path, clean: Clean) -> Verdict:
    """Compare a store whose newest run is through with the clean one.

    Parameters
    ----------
    store : Path
    clean : Clean
    """
    found = Verdict()
    files = part_files(store)
    found.files = len(files)
    for name in sorted(files.keys() | clean.files.keys()):
        if files.get(name) != clean.files.get(name):
            found.different += 1
            what = "missing" if name not in files else "too many" if name not in clean.files else "of other bytes"
            found.faults.append(f"{name} is {what}")
    for read, columns, expected in (
        (windows, _WINDOW, clean.windows),
        (predictions, _PREDICTION, clean.predictions),
    ):
        try:
            counted = Counter(read(store, columns))
        except SonothequeError as error:
            found.faults.append(f"rows cannot be read: {error}")
            counted = Counter()
        found.rows += counted.total()
        found.lost += (expected - counted).total()
        found.doubled += (counted - expected).total()
    if found.lost or found.doubled:
        found.faults.append(f"{found.lost} rows lost, {found.doubled} doubled")
    verified = verify_store(str(store), deep=True)
    if not verified.ok or verified.foreign or verified.unused_files:
        found.faults.append(f"verify: {verified.to_json()}")
    numbers = job_numbers(str(store))
    for number in numbers:
        job = JobFolder(str(store), number)
        found.faults += _job_faults(job, clean, last=number == numbers[-1])
        found.twice += _lost_commits(job)
    return found


def _job_faults(job: JobFolder, clean: Clean, *, last: bool) -> list[str]:
    """Look at one job's report: also of one that was killed, every file once, and the sum adds up."""
    where = f"job {job.number}"
    rows = list(read_rows(job.path))
    try:
        told = job_report(job.store, job.number)
    except NotFound:  # killed before it had planned
        return [f"{where} is the last and has no plan"] if last else []
    faults = []
    if told["files"] != sum(told[key] for key in SUM_KEYS) or told["files"] != len(clean.statuses):
        faults.append(f"{where} does not add up: { ({key: told[key] for key in ('files', *SUM_KEYS)}) }")
    if twice := [path for path, n in Counter(r["path"] for r in rows).items() if n > 1]:
        faults.append(f"{where} reports {twice} more than once")
    if job.state() == RUNNING:
        faults.append(f"{where} is said to run")
    if last and job.state() != FINISHED:
        faults.append(f"{where} is the last and {job.state()}")
    if last and (found := _statuses(rows)) != clean.statuses:
        differ = sorted(p for p in found.keys() | clean.statuses.keys() if found.get(p) != clean.statuses.get(p))
        faults.append(f"{where} tells otherwise of {differ[:5]}: {[found.get(p) for p in differ[:5]]}")
    return faults


def _statuses(rows: Iterable[dict[str, Any]]) -> dict[str, tuple[bool, str]]:
    # Not the outcome itself: what an earlier job has done is skipped by a later one.
    return {r["path"]: (r["outcome"] == "failed", r["status"]) for r in rows}


def _lost_commits(job: JobFolder) -> int:
    try:
        lines = job.file("events.jsonl").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return 0
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return sum(e["event"] == "part" and not e["won"] for e in told)
