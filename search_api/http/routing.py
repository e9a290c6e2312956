"""Routers of the API: each demands its scope, refuses what a route does not take, and declares every error in the one shape."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, get_args, get_origin

from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from search_api.http.envelope import BEGAN, EVERYWHERE, failures
from search_api.http.guard import require_scope
from sonotheque.core.suggest import did_you_mean

PREFIX = "/v1"
_SHOWN: Final = 60  # characters of a name that nobody declared
_TOLD_MAX: Final = 10  # faults told of one request: near names are looked for in each
Declared = dict[str, bool]


async def _begin() -> None:
    BEGAN.set(time.perf_counter())


def needs(scope: str) -> Any:
    """Return the dependency that refuses callers without a scope: 401 without a valid key, 403 without the scope."""
    demand: Callable[..., Awaitable[None]] = require_scope(scope)
    return Depends(demand)


def declared_parameters(route: APIRoute) -> Declared:
    """Return the parameters that a route takes in its address, those of its dependencies too: name -> whether it may be repeated."""
    # A path's parameter may have a query parameter's name, so the two are not to be mixed: only the query's are flattened.
    found, waiting = Dependant(), [route.dependant]
    while waiting:
        one = waiting.pop()
        found.query_params.extend(one.query_params)
        waiting.extend(one.dependencies)
    names: Declared = {}
    for field in get_flat_params(found):
        names[field.alias] = names.get(field.alias, False) or _is_list(field.field_info.annotation)
    return names


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))


def _declared_only() -> Any:
    """Return the dependency that refuses parameters which a route does not have: ignored, they would make a wrong answer look right."""
    known: dict[int, tuple[APIRoute, Declared]] = {}  # the route is kept, so that its id stays its own

    async def declared_only(request: Request) -> None:
        if not request.url.query:
            return
        route = request.scope["route"]
        if id(route) not in known:
            known[id(route)] = (route, declared_parameters(route))
        names = known[id(route)][1]
        faults = []
        for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
            if name not in names:
                near = did_you_mean(name[:_SHOWN], names) if names else "this address takes none"
                faults.append((name, f"there is no such parameter; {near}"))
            elif times > 1 and not names[name]:
                faults.append((name, f"is given {times:,} times, and takes one value"))
            if len(faults) == _TOLD_MAX:
                break
        if faults:
            raise RequestValidationError(
                [{"type": "value_error", "loc": ("query", name[:_SHOWN]), "msg": message} for name, message in faults]
            )

    return Depends(declared_only)


def api_router(tag: str, scope: str = "read", *, prefix: str = PREFIX) -> APIRouter:
    """Return a router whose routes all need a scope, and take no parameter that they do not declare.

    Parameters
    ----------
    tag : str
        Group in the OpenAPI document.
    scope : str
        ``read``, ``annotate``, ``embed``, ``admin`` or ``sql``; a route may ask for one more with ``dependencies=[needs(...)]``.
    prefix : str
    """
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[Depends(_begin), needs(scope), _declared_only()],
        responses=failures(*EVERYWHERE),
    )
