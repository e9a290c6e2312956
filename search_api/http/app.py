"""The application: routes, errors and guards around one service."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from search_api.http.errors import add_error_handlers
from search_api.http.guard import install
from search_api.http.routes import routers
from search_api.http.service import Service
from search_api.http.settings import ServiceSettings
from sonotheque.core.version import VERSION

DESCRIPTION = """An archive of sound: where does a call occur, when, and what else is singing?

Every answer is `{"data": ..., "meta": ...}`, every error `{"error": {"kind", "message"}}`. Ids are texts. Times are UTC, and the site's
own clock with its offset. Lists come in pages: hand `meta.next` back as `cursor`."""


def create_app(settings: ServiceSettings, service: Service | None = None) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    settings : ServiceSettings
    service : Service, optional
        One that is made already.

    Raises
    ------
    NotFound
        If there is no store.
    Unavailable
        If the service's own folder cannot be written.
    """
    service = service or Service(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    app = FastAPI(
        title="Sonotheque",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,  # an address has one spelling
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        default_response_class=JSONResponse,
        generate_unique_id_function=_operation_id,
        max_body_size=settings.limits.json_bytes,
    )
    app.state.service = service
    app.state.scrubber = service.scrubber()
    add_error_handlers(app)
    for router in routers(settings):
        app.include_router(router)
    install(app, settings, service.keys)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
