"""Judgements: listed, added, undone, taken out as files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.responses import StreamingResponse

from search_api.annotations import annotation_labels, default_annotator, undo_annotations
from search_api.browsing.judged import Only, export_judged, list_judged
from search_api.http.asking import written
from search_api.http.envelope import Answer, CursorParam, LimitParam, Page, answer, failures, page
from search_api.http.guard import caller_of
from search_api.http.routing import api_router, needs
from search_api.http.service import ServiceDep
from search_api.http.wire.annotations import Judged, KeptJudgements, LabelCount, NewJudgements, Undo, Undone, Verdict
from search_api.judging import Judgement, add_judgements

router = api_router("annotations")
_FILE = {"schema": {"type": "string", "format": "binary"}}
_ROWS = {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Judged"}}}
_FILES = {
    "description": "A file",
    "content": {"text/csv": _FILE, "application/zip": _FILE, "application/json": _ROWS},
}


def _only(
    label: Annotated[str | None, Query(max_length=500, description="Only this label")] = None,
    annotator: Annotated[str | None, Query(max_length=500, description="Only this annotator")] = None,
    recording: Annotated[
        str | None, Query(max_length=2000, description="Only this stored path; * and ? may be used")
    ] = None,
    judgement: Annotated[Verdict | None, Query(description="Only these")] = None,
) -> Only:
    return Only(label, annotator, recording, judgement)


def annotator_of(request: Request, named: str | None) -> str:
    """Return who judges: who is named, else the key's name, else the login name of whoever runs the service."""
    caller = caller_of(request)
    return named or (caller.name if caller and caller.key_id else default_annotator())


def signed(request: Request, provenance: str) -> str:
    """Return a provenance with the key that sent it, so that a name somebody gave is not taken for proof."""
    caller = caller_of(request)
    return f"{provenance} (key {caller.name})" if caller and caller.key_id else provenance


OnlyDep = Annotated[Only, Depends(_only)]


@router.get("/annotations", response_model=Page[Judged], responses=failures(404, 409))
async def list_annotations(
    service: ServiceDep, only: OnlyDep, limit: LimitParam = 50, cursor: CursorParam = None
) -> Any:
    """Judgements that count, newest first. It takes parameters of its own, not the filter of windows."""
    found = await service.run("read", list_judged, service.settings.store, only, limit=limit, cursor=cursor)
    return page(found.rows, found.next)


@router.get("/annotations/labels", response_model=Answer[list[LabelCount]])
async def list_annotation_labels(service: ServiceDep) -> Any:
    """Labels that annotators used, with how often."""
    return answer(await service.run("read", annotation_labels, service.settings.store))


@router.get("/annotations/export", response_class=StreamingResponse, responses={200: _FILES, **failures(404)})
async def export_annotations(
    service: ServiceDep,
    only: OnlyDep,
    form: Annotated[Literal["csv", "raven", "audacity", "json"], Query(description="Of which program")] = "csv",
) -> StreamingResponse:
    """Judgements as a file, sent while it is made; a ZIP file of one table a recording for Raven and Audacity. It takes parameters of its
    own, not the filter of windows.
    """
    found = await service.read(export_judged, form, only)
    headers = {"Content-Disposition": f'attachment; filename="{found.name}"', "X-Annotations": str(found.annotations)}
    return StreamingResponse(found.chunks, media_type=found.media_type, headers=headers)


@router.post(
    "/annotations",
    status_code=201,
    response_model=Answer[KeptJudgements],
    responses=failures(404, 409, 413),
    dependencies=[needs("annotate")],
)
async def add_annotations(service: ServiceDep, request: Request, body: NewJudgements) -> Any:
    """Add judgements, all or none; on disk before the answer is sent, and what was said before is not doubled."""
    given = [Judgement(**one.model_dump()) for one in body.annotations]
    who, whence = annotator_of(request, body.annotator), signed(request, body.provenance or "over HTTP")
    found = await written(service, add_judgements, given, annotator=who, provenance=whence)
    return answer(found)


@router.post(
    "/annotations/undo",
    response_model=Answer[Undone],
    responses=failures(404, 409, 413),
    dependencies=[needs("annotate")],
)
async def undo_annotation(service: ServiceDep, request: Request, body: Undo) -> Any:
    """Undo a batch, one judgement, or the annotator's newest batch; an undo can be undone."""
    who = annotator_of(request, body.annotator)
    found = await service.run(
        "write",
        undo_annotations,
        service.settings.store,
        batch=body.batch,
        annotation_id=body.annotation_id,
        last=body.last,
        annotator=who,
        of_annotator=who if body.last else None,
    )
    return answer(found)
