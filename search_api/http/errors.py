"""Every error as the one JSON shape, with its status, and without anything of the server's own folders in it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sonotheque.core.errors import SonothequeError

_LOG = logging.getLogger("sonotheque.service")
RETRY_AFTER_S: Final = {429: 5, 503: 1}
_KIND_OF_STATUS: Final = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "invalid",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_audio",
    416: "invalid",
    422: "invalid",
    429: "rate_limited",
    503: "overloaded",
}
# An absolute path of two parts or more; addresses of the API itself may be named.
_PATH: Final = re.compile(r"(?<![\w.:/])(?!/v1/)/(?:[^\s/'\"`,;:()<>]+/)+[^\s/'\"`,;:()<>]*")
_WINDOWS_PATH: Final = re.compile(r"\b[A-Za-z]:\\[^\s'\"`,;()<>]+")
_FIELDS_MAX: Final = 20


class Scrubber:
    """Takes the server's folders out of messages: the names below them are the archive's own and stay.

    Parameters
    ----------
    folders : mapping
        Folder -> what it is called in a message.
    """

    def __init__(self, folders: Mapping[str, str]) -> None:
        spelled: dict[str, str] = {}
        for folder, name in folders.items():
            for form in (folder, os.path.abspath(folder), os.path.realpath(folder)):
                if len(form) > 1:
                    spelled[form.rstrip("/")] = name
        self._folders = sorted(spelled.items(), key=lambda item: -len(item[0]))

    def clean(self, message: str) -> str:
        """Return a message that names no folder of the server."""
        for folder, name in self._folders:
            message = re.sub(rf"(?<![\w.]){re.escape(folder)}(?![\w.-])", name, message)
        return _WINDOWS_PATH.sub("(a file of the server)", _PATH.sub("(a file of the server)", message))


def error_json(
    kind: str, message: str, request_id: str | None, fields: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Return the one shape of an error."""
    error: dict[str, Any] = {"kind": kind, "message": message, "request_id": request_id}
    if fields is not None:
        error["fields"] = fields
    return {"error": error}


def add_error_handlers(app: FastAPI) -> None:
    """Give every error of the tree, of FastAPI and of Starlette, and what nobody foresaw, its answer."""
    app.add_exception_handler(SonothequeError, _told)
    app.add_exception_handler(RequestValidationError, _wrong_values)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unforeseen)


def respond(
    request: Request,
    status: int,
    kind: str,
    message: str,
    fields: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error as an answer."""
    scrubber: Scrubber | None = getattr(request.app.state, "scrubber", None)
    message = scrubber.clean(message) if scrubber else message
    more = dict(headers or {})
    if status in RETRY_AFTER_S:
        more.setdefault("Retry-After", str(RETRY_AFTER_S[status]))
    if status == 401:
        more.setdefault("WWW-Authenticate", "Bearer")
    request.state.error_kind = kind  # for the metrics and the log
    request_id = getattr(request.state, "request_id", None)
    return JSONResponse(error_json(kind, message, request_id, fields), status, headers=more)


async def _told(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, SonothequeError):
        return await _unforeseen(request, error)
    if error.status >= 500 and error.status != 503:
        _LOG.error("%s %s: %s: %s", request.method, request.url.path, error.kind, error.message)
    return respond(request, error.status, error.kind, error.message, headers=getattr(error, "headers", None))


async def _wrong_values(request: Request, error: Exception) -> JSONResponse:
    found: Iterable[Mapping[str, Any]] = error.errors() if isinstance(error, RequestValidationError) else ()
    fields = [
        {"where": ".".join(str(part) for part in fault["loc"]), "message": str(fault["msg"])[:300]} for fault in found
    ]
    first = f": {fields[0]['where']}: {fields[0]['message']}" if fields else ""
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return respond(request, 422, "invalid", f"the request has a wrong value{first}{more}", fields[:_FIELDS_MAX])


async def _http(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return await _unforeseen(request, error)
    kind = _KIND_OF_STATUS.get(error.status_code, "invalid" if error.status_code < 500 else "internal")
    message = {
        404: f"there is nothing at {request.url.path[:200]}; /openapi.json lists what there is",
        405: f"{request.url.path[:200]} does not answer {request.method}",
        413: "the request's body is larger than the service takes",
    }.get(error.status_code, str(error.detail))
    return respond(request, error.status_code, kind, message, headers=error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    """Answer nobody: the caller went away in the middle of its body. 499 is what other servers log then."""
    return Response(status_code=499)


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    message = "the service met an error that it did not expect; its log has the details under this request's id"
    return respond(request, 500, "internal", message)
