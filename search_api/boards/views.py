"""A job as it is told to people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from search_api.boards.records import CANCELLED, ENDED, FAILED, INTERRUPTED, QUEUED, RUNNING, Record
from search_api.boards.requests import EMBED

_PROGRESS: Final = ("stage", "done", "total", "eta_s", "windows", "audio_s", "audio_total_s", "x_realtime", "at")


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    Attributes
    ----------
    job_id : str
        ``run-N`` for a run that the command line started.
    kind : str
        ``embed``, ``train``, ``apply`` or ``index``.
    state : str
        ``queued``, ``running``, ``finished``, ``failed``, ``cancelled`` or ``interrupted``: its process has gone without a word.
    title : str
    created, started, ended : str or None
        ISO 8601, UTC.
    attempt : int
        How often it was begun.
    by : str or None
        Who asked for it.
    stopping : bool
        Whether it was asked to end and has not ended yet.
    progress : dict or None
        ``stage, done, total, eta_s``; of an embedding also ``windows, audio_s, audio_total_s, x_realtime``.
    result : dict or None
        What came of it.
    error : dict or None
        ``kind`` and ``message``.
    run : int or None
        Number of the store's own job folder, of an embedding.
    can_cancel, can_resume, has_report : bool
    """

    job_id: str
    kind: str
    state: str
    title: str
    created: str
    started: str | None = None
    ended: str | None = None
    attempt: int = 1
    by: str | None = None
    stopping: bool = False
    progress: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    run: int | None = None
    can_cancel: bool = False
    can_resume: bool = False
    has_report: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def seen(record: Record, run: int | None) -> Job:
    """Return a job of the board.

    Parameters
    ----------
    record : Record
    run : int or None
        Number of the store's job folder that its attempt wrote, of an embedding.
    """
    job = record.job()
    attempt = int(job.get("attempt", 1))
    state = record.state()
    end = record.read(f"end-{attempt}.json")
    result = end.get("result")
    asked = bool(record.asked_to_stop(attempt))
    error = end.get("error")
    if state == INTERRUPTED and error is None:
        error = {"kind": "unavailable", "message": _gone(str(job["kind"]))}
    return Job(
        record.job_id,
        str(job["kind"]),
        state,
        str(job["title"]),
        str(job["created"]),
        record.read(f"process-{attempt}.json").get("started"),
        end.get("ended"),
        attempt,
        job.get("by"),
        asked and state not in ENDED,
        _progress(record) if state != QUEUED else None,
        result,
        error,
        run,
        state in (QUEUED, RUNNING) and not asked,
        can_resume(str(job["kind"]), state),
        run is not None,
    )


def can_resume(kind: str, state: str) -> bool:
    """Tell whether a job can go on where it stopped: an embedding can, all else is simply asked for again."""
    return kind == EMBED and state in (INTERRUPTED, CANCELLED, FAILED)


def _gone(kind: str) -> str:
    again = "resume it: what was committed stays" if kind == EMBED else "ask for it again; nothing half-made was kept"
    return f"the job's process has gone without a word (the machine was started anew, or it was killed): {again}"


def _progress(record: Record) -> dict[str, Any] | None:
    told = record.last("progress")
    return None if told is None else {key: told[key] for key in _PROGRESS if key in told}
