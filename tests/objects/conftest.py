"""Fixtures of the suites that need an object store; what they are is in ``kit.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.objects.kit import Bucket, StoreServer


@pytest.fixture(scope="session")
def _one_server() -> Iterator[StoreServer]:
    server = StoreServer()
    yield server
    server.stop()


@pytest.fixture
def store_server(_one_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreServer]:
    """The server without faults, and the environment by which it is found."""
    for name, value in _one_server.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    _one_server.faults.clear()
    yield _one_server
    _one_server.faults.clear()


@pytest.fixture
def bucket(store_server: StoreServer) -> Bucket:
    """An empty bucket."""
    return store_server.bucket()
