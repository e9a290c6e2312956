"""Reads objects by ranges: a file to pyarrow, and a file system to DuckDB."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from fsspec import AbstractFileSystem

from store.remote import filesystem, patiently

_AHEAD: Final = (
    1 << 18
)  # small reads of a Parquet file come side by side: a footer, or the identity columns of a row group
_BLOCK: Final = 1 << 23


class ObjectReader(io.RawIOBase):
    """An object opened for reading; nothing of it is fetched but what is asked for, and a little ahead.

    Parameters
    ----------
    url : str
    size : int, optional
        Where it is known; else it is asked for.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    """

    def __init__(self, url: str, size: int | None = None) -> None:
        super().__init__()
        self._fs, self._url = filesystem(url), url
        self.size = size_of(url) if size is None else size
        self._at = 0
        self._held_at, self._held = 0, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes; all of the rest without a number."""
        left = max(0, self.size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._range(self._at, self._at + wanted)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        """Return the rest."""
        return self.read(-1)

    def _range(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        inside = start - self._held_at
        if not (inside >= 0 and end - self._held_at <= len(self._held)):
            until = min(self.size, max(end, start + _AHEAD))
            first = min(start, max(0, until - _AHEAD))  # the end of a file is read backwards
            found = read_range(self._url, first, until)
            if len(found) != until - first:
                raise OSError(f"{self._url}: {until - first} bytes were asked for at {first}, {len(found)} came")
            self._held_at, self._held = first, found
            inside = start - first
        return self._held[inside : inside + end - start]


def size_of(url: str) -> int:
    """Return an object's size; raises FileNotFoundError if there is none of this name."""
    fs = filesystem(url)
    found = patiently(url, lambda: fs.info(url))
    if found.get("type") != "file":
        raise FileNotFoundError(f"{url} is no object")
    return int(found["size"])


def read_range(url: str, start: int, end: int) -> bytes:
    """Return the bytes from ``start`` up to ``end``."""
    fs = filesystem(url)
    return bytes(patiently(url, lambda: fs.cat_file(url, start=start, end=end)))


def read_tail(url: str, size: int) -> bytes:
    """Return an object's last bytes, all of them if it has no more, in one request."""
    fs = filesystem(url)
    return bytes(patiently(url, lambda: fs.cat_file(url, start=-size)))


def blocks(url: str) -> Iterator[bytes]:
    """Yield an object's bytes in order."""
    size = size_of(url)
    for start in range(0, size, _BLOCK):
        yield read_range(url, start, min(size, start + _BLOCK))


class PartsFileSystem(AbstractFileSystem):
    """What DuckDB needs to read a store's parts: names are whole addresses, sizes are asked for once, since parts never change.

    It writes nothing, whatever a query asks for.
    """

    protocol = ("s3", "gs")
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[str, int] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return name, size and type."""
        if path not in self._sizes:
            self._sizes[path] = size_of(path)
        return {"name": path, "size": self._sizes[path], "type": "file"}

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Return the object itself: DuckDB is given lists of files."""
        found = self.info(path)
        return [found if detail else path]

    def glob(self, path: str, **kwargs: Any) -> list[str]:
        """Return the object of this very name, if it is there."""
        try:
            return [str(self.info(path)["name"])]
        except FileNotFoundError:
            return []

    def modified(self, path: str) -> datetime:
        """Return one moment for all: a part's bytes never change."""
        return datetime(1970, 1, 1)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> ObjectReader:
        if mode != "rb":
            raise PermissionError(f"{path}: a store's objects are not written to by queries")
        return ObjectReader(path, int(self.info(path)["size"]))
