"""What the service is, whether it lives, whether it is ready, and its measures."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, Request, Response

from search_api.annotations import default_annotator
from search_api.http.envelope import Answer, answer, failures
from search_api.http.guard import CONTENT_TYPE, Measures, caller_of
from search_api.http.routing import api_router, needs
from search_api.http.service import Service, ServiceDep
from search_api.http.wire.info import Bounds, Features, Health, Info, ModelFacts, Ready, StoreFacts, You
from search_api.overview import Overview, archive_name, archive_overview, model_facts
from sonotheque.core.version import VERSION
from store import Archive

router = APIRouter(tags=["service"])
_api = api_router("service")


@router.get("/healthz", response_model=Answer[Health], responses=failures(400, 403))
async def healthz() -> object:
    """Tell that the process is alive; looks at nothing."""
    return answer({"status": "alive"})


@router.get(
    "/readyz",
    response_model=Answer[Ready],
    responses={**failures(400, 403), 503: {"model": Answer[Ready], "description": "Not everything can be asked now"}},
)
async def readyz(service: ServiceDep, response: Response) -> object:
    """Tell whether everything can be asked: archive and index open, model loaded, not ending. 503 with reasons if not."""
    reasons = service.not_ready()
    scrubber = service.scrubber()
    if reasons:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return answer({"ready": not reasons, "reasons": [scrubber.clean(reason) for reason in reasons]})


@router.get(
    "/metrics",
    dependencies=[needs("admin")],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **failures(400, 401, 403, 429, 503)},
)
async def metrics(request: Request) -> Response:
    """Return measures in Prometheus's form."""
    measures: Measures = request.app.state.measures
    return Response(measures.exposition(), media_type=CONTENT_TYPE)


@_api.get("", response_model=Answer[Info])
async def info(request: Request, service: ServiceDep) -> object:
    """Tell what the service holds and offers, what you may do, and what its bounds are."""
    held, model, snapshot = await service.read(_held)
    caller = caller_of(request)
    settings, limits = service.settings, service.settings.limits
    found = Info(
        name="sonotheque",
        version=VERSION,
        store=StoreFacts(
            name=archive_name(settings.store),
            model=ModelFacts(**model),
            windows=held.windows,
            recordings=held.recordings,
            sites=held.sites,
            audio_s=held.audio_s,
            first=held.first,
            last=held.last,
        ),
        features=_features(service),
        you=You(
            name=caller.name if caller else "",
            scopes=sorted(caller.scopes) if caller else [],
            annotator=caller.name if caller and caller.key_id else default_annotator(),
        ),
        limits=Bounds(
            body_bytes=limits.body_bytes, decoded_s=limits.decoded_s, k_max=limits.k_max, clip_s=limits.clip_s
        ),
    )
    return answer(found, snapshot)


def _held(archive: Archive) -> tuple[Overview, dict[str, Any], int]:
    return archive_overview(archive), model_facts(archive), archive.snapshot.number


def _features(service: Service) -> Features:
    return Features(
        sql=service.sql is not None,
        annotate=os.access(service.settings.store, os.W_OK),
        jobs=service.board is not None,
        embed=service.sounds is not None,
        query_log=service.settings.log_share > 0,
        recordings_here=any(os.path.isdir(root) for root, _ in service.locator.roots),
    )


router.include_router(_api)
