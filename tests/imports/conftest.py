"""Fixtures of the import suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.imports import run
from tests.imports.support import FILES, make


@pytest.fixture(autouse=True)
def no_personal_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog that cannot be built in a store goes to the user's cache folder: not into the real one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))


@pytest.fixture(autouse=True)
def catalog_later(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the catalog to the first question: it is a third of a small import's time. The fault sweep builds it."""
    if request.module.__name__.rpartition(".")[2] not in ("test_faults", "test_cli"):
        monkeypatch.setattr(run, "open_catalog", lambda *given: None)


@pytest.fixture(scope="session")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder of two sites; the run of the first was killed after a checkpoint and resumed. Not to be changed."""
    folder = tmp_path_factory.mktemp("resumed") / "output"
    make(folder / "A4", kill_after=1)
    make(folder / "A4")
    make(folder / "B1", {path.replace("A4", "B1"): 21.5 for path in list(FILES)[:3]})
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output folder of one site in three checkpoints, of 28, 28 and 4 rows: to be spoilt."""
    make(tmp_path / "output" / "A4")
    return tmp_path / "output"
