"""Fixtures of the command line's suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.support import cli, make_archive, write_wav


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an archive with one bad file, and a store of it."""
    folder = tmp_path_factory.mktemp("finished")
    archive = make_archive(folder / "archive", sites=2, days=1, files=2)
    (archive / "site0" / "=bad.wav").write_bytes(b"no sound")
    write_wav(archive / "site0" / "short.wav", 0.25)
    done = cli("embed", archive, "--store", folder / "store", "--model", "placeholder", "--workers", 0, "-q")
    assert done.returncode == 3, done.stderr
    return archive, folder / "store"
