"""What is singing here? Model and probes on a sound, a kept clip, or windows of the archive; and the vectors themselves."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response

from search_api.http.envelope import Answer, answer, failures
from search_api.http.hearing import hear_clip, singing_in, times_of
from search_api.http.routing import api_router, needs
from search_api.http.service import Service, ServiceDep
from search_api.http.settings import Limits, ServiceSettings
from search_api.http.wire.identify import (
    Classified,
    ClassifyRequest,
    Embeddings,
    Identified,
    IdentifyRequest,
    ProbeNames,
    TopK,
)
from search_api.http.wire.sound import FromS, NameParam, Sent, ToS, parsed, receive, sound_body, told
from search_api.uploads import Heard
from search_api.uploads.identifying import classify, classify_windows, identify_window

_ERRORS = failures(404, 408, 409, 413, 415)
_NPY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
VersionParam = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="The one in use by default")]
ProbeName = Annotated[str, Path(min_length=1, max_length=100, description="Name of a probe")]
FormParam = Annotated[Literal["json", "npy"], Query(description="npy: a NumPy file of float32, a row a window")]


def make_router(settings: ServiceSettings) -> APIRouter:
    """Return the routes; an upload may have so many bytes as the settings say."""
    router = api_router("search by sound")
    _add_identify(router, settings.limits)
    _add_embed(router, settings.limits)
    _add_classify(router, settings.limits)
    return router


def _add_identify(router: APIRouter, limits: Limits) -> None:
    @router.post(
        "/identify",
        response_model=Answer[Identified],
        responses=_ERRORS,
        openapi_extra=sound_body(IdentifyRequest),
        max_body_size=limits.body_bytes,
    )
    async def identify(
        request: Request,
        service: ServiceDep,
        top_k: TopK = 5,
        probes: ProbeNames = ["all"],  # noqa: B006 - FastAPI copies defaults
        name: NameParam = None,
        from_s: FromS = None,
        to_s: ToS = None,
    ) -> object:
        """Tell what is singing: the model's classes and the scores of the probes in use, window by window and over all."""
        sent = await receive(request, limits)
        asked = None if sent.json is None else parsed(IdentifyRequest, sent.json)
        if asked is not None:
            asked.require_one()
            asked.require_no_range(request.query_params)
        if asked is not None and asked.window is not None:
            found, notes, snapshot = await service.read(
                identify_window, asked.window, service.sounds.probes, probes, top_k
            )
            return answer(found, snapshot, told(request, notes))
        await service.run(
            "read", service.sounds.probes.in_use, probes
        )  # a wrong name is told before the sound is heard
        heard = await _heard(service, sent, asked, name, from_s, to_s)
        found, notes = await singing_in(service, heard, probes, top_k)
        return answer(found, notes=told(request, [*heard.notes, *notes]), times_ms=times_of(heard))


def _add_embed(router: APIRouter, limits: Limits) -> None:
    @router.post(
        "/embed",
        response_model=Answer[Embeddings],
        responses={**failures(408, 413, 415), **_NPY},
        openapi_extra=sound_body(),
        max_body_size=limits.body_bytes,
        dependencies=[needs("embed")],
    )
    async def embed(
        request: Request,
        service: ServiceDep,
        form: FormParam = "json",
        name: NameParam = None,
        from_s: FromS = None,
        to_s: ToS = None,
    ) -> Any:
        """Return a sound's vectors, as the archive's own are made."""
        sent = await receive(request, limits, json=False)
        heard = await _heard(service, sent, None, name, from_s, to_s)
        if form == "npy":
            file = io.BytesIO()
            np.save(file, heard.embeddings, allow_pickle=False)
            return Response(file.getvalue(), media_type="application/octet-stream")
        found = {
            "model": service.config.model.to_json(),
            "windows": [asdict(window) for window in heard.windows],
            "embeddings": heard.embeddings.tolist(),
        }
        return answer(found, notes=told(request, heard.notes), times_ms=times_of(heard))


def _add_classify(router: APIRouter, limits: Limits) -> None:
    @router.post(
        "/probes/{name}/classify",
        response_model=Answer[Classified],
        responses=_ERRORS,
        openapi_extra=sound_body(ClassifyRequest),
        max_body_size=limits.body_bytes,
    )
    async def classify_sound(
        request: Request,
        service: ServiceDep,
        name: ProbeName,
        version: VersionParam = None,
        from_s: FromS = None,
        to_s: ToS = None,
    ) -> object:
        """Tell what a probe says of a sound, or of windows of the archive."""
        sent = await receive(request, limits)
        asked = None if sent.json is None else parsed(ClassifyRequest, sent.json)
        if asked is not None:
            asked.require_one()
            asked.require_no_range(request.query_params)
        probe = await service.run("read", service.sounds.probes.get, name, version)
        if asked is not None and asked.windows is not None:
            found, snapshot = await service.read(classify_windows, asked.windows, probe)
            return answer(found, snapshot)
        heard = await _heard(service, sent, asked, None, from_s, to_s)
        found = await service.run("read", classify, probe, heard.windows, heard.embeddings)
        return answer(found, notes=told(request, heard.notes), times_ms=times_of(heard))


async def _heard(
    service: Service,
    sent: Sent,
    asked: IdentifyRequest | ClassifyRequest | None,
    name: str | None,
    from_s: float | None,
    to_s: float | None,
) -> Heard:
    if asked is not None:
        return await hear_clip(service, asked.clip or "", asked.from_s, asked.to_s)
    return await service.sounds.hear(sent.data or b"", name or sent.name or "clip", from_s, to_s)
