"""Fixtures of the suites that need an object store; what they are is in ``kit.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.objects.kit import Bucket, StoreServer

# Of whoever runs the tests: they would lead elsewhere, or change what is asked.
_NOT_OURS = (
    *("AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"),
    *("SONOTHEQUE_ANONYMOUS", "SONOTHEQUE_CACHE_BYTES", "SONOTHEQUE_STORE_ANONYMOUS"),
)


@pytest.fixture(scope="package", autouse=True)
def no_personal_settings() -> Iterator[None]:
    """Of the whole package: stores are also made by fixtures of a module."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _NOT_OURS:
            patch.delenv(name, raising=False)
        yield


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
    _one_server.faults.clear()
    yield _one_server
    _one_server.faults.clear()


@pytest.fixture
def bucket(store_server: StoreServer) -> Bucket:
    """An empty bucket."""
    return store_server.bucket()
