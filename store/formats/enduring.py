"""A file for a library that does not survive a failed write: the error is kept, what follows goes to memory, and it is told after."""

from __future__ import annotations

import io
from pathlib import Path


class EnduringFile(io.RawIOBase):
    """A new file whose writes never raise.

    HDF5 can neither close nor drop a file after a write has failed, and takes the process with it. So it is told that all is
    well, while ``error`` says that it is not.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    error : OSError or None
        The first that happened.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b", buffering=0)
        self._position = self._size = 0
        self._late: list[tuple[int, bytes]] = []  # what could not be written, so that it can be read back
        self.error: OSError | None = None

    def close(self) -> None:
        """Close it."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return the new position."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        self._size = self._position if size is None else size
        try:
            if self.error is None:
                self._file.truncate(self._size)
        except OSError as error:
            self.error = error
        return self._size

    def write(self, data: object) -> int:
        """Write all of the data."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        try:
            if self.error is None:
                self._file.seek(self._position)
                done = 0
                while done < len(view):
                    done += self._file.write(view[done:]) or 0
        except OSError as error:
            self.error = error
        if self.error is not None:
            self._late.append((self._position, bytes(view)))
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def readinto(self, buffer: object) -> int:
        """Fill a buffer as far as the file goes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        wanted = max(0, min(len(view), self._size - self._position))
        view[:wanted] = bytes(wanted)
        self._file.seek(self._position)
        done = 0
        while done < wanted and (got := self._file.readinto(view[done:wanted])):
            done += got
        for at, data in self._late:
            first, end = max(at, self._position), min(at + len(data), self._position + wanted)
            if first < end:
                view[first - self._position : end - self._position] = data[first - at : end - at]
        self._position += wanted
        return wanted
