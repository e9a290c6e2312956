"""A small archive, served: in this process for most tests, by a real server for those that need one."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from search_api.http.app import create_app
from search_api.http.serving import make_config
from search_api.http.settings import ServiceSettings
from tests.search import kit

READY_S = 60.0


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> kit.Made:
    """Two sites, five recordings, 18 windows; nobody changes it."""
    return kit.make(tmp_path_factory.mktemp("served"))


@pytest.fixture
def own(made, tmp_path) -> kit.Made:
    """A copy of the store that a test may change; the recordings are the shared ones."""
    shutil.copytree(made.store, tmp_path / "store")
    return kit.Made(made.recordings, str(tmp_path / "store"))


@dataclass
class Served:
    """An application in this process."""

    client: TestClient
    app: Any
    made: kit.Made
    state: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def service(self) -> Any:
        return self.app.state.service

    def get(self, path: str, status: int = 200, **more: Any) -> Any:
        return self._json(self.client.get(path, **more), status)

    def post(self, path: str, json: Any = None, status: int = 200, **more: Any) -> Any:
        return self._json(self.client.post(path, json=json, **more), status)

    def _json(self, answer: Any, status: int) -> Any:
        assert answer.status_code == status, f"{answer.status_code}: {answer.text[:600]}"
        return answer.json()


def wait_ready(client: Any, seconds: float = READY_S) -> None:
    """Wait until a service answers everything."""
    until = time.monotonic() + seconds
    while (answer := client.get("/readyz")).status_code != 200:
        assert time.monotonic() < until, answer.text
        time.sleep(0.02)


@contextlib.contextmanager
def serve(made: kit.Made, state: Path, **more: Any):
    """Yield a served store; ``more`` are settings."""
    settings = ServiceSettings(made.store, state=str(state), **{"decoders": 1, "threads": 1, **more})
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)) as client:
        wait_ready(client)
        yield Served(client, app, made, state)


@pytest.fixture(scope="module")
def served(made, tmp_path_factory):
    """The shared store, for questions alone: it is not to be changed."""
    with serve(made, tmp_path_factory.mktemp("state")) as found:
        yield found


@pytest.fixture
def changing(own, tmp_path):
    """A store of the test's own, served."""
    with serve(own, tmp_path / "state") as found:
        yield found


@dataclass
class Live:
    """A real server on a port of this machine."""

    url: str
    app: Any
    made: kit.Made
    state: Path


@contextlib.contextmanager
def listening(made: kit.Made, state: Path, **more: Any):
    """Yield a real server in a thread of this process."""
    import httpx

    settings = ServiceSettings(made.store, state=str(state), **{"decoders": 1, "threads": 1, "port": 0, **more})
    app = create_app(settings)
    config = make_config(app, settings)
    config.host, config.port = "127.0.0.1", 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + READY_S
        while not server.started:
            assert thread.is_alive() and time.monotonic() < until, "the server did not start"
            time.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(base_url=url) as client:
            wait_ready(client)
        yield Live(url, app, made, state)
    finally:
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def live(own, tmp_path):
    """A store of the test's own behind a real server."""
    with listening(own, tmp_path / "state") as found:
        yield found


def tree(root: str | Path) -> dict[str, tuple[int, int]]:
    """Return every file below a folder with size and time of change: two equal trees mean that nothing was touched."""
    return {
        str(Path(folder, name).relative_to(root)): (s.st_size, s.st_mtime_ns)
        for folder, _, names in os.walk(root)
        for name in names
        if (s := os.stat(Path(folder, name)))
    }
