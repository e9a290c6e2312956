"""Search by sound: a clip, one of the archive's own windows, or vectors."""

from __future__ import annotations

import logging
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from search_api.browsing.identity import parse_window_id
from search_api.http.envelope import Answer, answer, failures
from search_api.http.hearing import hear_clip, singing_in, times_of
from search_api.http.routing import api_router
from search_api.http.service import Service, ServiceDep
from search_api.http.settings import ServiceSettings
from search_api.http.wire.search import OptionsDep, SearchFound, SearchRequest, search_options
from search_api.http.wire.sound import FromS, NameParam, ToS, parsed, receive, sound_body, told
from search_api.queries import Query as SoundQuery
from search_api.queries import window_query
from search_api.search import SearchOptions
from search_api.uploads import Heard
from search_api.uploads.finding import Found, find, names_used, query_of_vectors, require_names
from sonotheque.core.errors import SonothequeError
from store import Archive

_LOG = logging.getLogger("sonotheque.service")
IdentifyParam = Annotated[
    bool, Query(description="Tell as well what is singing in an uploaded sound or a clip, from the same vectors")
]


def make_router(settings: ServiceSettings) -> APIRouter:
    """Return the route; an upload may have so many bytes as the settings say."""
    router = api_router("search by sound")

    @router.post(
        "/search",
        response_model=Answer[SearchFound],
        responses=failures(404, 408, 409, 413, 415),
        openapi_extra=sound_body(SearchRequest),
        max_body_size=settings.limits.body_bytes,
    )
    async def search_by_sound(
        request: Request,
        service: ServiceDep,
        given: OptionsDep,
        name: NameParam = None,
        from_s: FromS = None,
        to_s: ToS = None,
        identify: IdentifyParam = False,
    ) -> object:
        """Find where else it occurs. The body is a sound, or JSON that names a clip, a window or vectors; with JSON, an option or the
        filter may stand in the address instead, and is refused if it stands in both.
        """
        sent = await receive(request, settings.limits)
        asked = None if sent.json is None else parsed(SearchRequest, sent.json)
        if asked is not None:
            asked.require_once(request.query_params)
        options = search_options(given, asked, settings.limits)
        if asked is not None and asked.require_one() != "clip":
            return await _answered(request, service, await _find(service, asked, options), asked)
        if names_used(options):
            await service.read(require_names, options)
        if asked is not None:
            heard = await hear_clip(service, asked.clip or "", asked.from_s, asked.to_s)
        else:
            heard = await service.sounds.hear(sent.data or b"", name or sent.name or "clip", from_s, to_s)
        query = service.sounds.query_of(heard)
        found = await service.search(find, lambda _: query, options)
        return await _answered(request, service, found, asked, heard, identify=identify)

    return router


async def _find(service: Service, asked: SearchRequest, options: SearchOptions) -> Found:
    def query(archive: Archive) -> SoundQuery:
        if asked.window is not None:
            parse_window_id(asked.window)
            return window_query(archive, asked.window)
        return query_of_vectors(archive, asked.vector or [])

    return await service.search(find, query, options)


async def _answered(
    request: Request,
    service: Service,
    found: Found,
    asked: SearchRequest | None,
    heard: Heard | None = None,
    *,
    identify: bool = False,
) -> object:
    own = found.query
    query = {
        "kind": own["kind"],
        "name": own["name"],
        "about": found.about,
        "clip_id": asked.clip if asked else None,
        "window": asked.window if asked else None,
        "vectors": own["vectors"],
        "windows": own["windows"],
        "recording_id": None if own["recording_id"] is None else str(own["recording_id"]),
        "options": found.options,
    }
    data: dict[str, Any] = {"query": query, "hits": found.hits, "plan": found.plan}
    times = {**(times_of(heard) if heard else {}), "search": round(found.search_ms, 3), "show": round(found.show_ms, 3)}
    notes = list(found.notes)
    if identify and heard is not None:
        began = time.perf_counter()
        data["identified"], more = await singing_in(service, heard, ["all"], 5)
        notes += more
        times["identify"] = round(1000 * (time.perf_counter() - began), 3)
    data["logged"] = await _logged(service, query, found)
    return answer(data, found.snapshot, told(request, notes), times)


async def _logged(service: Service, query: dict[str, Any], found: Found) -> str | None:
    """Keep a share of the searches for review. That it cannot be kept is no reason to refuse the answer."""
    log = service.query_log
    if not log.wants():
        return None
    try:
        return await service.run("write", log.keep, query, found.options, found.plan, found.hits)
    except SonothequeError as error:
        _LOG.warning("a search could not be kept for review: %s", error.message)
        return None
