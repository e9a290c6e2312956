"""Long work: asked for, watched while it goes on, waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sonotheque.client.base import Part
from sonotheque.client.faults import fault_of_kind
from sonotheque.client.nouns import Job, JobEvent
from sonotheque.client.paging import Pages, Rows
from sonotheque.core.errors import NotFound, SonothequeError, Unavailable

_QUIET_S: Final = 60.0  # the service says something every 15 s
_LOST_MAX: Final = 5
_PAUSE_S: Final = 1.0
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

    def watch(self, job_id: str) -> Iterator[JobEvent]:
        """Yield what happens to a job until it has ended; a connection that breaks is made again where it broke.

        Raises
        ------
        NotFound
            If there is no such job.
        Unavailable
            If the service is away for long.
        """
        last: str | None = None
        lost = 0
        while True:
            began = time.monotonic()
            try:
                headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
                with self._transport.stream(
                    "GET", f"{_path(job_id)}/events", headers=headers, timeout_s=_QUIET_S
                ) as answer:
                    for event in events_of(_lines(answer.iter_lines(), self._transport.url)):
                        last, lost = event.event_id or last, 0
                        yield event
                if self.get(job_id).over:
                    return
            except NotFound:
                raise
            except Unavailable:
                lost += 1
                if lost > _LOST_MAX:
                    raise
            if time.monotonic() - began < _PAUSE_S:
                time.sleep(_PAUSE_S)

    def wait(self, job: Job | str, progress: Told | None = None) -> Job:
        """Wait for a job's end.

        Parameters
        ----------
        job : Job or str
        progress : callable, optional
            Called with every :class:`JobEvent`.

        Returns
        -------
        Job

        Raises
        ------
        SonothequeError
            What ended a job that failed.
        """
        job_id = job.job_id if isinstance(job, Job) else job
        for event in self.watch(job_id):
            if progress:
                progress(event)
        found = self.get(job_id)
        if found.state in ("failed", "interrupted"):
            raise self._fault(found)
        return found

    def _fault(self, job: Job) -> SonothequeError:
        told = job.error or {}
        return fault_of_kind(str(told.get("kind", "")), str(told.get("message") or f"job {job.job_id} was {job.state}"))


def events_of(lines: Iterable[str]) -> Iterator[JobEvent]:
    """Yield the events of a text/event-stream; comments are passed over, and so is an event cut short at the end."""
    name, data = "message", list[str]()
    event_id: str | None = None
    for line in lines:
        if not line:
            if data:
                yield JobEvent(name, json.loads("\n".join(data)), event_id)
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


def _lines(lines: Iterator[str], url: str) -> Iterator[str]:
    import httpx

    try:
        yield from lines
    except (httpx.TransportError, httpx.StreamError) as error:
        raise Unavailable(f"the connection to {url} was lost") from error


def _path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"
