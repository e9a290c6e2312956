"""What was made before: in memory, on disk, and made once when many ask for it at the same time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final
from uuid import uuid4

_MARK: Final = b"sonotheque picture 1\n"
_DIGEST_BYTES: Final = 16
_TOUCH_S: Final = 600.0  # how exact "used last" is on disk, so that a look at a picture seldom writes
_STALE_S: Final = 3600.0  # a temporary file that is older belongs to a process that was killed
_FILL: Final = 0.9  # of the bound, after some had to go


class MemoryCache:
    """The blobs that were used last, up to a number of bytes.

    Parameters
    ----------
    bytes_max : int
        A blob larger than half of it is not kept.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max, self._bytes = bytes_max, 0
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are kept now."""
        return self._bytes

    def get(self, key: str) -> bytes | None:
        """Return a blob, or None."""
        with self._lock:
            blob = self._blobs.get(key)
            if blob is not None:
                self._blobs.move_to_end(key)
            return blob

    def put(self, key: str, blob: bytes) -> None:
        """Keep a blob; those used longest ago go."""
        if 2 * len(blob) > self._bytes_max:
            return
        with self._lock:
            self._bytes += len(blob) - len(self._blobs.pop(key, b""))
            self._blobs[key] = blob
            while self._bytes > self._bytes_max:
                self._bytes -= len(self._blobs.popitem(last=False)[1])


class DiskCache:
    """Blobs as files of a folder, up to a number of bytes; those used longest ago are removed.

    A file that is not whole, or not as it was written, is as if it were not there. A disk that is full or cannot be written keeps
    nothing, and nobody is told: what is kept here can be made again.

    Parameters
    ----------
    folder : Path
        Made when it is first needed.
    bytes_max : int
    """

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder, self._bytes_max = folder, bytes_max
        self._sizes: OrderedDict[str, int] | None = None  # key -> bytes, the one used longest ago first
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are kept now, as far as they were counted."""
        return self._bytes

    def get(self, key: str) -> bytes | None:
        """Return a blob, or None."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        digest, blob = data[len(_MARK) : len(_MARK) + _DIGEST_BYTES], data[len(_MARK) + _DIGEST_BYTES :]
        if not data.startswith(_MARK) or digest != _digest(blob):
            return None
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _TOUCH_S:
                os.utime(path)
        with self._lock:
            if self._sizes and key in self._sizes:
                self._sizes.move_to_end(key)
        return blob

    def put(self, key: str, blob: bytes) -> None:
        """Keep a blob, whole or not at all."""
        data = _MARK + _digest(blob) + blob
        if 2 * len(data) > self._bytes_max:
            return
        path = self._path(key)
        temporary = path.with_name(f".{uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            return
        with self._lock:
            self._count()
            if self._sizes is not None:
                self._bytes += len(data) - self._sizes.pop(key, 0)
                self._sizes[key] = len(data)
            gone = self._outgrown()
        for old in gone:
            with contextlib.suppress(OSError):
                self._path(old).unlink()

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _count(self) -> None:
        """Look once what is there from before."""
        if self._sizes is not None:
            return
        found: list[tuple[float, str, int]] = []
        with contextlib.suppress(OSError):
            for path in self._folder.glob("??/*"):
                with contextlib.suppress(OSError):
                    info = path.stat()
                    if not path.name.endswith(".tmp"):
                        found.append((info.st_mtime, path.name, info.st_size))
                    elif time.time() - info.st_mtime > _STALE_S:
                        path.unlink()
        self._sizes = OrderedDict((key, size) for _, key, size in sorted(found))
        self._bytes = sum(self._sizes.values())

    def _outgrown(self) -> list[str]:
        gone: list[str] = []
        if self._sizes is None or self._bytes <= self._bytes_max:
            return gone
        while self._sizes and self._bytes > _FILL * self._bytes_max:
            key, size = self._sizes.popitem(last=False)
            self._bytes -= size
            gone.append(key)
        return gone


def _digest(blob: bytes) -> bytes:
    return hashlib.blake2b(blob, digest_size=_DIGEST_BYTES).digest()


class OneAtATime:
    """Lets one of those who want the same thing make it, and gives it to all."""

    def __init__(self) -> None:
        self._going: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()

    def make(self, key: str, how: Callable[[], bytes]) -> bytes:
        """Return what ``how`` returns, or raise what it raises; it runs once for all who ask while it runs."""
        with self._lock:
            future = self._going.get(key)
            first = future is None
            if future is None:
                future = self._going[key] = Future()
        if not first:
            return future.result()
        try:
            made = how()
        except BaseException as error:
            self._end(key)
            future.set_exception(error)
            raise
        self._end(key)
        future.set_result(made)
        return made

    def _end(self, key: str) -> None:
        with self._lock:
            del self._going[key]
