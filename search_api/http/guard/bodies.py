"""Bodies arrive in time, or the request ends: a slow upload holds a connection for a while, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.http.guard.headers import values
from search_api.http.guard.refusals import CLOSE, send_error, send_failure
from sonotheque.core.errors import Unavailable

GRACE_S: Final = 5.0
FLOOR_BYTES_S: Final = 8_192  # slower than any link over which somebody would send sound and wait
_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 256 << 20
_GONE: Final[Message] = {"type": "http.disconnect"}


class Bodies:
    """Gives bodies a deadline, and closes connections whose body nobody wants any more.

    Parameters
    ----------
    app : ASGI application
    total_s : float
        Longest time for a whole body.
    grace_s, floor_bytes_s : float
        After the grace, a body must have come faster than the floor on the whole.
    """

    def __init__(
        self, app: ASGIApp, total_s: float, grace_s: float = GRACE_S, floor_bytes_s: float = FLOOR_BYTES_S
    ) -> None:
        self._app = app
        self._bounds = (total_s, min(grace_s, total_s), floor_bytes_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if not has_body(scope):
            await self._app(scope, receive, send)
            return
        if values(scope, b"transfer-encoding") and values(scope, b"content-length"):
            # Two lengths: something in front of the service may have believed the other one.
            await send_failure(scope, send, 400, "invalid", "a body has one length", {"Connection": "close"})
            return
        body = _Body(scope, receive, send, self._bounds)
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            await body.finish()


def has_body(scope: Scope) -> bool:
    """Tell whether a request says that it has a body."""
    return bool(values(scope, b"transfer-encoding")) or any(v.strip("0") for v in values(scope, b"content-length"))


class _Body:
    """One request's body: what came of it, and what was answered meanwhile."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, bounds: tuple[float, float, float]) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._total_s, self._grace_s, self._floor_bytes_s = bounds
        self._began = asyncio.get_running_loop().time()
        self._bytes = 0
        self._complete = False
        self._late = False
        self._started = False
        self._closes = False  # an answer began before the body was there
        self._ended = False  # everything was sent but, if it closes, the word that it is everything

    async def receive(self) -> Message:
        """Return the next message; a body that comes too slowly is answered here, and the caller told that nobody is there."""
        if self._late:
            return _GONE
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline()):
                message = await self._receive()
        except TimeoutError:
            self._late = True
            if not self._started:
                await self._refuse()
            return _GONE
        self._seen(message)
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on, unless there was one."""
        if self._late and not self._closes:
            return
        if message["type"] == "http.response.start":
            self._started = True
            if not self._complete:
                message = {**message, "headers": [*message.get("headers", []), CLOSE]}
                self._closes = True
        elif not message.get("more_body", False):
            self._ended = True
            message = {**message, "more_body": self._closes}
        await self._send(message)

    async def finish(self) -> None:
        """Read on for a moment after an early answer: a connection closed on unread bytes takes the answer with it."""
        if not (self._closes and self._ended):
            return
        # The limit of the framework is counted in here too, and was reached; or the client is gone.
        now = asyncio.get_running_loop().time
        with contextlib.suppress(TimeoutError, HTTPException):
            while not self._complete and self._bytes < _LINGER_BYTES:
                # A client that goes on sending is listened to as long as any other.
                async with asyncio.timeout_at(min(now() + _LINGER_S, max(now(), self._deadline()))):
                    self._seen(await self._receive())
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _seen(self, message: Message) -> None:
        self._bytes += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)  # a client that is gone has no more either

    def _deadline(self) -> float:
        return self._began + min(self._total_s, self._grace_s + self._bytes / self._floor_bytes_s)

    async def _refuse(self) -> None:
        error = Unavailable(
            f"the body took too long to arrive: {self._bytes:,} bytes came; a body has {self._total_s:g} s, and "
            f"{self._floor_bytes_s:,.0f} bytes a second on the whole",
            kind="timeout",
        )
        await send_error(self._scope, self._close_after, error)

    async def _close_after(self, message: Message) -> None:
        self._started = True
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], CLOSE]}
        await self._send(message)
