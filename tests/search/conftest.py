"""A store that is searched, and the command line in this process."""

from __future__ import annotations

import sys

import pytest

from sonotheque.cli.main import main
from tests.search import kit


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Two sites, five recordings, 18 windows; nobody changes it."""
    return kit.make(tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="session")
def call(tmp_path_factory):
    """A clip of a 703 Hz tone."""
    return kit.write(tmp_path_factory.mktemp("call") / "call.wav", kit.tone(703.0, seed=99))


@pytest.fixture
def sonotheque(monkeypatch, capfd):
    """Run a verb in this process; returns exit code, stdout, stderr."""

    def go(*words):
        monkeypatch.setattr(sys, "argv", ["sonotheque", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err

    return go


@pytest.fixture
def search(sonotheque, made):
    """Run ``search`` on the store."""
    return lambda *words, store=None: sonotheque("search", *words, "--store", store or made.store)
