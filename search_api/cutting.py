"""Spans of a recording as sound, at its own rate and with all its channels, in one pass forwards: what the model heard."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from embedder.audio.findings import Refused
from embedder.audio.opening import OpenSound, open_sound
from sonotheque.core.errors import Damaged, Invalid
from sonotheque.core.outcome import Status

CLIP_S_MAX: Final = 600.0
# Positions in these follow from the bytes or are in the frames themselves. A lossy stream is read from its start, as the
# model's input was: a decoder that begins in the middle may give other samples, or be some milliseconds off.
_EXACT: Final = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "FLAC"})
_WHOLE: Final = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ALAW", "ULAW"})
_FLOAT: Final = frozenset({"FLOAT", "DOUBLE"})
_MARK: Final = 0x5A5A_5A5B  # no sample of 24 bits or fewer, read as 32, has its lowest bits set
_ABS_MAX: Final = np.float32(2.0**32)  # as in decoding: beyond it is damage


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of a recording.

    Attributes
    ----------
    samples : int32 or float32, (frames, channels)
        int32, full scale, where the file holds integers: written back they are the file's own; else float32.
    sample_rate_hz : int
    subtype : str
        The file's encoding, in libsndfile's words.
    start_s, end_s : float
        Where it lies in the recording; the end of the sound, if that comes before the end of the span.
    """

    samples: NDArray[Any]
    sample_rate_hz: int
    subtype: str
    start_s: float
    end_s: float


@dataclass(slots=True)
class _Cut:
    index: int
    begin: int
    end: int
    pieces: list[NDArray[Any]]

    def take(self, block: NDArray[Any], position: int) -> bool:
        """Take what is the span's of a block that begins at a frame; return whether it is complete."""
        piece = block[max(0, self.begin - position) : max(0, self.end - position)]
        if len(piece):
            self.pieces.append(piece)
        return position + len(block) >= self.end


def cut_spans(
    path: str,
    spans: Sequence[tuple[float, float]],
    *,
    size_bytes: int | None = None,
    check: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Sound | Damaged]]:
    """Yield spans of a file as they come by.

    Parameters
    ----------
    path : str
    spans : sequence of (float, float)
        Start and end in seconds of the file; what lies before its start or after its end is left out.
    size_bytes : int, optional
        Size that the file had when it was embedded.
    check : callable, optional
        Called with the file's channels and rate before its sound is read; may raise.

    Yields
    ------
    index : int
        Of the span; in the order of their ends.
    sound : Sound or Damaged
        The error that belongs to this span alone, where there is no sound in it.

    Raises
    ------
    Invalid
        If a span is longer than 600 s or has no length.
    Damaged
        If the file cannot be read at all, or has another size than it had.
    """
    for start_s, end_s in spans:
        if not 0 < end_s - start_s <= CLIP_S_MAX:
            raise Invalid(f"{path}: span {start_s:g} to {end_s:g} s: a clip has a length, of {CLIP_S_MAX:g} s at most")
    with ExitStack() as stack:
        source = _Source(path, size_bytes, stack)
        rate = source.rate_hz
        if check is not None:
            check(source.channels, rate)
        cuts = [_Cut(i, max(0, round(a * rate)), round(b * rate), []) for i, (a, b) in enumerate(spans)]
        waiting = deque(sorted(cuts, key=lambda cut: (cut.begin, cut.end)))
        active: list[_Cut] = []
        while active or waiting:
            if not active:
                source.go_towards(waiting[0].begin)
            position, block = source.read()
            while waiting and waiting[0].begin < position + len(block):
                active.append(waiting.popleft())
            block = block.copy() if active else block  # shared by all spans that overlap: memory is that of the sound
            going = []
            for cut in active:
                if cut.take(block, position) or not len(block):
                    yield cut.index, source.sound_of(cut)
                else:
                    going.append(cut)
            active = going
            if not len(block):
                for cut in waiting:
                    yield cut.index, source.sound_of(cut)
                return


class _Source:
    """An open file, read forwards in blocks of one second."""

    def __init__(self, path: str, size_bytes: int | None, stack: ExitStack) -> None:
        self._path, self._size_bytes, self._stack = path, size_bytes, stack
        self._opened = self._open()
        sound = self._opened.sound
        self.rate_hz: int = sound.samplerate
        self.channels: int = sound.channels
        self._subtype = self._opened.codec
        self._exact = (
            self._opened.container in _EXACT
            and self._subtype in _WHOLE | _FLOAT
            and self._opened.declared_frames is not None
        )
        self._dtype = np.int32 if self._subtype in _WHOLE else np.float32
        self._buffer = np.empty((max(1, min(self.rate_hz, (1 << 22) // sound.channels)), sound.channels), self._dtype)
        self._position = 0
        self._why = ""

    def _open(self) -> OpenSound:
        try:
            opened = open_sound(self._path, None, self._stack)
        except Refused as refused:
            raise Damaged(f"{refused.finding.status}: {refused.finding.reason}") from refused
        if self._size_bytes is not None and opened.size_bytes != self._size_bytes:
            raise Damaged(
                f"{Status.CHANGED}: has {opened.size_bytes:,} bytes now and had {self._size_bytes:,} when it was embedded"
            )
        return opened

    def go_towards(self, frame: int) -> None:
        """Come to a frame, or to some before it: by a seek where that is exact, else by decoding."""
        if frame < self._position + len(self._buffer):
            return
        if self._exact:
            try:
                self._position = self._opened.sound.seek(frame)
            except sf.LibsndfileError:  # a file that is shorter than it says, or damaged: read it as the model did
                self._exact = False
                self._opened, self._position = self._open(), 0
            else:
                return
        while self._position + len(self._buffer) <= frame:
            if not len(self.read()[1]):
                return

    def read(self) -> tuple[int, NDArray[Any]]:
        """Return the next block's first frame and the block, valid until the next is read; an empty one at the end."""
        first = self._position
        if self._why:
            return first, self._buffer[:0]
        self._buffer.fill(_MARK if self._dtype is np.int32 else np.nan)
        try:
            frames = len(self._opened.sound.read(out=self._buffer))
        except sf.LibsndfileError as error:
            # libsndfile does not say how many frames it gave before the error: the marks that are left do.
            last = self._buffer[:, -1]
            left = last == _MARK if self._dtype is np.int32 else np.isnan(last)
            frames = int(left.argmax()) if left.any() else len(last)
            self._why = f"{Status.CORRUPT}: libsndfile at {(first + frames) / self.rate_hz:.3f} s: {error.error_string}"
        span = self._opened.span
        if span is not None and span.error is not None:
            self._why = f"{Status.IO_ERROR}: {span.error}"
        block = self._buffer[:frames]
        if self._dtype is np.float32:
            block[~(np.abs(block) <= _ABS_MAX)] = 0.0
        self._position += frames
        return first, block

    def sound_of(self, cut: _Cut) -> Sound | Damaged:
        """Return what a cut has got."""
        if not cut.pieces:
            why = self._why or f"{Status.SHORT}: the sound ends at {self._position / self.rate_hz:.3f} s"
            return Damaged(why)
        samples = np.concatenate(cut.pieces)
        cut.pieces.clear()  # of thousands of spans, as a picture of a day has them, only those that wait are in memory
        begin_s = cut.begin / self.rate_hz
        return Sound(samples, self.rate_hz, self._subtype, begin_s, begin_s + len(samples) / self.rate_hz)
