"""Snippets and pictures of pieces of sound, each with a tag that changes only when it does, and kept once they are made."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from search_api.listening import drawing, encoding
from search_api.listening.cache import DiskCache, MemoryCache, OneAtATime
from search_api.listening.lookup import PieceMemo
from search_api.listening.pieces import Piece, SampleSource, open_source
from search_api.listening.wishes import AudioWish, PictureWish
from search_api.locating import Locator
from sonotheque.core.errors import Limit, Unavailable
from sonotheque.core.ids import digest_of
from store.formats.text import safe_name

MEDIA: Final = {"wav": "audio/wav", "flac": "audio/flac"}
_MB: Final = 1 << 20
_LONG_S: Final = 120.0  # drawing more than this may take a second
_LONG_WAITING: Final = 8


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of sound as a file.

    Attributes
    ----------
    data : bytes or None
        None where the caller has it already.
    etag : str
        With its quotes; strong: the same tag means the same bytes.
    media_type : str
    filename : str
        Site, local time, second.
    start_s, end_s : float
        Where it lies in the recording.
    speed : float
    """

    data: bytes | None
    etag: str
    media_type: str
    filename: str
    start_s: float
    end_s: float
    speed: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A spectrogram as PNG.

    Attributes
    ----------
    data : bytes or None
        None where the caller has it already.
    etag : str
        With its quotes; strong.
    start_s, end_s : float
        What the left and the right edge are, in seconds of the recording.
    min_hz, max_hz : float
        What the lower and the upper edge are.
    share : float
        Of the sound that was looked at: below 1 for many hours.
    """

    data: bytes | None
    etag: str
    start_s: float
    end_s: float
    min_hz: float
    max_hz: float
    share: float


class Gallery:
    """Makes snippets and pictures, and keeps them. Its functions may be called by several threads at once.

    Parameters
    ----------
    locator : Locator
        Of the archive's recordings.
    folder : path-like
        For pictures; made when it is first needed.
    clip_s : float
        Longest snippet.
    memory_bytes, disk_bytes : int
        Kept at most, of pictures; and as much memory again for snippets.
    work_s : float
        Longest time to spend on one picture.

    Attributes
    ----------
    memo : PieceMemo
        For callers that look pieces up.
    """

    def __init__(
        self,
        locator: Locator,
        folder: str | Path,
        *,
        clip_s: float = 600.0,
        memory_bytes: int = 64 * _MB,
        disk_bytes: int = 256 * _MB,
        work_s: float = drawing.WORK_S,
    ) -> None:
        self._locator, self._clip_s, self._work_s = locator, clip_s, work_s
        self._memory, self._sounds = MemoryCache(memory_bytes), MemoryCache(memory_bytes)
        self._disk = DiskCache(Path(folder), disk_bytes)
        self._once = OneAtATime()
        self._long = asyncio.Semaphore(1)
        self._long_waiting = 0
        self.memo = PieceMemo()

    def audio(self, piece: Piece, wish: AudioWish | None = None, *, known: Collection[str] = ()) -> Snippet:
        """Return a piece as a sound file.

        Parameters
        ----------
        piece : Piece
        wish : AudioWish, optional
        known : collection of str
            Tags of what the caller has; for one of them no sound is read.

        Raises
        ------
        NotFound
            If the recording is not where it was.
        Conflict
            If it is not the recording that was embedded.
        Limit
            If the snippet would be too long or too large.
        Invalid
            If the format cannot hold it.
        Damaged
            If there is no sound to read.
        """
        wish = wish or AudioWish()
        found, source, key = self._snippet(piece, wish)
        if _knows(known, found.etag):
            return found
        data = self._sounds.get(key)
        if data is None:
            data = self._once.make(key, lambda: encoding.encode(source, piece, wish))
            self._sounds.put(key, data)
        return replace(found, data=data)

    def kept_audio(self, piece: Piece, wish: AudioWish | None = None, *, known: Collection[str] = ()) -> Snippet | None:
        """Return a snippet as :meth:`audio`, if it need not be made: the piece may come without samples."""
        found, _, key = self._snippet(piece, wish or AudioWish())
        if _knows(known, found.etag):
            return found
        data = self._sounds.get(key)
        return None if data is None else replace(found, data=data)

    def picture(self, piece: Piece, wish: PictureWish | None = None, *, known: Collection[str] = ()) -> Picture:
        """Return a piece's spectrogram.

        Parameters
        ----------
        piece : Piece
        wish : PictureWish, optional
        known : collection of str
            Tags of what the caller has; for one of them nothing is drawn.

        Raises
        ------
        NotFound, Conflict, Damaged
            As :meth:`audio`.
        Invalid
            If the sound has none of the frequencies asked for.
        Limit
            If drawing takes too long.
        """
        wish = wish or PictureWish()
        found, source, key = self._picture(piece, wish)
        if _knows(known, found.etag):
            return found
        data = self._kept(key)
        if data is None:
            data = self._once.make(key, lambda: drawing.draw(source, piece, wish, work_s=self._work_s))
            self._memory.put(key, data)
            self._disk.put(key, data)
        return replace(found, data=data)

    def kept_picture(
        self, piece: Piece, wish: PictureWish | None = None, *, known: Collection[str] = ()
    ) -> Picture | None:
        """Return a picture as :meth:`picture`, if it need not be drawn: the piece may come without samples."""
        found, _, key = self._picture(piece, wish or PictureWish())
        if _knows(known, found.etag):
            return found
        data = self._kept(key)
        return None if data is None else replace(found, data=data)

    def takes_long(self, piece: Piece, wish: PictureWish) -> bool:
        """Return whether drawing a piece may take long, so that :meth:`long_turn` is to be waited for."""
        start_s, end_s = piece.span(wish.margin_s)
        return end_s - start_s > _LONG_S

    @contextlib.asynccontextmanager
    async def long_turn(self) -> AsyncIterator[None]:
        """Wait for one's turn to draw something long: one at a time, so that short pictures always find a free thread.

        Raises
        ------
        Unavailable
            Kind ``overloaded``: too many wait already.
        """
        if self._long_waiting >= _LONG_WAITING:
            raise Unavailable("too many long recordings wait to be drawn; ask again in a moment", kind="overloaded")
        self._long_waiting += 1
        try:
            async with self._long:
                yield
        finally:
            self._long_waiting -= 1

    def _snippet(self, piece: Piece, wish: AudioWish) -> tuple[Snippet, SampleSource, str]:
        start_s, end_s = piece.span(wish.margin_s)
        if end_s - start_s > self._clip_s:
            raise Limit(
                f"{end_s - start_s:,.0f} s of sound: the service gives {self._clip_s:,.0f} s at once; ask for a part with "
                "from_s and to_s"
            )
        source = open_source(self._locator, piece)
        key = _key("audio", encoding.VERSION, source, (start_s, end_s, piece.rate_hz), wish, ())
        name = f"{snippet_name(piece, start_s)}.{wish.form}"
        return Snippet(None, f'"{key}"', MEDIA[wish.form], name, start_s, end_s, wish.speed), source, key

    def _picture(self, piece: Piece, wish: PictureWish) -> tuple[Picture, SampleSource, str]:
        start_s, end_s = piece.span(wish.margin_s)
        band, share = wish.band(piece.rate_hz), drawing.share_of(piece, wish)
        source = open_source(self._locator, piece)
        key = _key("picture", drawing.VERSION, source, (start_s, end_s, piece.rate_hz), wish, band)
        return Picture(None, f'"{key}"', start_s, end_s, *band, share), source, key

    def _kept(self, key: str) -> bytes | None:
        data = self._memory.get(key)
        if data is None:
            data = self._disk.get(key)
            if data is not None:
                self._memory.put(key, data)
        return data


def snippet_name(piece: Piece, start_s: float) -> str:
    """Return the name of a snippet's file without its ending: site and local time, or the recording's name and the second."""
    moment = piece.local_at(start_s)
    if piece.site and moment:
        stem = f"{piece.site}_{moment:%Y-%m-%d_%H-%M-%S}"
    else:
        stem = f"{piece.site}_{piece.name}_{start_s:.2f}s" if piece.site else f"{piece.name}_{start_s:.2f}s"
    return safe_name(re.sub(r"[\s%;,]+", "_", stem), bytes_max=150)


def _key(kind: str, version: int, source: SampleSource, span: tuple[Any, ...], wish: Any, band: tuple[Any, ...]) -> str:
    """Return the digest of all that decides over the bytes: the content, the place in it, the wish, the program's version."""
    options = {name: getattr(wish, name) for name in wish.__slots__ if name not in ("margin_s", "min_hz", "max_hz")}
    numbers = [float(number) for number in (*span, *band)]
    alike = {name: float(value) if isinstance(value, int) else value for name, value in options.items()}
    return digest_of([kind, version, list(source.identity), numbers, alike])


def _knows(known: Collection[str], etag: str) -> bool:
    return etag in known or "*" in known
