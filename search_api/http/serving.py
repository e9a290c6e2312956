"""Runs the service: where it may listen, what a connection may do before a request is there, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from search_api.http.app import create_app
from search_api.http.guard import Drain, is_loopback
from search_api.http.guard.hosts import WILDCARDS
from search_api.http.settings import ServiceSettings
from search_api.keys import KeyRing
from sonotheque.core.errors import Conflict, Invalid, Refused, Unavailable

HEADERS_S: Final = 10.0
HEADERS_BYTES: Final = 32 << 10
IDLE_S: Final = 30
UNSENT_BYTES: Final = 128 << 10
UNREAD_S: Final = 30.0  # with the guards' pieces of 256 kB that is 8 kB/s, as for bodies
_CONNECTIONS_A_REQUEST: Final = 8  # a browser opens six
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class PatientOnlySoLong(H11Protocol):
    """HTTP/1.1 whose headers have a deadline, from the first byte and for every request of a connection; and whose answers have one.

    A client that does not read is cut off: what it was sent lies in memory until then, and closing in order would wait for it for ever.
    """

    _waiting: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        wire = transport.get_extra_info("socket")
        if wire is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            # The system would take megabytes, and tell of no progress before a slow client has read a third of them.
            with contextlib.suppress(OSError):  # no TCP
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on only while no request is complete."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._waiting is None:  # part of a later request
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        self._stop_reading()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to read what it was sent."""
        super().pause_writing()
        self._wait_for_reading()

    def resume_writing(self) -> None:
        """Wait for the end of an answer only, if that is what is left."""
        super().resume_writing()
        self._stop_reading()
        if self._answered:
            self._wait_for_reading()

    def on_response_complete(self) -> None:
        """Wait for the client to read the end of an answer, which is too little to pause anything."""
        super().on_response_complete()
        if not self.flow.write_paused:
            self._wait_for_reading()

    @property
    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_reading(self) -> None:
        self._stop_reading()
        if self.transport.get_write_buffer_size() > 0:
            self._unread = self.loop.call_later(UNREAD_S, self._not_read)

    def _not_read(self) -> None:
        self._unread = None
        if self._answered or self.flow.write_paused:
            if self.transport.get_write_buffer_size() > 0:
                self.transport.abort()
        else:  # the next answer has begun, and it is read
            self._wait_for_reading()

    def _stop_reading(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEADERS_S, self._too_late)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _too_late(self) -> None:
        self._waiting = None
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server that tells when it listens, is unready before it stops, and leaves the process to its caller.

    Parameters
    ----------
    config : uvicorn.Config
    app : FastAPI
    told : callable
        Called once it listens.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._told = told
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._told()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second Ctrl-C does not wait for running requests."""
        self._app.state.service.draining = True  # from now on /readyz says so
        drain: Drain = self._app.state.drain
        if self._loop is not None:
            self._loop.call_soon_threadsafe(drain.begin)
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen to signals while running. They are not raised again afterwards: the end was what they asked for."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def run(settings: ServiceSettings, told: Callable[[str], None] = lambda _: None) -> None:
    """Serve until the process is asked to end; running requests are finished first.

    Parameters
    ----------
    settings : ServiceSettings
    told : callable, optional
        Called with the service's address when it listens.

    Raises
    ------
    Refused
        If others could reach it and nobody has a key.
    Conflict
        If the port is taken.
    Invalid
        If the host is not this machine's.
    Unavailable
        If the service could not start.
    NotFound
        If there is no store.
    """
    require_keys(settings)
    listener = listen(settings.host, settings.port)
    try:
        app = create_app(settings)
        server = Server(make_config(app, settings), app, lambda: told(url_of(settings.host, listener)))
        try:
            server.run(sockets=[listener])
        except SystemExit as left:
            raise Unavailable("the service could not start; its log says why") from left
        except KeyboardInterrupt:  # a second one, while it ends
            return
    finally:
        listener.close()


def require_keys(settings: ServiceSettings) -> None:
    """Refuse to listen where others can reach the service unless somebody has a key.

    Raises
    ------
    Refused
        With the command that makes a key.
    """
    if is_loopback(settings.host):
        return
    ring = KeyRing(f"{settings.state_folder}/keys.json")
    if not any(not key.revoked for key in ring.list()):
        state = f" --state {settings.state}" if settings.state else ""
        raise Refused(
            f"--host {settings.host} can be reached from other machines, and nobody has a key yet, so that nobody is let in. "
            f"Make one first: sonotheque keys create NAME --scope read --store {settings.store}{state}"
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound.

    Raises
    ------
    Conflict
        If the port is taken.
    Invalid
        If the host is not an address or name of this machine, or the port may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise Invalid(f"--host {host!r} is no address or name of this machine: {error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _unbound(host, port, error) from error
    return listener


def _unbound(host: str, port: int, error: OSError) -> Conflict | Invalid:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} of {host} is taken, perhaps by another `sonotheque serve`; give another with --port N, or --port 0 for any "
            "free one"
        )
    if error.errno in _NOT_HERE:
        return Invalid(f"--host {host} is no address of this machine: {error.strerror}")
    return Invalid(f"cannot listen on port {port} of {host}: {error.strerror}; ports below 1024 are the system's")


def url_of(host: str, listener: socket.socket) -> str:
    """Return the address to type into a browser on this machine."""
    port = listener.getsockname()[1]
    name = "127.0.0.1" if host in WILDCARDS else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def make_config(app: FastAPI, settings: ServiceSettings) -> uvicorn.Config:
    """Return how the server treats connections."""
    return uvicorn.Config(
        app,
        http=PatientOnlySoLong,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # uvicorn's has the query in it; ours is written by the guards
        proxy_headers=False,  # who asks is what the connection says
        server_header=False,
        limit_concurrency=settings.limits.concurrency * _CONNECTIONS_A_REQUEST,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=max(1, round(settings.limits.drain_s)),
        h11_max_incomplete_event_size=HEADERS_BYTES,
    )
