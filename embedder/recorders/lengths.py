"""How long a recording is, before it is decoded; and what length a file of so many bytes cannot have, whatever its header says."""

from __future__ import annotations

import math
import os
from typing import BinaryIO, Final

from tinytag import TinyTag, TinyTagException

from embedder.recorders.chunks import RiffFacts
from embedder.recorders.ogg import ogg_duration_s

# TinyTag wraps what its parsers raise; the rest is here because a list of 10^6 files holds every kind of damage.
_TINYTAG_ERRORS: Final = (TinyTagException, OSError, ValueError, LookupError, ArithmeticError, TypeError, EOFError)
_READ_BYTES_MAX: Final = 1 << 24
_S_PER_BYTE_MAX: Final = 1.0  # an hour of nothing takes 360 kB as Vorbis, 560 kB as FLAC
_SLACK_S: Final = 60.0


def longest_s(size_bytes: int) -> float:
    """Return more seconds than a file of so many bytes can hold: what claims to be longer is damaged."""
    return _SLACK_S + size_bytes * _S_PER_BYTE_MAX


def length_s(handle: BinaryIO, riff: RiffFacts | None) -> float:
    """Return the length of an open file in seconds, 0 if it is unknown or cannot be true.

    A plan is made of these lengths: one file that claims a million years would gather all others into one part.

    Parameters
    ----------
    handle : binary file, seekable
    riff : RiffFacts or None
        What its header says, if it is RIFF or AIFF.

    Raises
    ------
    OSError
        If it cannot be read. Its content never raises.
    """
    seconds = riff.duration_s if riff else _by_content(handle)
    return seconds if seconds <= longest_s(handle.seek(0, os.SEEK_END)) else 0.0


def _by_content(handle: BinaryIO) -> float:
    """Return the length of a file that is not RIFF, found by its content: an MP3 called ``.wav`` is an MP3."""
    seconds = ogg_duration_s(handle)
    if seconds is not None:
        return seconds
    handle.seek(0)
    try:
        duration = TinyTag.get(file_obj=_Bounded(handle), tags=False, duration=True).duration
    except _TINYTAG_ERRORS:
        return 0.0
    if not isinstance(duration, int | float) or not math.isfinite(duration) or duration < 0:
        return 0.0
    return float(duration)


class _Bounded:
    """A file of which no more is read at once than a header can need: memory is set aside for what is asked, not for what is there."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.seek, self.tell = handle.seek, handle.tell

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes."""
        return self._handle.read(_READ_BYTES_MAX if size < 0 else min(size, _READ_BYTES_MAX))
