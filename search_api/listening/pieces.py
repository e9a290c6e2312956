"""Pieces of sound and where their samples come from: a recording of the archive, or samples that were decoded elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from search_api.cutting import Sound, cut_spans
from search_api.locating import Locator, size_and_time
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound

FULL_SCALE: Final = np.float32(2.0**31)  # of the int32 that :mod:`search_api.cutting` reads
_ABS_MAX: Final = np.float32(2.0**32)  # beyond it is damage: as :mod:`search_api.cutting` has it
_WHERE: Final = (
    "the service finds recordings below the folders they were embedded from, or those of `serve --recordings DIR`"
)


@dataclass(frozen=True, slots=True)
class RecordedSound:
    """Sound of a recording of the archive.

    Attributes
    ----------
    path : str
        As stored.
    size_bytes : int or None
        Of the file when it was embedded.
    """

    path: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True, eq=False)
class HeldSound:
    """Samples that something else decoded, as it does with uploads: in a process of its own.

    Attributes
    ----------
    identity : str
        Of the content; a hash.
    samples : float32, (n, channels), or None
        From ``first_s`` on. None is enough to look for what was made of them before.
    first_s : float
    """

    identity: str
    samples: NDArray[np.float32] | None = None
    first_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one sound.

    Attributes
    ----------
    sound : RecordedSound or HeldSound
    start_s, end_s : float
        In seconds of the sound.
    duration_s : float
        Of the whole sound.
    rate_hz, channels : int
    name : str
        What to call the sound in the name of a file.
    codec : str
        As libsndfile names it; empty if unknown.
    site : str or None
    local_start : datetime or None
        When the sound begins, by the site's clock.
    """

    sound: RecordedSound | HeldSound
    start_s: float
    end_s: float
    duration_s: float
    rate_hz: int
    channels: int
    name: str
    codec: str = ""
    site: str | None = None
    local_start: datetime | None = None

    def span(self, margin_s: float) -> tuple[float, float]:
        """Return start and end with a margin on both sides, as far as there is sound."""
        return max(0.0, self.start_s - margin_s), min(self.duration_s, self.end_s + margin_s)

    def local_at(self, second: float) -> datetime | None:
        """Return the site's clock at a second of the sound."""
        return None if self.local_start is None else self.local_start + timedelta(seconds=second)


class SampleSource(Protocol):
    """Gives the samples of spans.

    Attributes
    ----------
    identity : tuple
        Of the content.
    extent : (int, int)
        The first frame that there is, and the one after the last.
    """

    identity: tuple[Any, ...]
    extent: tuple[int, int]

    def cut(self, spans: Sequence[tuple[int, int]]) -> Iterator[Sound | None]:
        """Yield each span's sound.

        Parameters
        ----------
        spans : sequence of (int, int)
            First frame and the one after the last; neither starts nor ends go back from one to the next.

        Yields
        ------
        Sound or None
            None where the sound has ended before the span.

        Raises
        ------
        NotFound, Conflict, Damaged
            If there is no such sound any more, or none in it.
        """


class RecordingFile:
    """The file of a recording, where it lies now.

    Parameters
    ----------
    locator : Locator
    piece : Piece
        Of a recorded sound.
    sound : RecordedSound

    Raises
    ------
    NotFound
        If the file is not where it was, or only a link leads to it.
    Conflict
        If it has another size than when it was embedded.
    """

    def __init__(self, locator: Locator, piece: Piece, sound: RecordedSound) -> None:
        self._piece, self._sound = piece, sound
        try:
            self._path = locator.find(sound.path)
            size_bytes, mtime_ns = size_and_time(self._path)
        except NotFound as error:
            raise NotFound(f"recording {sound.path} is not where it was: {_WHERE}") from error
        except Invalid as error:
            raise NotFound(
                f"recording {sound.path} is a link that leads out of the recordings' folder; the service reads nothing outside"
            ) from error
        except OSError as error:
            raise NotFound(f"recording {sound.path} cannot be reached: {error.strerror}; {_WHERE}") from error
        if sound.size_bytes is not None and size_bytes != sound.size_bytes:
            raise Conflict(
                f"recording {sound.path} has {size_bytes:,} bytes now and had {sound.size_bytes:,} when it was embedded: "
                "it is not the same sound; put the old file back, or embed it again"
            )
        self.identity: tuple[Any, ...] = ("recording", sound.path, size_bytes, mtime_ns)
        self.extent = (0, round(piece.duration_s * piece.rate_hz))

    def cut(self, spans: Sequence[tuple[int, int]]) -> Iterator[Sound | None]:
        """Yield each span's sound; see :class:`SampleSource`."""
        rate = self._piece.rate_hz
        heard = False
        for sound in self._cut([(a / rate, b / rate) for a, b in spans]):
            if isinstance(sound, Damaged):
                if not heard:
                    raise Damaged(f"recording {self._sound.path}: {sound.message}")
                yield None
                continue
            if sound.sample_rate_hz != rate:
                raise Conflict(
                    f"recording {self._sound.path} has {sound.sample_rate_hz:,} samples a second now and had {rate:,} when it "
                    "was embedded: it is not the same sound; embed it again"
                )
            heard = True
            yield sound

    def _cut(self, spans: Sequence[tuple[float, float]]) -> Iterator[Sound | Damaged]:
        try:
            for _, sound in cut_spans(self._path, spans):
                yield sound
        except Damaged as error:  # the whole file
            yield error


class HeldSamples:
    """Samples in memory."""

    def __init__(self, piece: Piece, sound: HeldSound) -> None:
        self._rate = piece.rate_hz
        self._first = round(sound.first_s * piece.rate_hz)
        self._sound = sound
        self.identity: tuple[Any, ...] = ("held", sound.identity)
        self.extent = (self._first, self._first + (0 if sound.samples is None else len(sound.samples)))

    def cut(self, spans: Sequence[tuple[int, int]]) -> Iterator[Sound | None]:
        """Yield each span's sound; see :class:`SampleSource`."""
        samples = self._sound.samples
        if samples is None or not len(samples):
            raise Damaged("the clip has no sound there")
        samples = samples[:, None] if samples.ndim == 1 else samples
        for begin, end in spans:
            here = samples[max(0, begin - self._first) : max(0, end - self._first)]
            start = max(begin, self._first)
            block = np.where(np.abs(here) <= _ABS_MAX, here, np.float32(0.0))  # also what is no number
            yield (
                Sound(block, self._rate, "FLOAT", start / self._rate, (start + len(here)) / self._rate)
                if len(here)
                else None
            )


def open_source(locator: Locator, piece: Piece) -> SampleSource:
    """Return where a piece's samples come from; raises as :class:`RecordingFile`."""
    if isinstance(piece.sound, RecordedSound):
        return RecordingFile(locator, piece, piece.sound)
    return HeldSamples(piece, piece.sound)


def as_float(sound: Sound) -> NDArray[np.float32]:
    """Return a sound's samples as float32, (n, channels); 1 is full scale."""
    samples = sound.samples
    return samples.astype(np.float32) / FULL_SCALE if samples.dtype == np.int32 else np.asarray(samples, np.float32)
