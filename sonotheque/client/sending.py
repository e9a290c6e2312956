"""Sounds that are sent: read as they go, and sent again only if they can be gone back in."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Final

from sonotheque.core.errors import Invalid

_PIECE: Final = 1 << 16


class Body:
    """A sound on its way.

    Parameters
    ----------
    sound : bytes or binary file
        A file is sent from the position that it has to its end.

    Attributes
    ----------
    again : bool
        Whether it can be sent again; a pipe cannot.
    bytes : int or None
        How many there are, if that is known before they are read.
    """

    def __init__(self, sound: bytes | IO[bytes]) -> None:
        self._sound = sound
        self._start = 0
        self.again = True
        self.bytes: int | None = None
        if isinstance(sound, bytes):
            self.bytes = len(sound)
        elif _seekable(sound):
            self._start = sound.tell()
            self.bytes = max(0, sound.seek(0, io.SEEK_END) - self._start)
            sound.seek(self._start)
        else:
            self.again = False

    def content(self) -> bytes | Iterator[bytes]:
        """Return what is sent, from its beginning.

        Raises
        ------
        Invalid
            While it is read, if the file is not open in binary mode.
        """
        if isinstance(self._sound, bytes):
            return self._sound
        if self.again:
            self._sound.seek(self._start)
        return _pieces(self._sound, self.bytes)

    @property
    def headers(self) -> dict[str, str]:
        """Headers that tell of it."""
        return {} if self.bytes is None else {"Content-Length": str(self.bytes)}


def _seekable(file: IO[bytes]) -> bool:
    can = getattr(file, "seekable", None)
    return bool(can and can())


def _pieces(file: IO[bytes], size: int | None) -> Iterator[bytes]:
    left = size
    while left is None or left > 0:  # a file that grows meanwhile is sent as it was
        piece = file.read(_PIECE if left is None else min(_PIECE, left))
        if not isinstance(piece, bytes):
            raise Invalid("the sound is a file of text: open it in binary mode, as in open(path, 'rb')")
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece
