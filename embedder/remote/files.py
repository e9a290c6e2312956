"""An object as a file that is read by ranges: what libsndfile and the header readers take for a file on disk."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import TYPE_CHECKING, BinaryIO, Final

from embedder.remote.asking import look_at
from embedder.remote.blocks import Block, shared_cache
from embedder.remote.faults import RemoteError, as_error

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES: Final = 1 << 20
HEADER_BLOCK_BYTES: Final = 1 << 16
_AHEAD: Final = 3  # blocks: what comes while the one before is decoded


class RangeFile(io.RawIOBase):
    """One version of an object, readable and seekable.

    Parameters
    ----------
    url : str
    size_bytes : int
    version : str
        Every range is asked of this version only; empty for any.
    block_bytes : int
        Ranges are whole blocks of this size.
    ahead : int
        Blocks that are fetched before they are asked for, once reading goes forwards.

    Attributes
    ----------
    error : RemoteError or None
        The last one raised here: readers of headers take it for the end of a file, or for damage.
    """

    def __init__(
        self, url: str, size_bytes: int, version: str = "", *, block_bytes: int = BLOCK_BYTES, ahead: int = _AHEAD
    ) -> None:
        super().__init__()
        self.name = url
        self._size, self._version = size_bytes, version
        self._block_bytes, self._ahead = block_bytes, ahead
        self._cache = shared_cache()
        self._position = 0
        self._last = -1
        self._held = b""
        self.error: RemoteError | None = None

    def again(self) -> RangeFile:
        """Return the same version once more, with a position of its own."""
        return RangeFile(self.name, self._size, self._version, block_bytes=self._block_bytes, ahead=self._ahead)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and return the new position; nothing is fetched."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError(f"{self.name}: position {origin + offset} lies before the beginning")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer as far as the object goes, and return how many bytes that were."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self._size:
            index, within = divmod(self._position, self._block_bytes)
            piece = memoryview(self._block(index))[within : within + len(view) - done]
            if not piece:
                break  # the object has become shorter and nobody pinned its version
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def _block(self, index: int) -> bytes:
        if index == self._last:
            return self._held
        wanted = self._cache.begin(self._range(index))
        if self._ahead and (index == self._last + 1 or wanted.done()):
            # Within half of the cache: several decoders share it.
            room = max(1, self._cache.limit_bytes // (2 * self._block_bytes))
            for later in range(index + 1, index + 1 + min(self._ahead, room)):
                if later * self._block_bytes < self._size:
                    self._cache.begin(self._range(later))
        try:
            self._held, self._last = self._cache.read(self._range(index), wanted), index
        except RemoteError as error:
            self.error = error
            raise
        return self._held

    def _range(self, index: int) -> Block:
        start = index * self._block_bytes
        return Block(self.name, self._version, start, min(start + self._block_bytes, self._size))


def open_whole(url: str) -> tuple[RangeFile, int, int]:
    """Return an object for decoding, with its size and modification time in ns.

    Raises
    ------
    RemoteError
        If it is not there or may not be read.
    """
    facts = look_at(url)
    return RangeFile(url, facts.size_bytes, facts.version), facts.size_bytes, facts.mtime_ns


def open_header(url: str, size_bytes: int) -> RangeFile:
    """Return an object of a known size for a look at its header: small blocks, and none before it is needed."""
    return RangeFile(url, size_bytes, block_bytes=HEADER_BLOCK_BYTES, ahead=0)


@contextmanager
def header_of(url: str, size_bytes: int) -> Iterator[BinaryIO]:
    """Give an object for a look at its header.

    Raises
    ------
    SonothequeError
        At the end, if the store was at fault: that says nothing of a recording, and would cost it the time and place its header has.
        One that is gone or refused is left to those who decode it.
    """
    file = open_header(url, size_bytes)
    try:
        yield BufferedReader(file)
    finally:
        if file.error is not None and file.error.kind not in ("absent", "changed", "forbidden"):
            raise as_error(file.error)
