"""Long work: asked for, watched, ended, reported."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal

from fastapi import Header, Path, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

from search_api.boards import Board
from search_api.boards.views import Job
from search_api.http.envelope import Answer, CursorParam, LimitParam, Page, answer, failures, page
from search_api.http.errors import Scrubber
from search_api.http.guard import caller_of, require_scope
from search_api.http.routing import api_router, needs
from search_api.http.service import Service, ServiceDep
from search_api.http.wire.jobs import ApplyAsk, EmbedAsk, JobAsk, JobJson, JobReport, SourceJson, TrainAsk
from sonotheque.core.errors import Invalid

router = api_router("jobs")
JobId = Annotated[str, Path(max_length=60, description="As the list of jobs has it")]
_SCOPES: Final = {"embed": require_scope("embed"), "annotate": require_scope("annotate")}
_MEDIA: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_STREAM: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_FOLDERS_MAX: Final = 500


@router.get("/jobs", response_model=Page[JobJson], responses=failures(409))
async def jobs(service: ServiceDep, request: Request, limit: LimitParam = 50, cursor: CursorParam = None) -> object:
    """List all jobs, the newest first: those of this service and the runs of the command line."""
    found = await service.run("read", service.board.list)
    start = 0
    if cursor is not None:
        places = [i for i, job in enumerate(found) if job.job_id == cursor]
        if not places:
            raise Invalid("the cursor is of no job that is listed: leave it out to begin at the newest")
        start = places[0] + 1
    rows = found[start : start + limit]
    following = rows[-1].job_id if rows and start + limit < len(found) else None
    return page([_told(request, job) for job in rows], following)


@router.get("/jobs/sources", response_model=Page[SourceJson])
async def job_sources(service: ServiceDep) -> object:
    """List the folders of recordings that may be embedded from."""
    return page(await service.run("read", _sources, service.board), None)


@router.post("/jobs", response_model=Answer[JobJson], status_code=202, responses=failures(404, 409, 413))
async def submit_job(service: ServiceDep, request: Request, ask: JobAsk) -> object:
    """Ask for long work: `embed` and `index` need the scope embed, `train` and `apply` the scope annotate."""
    await _SCOPES["annotate" if isinstance(ask, TrainAsk | ApplyAsk) else "embed"](request)
    job = await service.run("draw", _submit, service.board, ask, _name(request))
    return answer(_told(request, job))


@router.get("/jobs/{job_id}", response_model=Answer[JobJson], responses=failures(404))
async def job(service: ServiceDep, request: Request, job_id: JobId) -> object:
    """Return one job."""
    return answer(_told(request, await service.run("read", service.board.job, job_id)))


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **failures(404)},
)
async def job_events(
    service: ServiceDep,
    request: Request,
    job_id: JobId,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", max_length=40, description="Go on behind it")
    ] = None,
) -> Response:
    """Watch a job: events `state`, `progress` and `note`, until it has ended; a comment where nothing happens for 15 s."""
    await service.run("read", service.board.job, job_id)  # 404 before the stream begins
    after = int(last_event_id) if last_event_id and last_event_id.isascii() and last_event_id.isdigit() else 0
    return StreamingResponse(_stream(service, request, job_id, after), media_type="text/event-stream", headers=_STREAM)


@router.post(
    "/jobs/{job_id}/cancel",
    response_model=Answer[JobJson],
    responses=failures(404, 409),
    dependencies=[needs("admin")],
)
async def cancel_job(service: ServiceDep, request: Request, job_id: JobId) -> object:
    """Ask a job to end. What an embedding or an application committed stays; nothing half-made is left."""
    return answer(_told(request, await service.run("read", service.board.cancel, job_id)))


@router.post(
    "/jobs/{job_id}/resume",
    response_model=Answer[JobJson],
    status_code=202,
    responses=failures(404, 409),
    dependencies=[needs("embed")],
)
async def resume_job(service: ServiceDep, request: Request, job_id: JobId) -> object:
    """Go on with an embedding that did not finish: only what is missing is done."""
    board = service.board
    found = await service.run("read", lambda: board.resume(job_id, by=_name(request)))
    return answer(_told(request, found))


@router.get(
    "/jobs/{job_id}/report",
    response_model=Answer[JobReport],
    responses={
        200: {
            "description": "As JSON; or as a table, the whole of it",
            "content": {_MEDIA[form]: {"schema": {"type": "string", "format": "binary"}} for form in _MEDIA},
        },
        **failures(404),
    },
)
async def job_report(
    service: ServiceDep,
    request: Request,
    job_id: JobId,
    form: Annotated[
        Literal["json", "csv", "xlsx"], Query(description="json holds the first rows, csv and xlsx all")
    ] = "json",
    failed: Annotated[bool, Query(description="Only recordings that failed")] = False,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Rows of the JSON form")] = 500,
) -> object:
    """Return what became of every recording of an embedding."""
    scrubber: Scrubber = request.app.state.scrubber
    if form == "json":
        found = await service.run("read", _report, service.board, job_id, failed, limit)
        return answer(cleaned(scrubber, found))
    file = await service.run("read", _report_file, service.board, job_id, failed, form, scrubber)
    name = f"recordings-{job_id}.{form}"
    return FileResponse(file, media_type=_MEDIA[form], filename=name, background=BackgroundTask(_remove, file))


async def _stream(service: Service, request: Request, job_id: str, after: int) -> AsyncIterator[str]:
    scrubber: Scrubber = request.app.state.scrubber
    watching = service.board.followers.watch(job_id, after, over=lambda: service.draining)
    async with contextlib.aclosing(watching) as events:
        async for event in events:
            if event is None:
                yield ": still here\n\n"
            else:
                data = json.dumps(cleaned(scrubber, event.data), ensure_ascii=True)
                yield f"id: {event.id}\nevent: {event.name}\ndata: {data}\n\n"


def _submit(board: Board, ask: JobAsk, by: str | None) -> Job:
    values = ask.model_dump(exclude={"kind"})
    if isinstance(ask, EmbedAsk):
        return board.embed(by=by, **values)
    if isinstance(ask, TrainAsk):
        experiment = {**ask.experiment, **({"classes": ask.classes} if ask.classes else {})}
        return board.train(by=by, probe=ask.probe, experiment=experiment)
    if isinstance(ask, ApplyAsk):
        return board.apply(by=by, **values)
    return board.index(by=by, **values)


def _sources(board: Board) -> list[dict[str, Any]]:
    found = []
    for name, folder in sorted(board.ingest_roots.items()):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            inner = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and e.name.isprintable())
            found.append({"source": name, "folders": inner[:_FOLDERS_MAX]})
    return found


def _report(board: Board, job_id: str, failed: bool, limit: int) -> dict[str, Any]:
    rows = list(islice(board.report_rows(job_id, failed=failed), limit + 1))
    summary = {k: v for k, v in board.report_sum(job_id).items() if k not in ("store", "failures", "problems")}
    return {"job_id": job_id, "summary": summary, "rows": rows[:limit], "truncated": len(rows) > limit}


def _report_file(board: Board, job_id: str, failed: bool, form: str, scrubber: Scrubber) -> str:
    """Write the report to a file of its own, which is removed once it was sent."""
    from cluster.report import export_rows

    rows: Iterator[dict[str, Any]] = board.report_rows(job_id, failed=failed)
    handle, name = tempfile.mkstemp(suffix=f".{form}", prefix="sonotheque-report-")
    os.close(handle)
    try:
        export_rows(({**row, "reason": scrubber.clean(row["reason"])} for row in rows), FilePath(name))
    except BaseException:
        _remove(name)
        raise
    return name


def _remove(file: str) -> None:
    FilePath(file).unlink(missing_ok=True)


def _name(request: Request) -> str | None:
    caller = caller_of(request)
    return caller.name if caller else None


def _told(request: Request, found: Job) -> dict[str, Any]:
    """Return a job without anything of the server's own folders in it."""
    told = cleaned(request.app.state.scrubber, found.to_json())
    return dict(told)


def cleaned(scrubber: Scrubber, value: Any) -> Any:
    """Return a value whose texts name no folder of the server."""
    if isinstance(value, str):
        return scrubber.clean(value)
    if isinstance(value, dict):
        return {key: cleaned(scrubber, inner) for key, inner in value.items()}
    return [cleaned(scrubber, inner) for inner in value] if isinstance(value, list | tuple) else value
