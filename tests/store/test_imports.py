"""Importing the package loads no engine, no cluster, no service: a reader of a store needs none of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import store

HEAVY = [
    "tensorflow",
    "ai_edge_litert",
    "dask",
    "distributed",
    "fastapi",
    "librosa",
    "matplotlib",
    "soundfile",
    "typer",
]
OURS = ["embedder", "cluster", "search_api", "sonotheque.cli"]


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    code = "import store, sys; print('\\n'.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("name", HEAVY + OURS)
def test_importing_the_store_does_not_load(loaded, name):
    assert "store.archive" in loaded  # the list is that of a process that did import it
    assert not {m for m in loaded if m == name or m.startswith(f"{name}.")}


def test_what_is_public_is_there():
    assert [name for name in store.__all__ if not hasattr(store, name)] == []
    assert store.__all__ == sorted(store.__all__)
