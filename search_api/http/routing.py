"""Routers of the API: each demands its scope and declares every error in the one shape."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends

from search_api.http.envelope import BEGAN, EVERYWHERE, failures
from search_api.http.guard import require_scope

PREFIX = "/v1"


async def _begin() -> None:
    BEGAN.set(time.perf_counter())


def needs(scope: str) -> Any:
    """Return the dependency that refuses callers without a scope: 401 without a valid key, 403 without the scope."""
    demand: Callable[..., Awaitable[None]] = require_scope(scope)
    return Depends(demand)


def api_router(tag: str, scope: str = "read", *, prefix: str = PREFIX) -> APIRouter:
    """Return a router whose routes all need a scope.

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
        dependencies=[Depends(_begin), needs(scope)],
        responses=failures(*EVERYWHERE),
    )
