"""A disk that fails at one operation after another: an error with the next step, nothing half there, and the same command ends it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.status import verify_store
from sonotheque.core.errors import NotFound, SonothequeError, Unavailable
from store import read_snapshot
from store.fsops import LocalFileOps
from tests.imports.dying import _OPERATIONS
from tests.imports.support import data_tree, do, make


@contextmanager
def failing(nth: int, code: int) -> Iterator[list[str]]:
    """Let the Nth operation on the store fail; yields the names of those that were done."""
    done: list[str] = []
    patch = pytest.MonkeyPatch()

    def wrap(name: str):
        inner = getattr(LocalFileOps, name)

        def operation(self, *given):
            done.append(name)
            if len(done) == nth:
                raise OSError(code, os.strerror(code))
            return inner(self, *given)

        return operation

    for name in _OPERATIONS:
        patch.setattr(LocalFileOps, name, wrap(name))
    try:
        yield done
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "out"
    files = {f"/data/2025/A4/2025051{i}_030000.WAV": 6.0 for i in range(2)}
    make(folder / "A4", files, interval=1, kill_after=1)
    make(folder / "A4", files, interval=1)
    return folder


@pytest.fixture(scope="module")
def clean(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    store = tmp_path_factory.mktemp("clean") / "store"
    with failing(0, 0) as done:
        do(source, store, check=False)
    return data_tree(store), len(done)


def test_one_operation_after_another_fails(source: Path, clean, tmp_path: Path) -> None:
    """In one store, so that each attempt meets what the one before has left."""
    whole, operations = clean
    assert operations > 60
    failed = 0
    for nth in range(1, operations, 9):
        store = tmp_path / "store"
        code = errno.ENOSPC if nth % 2 else errno.EIO
        with failing(nth, code):
            try:
                do(source, store, check=False)
            except Unavailable as error:
                failed += 1
                assert "no room to write" in error.message or "cannot" in error.message
                assert code == errno.ENOSPC
            except OSError as error:
                failed += 1
                assert error.errno == errno.EIO
        assert data_tree(store).items() <= whole.items(), f"operation {nth}"
        try:
            snapshot = read_snapshot(str(store))
        except (NotFound, SonothequeError):
            continue
        assert {p.embeddings for p in snapshot.parts} <= data_tree(store).keys()
    assert failed >= 5
    report = do(source, tmp_path / "store")
    assert data_tree(tmp_path / "store") == whole
    assert (report.windows, report.duplicates, report.ok) == (6, {"identical": 1, "differing": 0}, True)
    found = verify_store(str(tmp_path / "store"), deep=True)
    assert (found.ok, found.windows, found.unused_files) == (True, 6, [])


def test_the_catalog_is_there_when_the_import_ends(source: Path, tmp_path: Path) -> None:
    do(source, tmp_path / "store")
    assert list((tmp_path / "store" / "catalog").rglob("*.parquet"))


@pytest.mark.parametrize("nth", [2, 19, 37, 58, 71, 86, 99, 117, 140])
def test_the_same_command_ends_it(source: Path, clean, tmp_path: Path, nth: int) -> None:
    """A fresh store for each, so that the late operations of a first import fail too: snapshot, catalog."""
    whole, operations = clean
    assert nth < operations
    with failing(nth, errno.ENOSPC):
        try:
            report = do(source, tmp_path / "store", check=False)
        except Unavailable:
            report = None
    if report is not None:  # the catalog is derived: it is built elsewhere, or by the first question
        assert data_tree(tmp_path / "store") == whole
    do(source, tmp_path / "store")
    assert data_tree(tmp_path / "store") == whole
    assert verify_store(str(tmp_path / "store"), deep=True).ok


def test_a_disk_that_is_full_from_the_start_says_what_to_do(source: Path, tmp_path: Path) -> None:
    with failing(1, errno.ENOSPC), pytest.raises(Unavailable, match="run the same command again") as error:
        do(source, tmp_path / "store")
    assert error.value.kind == "disk_full"
    assert do(source, tmp_path / "store").windows == 6


def test_a_folder_that_may_not_be_written_to(source: Path, tmp_path: Path) -> None:
    with failing(3, errno.EACCES), pytest.raises(Unavailable) as error:
        do(source, tmp_path / "store")
    assert error.value.kind == "read_only"
