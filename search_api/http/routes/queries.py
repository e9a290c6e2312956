"""Searches that were kept for review."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request

from search_api.browsing.cursors import Cursor, decode, list_digest
from search_api.http.envelope import Answer, CursorParam, LimitParam, Page, answer, failures, page
from search_api.http.routes.annotations import annotator_of
from search_api.http.routing import api_router
from search_api.http.service import ServiceDep
from search_api.http.wire.queries import KeptQuery, KeptQueryDetail, NewReview

router = api_router("queries", scope="admin")
Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="As `logged` of the search had it")]


@router.get("/queries", response_model=Page[KeptQuery], responses=failures(409))
async def list_queries(
    service: ServiceDep,
    reviewed: Annotated[bool | None, Query(description="Only reviewed ones, or only others")] = None,
    limit: LimitParam = 50,
    cursor: CursorParam = None,
) -> Any:
    """Searches that were kept, newest first; none unless the service was started with a share of them to keep."""
    of = list_digest("queries", reviewed)
    before = None if cursor is None else decode(cursor, of, "", [int])[0]
    found = await service.run("read", service.query_log.page, limit=limit, before=before, reviewed=reviewed)
    return page(found.rows, None if found.next is None else Cursor(of, "", (found.next,)).encode())


@router.get("/queries/{token}", response_model=Answer[KeptQueryDetail], responses=failures(404))
async def get_query(service: ServiceDep, token: Token) -> Any:
    """One kept search with its hits and all reviews of it."""
    return answer(await service.run("read", service.query_log.get, token))


@router.post(
    "/queries/{token}/review", status_code=201, response_model=Answer[KeptQueryDetail], responses=failures(404, 413)
)
async def review_query(service: ServiceDep, request: Request, token: Token, body: NewReview) -> Any:
    """Say what a kept search's answer was worth; the newest review counts."""
    who = annotator_of(request, body.reviewer)
    return answer(
        await service.run("write", service.query_log.review, token, body.verdict, reviewer=who, note=body.note)
    )
