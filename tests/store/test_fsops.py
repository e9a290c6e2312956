"""The contract of file operations, and what LocalFileOps does where a file system has no hard links."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path

import pytest

from sonotheque.core.errors import Unavailable
from store import fsops
from store.fsops import FileOps, LocalFileOps, put_new, put_over, store_errors
from tests.store.faults import FAULTS, FaultyOps, ForgetfulOps, PowerCut


class FileOpsContract:
    """What every implementation of FileOps must do."""

    @pytest.fixture
    def ops(self, tmp_path: Path) -> FileOps:
        raise NotImplementedError

    def make(self, ops: FileOps, path: str, data: bytes) -> str:
        with ops.create(path) as handle:
            handle.write(data)
            ops.sync_file(handle)
        return path

    def test_makedirs_makes_parents_and_may_be_repeated(self, ops, tmp_path):
        folder = f"{tmp_path}/a/b/c"
        ops.makedirs(folder)
        ops.makedirs(folder)
        assert ops.exists(folder) and ops.listdir(f"{tmp_path}/a/b") == ["c"]

    def test_makedirs_over_a_file_fails(self, ops, tmp_path):
        self.make(ops, f"{tmp_path}/file", b"x")
        with pytest.raises(OSError, match="file"):
            ops.makedirs(f"{tmp_path}/file/below")

    def test_create_refuses_a_taken_name(self, ops, tmp_path):
        path = self.make(ops, f"{tmp_path}/x", b"first")
        with pytest.raises(FileExistsError):
            ops.create(path)
        assert ops.read(path) == b"first"

    def test_link_new_gives_the_name(self, ops, tmp_path):
        source = self.make(ops, f"{tmp_path}/x.tmp", b"data")
        assert ops.link_new(source, f"{tmp_path}/x") is True
        assert ops.read(f"{tmp_path}/x") == b"data"

    def test_link_new_never_overwrites(self, ops, tmp_path):
        first = self.make(ops, f"{tmp_path}/1.tmp", b"first")
        second = self.make(ops, f"{tmp_path}/2.tmp", b"second")
        assert ops.link_new(first, f"{tmp_path}/x") is True
        assert ops.link_new(second, f"{tmp_path}/x") is False
        assert ops.read(f"{tmp_path}/x") == b"first"
        assert ops.read(second) == b"second"  # the loser still has its file, to compare or to drop

    def test_link_new_never_overwrites_with_equal_bytes(self, ops, tmp_path):
        first = self.make(ops, f"{tmp_path}/1.tmp", b"same")
        second = self.make(ops, f"{tmp_path}/2.tmp", b"same")
        assert ops.link_new(first, f"{tmp_path}/x") is True
        assert ops.link_new(second, f"{tmp_path}/x") is False

    def test_link_new_without_source_or_folder_fails(self, ops, tmp_path):
        with pytest.raises(FileNotFoundError):
            ops.link_new(f"{tmp_path}/nothing", f"{tmp_path}/x")
        source = self.make(ops, f"{tmp_path}/x.tmp", b"data")
        with pytest.raises(FileNotFoundError):
            ops.link_new(source, f"{tmp_path}/no-folder/x")
        assert ops.read(source) == b"data"

    def test_replace_takes_the_place_of_another_file(self, ops, tmp_path):
        old = self.make(ops, f"{tmp_path}/x", b"old")
        new = self.make(ops, f"{tmp_path}/x.tmp", b"new")
        ops.replace(new, old)
        assert ops.read(old) == b"new" and not ops.exists(new)

    def test_replace_without_source_changes_nothing(self, ops, tmp_path):
        old = self.make(ops, f"{tmp_path}/x", b"old")
        with pytest.raises(FileNotFoundError):
            ops.replace(f"{tmp_path}/nothing", old)
        assert ops.read(old) == b"old"

    def test_unlink_may_be_repeated(self, ops, tmp_path):
        path = self.make(ops, f"{tmp_path}/x", b"data")
        ops.unlink(path)
        ops.unlink(path)
        assert not ops.exists(path)

    @pytest.mark.parametrize("name", ["missing", "missing/below", "file", "file/below"])
    def test_listdir_of_what_is_no_folder_is_empty(self, ops, tmp_path, name):
        self.make(ops, f"{tmp_path}/file", b"x")
        assert ops.listdir(f"{tmp_path}/{name}") == []

    def test_listdir_is_sorted(self, ops, tmp_path):
        for name in ("10", "b", "9", "a"):
            self.make(ops, f"{tmp_path}/{name}", b"")
        assert ops.listdir(str(tmp_path)) == ["10", "9", "a", "b"]

    def test_read_of_missing_fails(self, ops, tmp_path):
        with pytest.raises(FileNotFoundError):
            ops.read(f"{tmp_path}/missing")

    def test_sync_dir_of_missing_fails(self, ops, tmp_path):
        with pytest.raises(FileNotFoundError):
            ops.sync_dir(f"{tmp_path}/missing")

    def test_put_new_is_whole_and_first_wins(self, ops, tmp_path):
        target = f"{tmp_path}/deep/er/x.json"
        assert put_new(ops, f"{tmp_path}/_tmp", "1", target, b"first") is True
        assert put_new(ops, f"{tmp_path}/_tmp", "2", target, b"second") is False
        assert ops.read(target) == b"first"
        assert ops.listdir(f"{tmp_path}/_tmp") == []

    def test_put_over_replaces_at_once(self, ops, tmp_path):
        target = self.make(ops, f"{tmp_path}/x.json", b"old")
        put_over(ops, f"{tmp_path}/_tmp", "1", target, b"new")
        assert ops.read(target) == b"new" and ops.listdir(f"{tmp_path}/_tmp") == []


class TestLocal(FileOpsContract):
    @pytest.fixture
    def ops(self, tmp_path):
        return LocalFileOps()


class TestFaultyWithoutFault(FileOpsContract):
    """The test double itself keeps the contract: otherwise a sweep would prove nothing."""

    @pytest.fixture
    def ops(self, tmp_path):
        return FaultyOps()


class TestForgetful(FileOpsContract):
    @pytest.fixture
    def ops(self, tmp_path):
        return ForgetfulOps(str(tmp_path))


def refuse_links(monkeypatch, code: int) -> None:
    def refuse(source, target):
        if not os.path.lexists(source):  # as a kernel does, names are looked at first
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source, None, target)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, target)
        raise OSError(code, os.strerror(code), source, None, target)

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK], ids=errno.errorcode.get)
class TestWithoutHardLinks(FileOpsContract):
    """FAT, exFAT, some FUSE and SMB mounts: ``renameat2`` stands in."""

    @pytest.fixture
    def ops(self, tmp_path, monkeypatch, code):
        refuse_links(monkeypatch, code)
        return LocalFileOps()


class NoRenameat2:
    """A C library of a system without the call."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


class OldKernel(NoRenameat2):
    """The library has the call and the kernel or the file system has not."""

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1


@pytest.mark.parametrize("library", [NoRenameat2, OldKernel], ids=lambda c: c.__name__)
class TestWithoutHardLinksAndRenameat2(FileOpsContract):
    @pytest.fixture
    def ops(self, tmp_path, monkeypatch, library):
        refuse_links(monkeypatch, errno.EPERM)
        monkeypatch.setattr(fsops.ctypes, "CDLL", library)
        return LocalFileOps()


def test_rename_itself_keeps_a_taken_target(tmp_path, monkeypatch):
    """The target appears after ``os.link`` was refused: the rename must see it."""

    def refuse(source, target):
        Path(target).write_bytes(b"other")
        raise PermissionError(errno.EPERM, "no links here", source, None, target)

    monkeypatch.setattr(os, "link", refuse)
    source = tmp_path / "x.tmp"
    source.write_bytes(b"mine")
    assert LocalFileOps().link_new(str(source), str(tmp_path / "x")) is False
    assert (tmp_path / "x").read_bytes() == b"other" and source.read_bytes() == b"mine"


def test_a_link_whose_answer_was_lost_counts_as_won(tmp_path, monkeypatch):
    """NFS sends a link again when the answer got lost, and the second one says EEXIST."""
    real = os.link

    def link_twice(source, target):
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    source = tmp_path / "x.tmp"
    source.write_bytes(b"mine")
    assert LocalFileOps().link_new(str(source), str(tmp_path / "x")) is True


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.ESTALE], ids=errno.errorcode.get)
def test_other_link_errors_are_not_worked_around(tmp_path, monkeypatch, code):
    refuse_links(monkeypatch, code)
    source = tmp_path / "x.tmp"
    source.write_bytes(b"mine")
    with pytest.raises(OSError) as caught:
        LocalFileOps().link_new(str(source), str(tmp_path / "x"))
    assert caught.value.errno == code
    assert source.exists() and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("code", "passes"),
    [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)],
    ids=["EINVAL", "ENOTSUP", "EIO"],
)
def test_sync_dir_forgives_only_file_systems_that_cannot(tmp_path, monkeypatch, code, passes):
    def refuse(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    if passes:
        LocalFileOps().sync_dir(str(tmp_path))
    else:
        with pytest.raises(OSError):
            LocalFileOps().sync_dir(str(tmp_path))


def test_new_folders_are_forced_to_disk_in_their_parents(tmp_path):
    ops = ForgetfulOps(str(tmp_path))
    (tmp_path / "old").mkdir()
    ops.makedirs(f"{tmp_path}/old/new/newer")
    assert {path for op, path in ops.log if op == "sync_dir"} >= {f"{tmp_path}/old", f"{tmp_path}/old/new"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EFBIG, "disk_full"),
        (errno.EROFS, "read_only"),
        (errno.EACCES, "read_only"),
        (errno.EPERM, "read_only"),
    ],
    ids=lambda v: errno.errorcode.get(v, v),
)
def test_errors_that_a_person_can_mend_say_so(code, kind):
    with pytest.raises(Unavailable) as caught, store_errors("/the/store"):
        raise OSError(code, os.strerror(code))
    assert caught.value.kind == kind
    assert "/the/store" in caught.value.message


@pytest.mark.parametrize("error", [OSError(errno.EIO, "io"), OSError(errno.ESTALE, "stale"), ValueError("x")], ids=repr)
def test_other_errors_go_through_unchanged(error):
    with pytest.raises(type(error)) as caught, store_errors("/the/store"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("fault", FAULTS)
def test_put_new_is_whole_or_nothing_at_every_call(tmp_path, fault):
    data = b'{"a": 1}' * 100
    n = 0
    while True:
        root = f"{tmp_path}/{n}"
        ops = FaultyOps(n, fault)
        made = None
        with contextlib.suppress(OSError, PowerCut):
            made = put_new(ops, f"{root}/_tmp", "x", f"{root}/out/x.json", data)
        target = Path(root, "out", "x.json")
        assert not target.exists() or target.read_bytes() == data, f"torn after call {n}, {ops.failed_call}"
        if ops.failed_call is None:
            assert made is True
            break
        again = put_new(LocalFileOps(), f"{root}/_tmp", "y", f"{root}/out/x.json", data)
        assert target.read_bytes() == data and again is not None
        n += 1
    assert n >= 8


@pytest.mark.parametrize("fault", FAULTS)
def test_put_over_leaves_the_old_or_the_new_at_every_call(tmp_path, fault):
    n = 0
    while True:
        root = tmp_path / str(n)
        root.mkdir()
        target = root / "x.json"
        target.write_bytes(b"old bytes")
        ops = FaultyOps(n, fault)
        try:
            put_over(ops, f"{root}/_tmp", "x", str(target), b"new bytes")
        except (OSError, PowerCut):
            assert ops.failed_call is not None
        assert target.read_bytes() in (b"old bytes", b"new bytes")
        if ops.failed_call is None:
            assert target.read_bytes() == b"new bytes"
            break
        put_over(LocalFileOps(), f"{root}/_tmp", "y", str(target), b"new bytes")
        assert target.read_bytes() == b"new bytes"
        n += 1
    assert n >= 7 and "replace" in ops.calls
