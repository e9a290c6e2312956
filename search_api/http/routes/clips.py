"""Clips: uploaded once, searched and looked at often."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from search_api.http.envelope import Answer, answer, failures
from search_api.http.routing import api_router
from search_api.http.service import ServiceDep
from search_api.http.settings import ServiceSettings
from search_api.http.wire.sound import ClipFacts, NameParam, receive, sound_body, told
from search_api.uploads import printable


def make_router(settings: ServiceSettings) -> APIRouter:
    """Return the routes; a clip's body may have so many bytes as the settings say."""
    router = api_router("search by sound")

    @router.post(
        "/clips",
        response_model=Answer[ClipFacts],
        status_code=201,
        responses=failures(408, 413, 415),
        openapi_extra=sound_body(),
        max_body_size=settings.limits.body_bytes,
    )
    async def keep_clip(request: Request, service: ServiceDep, name: NameParam = None) -> object:
        """Keep a sound for some days, to search and look with; it is decoded to see that it can be."""
        sent = await receive(request, settings.limits, json=False)
        data, called = sent.data or b"", printable(name or sent.name or "clip")
        decoded = await service.sounds.pool.decode(data, called)
        facts = {
            "duration_s": round(decoded.duration_s, 6),
            "sample_rate_hz": decoded.sample_rate_hz,
            "channels": decoded.channels,
            "windows": len(decoded.windows),
        }
        clip = await service.run("decode", service.clips.keep, data, called, facts)
        return answer(clip.to_json(), notes=told(request, decoded.notes))

    @router.get("/clips/{clip_id}", response_model=Answer[ClipFacts], responses=failures(404))
    async def clip_facts(
        clip_id: Annotated[str, Path(max_length=100, description="As the upload answered")], service: ServiceDep
    ) -> object:
        """Tell what a kept clip is."""
        clip = await service.run("decode", service.clips.get, clip_id)
        return answer(clip.to_json())

    return router
