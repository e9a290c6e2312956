"""A job's folder: what was asked, who works on it, what was told on the way, how it ended.

::

    <jobs>/<job id>/job.json            what was asked for; replaced at once when the job is tried again
                    process-<n>.json    who works on it, of attempt n
                    cancel-<n>.json     somebody asked it to stop
                    end-<n>.json        how it ended; the first that is written counts
                    events.jsonl        states and progress, one line each
                    lock                held by the worker while it lives
                    log.txt             what its process wrote

The state is never written down as such: it follows from these files and from whether the process lives, so that no crash can leave a
wrong one behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from search_api.boards.processes import ProcessMark
from store.fsops import store_errors

QUEUED, RUNNING, FINISHED = "queued", "running", "finished"
FAILED, CANCELLED, INTERRUPTED = "failed", "cancelled", "interrupted"
ENDED: Final = frozenset({FINISHED, FAILED, CANCELLED, INTERRUPTED})
TAKEN: Final = 75  # a worker's exit code: another process works, or worked, on the job
JOB_ID: Final = re.compile(r"\d{8}T\d{12}-[0-9a-f]{6}")
_EVENT_BYTES_MAX: Final = 4000
_TAIL_BYTES: Final = 16_384


def new_job_id() -> str:
    """Return an id; ids sort by when they were made."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"


def now_text() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Record:
    """One job's folder.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

    @classmethod
    def create(cls, jobs: Path, told: dict[str, Any]) -> Record:
        """Make a job's folder with what was asked for; it is there whole or not at all.

        Parameters
        ----------
        jobs : Path
            The folder of all jobs.
        told : dict
            ``kind``, ``title``, ``root`` (the store), ``request``, ``by``.

        Raises
        ------
        Unavailable
            Disk full or read-only.
        """
        job_id = new_job_id()
        temporary = cls(jobs / f".new-{job_id}")
        with store_errors(str(jobs)):
            temporary.folder.mkdir(parents=True)
            temporary.put("job.json", {"job_id": job_id, **told, "created": now_text(), "attempt": 1})
            temporary.event("state", state=QUEUED)
            temporary.folder.rename(jobs / job_id)
        return cls(jobs / job_id)

    @property
    def job_id(self) -> str:
        """Its id."""
        return self.folder.name

    def job(self) -> dict[str, Any]:
        """Return what was asked for; empty if it cannot be read."""
        return self.read("job.json")

    def attempt(self) -> int:
        """Return the number of the attempt that counts."""
        return int(self.job().get("attempt", 1))

    def put(self, name: str, value: dict[str, Any], *, once: bool = False) -> bool:
        """Write a small file at once: a reader sees all of it or none.

        Parameters
        ----------
        name : str
        value : dict
        once : bool
            Leave a file that is there as it is.

        Returns
        -------
        bool
            Whether it was written.
        """
        temporary = self.folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        with store_errors(str(self.folder)):
            try:
                with temporary.open("w", encoding="utf-8") as handle:
                    json.dump(value, handle, ensure_ascii=True)
                    handle.flush()
                    os.fsync(handle.fileno())
                if not once:
                    temporary.replace(self.folder / name)
                    return True
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, self.folder / name)
                    return True
                return False
            finally:
                temporary.unlink(missing_ok=True)

    def read(self, name: str) -> dict[str, Any]:
        """Return a file's object; empty if it is not there or cannot be read."""
        try:
            value = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def event(self, name: str, **facts: Any) -> None:
        """Append a line to ``events.jsonl``: one write of less than 4 KB, so that lines of two processes do not mix."""
        told = {"event": name, "at": now_text(), **facts}
        while len(line := json.dumps(told, ensure_ascii=True)) > _EVENT_BYTES_MAX:
            longest = max(told, key=lambda key: len(str(told[key])))
            told[longest] = str(told[longest])[: len(str(told[longest])) // 2]
        with store_errors(str(self.folder)), (self.folder / "events.jsonl").open("ab") as handle:
            handle.write(line.encode("ascii") + b"\n")

    def last(self, name: str) -> dict[str, Any] | None:
        """Return the last event of a name, if it is among the last ones."""
        try:
            with (self.folder / "events.jsonl").open("rb") as handle:
                size = handle.seek(0, os.SEEK_END)
                handle.seek(max(0, size - _TAIL_BYTES))
                lines = handle.read().split(b"\n")[: -1 if size else None]
        except OSError:
            return None
        for line in reversed(lines):
            with contextlib.suppress(ValueError):  # the first one may be cut
                told = json.loads(line)
                if isinstance(told, dict) and told.get("event") == name:
                    return told
        return None

    def mark(self, attempt: int) -> ProcessMark | None:
        """Return who works, or worked, on an attempt."""
        return ProcessMark.from_json(self.read(f"process-{attempt}.json").get("mark") or {})

    def asked_to_stop(self, attempt: int) -> dict[str, Any]:
        """Return when somebody asked for the end; empty if nobody did."""
        return self.read(f"cancel-{attempt}.json")

    def state(self) -> str:
        """Return one of the states. A worker that has gone without a word is ``interrupted``, or ``cancelled`` if that was asked for."""
        attempt = self.attempt()
        if told := self.read(f"end-{attempt}.json"):
            return str(told["state"])
        mark = self.mark(attempt)
        if mark is None:
            return QUEUED
        if mark.is_alive:
            return RUNNING
        told = self.read(f"end-{attempt}.json")  # it may have been written between the two looks
        if told:
            return str(told["state"])
        return CANCELLED if self.asked_to_stop(attempt) else INTERRUPTED

    def began(self, attempt: int, mark: ProcessMark) -> None:
        """Take down that a process works on it."""
        self.put(f"process-{attempt}.json", {"mark": mark.to_json(), "started": now_text()})
        self.event("state", state=RUNNING)

    def end(
        self,
        attempt: int,
        state: str,
        *,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        run: int | None = None,
    ) -> bool:
        """Take down how it ended, and the number of the store's own job folder, of an embedding; False if that was told before."""
        told = {"state": state, "ended": now_text(), "result": result, "error": error, "run": run}
        if not self.put(f"end-{attempt}.json", told, once=True):
            return False
        self.event("state", state=state)
        return True

    @contextlib.contextmanager
    def held(self, *, patience_s: float = 0.0) -> Iterator[bool]:
        """Hold the right to work on it, and yield whether it was to be had; the kernel gives it back when the process dies."""
        with store_errors(str(self.folder)):
            handle = (self.folder / "lock").open("ab")
        with handle:
            until = time.monotonic() + patience_s
            while not (taken := _locked(handle)) and time.monotonic() < until:
                time.sleep(0.02)
            yield taken


def _locked(handle: IO[bytes]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def records(jobs: Path) -> list[Record]:
    """Return the jobs of a folder, oldest first."""
    try:
        names = sorted(p.name for p in jobs.iterdir() if JOB_ID.fullmatch(p.name))
    except FileNotFoundError:
        return []
    return [Record(jobs / name) for name in names]
