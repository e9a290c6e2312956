"""Errors answered by a guard itself, before any route: the same shape as every other error."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Message, Scope, Send

from search_api.http.errors import RETRY_AFTER_S, Scrubber, error_json
from sonotheque.core.errors import Limit, Refused, SonothequeError

CLOSE: Final = (b"connection", b"close")
_LOG: Final = logging.getLogger("sonotheque.service")
# Of answers that do not tell their kind.
KINDS: Final = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_audio",
    429: "rate_limited",
    500: "internal",
    503: "unavailable",
}


class RateLimited(Limit):
    """A caller asked more often than it may.

    Parameters
    ----------
    message : str
    retry_s : int
        Whole seconds after which it is worth asking again.
    """

    default_kind = "rate_limited"

    def __init__(self, message: str, retry_s: int) -> None:
        super().__init__(message)
        self.headers = {"Retry-After": str(retry_s)}

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message, int(self.headers["Retry-After"])))


def unauthorized(message: str) -> Refused:
    """Return the error of a caller without a valid key."""
    return Refused(message, kind="unauthorized")


def state_of(scope: Scope) -> dict[str, Any]:
    """Return what guards and routes remember of a request: Starlette's ``request.state``."""
    found: dict[str, Any] = scope.setdefault("state", {})
    return found


async def send_error(scope: Scope, send: Send, error: SonothequeError) -> None:
    """Answer a request with an error of the tree."""
    headers: Mapping[str, str] = getattr(error, "headers", {})
    if error.status >= 500 and error.status != 503:
        # The only place where it is told with its paths.
        _LOG.error("%s %r: %s: %s", scope["method"], scope["path"], error.kind, error.message)
    await send_failure(scope, send, error.status, error.kind, error.message, headers)


async def send_failure(
    scope: Scope, send: Send, status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
) -> None:
    """Answer a request with an error; the message is rid of the server's folders."""
    state_of(scope)["error_kind"] = kind
    scrubber: Scrubber | None = getattr(getattr(scope.get("app"), "state", None), "scrubber", None)
    message = scrubber.clean(message) if scrubber else message
    body = json.dumps(error_json(kind, message, state_of(scope).get("request_id"))).encode()
    more = dict(headers or {})
    if status in RETRY_AFTER_S:
        more.setdefault("Retry-After", str(RETRY_AFTER_S[status]))
    if status == 401:
        more.setdefault("WWW-Authenticate", "Bearer")
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in more.items()),
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})
