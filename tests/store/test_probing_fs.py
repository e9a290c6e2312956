"""What a file system can do is found by trying, told in words, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from sonotheque.core.errors import Unavailable
from store.fsops import LocalFileOps
from store.probing_fs import FsCalls, probe_file_system


class Poor(FsCalls):
    """A file system that lacks what it is told to."""

    def __init__(self, *lacks: str, code: int = errno.EPERM) -> None:
        self.lacks, self.code = lacks, code

    def _may(self, what: str) -> None:
        if what in self.lacks:
            raise OSError(self.code, os.strerror(self.code))

    def link(self, source: str, target: str) -> None:
        self._may("links")
        super().link(source, target)

    def rename_new(self, source: str, target: str) -> bool | None:
        return None if "rename" in self.lacks else super().rename_new(source, target)

    def sync_dir(self, path: str) -> None:
        self._may("sync")
        super().sync_dir(path)

    def lock(self, path: str) -> None:
        self._may("locks")
        super().lock(path)


def left(root: Path) -> list[str]:
    return [p.name for p in root.rglob("*") if p.is_file()]


def test_a_plain_disk_has_everything(tmp_path: Path) -> None:
    found = probe_file_system(str(tmp_path / "new" / "store"))
    assert found.to_json() == {
        "commit": "link",
        "hard_links": True,
        "rename_new": True,
        "sync_folders": True,
        "locks": True,
    }
    assert found.notes("store") == []
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("lacks", "commit", "words"),
    [
        (["links"], "rename", ["no hard links"]),
        (["links", "rename"], "look", ["neither hard links nor"]),
        (["rename"], "link", []),
        (["sync"], "link", ["power cut"]),
        (["locks"], "link", ["no locks"]),
        (["links", "rename", "sync", "locks"], "look", ["neither", "power cut", "no locks"]),
    ],
    ids=lambda v: "+".join(v) if isinstance(v, list) else "",
)
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.ENOLCK, errno.EMLINK])
def test_what_is_missing_is_told(tmp_path: Path, lacks: list[str], commit: str, words: list[str], code: int) -> None:
    found = probe_file_system(str(tmp_path), calls=Poor(*lacks, code=code))
    assert found.commit == commit
    assert (found.hard_links, found.rename_new) == ("links" not in lacks, "rename" not in lacks)
    assert (found.sync_folders, found.locks) == ("sync" not in lacks, "locks" not in lacks)
    notes = found.notes("archive")
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert word in note
        assert "archive" in note
    assert left(tmp_path) == []


def test_a_rename_that_overwrites_is_none(tmp_path: Path) -> None:
    class Overwrites(Poor):
        def rename_new(self, source: str, target: str) -> bool | None:
            os.replace(source, target)
            return True

    assert probe_file_system(str(tmp_path), calls=Overwrites("links")).commit == "look"
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EROFS, "read_only"),
        (errno.EACCES, "read_only"),
        (errno.EPERM, "read_only"),
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
    ],
)
@pytest.mark.parametrize("call", ["makedirs", "create", "sync_file"])
def test_a_disk_that_cannot_be_written_to(tmp_path: Path, call: str, code: int, kind: str) -> None:
    class Refusing(LocalFileOps):
        def makedirs(self, path: str) -> None:
            self._refuse("makedirs")
            super().makedirs(path)

        def create(self, path: str) -> BinaryIO:
            self._refuse("create")
            return super().create(path)

        def sync_file(self, handle: BinaryIO) -> None:
            self._refuse("sync_file")

        def _refuse(self, name: str) -> None:
            if name == call:
                raise OSError(code, os.strerror(code))

    with pytest.raises(Unavailable) as caught:
        probe_file_system(str(tmp_path), Refusing())
    assert caught.value.kind == kind
    assert left(tmp_path) == []


def test_a_disk_that_gives_back_other_bytes(tmp_path: Path) -> None:
    class Lossy(LocalFileOps):
        def read(self, path: str) -> bytes:
            return b""

    with pytest.raises(Unavailable, match="does not give back"):
        probe_file_system(str(tmp_path), Lossy())
    assert left(tmp_path) == []


def test_faults_that_pass_come_through_as_they_are(tmp_path: Path) -> None:
    class Failing(LocalFileOps):
        def create(self, path: str) -> BinaryIO:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError) as caught:
        probe_file_system(str(tmp_path), Failing())
    assert caught.value.errno == errno.EIO
