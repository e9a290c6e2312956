"""Long work: asked for, watched while it goes on, waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from sonotheque.client.base import Part, in_path
from sonotheque.client.faults import fault_of_kind, not_ours
from sonotheque.client.nouns import Job, JobEvent
from sonotheque.client.paging import Pages, Rows
from sonotheque.core.errors import SonothequeError, Unavailable

_QUIET_S: Final = 60.0  # the service says something every 15 s
_PAUSE_S: Final = 1.0
_PAUSE_MAX_S: Final = 15.0
AWAY_S: Final = 180.0
"""Seconds without any answer after which a watch gives up: a restart, the model loaded anew, is shorter."""
Told = Callable[[JobEvent], None]


class Jobs(Part):
    """Jobs of a service."""

    def list(self, *, limit: int | None = None) -> Pages[Job]:
        """All jobs, the newest first, runs of the command line among them."""
        return self._pages("/v1/jobs", {}, Job.of, limit)

    def sources(self) -> Rows[dict[str, Any]]:
        """Return the folders of recordings that may be embedded."""
        return Rows(self._data("/v1/jobs/sources"))

    def get(self, job_id: str) -> Job:
        """Return one job."""
        return Job.of(self._data(_path(job_id)))

    def submit(self, kind: str, **asked: Any) -> Job:
        """Ask for a job of any kind; see :meth:`embed`, :meth:`index` and :class:`sonotheque.client.probes.Probes`."""
        given = {key: value for key, value in asked.items() if value is not None}
        return Job.of(self._transport.post("/v1/jobs", {"kind": kind, **given})["data"])

    def embed(self, source: str, folder: str = "", **more: Any) -> Job:
        """Embed the recordings below one of the service's own folders; ``site, timezone, workers`` may be given."""
        return self.submit("embed", source=source, folder=folder, **more)

    def index(self, action: str = "update") -> Job:
        """Build the search index, or bring it up to date (``build``, ``update``)."""
        return self.submit("index", action=action)

    def cancel(self, job_id: str) -> Job:
        """Ask a job to end."""
        return Job.of(self._transport.post(f"{_path(job_id)}/cancel")["data"])

    def resume(self, job_id: str) -> Job:
        """Go on with an embedding that did not finish."""
        return Job.of(self._transport.post(f"{_path(job_id)}/resume")["data"])

    def report(self, job_id: str, *, failed: bool = False, limit: int = 500) -> dict[str, Any]:
        """Return what became of the recordings of an embedding."""
        return self._dict(f"{_path(job_id)}/report", {"failed": failed, "limit": limit})

    def save_report(self, job_id: str, target: str | Path, *, form: str = "csv", failed: bool = False) -> int:
        """Write the whole report to a file, as ``csv`` or ``xlsx``; return its bytes."""
        written = 0
        params = {"form": form, "failed": failed}
        with self._transport.stream("GET", f"{_path(job_id)}/report", params) as answer, open(target, "wb") as file:
            for piece in answer.iter_bytes():
                written += file.write(piece)
        return written

    def watch(self, job_id: str, *, away_s: float = AWAY_S) -> Iterator[JobEvent]:
        """Yield what happens to a job until it has ended; a connection that breaks is made again where it broke.

        Parameters
        ----------
        job_id : str
        away_s : float
            How long the service may be away at a time, in seconds: its job goes on meanwhile.

        Raises
        ------
        NotFound
            If there is no such job.
        Unavailable
            If the service gives no answer for longer than ``away_s``.
        """
        yield from self._watched(job_id, away_s)

    def _watched(self, job_id: str, away_s: float) -> Generator[JobEvent, None, Job]:
        """Yield a job's events; return it as it ended."""
        contact = _Contact(away_s)
        last: str | None = None
        while True:
            try:
                headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
                with self._transport.stream(
                    "GET", f"{_path(job_id)}/events", headers=headers, timeout_s=_QUIET_S
                ) as answer:
                    for event in events_of(self._lines(answer, contact)):
                        last = event.event_id or last
                        yield event
                        contact.made()  # the time that the caller took with it is no absence
                found = self.get(job_id)
                contact.made()
                if found.over:
                    return found
                pause = _PAUSE_S
            except Unavailable:
                pause = contact.pause_s()
                if pause <= 0:
                    raise
            time.sleep(pause)

    def _lines(self, answer: httpx.Response, contact: _Contact) -> Iterator[str]:
        kind = answer.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):  # a proxy's page: the service is away as well as ever
            raise not_ours(self._transport.url, answer.status_code, kind, "a stream of events")
        try:
            for line in answer.iter_lines():
                contact.made()
                yield line
        except (httpx.TransportError, httpx.StreamError) as error:
            raise Unavailable(f"the connection to {self._transport.url} was lost") from error

    def wait(self, job: Job | str, progress: Told | None = None, *, away_s: float = AWAY_S) -> Job:
        """Wait for a job's end.

        Parameters
        ----------
        job : Job or str
        progress : callable, optional
            Called with every :class:`JobEvent`.
        away_s : float
            How long the service may be away at a time, in seconds; a restart of it does not end a job.

        Returns
        -------
        Job

        Raises
        ------
        SonothequeError
            What ended a job that failed; or, Unavailable, that the service was away for longer.
        """
        events = self._watched(job.job_id if isinstance(job, Job) else job, away_s)
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                found: Job = end.value
                break
            if progress:
                progress(event)
        if found.state in ("failed", "interrupted"):
            raise self._fault(found)
        return found

    def _fault(self, job: Job) -> SonothequeError:
        told = job.error or {}
        return fault_of_kind(str(told.get("kind", "")), str(told.get("message") or f"job {job.job_id} was {job.state}"))


class _Contact:
    """When a service last answered, and how long to wait before it is asked again.

    Parameters
    ----------
    away_s : float
    """

    def __init__(self, away_s: float) -> None:
        self._away_s = away_s
        self.made()

    def made(self) -> None:
        """Note that the service has answered."""
        self._last = time.monotonic()
        self._next_s = _PAUSE_S

    def pause_s(self) -> float:
        """Return how long to wait now, longer each time; 0 if the service has been away for too long."""
        left = self._last + self._away_s - time.monotonic()
        pause, self._next_s = self._next_s, min(2 * self._next_s, _PAUSE_MAX_S)
        return max(0.0, min(pause, left))


def events_of(lines: Iterable[str]) -> Iterator[JobEvent]:
    """Yield the events of a text/event-stream; comments are passed over, and so is an event cut short at the end."""
    name, data = "message", list[str]()
    event_id: str | None = None
    for line in lines:
        if not line:
            if data:
                yield JobEvent(name, _value("\n".join(data)), event_id)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            event_id = value


def _value(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable(f"an event is not JSON of a Sonotheque service: {text[:100]}")
    return found


def _path(job_id: str) -> str:
    return f"/v1/jobs/{in_path(job_id, 'job id')}"
