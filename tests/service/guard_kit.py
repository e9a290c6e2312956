"""A bare application behind the guards: no archive, no model, routes that do as little as they can."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import uvicorn
from fastapi import Body, FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.testclient import TestClient

from search_api.http.errors import add_error_handlers
from search_api.http.guard import install
from search_api.http.routes.pages import page_routes
from search_api.http.routes.session import router as session_routes
from search_api.http.routing import needs
from search_api.http.settings import Limits, ServiceSettings
from search_api.keys import KeyRing

LOOPBACK = ("127.0.0.1", 50_000)


def bare_app(folder: Path, *, ui: Path | None = None, **settings: Any) -> FastAPI:
    """Return an application with the guards around it; its keys are in ``folder``."""
    limits = Limits(**settings.pop("limits", {}))
    app = FastAPI(docs_url=None, redoc_url=None, max_body_size=limits.json_bytes)
    app.state.let_go = asyncio.Event()
    app.state.reading = []
    add_error_handlers(app)
    _routes(app)
    app.include_router(session_routes)
    app.include_router(page_routes(ui or folder / "ui"))
    install(
        app, ServiceSettings(str(folder), state=str(folder), limits=limits, **settings), KeyRing(folder / "keys.json")
    )
    return app


def _routes(app: FastAPI) -> None:
    @app.get("/healthz")
    @app.get("/readyz")
    async def healthz(request: Request) -> str:
        request.app.state.loop = asyncio.get_running_loop()
        return "alive"

    @app.get("/v1/things/{thing}", dependencies=[needs("read")])
    async def read(thing: str, request: Request) -> dict[str, Any]:
        return {"thing": thing, "caller": request.state.caller.name, "client": request.client.host}  # type: ignore[union-attr]

    @app.post("/v1/things", dependencies=[needs("annotate")])
    async def change(value: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        return value

    @app.post("/v1/upload", dependencies=[needs("read")], max_body_size=4 << 20)
    async def upload(request: Request) -> int:
        request.app.state.reading.append(True)
        return len(await request.body())

    @app.get("/v1/sql", dependencies=[needs("sql")])
    @app.get("/v1/admin", dependencies=[needs("admin")])
    async def scoped() -> str:
        return "done"

    @app.get("/v1/slow", dependencies=[needs("read")])
    async def slow(request: Request) -> str:
        await request.app.state.let_go.wait()
        return "done"

    @app.get("/v1/events", dependencies=[needs("read")])
    async def events() -> StreamingResponse:
        async def beats() -> AsyncIterator[bytes]:
            while True:
                yield b": beat\n\n"
                await asyncio.sleep(0.01)

        return StreamingResponse(beats(), media_type="text/event-stream")

    @app.get("/v1/boom", dependencies=[needs("read")])
    async def boom() -> None:
        raise RuntimeError("/srv/secret/place is broken")

    @app.get("/v1/framed", dependencies=[needs("read")])
    async def framed() -> Response:
        return Response("x", headers={"Content-Security-Policy": "sandbox", "Cache-Control": "private"})


def client_of(app: FastAPI, address: tuple[str, int] = LOOPBACK, **more: Any) -> TestClient:
    """Return a client that calls from an address."""
    return TestClient(app, base_url="http://127.0.0.1", client=address, raise_server_exceptions=False, **more)


def error_of(answer: Any, status: int) -> dict[str, Any]:
    """Return the error in an answer, having looked at its shape."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:400]}"
    found = answer.json()
    assert set(found) == {"error"}
    assert {"kind", "message", "request_id"} <= set(found["error"])
    assert found["error"]["request_id"] == answer.headers["x-request-id"]
    return found["error"]


@contextlib.contextmanager
def live(app: FastAPI, **config: Any) -> Iterator[int]:
    """Yield the port of a real server in a thread."""
    from search_api.http.serving import PatientOnlySoLong

    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", ws="none", http=PatientOnlySoLong, **config)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < until
        time.sleep(0.005)
    httpx.get(
        f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/healthz"
    )  # tells the application its loop
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(timeout=20)


class Wire:
    """A connection on which a test says exactly what it wants."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, text: str | bytes) -> Wire:
        self._socket.sendall(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode("latin-1"))
        return self

    def rest(self) -> bytes:
        """Return everything until the server closes."""
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while data := self._socket.recv(65_536):
                found += data
        return found

    def some(self) -> bytes:
        """Return what comes next."""
        return self._socket.recv(65_536)

    def answer(self) -> bytes:
        """Return one answer that has a length."""
        found = b""
        while b"\r\n\r\n" not in found:
            found += self._socket.recv(1) or b"\r\n\r\n"
        for _ in range(int(parsed(found)[1].get("content-length", 0))):
            found += self._socket.recv(1)
        return found


def parsed(raw: bytes) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and JSON of an answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    value = json.loads(body) if headers.get("content-type", "").startswith("application/json") and body else None
    return int(lines[0].split()[1]), headers, value
