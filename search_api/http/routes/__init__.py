"""The routes: each takes a request apart, calls one use case, and puts the answer in its envelope."""

from __future__ import annotations

from importlib import import_module

from fastapi import APIRouter

from search_api.http.settings import ServiceSettings

__all__ = ["NAMES", "routers"]

NAMES = (
    "info",
    "session",
    "clips",
    "search",
    "identify",
    "windows",
    "recordings",
    "questions",
    "annotations",
    "feedback",
    "queries",
    "listening",
    "jobs",
    "probes",
    "probe_review",
    "sql",
    "pages",  # last: it answers the page's own addresses
)


def routers(settings: ServiceSettings) -> list[APIRouter]:
    """Return the routers, in order. A module has ``router``, or ``make_router(settings)`` where bounds of bodies depend on it."""
    found = []
    for name in NAMES:
        module = import_module(f"search_api.http.routes.{name}")
        found.append(module.make_router(settings) if hasattr(module, "make_router") else module.router)
    return found
