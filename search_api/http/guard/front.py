"""The outermost guard: gives a request its id, its answer the headers that every answer has, and counts both."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.http.guard.headers import values, with_security
from search_api.http.guard.measures import Measures
from search_api.http.guard.refusals import KINDS, state_of

_LOG: Final = logging.getLogger("sonotheque.requests")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
_UNMATCHED: Final = "(none)"
# Of one message: a server writes all of it before it looks whether the client reads.
PIECE_BYTES: Final = 256 << 10


class Front:
    """Serves requests through the guards behind it.

    Parameters
    ----------
    app : ASGI application
    bare : ASGI application
        The same without guards, for the words between server and application that are no requests.
    measures : Measures
    """

    def __init__(self, app: ASGIApp, bare: ASGIApp, measures: Measures) -> None:
        self._app = app
        self._bare = bare
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a web socket is refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            await self._bare(scope, receive, send)
            return
        told = values(scope, b"x-request-id")
        state_of(scope)["request_id"] = told[0] if len(told) == 1 and _ID.fullmatch(told[0]) else secrets.token_hex(8)
        seen = _Seen(scope, receive, send)
        self._measures.begin()
        began = time.perf_counter()
        try:
            await self._app(scope, seen.receive, seen.send)
        finally:
            self._end(scope, seen, time.perf_counter() - began)

    def _end(self, scope: Scope, seen: _Seen, seconds: float) -> None:
        state = state_of(scope)
        route = str(getattr(scope.get("route"), "path", None) or _UNMATCHED)
        kind = state.get("error_kind") or (KINDS.get(seen.status, "invalid") if seen.status >= 400 else None)
        self._measures.end(scope["method"], route, seen.status, kind, seconds, (seen.received, seen.sent))
        caller = state.get("caller")
        # The path as it was sent, still escaped, and never the query: that is where people put what they should not.
        path = scope.get("raw_path", b"").partition(b"?")[0][:200].decode("ascii", "replace")
        _LOG.info(
            "%s %s %s %d %s %.0f ms %d B in %d B out %s",
            state["request_id"],
            scope["method"][:16],
            path,
            seen.status,
            kind or "-",
            1000 * seconds,
            seen.received,
            seen.sent,
            caller.name if caller else "-",
        )


class _Seen:
    """One request on its way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.status = 0
        self.received = self.sent = 0

    async def receive(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), (b"x-request-id", state_of(self._scope)["request_id"].encode())]
            message = {**message, "headers": with_security(self._scope, headers)}
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for start in range(0, len(body) or 1, PIECE_BYTES):
            part = body[start : start + PIECE_BYTES]
            last = start + PIECE_BYTES >= len(body)
            await self._send({**message, "body": part, "more_body": more or not last})
            self.sent += len(part)
