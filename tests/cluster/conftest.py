"""Fixtures of the cluster suites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.poison import poisoned_env


@pytest.fixture(autouse=True)
def no_personal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SONOTHEQUE_STORE", "DASK_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def poison(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let processes started from now on obey poisoned files; this one does not."""
    folder = tmp_path_factory.mktemp("poison")
    for name, value in poisoned_env(folder).items():
        monkeypatch.setenv(name, value)
    yield folder
