"""Feedback of listeners."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from search_api.feedback import FeedbackSource, give_feedback
from search_api.http.asking import written
from search_api.http.envelope import Answer, answer, failures
from search_api.http.routes.annotations import annotator_of, signed
from search_api.http.routing import api_router
from search_api.http.service import ServiceDep
from search_api.http.wire.annotations import Feedback, KeptJudgements

router = api_router("feedback", scope="annotate")


@router.post("/feedback", status_code=201, response_model=Answer[KeptJudgements], responses=failures(404, 409, 413))
async def post_feedback(service: ServiceDep, request: Request, body: Feedback) -> Any:
    """Say whether an answer was right: it becomes a judgement whose provenance names the answer; on disk before this is answered."""
    made = body.source
    source = FeedbackSource(made.kind, made.name, None if made.version is None else str(made.version), made.score)
    found = await written(
        service,
        give_feedback,
        body.window_id,
        body.label,
        body.verdict,
        source,
        provenance=signed(request, source.provenance),
        listener=annotator_of(request, body.listener),
        comment=body.comment,
    )
    return answer(found)
