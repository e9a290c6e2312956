"""How many requests there are at once, and how they end when the service does."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.http.guard.bodies import has_body
from search_api.http.guard.headers import values
from search_api.http.guard.rates import HEALTH
from sonotheque.core.errors import Unavailable

_SMALL_BYTES: Final = 64 << 10
_STREAM: Final = b"text/event-stream"
_GONE: Final[Message] = {"type": "http.disconnect"}


class Drain:
    """Whether the service is ending. Streams of events have no end of their own: they end then."""

    def __init__(self) -> None:
        self.begun = False
        self._event = asyncio.Event()

    def begin(self) -> None:
        """End streams, and let no new ones begin. From the event loop's thread."""
        self.begun = True
        self._event.set()

    async def wait(self) -> None:
        """Return when the service is ending."""
        await self._event.wait()


class Crowd:
    """Bounds the requests that are worked on, apart from those whose body is still arriving, and from streams of events.

    Parameters
    ----------
    app : ASGI application
    limit : int
        Requests at once; half as many bodies may be arriving, and as many streams be open.
    drain : Drain
    """

    def __init__(self, app: ASGIApp, limit: int, drain: Drain) -> None:
        self._app = app
        self._drain = drain
        self.limits = {"working": limit, "arriving": max(1, limit // 2), "streams": limit}
        self.inside = dict.fromkeys(self.limits, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; raise ``Unavailable`` (``overloaded``) if there are too many. Health is never refused."""
        if scope["path"] in HEALTH:
            await self._app(scope, receive, send)
            return
        place = "arriving" if _large_body(scope) else "working"
        if self.inside[place] >= self.limits[place]:
            raise Unavailable(
                f"{self.limits[place]} requests are {place} already; ask again in a moment", kind="overloaded"
            )
        visit = _Visit(self, place, receive, send)
        try:
            await self._app(scope, visit.receive, visit.send)
            await visit.finish()
        finally:
            visit.leave()

    @property
    def drain(self) -> Drain:
        """Whether the service is ending."""
        return self._drain


class _Visit:
    """One request's place in the crowd."""

    def __init__(self, crowd: Crowd, place: str, receive: Receive, send: Send) -> None:
        self._crowd, self._receive, self._send = crowd, receive, send
        self._place = place
        self._whole = False
        self._streams = False
        self._cut = False
        self._ended = False
        crowd.inside[place] += 1

    def leave(self) -> None:
        """Give the place back."""
        self._crowd.inside[self._place] -= 1

    async def receive(self) -> Message:
        """Return the next message. After the body that is the client's going, or, of a stream, the service's."""
        if self._whole:
            return await self._going()
        message = await self._receive()
        if not message.get("more_body", False):
            self._whole = True
            if self._place == "arriving":
                self._move("working")
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on."""
        if message["type"] == "http.response.start":
            self._streams = any(
                name.lower() == b"content-type" and value.startswith(_STREAM) for name, value in message["headers"]
            )
            if self._streams and self._crowd.inside["streams"] < self._crowd.limits["streams"]:
                self._move("streams")
        elif not message.get("more_body", False):
            self._ended = True
        await self._send(message)

    async def finish(self) -> None:
        """End a stream that was cut because the service is ending: its client then knows that nothing is missing."""
        if self._cut and not self._ended:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _move(self, place: str) -> None:
        self._crowd.inside[self._place] -= 1
        self._crowd.inside[place] += 1
        self._place = place

    async def _going(self) -> Message:
        gone = asyncio.ensure_future(self._receive())
        ending = asyncio.ensure_future(self._crowd.drain.wait())
        try:
            await asyncio.wait((gone, ending), return_when=asyncio.FIRST_COMPLETED)
            if not gone.done() and self._streams:
                self._cut = True
                return _GONE
            return await gone
        finally:
            ending.cancel()
            gone.cancel()


def _large_body(scope: Scope) -> bool:
    if not has_body(scope):
        return False
    lengths = values(scope, b"content-length")
    return not (len(lengths) == 1 and lengths[0].isdigit() and int(lengths[0][:12]) <= _SMALL_BYTES)
