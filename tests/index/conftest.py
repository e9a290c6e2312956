"""Every kind of index, made once."""

from __future__ import annotations

import pytest

from store import read_config
from tests.index import kit


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> str:
    """The world without an index; copy it to change it."""
    return kit.make_world(tmp_path_factory.mktemp("world"))[0]


@pytest.fixture(scope="session")
def kinds(base, tmp_path_factory):
    """Name of a kind -> its store; read only, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("kinds")
    made: dict[str, str] = {}

    def of(name: str) -> str:
        if name not in made:
            root = kit.copied(base, folder / str(len(made)))
            kit.KINDS[name](root, read_config(root))
            made[name] = root
        return made[name]

    return of


@pytest.fixture
def store(base, tmp_path) -> str:
    """A copy of the world, to change."""
    return kit.copied(base, tmp_path / "store")


@pytest.fixture
def coded(kinds, tmp_path) -> str:
    """A copy of the world with a coded index, to change."""
    return kit.copied(kinds("coded"), tmp_path / "coded")
