"""Every file operation of a commit goes through one small object, so that a test can make the Nth call fail and an
object store can stand behind it. Paths are plain strings.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol

from sonotheque.core.errors import Unavailable
from sonotheque.core.places import is_object
from store.listing import SizesBelow

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES)


class FileOps(Protocol):
    """What a commit needs of a file system."""

    def makedirs(self, path: str) -> None:
        """Make a folder and its parents, and force their names to disk; one that is there is fine."""

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing; raises FileExistsError if the name is taken."""

    def sync_file(self, handle: BinaryIO) -> None:
        """Flush a file and force it to disk. After an error the file must be thrown away, not synced again."""

    def link_new(self, source: str, target: str) -> bool:
        """Give a finished file its final name without overwriting. False if the name is taken by another file."""

    def replace(self, source: str, target: str) -> None:
        """Give a finished file the name of another, at once: a reader sees the old or the new one, never half."""

    def sync_dir(self, path: str) -> None:
        """Force a folder's entries to disk."""

    def unlink(self, path: str) -> None:
        """Remove a name; one that is gone is fine."""

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""

    def exists(self, path: str) -> bool:
        """Tell whether the name is there."""

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in a folder; none if the folder is not there."""

    def size(self, path: str) -> int:
        """Return a file's size; raises FileNotFoundError if it is not there."""

    def sizes_below(self, path: str, depth: int) -> Mapping[str, int]:
        """Return relative path -> bytes of the files ``depth`` names below a folder, sorted name by name."""


class LocalFileOps:
    """A POSIX file system: a laptop's disk, NFS, Lustre. See :class:`FileOps`."""

    _torn: ClassVar[set[str]] = set()  # files that this process left without the end of their last line

    def makedirs(self, path: str) -> None:
        """Make a folder and its parents, each forced to disk in the folder that holds it."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path.rstrip("/")) or "."
        self.makedirs(parent)
        os.makedirs(path, exist_ok=True)
        with contextlib.suppress(PermissionError):  # a folder that may be written to and not be opened
            self.sync_dir(parent)

    def create(self, path: str) -> BinaryIO:
        """Open a new file for writing."""
        return open(path, "xb")

    def sync_file(self, handle: BinaryIO) -> None:
        """Flush and fsync."""
        handle.flush()
        os.fsync(handle.fileno())

    def link_new(self, source: str, target: str) -> bool:
        """Hard link; where the file system has none, ``renameat2(RENAME_NOREPLACE)`` of a copy of the name."""
        try:
            os.link(source, target)
        except FileExistsError:
            # Over NFS a link whose answer was lost is sent again and then says "exists": it is ours if the inode is.
            return _same_file(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS or not os.path.exists(source):
                raise
            return _rename_new(source, target)
        return True

    def replace(self, source: str, target: str) -> None:
        """Rename over."""
        os.replace(source, target)

    def sync_dir(self, path: str) -> None:
        """Fsync a folder; file systems that cannot (some FUSE mounts) are left alone."""
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        Path(path).unlink(missing_ok=True)

    def append(self, path: str, data: bytes, *, forced: bool = False) -> None:
        """Add whole lines to a file, in one write where the disk takes it: lines of several processes do not mix.

        A line that this process could write only half of (a full disk) gets an end before the next one, which can so be read.
        Nothing but job files grows: a commit needs no such call, and an object store could not give it.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            data = b"\n" + data if data and path in self._torn else data
            done = 0
            try:
                while done < len(data):
                    done += os.write(descriptor, data[done:])
            finally:
                if done:
                    (self._torn.discard if data[:done].endswith(b"\n") else self._torn.add)(path)
            if forced:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_folder(self, path: str) -> bool:
        """Make a folder that must be new, its name not yet forced to disk. False if the name is taken."""
        try:
            os.mkdir(path)
        except FileExistsError:
            return False
        return True

    def read(self, path: str) -> bytes:
        """Return a file's bytes."""
        return Path(path).read_bytes()

    def exists(self, path: str) -> bool:
        """Tell whether the name is there."""
        return os.path.lexists(path)

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in a folder."""
        try:
            return sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, path: str) -> int:
        """Return a file's size."""
        return os.path.getsize(path)

    def sizes_below(self, path: str, depth: int) -> Mapping[str, int]:
        """Return the files so deep below a folder; each is looked at when its size is asked for."""
        return SizesBelow(self, path, depth)


def ops_of(root: str) -> FileOps:
    """Return the file operations of a store: a folder's, or an object store's for an address such as ``s3://bucket/archive``."""
    if not is_object(root):
        return LocalFileOps()
    from store.objects import ObjectFileOps  # fsspec: for addresses alone

    return ObjectFileOps(root)


def _same_file(source: str, target: str) -> bool:
    try:
        return os.path.samefile(source, target)
    except FileNotFoundError:
        return False


def _rename_new(source: str, target: str) -> bool:
    """Rename without overwriting, atomically where the kernel can, else by looking first."""
    made = kernel_rename_new(source, target)
    if made is not None:
        return made
    if os.path.lexists(target):
        return False
    os.rename(source, target)
    return True


def kernel_rename_new(source: str, target: str) -> bool | None:
    """Rename without overwriting, in one step of the kernel; None where the kernel or the file system has no such step."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        result = libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
        if result == 0:
            return True
        code = ctypes.get_errno()
        if code == errno.EEXIST:
            return False
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), source, None, target)
    return None


@contextlib.contextmanager
def store_errors(where: str) -> Iterator[None]:
    """Turn a full or read-only disk into an error that says what to do; let everything else through."""
    try:
        yield
    except OSError as error:
        message = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Unavailable(
                f"no room to write in {where}: {message}. Nothing that was committed is harmed. Free some space (or raise the "
                "quota) and run the same command again: it goes on where it stopped",
                kind="disk_full",
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise Unavailable(
                f"cannot write in {where}: {message}. Choose a store folder that you may write to, or change its permissions",
                kind="read_only",
            ) from error
        raise


def sync_up(ops: FileOps, folder: str, top: str) -> None:
    """Force a folder's entries to disk, and those of the folders above it up to ``top``.

    A folder on the way may have been made by another process that has not forced its name to disk yet.
    """
    while len(folder) > len(top):
        ops.sync_dir(folder)
        folder = folder.rpartition("/")[0]
    ops.sync_dir(top)


def put_new(ops: FileOps, tmp_folder: str, tmp_name: str, target: str, data: bytes) -> bool:
    """Write a small file under a new name: whole or not at all, never over another.

    Returns
    -------
    bool
        False if the name is taken (its bytes are left as they are).
    """
    temporary = f"{tmp_folder}/{tmp_name}"
    ops.makedirs(tmp_folder)
    folder = target.rpartition("/")[0]
    ops.makedirs(folder)
    try:
        with ops.create(temporary) as handle:
            handle.write(data)
            ops.sync_file(handle)
        made = ops.link_new(temporary, target)
        ops.sync_dir(folder)
    finally:
        ops.unlink(temporary)
    return made


def put_over(ops: FileOps, tmp_folder: str, tmp_name: str, target: str, data: bytes, *, forced: bool = True) -> None:
    """Write a small file over another: a reader sees the old or the new one, never half.

    In a store only one file may change so (FORMAT.md, section 2); in a job folder several do.

    Parameters
    ----------
    forced : bool
        Whether its bytes and name must outlast a power cut; without it a power cut may leave the old file, or an empty one.
    """
    temporary = f"{tmp_folder}/{tmp_name}"
    ops.makedirs(tmp_folder)
    try:
        with ops.create(temporary) as handle:
            handle.write(data)
            if forced:
                ops.sync_file(handle)
        ops.replace(temporary, target)
        if forced:
            ops.sync_dir(target.rpartition("/")[0])
    finally:
        ops.unlink(temporary)
