"""How many requests there are at once, and how they end when the service does."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.http.guard.bodies import has_body
from search_api.http.guard.headers import values
from search_api.http.guard.rates import HEALTH, who_of
from search_api.http.guard.refusals import send_error
from sonotheque.core.errors import Unavailable

WORKING: Final = "working"
ARRIVING: Final = "arriving"
UPLOADING: Final = "uploading"
SIGNING_IN: Final = "signing_in"
STREAMS: Final = "streams"
SIGN_IN: Final = "/v1/session"
_SMALL_BYTES: Final = 64 << 10
_SENDING: Final = ("POST", "PUT", "PATCH")  # what other methods send is not waited for by any route
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

    A body that is not there yet costs nothing but its place, so that one is given up when others need it: of the caller with most of
    them the oldest. A small body is there in a moment if its sender is not stalling; a large one is given up only to a caller with fewer.

    Parameters
    ----------
    app : ASGI application
    limit : int
        Requests at once; as many small bodies may be arriving, half as many of one caller; half as many large ones; as many streams be
        open; and a quarter signing in.
    drain : Drain

    Attributes
    ----------
    limits, inside : dict
        Place -> how many there are, and how many are taken.
    """

    def __init__(self, app: ASGIApp, limit: int, drain: Drain) -> None:
        self._app = app
        self._drain = drain
        half = max(1, limit // 2)
        signing_in = max(1, limit // 4)
        self.limits = {WORKING: limit, ARRIVING: limit, UPLOADING: half, SIGNING_IN: signing_in, STREAMS: limit}
        self.inside = dict.fromkeys(self.limits, 0)
        self._share = {ARRIVING: half, UPLOADING: half, SIGNING_IN: max(1, signing_in // 2)}
        self._waiting: dict[str, dict[_Visit, None]] = {place: {} for place in self._share}  # for bodies, oldest first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; raise ``Unavailable`` (``overloaded``) if there are too many. Health is never refused."""
        if scope["path"] in HEALTH:
            await self._app(scope, receive, send)
            return
        place = _place_of(scope)
        if place in (ARRIVING, UPLOADING):
            self.demand(WORKING)  # where it goes next: told before the body is sent
        if place in self._share:
            self._make_room(place, who_of(scope))
        self.demand(place)
        visit = _Visit(self, place, scope, receive, send)
        if place in self._share and has_body(scope):
            self._waiting[place][visit] = None
        try:
            await self._app(scope, visit.receive, visit.send)
            await visit.finish()
        finally:
            visit.leave()

    @property
    def drain(self) -> Drain:
        """Whether the service is ending."""
        return self._drain

    def demand(self, place: str) -> None:
        """Raise ``Unavailable`` (``overloaded``) if none is left."""
        if self.inside[place] >= self.limits[place]:
            what = "bodies are arriving" if place == UPLOADING else "requests are here"
            raise Unavailable(f"{self.limits[place]} {what} already; ask again in a moment", kind="overloaded")

    def arrived(self, visit: _Visit) -> None:
        """Note that a body is not waited for any more."""
        for waiting in self._waiting.values():
            waiting.pop(visit, None)

    def _make_room(self, place: str, who: tuple[str, str]) -> None:
        waiting = self._waiting[place]
        held = Counter(visit.who for visit in waiting)
        if held[who] >= self._share[place]:
            holder = who
        elif self.inside[place] >= self.limits[place] and held:
            holder = max(held, key=lambda other: held[other])
        else:
            return
        if place != UPLOADING or held[holder] > held[who] + 1:
            next(visit for visit in waiting if visit.who == holder).give_up()


class _Visit:
    """One request's place in the crowd."""

    def __init__(self, crowd: Crowd, place: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._crowd, self._scope, self._receive, self._send = crowd, scope, receive, send
        self.who = who_of(scope)
        self._place: str | None = place
        self._gate: asyncio.Timeout | None = None  # around the wait for a part of the body
        self._given_up = False
        self._refused = False
        self._started = False
        self._whole = False
        self._streams = False
        self._cut = False
        self._ended = False
        crowd.inside[place] += 1

    def leave(self) -> None:
        """Give the place back."""
        self._move(None)
        self._crowd.arrived(self)

    def give_up(self) -> None:
        """Wait for the body no more: the place is free at once."""
        self._given_up = True
        self.leave()
        if self._gate is not None:
            self._gate.reschedule(asyncio.get_running_loop().time())

    async def receive(self) -> Message:
        """Return the next message. After the body that is the client's going, or, of a stream, the service's."""
        if self._refused:
            return _GONE
        if self._whole:
            return await self._going()
        message = _GONE if self._given_up else await self._next()
        if self._given_up:
            return await self._refuse("others waited, and this body was not there yet; send it again")
        if not message.get("more_body", False):
            self._whole = True
            self._crowd.arrived(self)
            if message["type"] == "http.request" and self._place in (ARRIVING, UPLOADING):
                try:
                    self._crowd.demand(WORKING)
                except Unavailable as error:
                    return await self._refuse(error.message)
                self._move(WORKING)
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on, unless there was one."""
        if self._refused and not self._started:
            return
        if message["type"] == "http.response.start":
            self._started = True
            self._crowd.arrived(self)  # whoever is answered is not given up
            self._streams = any(
                name.lower() == b"content-type" and value.startswith(_STREAM) for name, value in message["headers"]
            )
            if self._streams and self._crowd.inside[STREAMS] < self._crowd.limits[STREAMS]:
                self._move(STREAMS)
            elif self._place in (ARRIVING, UPLOADING):
                self._move(WORKING)
        elif not message.get("more_body", False):
            self._ended = True
        await self._send(message)

    async def finish(self) -> None:
        """End a stream that was cut because the service is ending: its client then knows that nothing is missing."""
        if self._cut and not self._ended:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(None) as self._gate:
                return await self._receive()
        except TimeoutError:
            if not self._given_up:
                raise
            return _GONE
        finally:
            self._gate = None

    async def _refuse(self, message: str) -> Message:
        self._refused = True
        if not self._started:
            await send_error(self._scope, self._send, Unavailable(message, kind="overloaded"))
        return _GONE

    def _move(self, place: str | None) -> None:
        if self._place is not None:
            self._crowd.inside[self._place] -= 1
        if place is not None:
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


def _place_of(scope: Scope) -> str:
    if scope["path"] == SIGN_IN:
        return SIGNING_IN
    if scope["method"] not in _SENDING or not has_body(scope):
        return WORKING
    lengths = values(scope, b"content-length")
    small = len(lengths) == 1 and lengths[0].isdigit() and int(lengths[0][:12]) <= _SMALL_BYTES
    return ARRIVING if small else UPLOADING
