"""A served archive behind a real server, as a client meets it."""

from __future__ import annotations

import pytest

from sonotheque.client import Client
from tests.search import kit
from tests.service.conftest import listening, made, own  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def server(made, tmp_path_factory):  # noqa: F811
    """The shared store, for questions alone."""
    with listening(made, tmp_path_factory.mktemp("state"), sql=True) as found:
        yield found


@pytest.fixture
def archive(server):
    with Client(server.url) as client:
        yield client


@pytest.fixture(scope="session")
def call(tmp_path_factory):
    """Four seconds of a 703 Hz tone: two windows."""
    return kit.write(tmp_path_factory.mktemp("call") / "my call.wav", kit.tone(703.0, 4.0, seed=99))
