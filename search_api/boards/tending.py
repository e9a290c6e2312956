"""Looking after jobs: starts what is queued when there is room, and takes down the end of what has gone."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Final

from search_api.boards.listing import keep_runs
from search_api.boards.processes import begin, end_hard, end_softly
from search_api.boards.records import CANCELLED, ENDED, INTERRUPTED, QUEUED, RUNNING, TAKEN, Record, records
from search_api.boards.requests import EMBED
from search_api.boards.store_runs import run_of, stop_run
from sonotheque.core.errors import SonothequeError

_LOG = logging.getLogger("sonotheque.service")
KEPT: Final = 1000  # jobs whose folders stay
_EVERY_S: Final = 0.5
_GRACE_S: Final = 10.0
_AFRESH: Final = 120  # looks: another service that shares the folder may have resumed a job


class Tender:
    """A thread that looks after the jobs of a folder, in one service of those that share it.

    Parameters
    ----------
    root : str
        The store.
    jobs : Path
    slots : int
        Jobs other than embeddings at once.
    """

    def __init__(self, root: str, jobs: Path, slots: int) -> None:
        self._root, self._jobs, self._slots = root, jobs, slots
        self._children: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self._ended: set[str] = set()
        self._looks = 0
        self._wake, self._over = threading.Event(), threading.Event()
        self._turn = threading.Lock()
        self._mine: IO[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._jobs.mkdir(parents=True, exist_ok=True)
        self._over.clear()
        self._thread = threading.Thread(target=self._go, name="sonotheque-jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; processes of jobs go on."""
        self._over.set()
        self._wake.set()
        if self._thread:
            self._thread.join(timeout=10)
        with self._turn:
            if self._mine:
                self._mine.close()
                self._mine = None
            self._children.clear()

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def again(self, job_id: str) -> None:
        """Look again after a job that had ended."""
        with self._turn:
            self._ended.discard(job_id)
        self.wake()

    def stop(self, record: Record) -> None:
        """Ask a job to end; see :meth:`search_api.boards.board.Board.cancel`."""
        attempt = record.attempt()
        if not record.put(f"cancel-{attempt}.json", {"at_s": time.time()}, once=True):
            return
        mark = record.mark(attempt)
        if mark is None:
            # Not begun: unless a process is on its way, which will find that it was asked to stop, it ends here.
            with record.held() as free:
                if free and record.mark(attempt) is None:
                    record.end(attempt, CANCELLED)
                    return
            mark = record.mark(attempt)
        if mark is not None:
            if record.job()["kind"] != EMBED:
                end_softly(mark, group=True)
            elif (run := run_of(self._root, mark)) is not None:
                stop_run(self._root, run)
            else:
                end_softly(mark, group=False)  # it has not planned yet
        self.wake()

    def look(self) -> None:
        """Look once at every job that has not ended."""
        with self._turn:
            if not self._has_the_say():
                return
            self._looks += 1
            if self._looks % _AFRESH == 0:
                self._ended.clear()
                self._forget_old()
            busy, embedding, waiting = 0, False, []
            for record in records(self._jobs):
                if record.job_id in self._ended or not (job := record.job()):
                    continue
                attempt = int(job.get("attempt", 1))
                state = self._looked_at(record, attempt)
                is_embed = job["kind"] == EMBED
                if state in ENDED:
                    self._ended.add(record.job_id)
                elif state == QUEUED and (record.job_id, attempt) not in self._children:
                    waiting.append((record, attempt, is_embed))
                elif is_embed:
                    embedding = True
                else:
                    busy += 1
            for record, attempt, is_embed in waiting:
                if embedding if is_embed else busy >= self._slots:
                    continue
                self._begin(record, attempt)
                embedding, busy = embedding or is_embed, busy + (not is_embed)

    def _go(self) -> None:
        while not self._over.is_set():
            try:
                self.look()
            except (SonothequeError, OSError) as error:  # a full disk, say: looked at again
                _LOG.warning("the jobs cannot be looked after: %s", error)
            self._wake.wait(_EVERY_S)
            self._wake.clear()

    def _has_the_say(self) -> bool:
        """Hold, or take, the right to start jobs; the kernel takes it from a service that dies."""
        if self._mine is None:
            handle = (self._jobs / ".lock").open("ab")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                handle.close()
                return False
            self._mine = handle
        return True

    def _looked_at(self, record: Record, attempt: int) -> str:
        """Return a job's state, having taken down the end of one that has gone."""
        child = self._children.get((record.job_id, attempt))
        left = None if child is None else child.poll()  # a child that has ended is let go, too
        state = record.state()
        if left is not None:
            self._children.pop((record.job_id, attempt), None)
            if state == QUEUED and left != TAKEN:
                record.end(attempt, CANCELLED if record.asked_to_stop(attempt) else INTERRUPTED)
                return record.state()
        if state in (CANCELLED, INTERRUPTED):
            is_embed = record.job()["kind"] == EMBED
            record.end(attempt, state, run=run_of(self._root, record.mark(attempt)) if is_embed else None)
        elif state == RUNNING:
            self._hurry(record, attempt)
        return state

    def _hurry(self, record: Record, attempt: int) -> None:
        """End by force what was asked to end and did not. An embedding commits the parts it has begun, and has its time."""
        asked = record.asked_to_stop(attempt)
        if asked and record.job()["kind"] != EMBED and time.time() - float(asked.get("at_s", 0.0)) > _GRACE_S:
            mark = record.mark(attempt)
            if mark is not None:
                end_hard(mark)

    def _forget_old(self) -> None:
        """Remove the oldest folders of jobs that have ended, so that there are not more and more of them."""
        found = records(self._jobs)
        going = [record for record in found[: max(0, len(found) - KEPT)] if record.state() in ENDED]
        keep_runs(self._root, self._jobs, going)
        for record in going:
            shutil.rmtree(record.folder, ignore_errors=True)

    def _begin(self, record: Record, attempt: int) -> None:
        try:
            self._children[record.job_id, attempt] = begin(record.folder, record.folder / "log.txt")
        except OSError as error:
            message = f"no process can be made for it: {error.strerror or error}"
            with contextlib.suppress(SonothequeError):
                record.end(attempt, "failed", error={"kind": "unavailable", "message": message})
