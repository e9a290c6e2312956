"""A small store of real recordings, made once and copied for each test that writes into it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cluster.support import make_archive, run


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites with two recordings of 13.25 s each."""
    folder = tmp_path_factory.mktemp("annotated")
    run(make_archive(folder / "recordings", sites=2, days=1, files=2, seconds=13.25), folder / "store")
    return folder / "store"


@pytest.fixture
def store(template: Path, tmp_path: Path) -> str:
    """A store of recordings named ``site0/20240501_040000.wav`` to ``site1/20240501_050000.wav``."""
    return str(shutil.copytree(template, tmp_path / "store"))
