"""The board: which jobs there are, which is next, and what became of those whose service was started anew."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from search_api.boards.following import Followers
from search_api.boards.listing import Listing, seen_record
from search_api.boards.records import ENDED, JOB_ID, QUEUED, Record, records
from search_api.boards.requests import EMBED, Request, apply_request, embed_request, index_request, train_request
from search_api.boards.sources import LogSource, RunSource
from search_api.boards.store_runs import RUN_ID, require_run, running_run, seen_run, seen_runs, stop_run
from search_api.boards.tending import Tender
from search_api.boards.views import Job, can_resume
from sonotheque.core.errors import Conflict, NotFound, Unavailable

WAITING_MAX: Final = 200


class Board:
    """The jobs of one store, as one service sees them.

    Each job is a process of its own that outlives the service; the folder tells everything, so a service that is started anew goes on
    where the one before was. Several services may share a folder: one of them starts what is queued.

    Parameters
    ----------
    root : str
        The store.
    state_folder : path-like
        Of the service; the jobs lie in ``jobs`` below it.
    ingest_roots : mapping, optional
        Name -> folder, below which recordings may be embedded.
    slots : int
        Trainings, applications and index builds at once; others wait.
    weights : str, optional
        Local copy of the model's weights, for embedding.
    """

    def __init__(
        self,
        root: str,
        state_folder: str | os.PathLike[str],
        ingest_roots: Mapping[str, str] | None = None,
        slots: int = 1,
        *,
        weights: str | None = None,
    ) -> None:
        self.root = os.path.abspath(root)
        self.jobs = Path(state_folder).absolute() / "jobs"
        self.ingest_roots = dict(ingest_roots or {})
        self.followers = Followers(self._source)
        self._weights = weights
        self._tender = Tender(self.root, self.jobs, slots)
        self._listing = Listing(self.root, self.jobs)
        self._turn = threading.Lock()

    def start(self) -> None:
        """Look for jobs that were begun before, and start what is queued, in the background."""
        self._tender.start()

    def close(self) -> None:
        """Stop looking after jobs; those that run go on by themselves, and what watches them is told that it is over."""
        self.followers.close()
        self._tender.close()

    # What there is.

    def list(self) -> list[Job]:
        """Return all jobs, the newest first: the board's own and the runs of the command line."""
        own, claimed = self._listing.all()
        return sorted([*own, *seen_runs(self.root, claimed)], key=lambda j: (j.created, j.job_id), reverse=True)

    def job(self, job_id: str) -> Job:
        """Return one job, or raise NotFound."""
        if run := RUN_ID.fullmatch(job_id):
            return seen_run(self.root, int(run[1]))
        return self._seen(self._record(job_id))

    # What may be asked for.

    def embed(self, *, by: str | None = None, **values: Any) -> Job:
        """Start to embed a folder below a configured one; see :func:`search_api.boards.requests.embed_request`.

        Raises
        ------
        Conflict
            (``busy``) If an embedding is at work on the store already, or waits.
        """
        request = embed_request(self.root, self.ingest_roots, weights=self._weights, **values)
        with self._turn:
            self._require_quiet()
            return self._submit(request, by)

    def train(self, *, by: str | None = None, **values: Any) -> Job:
        """Train a probe, as soon as it is its turn; see :func:`search_api.boards.requests.train_request`."""
        return self._submit(train_request(**values), by)

    def apply(self, *, by: str | None = None, **values: Any) -> Job:
        """Score every window by probes, as soon as it is their turn; see :func:`search_api.boards.requests.apply_request`."""
        return self._submit(apply_request(self.root, **values), by)

    def index(self, *, by: str | None = None, **values: Any) -> Job:
        """Build the index or bring it up to date; see :func:`search_api.boards.requests.index_request`."""
        return self._submit(index_request(**values), by)

    def cancel(self, job_id: str) -> Job:
        """Ask a job to end: an embedding commits what it has begun, all else is ended at once and leaves nothing half-made.

        Raises
        ------
        NotFound
            If there is no such job.
        Conflict
            If it has ended.
        """
        job = self.job(job_id)
        if job.state in ENDED:
            raise Conflict(f"job {job_id} cannot be cancelled: it is {job.state} already")
        if RUN_ID.fullmatch(job_id):
            stop_run(self.root, job.run or 0)
        else:
            self._tender.stop(self._record(job_id))
        return self.job(job_id)

    def resume(self, job_id: str, *, by: str | None = None) -> Job:
        """Go on with an embedding that did not finish; only what is missing is done.

        A run of the command line becomes a job of the board.

        Raises
        ------
        NotFound
            If there is no such job.
        Conflict
            If it is no embedding, or has not ended, or finished; ``busy`` if another one is at work.
        """
        job = self.job(job_id)
        if not can_resume(job.kind, job.state):
            again = "" if job.kind == EMBED else "; it goes on from nothing: ask for it again"
            raise Conflict(f"job {job_id} cannot be resumed: it is a job of kind {job.kind} and {job.state}{again}")
        with self._turn:
            self._require_quiet()
            if RUN_ID.fullmatch(job_id):
                title = job.title.replace(" (from the command line)", "")
                return self._submit(Request(EMBED, title, {"run": job.run}), by)
            record = self._record(job_id)
            record.put("job.json", {**record.job(), "attempt": job.attempt + 1})
            record.event("state", state=QUEUED)
        self._tender.again(job_id)
        return self._seen(record)

    def report_rows(self, job_id: str, *, failed: bool = False) -> Iterator[dict[str, Any]]:
        """Return the rows of an embedding's per-recording report; see :mod:`cluster.report`.

        Raises
        ------
        NotFound
            If there is no such job, or it has no report (yet).
        """
        from cluster.status import job_rows

        return job_rows(self.root, self._run(job_id), failed=failed)

    def report_sum(self, job_id: str) -> dict[str, Any]:
        """Return what an embedding's report adds up to; raises as :meth:`report_rows`."""
        from cluster.status import job_report

        return job_report(self.root, self._run(job_id))

    def _run(self, job_id: str) -> int:
        job = self.job(job_id)
        if job.kind != EMBED:
            raise NotFound(f"job {job_id} has no report of recordings: it is a job of kind {job.kind}")
        if job.run is None:
            raise NotFound(f"job {job_id} has no report yet: it is {job.state}, and has not planned")
        return job.run

    def _record(self, job_id: str) -> Record:
        record = Record(self.jobs / job_id)
        if not JOB_ID.fullmatch(job_id) or not record.job():
            raise NotFound(f"there is no job {job_id[:60]!r}; GET /v1/jobs lists them")
        return record

    def _seen(self, record: Record) -> Job:
        return seen_record(self.root, record)

    def _require_quiet(self) -> None:
        """Raise Conflict unless no embedding is at work, or waits."""
        busy = next(
            (r.job_id for r in records(self.jobs) if r.job().get("kind") == EMBED and r.state() not in ENDED), None
        )
        run = running_run(self.root)
        if busy or run:
            raise Conflict(
                f"job {busy or f'run-{run}'} is embedding into this store already; wait for its end, or cancel it",
                kind="busy",
            )

    def _submit(self, request: Request, by: str | None) -> Job:
        self.jobs.mkdir(parents=True, exist_ok=True)
        waiting = sum(record.state() == QUEUED for record in records(self.jobs)[-WAITING_MAX:])
        if waiting >= WAITING_MAX:
            raise Unavailable(f"{waiting:,} jobs wait for their turn already; cancel some, or wait", kind="overloaded")
        told = {"kind": request.kind, "title": request.title, "root": self.root, "request": request.values, "by": by}
        record = Record.create(self.jobs, told)
        self._tender.wake()
        return self._seen(record)

    def _source(self, job_id: str) -> LogSource | RunSource:
        if run := RUN_ID.fullmatch(job_id):
            return RunSource(require_run(self.root, int(run[1])))
        return LogSource(self._record(job_id))
