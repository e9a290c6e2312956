"""Puts the guards around an application, in their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from search_api.http.guard.bodies import Bodies
from search_api.http.guard.callers import Door
from search_api.http.guard.crowd import Crowd, Drain
from search_api.http.guard.front import Front
from search_api.http.guard.hosts import HostCheck, SiteCheck, check_path, is_loopback
from search_api.http.guard.measures import Measures
from search_api.http.guard.rates import Rates
from search_api.http.guard.refusals import send_error
from search_api.http.guard.shapes import Shapes
from search_api.http.settings import ServiceSettings
from search_api.keys import IMPLIED, KeyRing
from search_api.sessions import Sessions
from sonotheque.core.errors import Refused, SonothequeError

# Addresses of the page: all answer the one document, whose scripts look at the address.
PAGES: Final = (
    "/",
    "/search",
    "/archive",
    "/recordings/{id}",
    "/probes",
    "/probes/{name}",
    "/probes/{name}/review",
    "/jobs",
    "/jobs/{id}",
)
PAGE: Final = re.compile("|".join(re.sub(r"\{\w+\}", "[^/]+", page) for page in PAGES))
Check = Callable[[Scope], None]


class Checks:
    """Looks at a request's headers, check after check, and answers what they raise.

    Parameters
    ----------
    app : ASGI application
    checks : sequence of callables
    """

    def __init__(self, app: ASGIApp, checks: Sequence[Check]) -> None:
        self._app = app
        self._checks = tuple(checks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            for check in self._checks:
                check(scope)
            await self._app(scope, receive, send)
        except SonothequeError as error:  # of the guards: the application answers its own
            await send_error(scope, send, error)


def install(app: FastAPI, settings: ServiceSettings, keys: KeyRing) -> None:
    """Put the guards around an application, outside of everything that the framework itself puts there.

    Leaves on ``app.state``: ``door`` (who is calling), ``drain`` (whether the service is ending), ``measures``.

    Parameters
    ----------
    app : FastAPI
    settings : ServiceSettings
    keys : KeyRing
    """
    limits = settings.limits
    open_scopes = frozenset[str]()
    if is_loopback(settings.host):
        open_scopes = IMPLIED | ({"sql"} if settings.sql else set())
    rates = Rates(limits.rate_per_min, limits.upload_rate_per_min)
    measures = Measures()
    door = Door(keys, Sessions(keys.path.with_name("sessions.json"), keys), open_scopes, rates.wrong_key)
    drain = Drain()
    app.state.door, app.state.drain, app.state.measures = door, drain, measures
    lanes = getattr(getattr(app.state, "service", None), "lanes", None)
    if lanes is not None:
        measures.watch("sonotheque_lane_calls", "Calls running or waiting in each lane", "lane", lanes.depths)
    checks = (
        check_path,
        HostCheck(settings.host, settings.allow_hosts),
        SiteCheck(PAGE),
        _counted(door, rates),
        rates,
    )
    inner = app.build_middleware_stack

    def guarded() -> ASGIApp:
        bare = inner()
        crowd = Crowd(bare, limits.concurrency, drain)
        measures.watch("sonotheque_places_taken", "Requests, by what they wait for", "place", lambda: crowd.inside)
        return Front(Bodies(Shapes(Checks(crowd, checks)), limits.upload_s), bare, measures)

    # Not `add_middleware`: the framework's limit of bodies and its answer to unforeseen errors would lie outside.
    app.build_middleware_stack = guarded  # type: ignore[method-assign]


def _counted(door: Door, rates: Rates) -> Check:
    def check(scope: Scope) -> None:
        try:
            door(scope)
        except Refused:
            rates(scope)  # by its address, as nobody is known
            raise

    return check
