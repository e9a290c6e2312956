"""What any process can say of a store's runs: read from the job folders and the ledgers, never from memory."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from cluster.holder import holder_of
from cluster.job import DEAD, RUNNING, STOPPING, JobFolder, job_numbers, latest_job
from cluster.keeper import keeper_of
from cluster.report import IN_STORE, read_rows
from sonotheque.core.errors import Damaged, NotFound
from sonotheque.core.outcome import Outcome, Status
from store import VerifyReport, read_config, verify
from store.layout import EMBEDDINGS, part_name, part_path
from store.ledger import committed_among

_WAIT_POLL_S = 0.5


def _job(store: str, number: int | None) -> JobFolder:
    return latest_job(store) if number is None else require_job(store, number)


def require_job(store: str, number: int) -> JobFolder:
    """Return a job by its number.

    Raises
    ------
    NotFound
        If there is none; the message names those there are.
    """
    if number not in job_numbers(store):
        raise NotFound(f"{store} has no job {number}; it has {', '.join(map(str, job_numbers(store))) or 'none'}")
    return JobFolder(store, number)


class PartCount:
    """How many parts of a job are committed by now; what was found once is not looked for again.

    Parameters
    ----------
    job : JobFolder

    Attributes
    ----------
    problem : str
        Why the count may be short; empty if it is not.
    """

    def __init__(self, job: JobFolder) -> None:
        self.problem = ""
        self._job = job
        self._missing: dict[str, str] = {}
        self._planned = 0

    def look(self) -> tuple[int, int]:
        """Return (planned, committed)."""
        if not self._planned:  # also of a run that is still planning
            try:
                self._read_plan()
            except Damaged as error:  # what can be read of it counts
                self.problem = error.message
            self._planned = len(self._missing)
        there = committed_among(self._job.store, self._missing.values())
        self._missing = {i: path for i, path in self._missing.items() if path not in there}
        return self._planned, self._planned - len(self._missing)

    def _read_plan(self) -> None:
        for line in self._job.read_plan():
            if "part_id" in line:
                part_id, local = line["part_id"], line["time"]["local_start"]
                date = local[:10] if local else None
                self._missing[part_id] = part_path(EMBEDDINGS, line["site"], date, part_name(part_id))


def job_status(store: str, number: int | None = None, *, parts: PartCount | None = None) -> dict[str, Any]:
    """Return a job's state, last heartbeat, how many of its parts are committed, who looks after it, and who holds the store.

    Parameters
    ----------
    store : str
    number : int, optional
        The newest by default.
    parts : PartCount, optional
        Of this job, from an earlier call: for those who ask again and again.
    """
    job = _job(store, number)
    count = parts or PartCount(job)
    planned, committed = count.look()
    keeper, holder = keeper_of(store), holder_of(store)
    return {
        "job": job.number,
        "state": job.state(),
        "parts_planned": planned,
        "parts_committed": committed,
        "heartbeat": job.read_json("heartbeat.json"),
        **{key: job.read_json("job.json").get(key) for key in ("machine", "file_system")},
        **({"problem": count.problem} if count.problem else {}),
        "keeper": {"stage": keeper.stage, "pid": keeper.told.get("pid"), "alive": keeper.process is not None}
        if keeper
        else None,
        "holder": holder.process.pid if holder else None,
    }


def ask_stop(store: str, *, wait: bool) -> dict[str, Any]:
    """Ask the newest job to stop.

    Parameters
    ----------
    store : str
    wait : bool
        Return only when it has ended.
    """
    job = latest_job(store)
    state = job.state()
    # From another machine a run can look dead and not be: asking costs nothing.
    elsewhere = job.read_json("heartbeat.json").get("host") != socket.gethostname()
    asked = state in (RUNNING, STOPPING) or (state == DEAD and elsewhere)
    if asked:
        job.ask_cancel()
        while wait and job.state() in (RUNNING, STOPPING):
            time.sleep(_WAIT_POLL_S)
    return {"job": job.number, "asked": asked, "state": job.state()}


def job_report(store: str, number: int | None = None) -> dict[str, Any]:
    """Return a job's closing sum; for one that died before it could write it, what its report and the plan say.

    Raises
    ------
    NotFound
        If there is no such job, or it died before it had planned.
    """
    job = _job(store, number)
    found = job.read_json("summary.json")
    if found:
        return found
    planned = sum(1 for _ in job.read_plan())
    if not planned:
        raise NotFound(f"job {job.number} of {store} has no plan yet; it is {job.state()}")
    rows = list(read_rows(job.path))
    return _open_sum(job, planned, rows)


def _open_sum(job: JobFolder, planned: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up a job that has not ended (or never will): what it reported so far, the rest pending."""
    beat = job.read_json("heartbeat.json")
    done = [r for r in rows if r["outcome"] == Outcome.DONE]
    failures = [r for r in rows if r["outcome"] == Outcome.FAILED]
    skipped = [r for r in rows if r["outcome"] == Outcome.SKIPPED]
    return {
        "state": job.state(),
        "job": job.number,
        "store": job.store,
        "files": planned,
        "done": len(done),
        "skipped": len(skipped),
        "failed": len(failures),
        "pending": planned - len(rows),
        "audio_s": round(sum(r["duration_s"] for r in done), 3),
        "windows": sum(r["windows"] for r in done),
        "x_realtime": beat.get("x_realtime"),
        "wall_s": None,  # known when a run ends
        "bytes_per_window": None,
        "skipped_by_reason": dict(
            Counter(IN_STORE if r["reason"].startswith(IN_STORE) else r["status"] for r in skipped)
        ),
        "failed_by_kind": dict(Counter(r["status"] for r in failures)),
        "noted_by_status": dict(Counter(r["status"] for r in done if r["status"] != Status.OK)),
        "failures": [{"path": r["path"], "kind": r["status"], "reason": r["reason"]} for r in failures],
        "problems": None,
        "without_time": None,
        "without_utc": None,
        "without_zone": None,
        "time_issues": dict(Counter(w for r in done for w in r.get("time_issues", "").split("; ") if w)),
    }


def job_rows(store: str, number: int | None = None, *, failed: bool = False) -> Iterator[dict[str, Any]]:
    """Return the rows of a job's per-recording report."""
    rows = read_rows(_job(store, number).path)
    return (r for r in rows if r["outcome"] == Outcome.FAILED) if failed else rows


def newest_of_each(store: str) -> list[JobFolder]:
    """Return, oldest first, the newest planned job of each set of sources."""
    found: dict[tuple[str, ...], JobFolder] = {}
    for number in job_numbers(store):
        job = JobFolder(store, number)
        if job.has_plan():
            told = job.read_json("job.json")
            try:
                key = (*told["options"]["sources"], told["root"], told["prefix"])
            except (
                KeyError,
                TypeError,
            ):  # a damaged file: nobody knows which later plan stands for this one, so it counts
                key = (f"job {number}",)
            found.pop(key, None)
            found[key] = job
    return list(found.values())


def planned_files(store: str) -> Iterator[tuple[str, int, int]]:
    """Yield (path, size_bytes, mtime_ns) of every file that should be in a store.

    A command that was given again plans anew, and its newest plan counts: a file that was deleted in between is no longer
    expected. Plans of different sources add up; of a file in several of them the newest version counts.
    """
    newest: dict[str, tuple[int, int]] = {}
    for job in newest_of_each(store):
        for line in job.read_plan():
            newest[line["path"]] = (line["size_bytes"], line["mtime_ns"])
    for path, (size_bytes, mtime_ns) in newest.items():
        yield path, size_bytes, mtime_ns


def verify_store(store: str, *, deep: bool = False) -> VerifyReport:
    """Check a store against all its plans; see :func:`store.verify`."""
    read_config(store)
    return verify(store, planned_files(store), deep=deep)
