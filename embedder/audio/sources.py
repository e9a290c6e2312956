"""The bytes of one recording, on a disk or in an object store, for those who decode them and those who read their headers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from embedder.audio.findings import Refused
from sonotheque.core.errors import SonothequeError
from sonotheque.core.outcome import Status
from sonotheque.core.places import is_object, join
from sonotheque.core.recording import SourceFile

# A path may have become a named pipe since it was listed: opening one must not wait for its writer.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class ByteSpan:
    """The bytes ``[offset, offset + size)`` of a file, behind a header of ours, as a file of their own.

    Parameters
    ----------
    file : binary file
        Unbuffered; read by nobody else.
    offset, size : int
        In bytes.
    header : bytes
        What to read before them.

    Attributes
    ----------
    error : Exception or None
        What went wrong in a read, of whatever kind; kept here, because exceptions do not cross libsndfile's callbacks. Nothing is
        read after it: what came later would look like the sound that should have come here.
    """

    def __init__(self, file: BinaryIO, offset: int, size: int, header: bytes = b"") -> None:
        self._file = file
        self._offset, self._header, self._position = offset, header, 0
        self._size = len(header) + size
        self.error: Exception | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and return the new position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer as far as the span goes, and return how many bytes that were."""
        if self.error is not None:
            return 0
        wanted = max(0, min(len(buffer), self._size - self._position))
        own = self._header[self._position : self._position + wanted]
        memoryview(buffer)[: len(own)] = own
        done = len(own)
        try:
            if done < wanted:
                self._file.seek(self._offset + self._position + done - len(self._header))
            while done < wanted:
                got = self._file.readinto(memoryview(buffer)[done:wanted])  # type: ignore[attr-defined]
                if not got:
                    break
                done += got
        except (OSError, SonothequeError, RuntimeError, ValueError, CancelledError) as error:
            # Whoever reads on raises it: inside libsndfile it would be lost, and the file seem to end.
            self.error = error
        self._position += done
        return done


class SoundBytes(Protocol):
    """An open recording.

    Attributes
    ----------
    size_bytes, mtime_ns : int
        When it was opened.
    """

    size_bytes: int
    mtime_ns: int

    def now(self) -> tuple[int, int]:
        """Return size and modification time as they are now."""

    def file(self) -> BinaryIO:
        """Return the bytes as a file with a position of its own; the one to call closes it."""

    def span(self, offset: int, size: int, header: bytes = b"") -> ByteSpan:
        """Return a part of it as libsndfile takes it; one at a time."""

    def whole(self) -> int | ByteSpan:
        """Return all of it as libsndfile takes it: a descriptor of a file on disk, else a span."""


def open_bytes(path: str, stack: ExitStack) -> SoundBytes:
    """Open a path or an address.

    Parameters
    ----------
    path : str
    stack : ExitStack
        Takes over the closing.

    Raises
    ------
    Refused
        If there is something that is no file.
    OSError
        If it cannot be opened.
    """
    return _Object(path) if is_object(path) else _Disk(path, stack)


@contextmanager
def open_header(root: str, source: SourceFile) -> Iterator[BinaryIO]:
    """Give the bytes of a recording below a root, a folder or an address, for a look at its header.

    Raises
    ------
    OSError
        If a file cannot be opened.
    SonothequeError
        If an object store does not answer.
    """
    if is_object(root):
        from embedder.remote import header_of

        with header_of(join(root, source.path), source.size_bytes) as handle:
            yield handle
    else:
        with (Path(root) / source.path).open("rb") as file:
            yield file


class _Disk:
    """A file of this machine."""

    def __init__(self, path: str, stack: ExitStack) -> None:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Refused(Status.UNREADABLE, "is not a regular file")
        self._path = path
        self.fd = os.open(path, _OPEN_FLAGS)
        stack.callback(os.close, self.fd)
        self.size_bytes, self.mtime_ns = self.now()

    def now(self) -> tuple[int, int]:
        info = os.fstat(self.fd)
        return info.st_size, info.st_mtime_ns

    def file(self) -> BinaryIO:
        return open(self._path, "rb", buffering=0)

    def span(self, offset: int, size: int, header: bytes = b"") -> ByteSpan:
        # Of the file that was opened, whatever has its name by now.
        return ByteSpan(os.fdopen(self.fd, "rb", buffering=0, closefd=False), offset, size, header)

    def whole(self) -> int:
        return self.fd


class _Object:
    """An object: every range is asked of the version that was there when it was opened."""

    def __init__(self, url: str) -> None:
        from embedder.remote import open_whole

        self._opened, self.size_bytes, self.mtime_ns = open_whole(url)

    def now(self) -> tuple[int, int]:
        return self.size_bytes, self.mtime_ns  # another version would have answered no range at all

    def file(self) -> BinaryIO:
        return cast("BinaryIO", self._opened.again())

    def span(self, offset: int, size: int, header: bytes = b"") -> ByteSpan:
        return ByteSpan(self.file(), offset, size, header)

    def whole(self) -> ByteSpan:
        return self.span(0, self.size_bytes)
