"""A small store with superseded rows, made once."""

from __future__ import annotations

import pytest

from tests.scores import kit


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> str:
    """Read only; link it to change it."""
    return kit.small(tmp_path_factory.mktemp("scores"))


@pytest.fixture
def store(base, tmp_path) -> str:
    return kit.linked(base, tmp_path / "store")
