"""What a file's own header promises where libsndfile keeps silent about it.

libsndfile takes the smaller of promised and present for WAV, AIFF and W64, and the last page it finds for Ogg, so a
file that was cut reads as a whole, shorter one. Here are the promises. WAV, RF64 and AIFF headers are read by
:mod:`embedder.recorders.chunks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from embedder.recorders.chunks import RiffFacts

UNKNOWN_FRAMES = 2**36 - 1  # FLAC's largest count: what streams that never knew their length write, or 0

PCM_INTEGER, PCM_FLOAT, A_LAW, MU_LAW = 1, 3, 6, 7
_RAW_SUBTYPES = {
    (PCM_INTEGER, 8): "PCM_U8",
    (PCM_INTEGER, 16): "PCM_16",
    (PCM_INTEGER, 24): "PCM_24",
    (PCM_INTEGER, 32): "PCM_32",
    (PCM_FLOAT, 32): "FLOAT",
    (PCM_FLOAT, 64): "DOUBLE",
    (A_LAW, 8): "ALAW",
    (MU_LAW, 8): "ULAW",
}

_OGG_PAGE_BYTES_MAX = 65_307
_OGG_LAST_PAGE = 0x04
_W64_RIFF_GUID = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


@dataclass(frozen=True, slots=True)
class Promise:
    """What a header says.

    Attributes
    ----------
    frames : int or None
        Frames promised; None where the header does not say.
    cut : str
        Why the file must have been cut, with both values; empty if it was not.
    """

    frames: int | None = None
    cut: str = ""


def raw_subtype(facts: RiffFacts) -> str | None:
    """Return libsndfile's name of a WAV file's samples if they can be read without their header, else None."""
    if facts.form == "AIFF":  # its tags do not tell the byte order of the samples
        return None
    if facts.channels < 1 or facts.block_align != facts.channels * (facts.bits_per_sample // 8):
        return None
    return _RAW_SUBTYPES.get((facts.format_tag, facts.bits_per_sample))


def riff_promise(facts: RiffFacts) -> Promise:
    """Return the promise of a WAV, RF64 or AIFF header."""
    # Only where a frame has a fixed size do bytes say how many frames: not in ADPCM.
    frames = facts.declared_frames if raw_subtype(facts) else None
    if facts.data_problem == "streaming":
        return Promise(None)
    if facts.data_problem != "truncated" or facts.declared_frames <= facts.available_frames:
        return Promise(frames)
    return Promise(
        frames,
        f"header declares {facts.declared_data_bytes} bytes of sound, the file holds {facts.available_data_bytes}",
    )


def read_promise(file: BinaryIO, container: str, size_bytes: int) -> Promise:
    """Return the promise of a file that is neither WAV nor AIFF.

    Parameters
    ----------
    file : binary file
        At its beginning.
    container : str
        As libsndfile names it.
    size_bytes : int
        Of the file.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    reader = _READERS.get(container)
    return Promise() if reader is None else reader(file, size_bytes)


def _w64(file: BinaryIO, size_bytes: int) -> Promise:
    head = file.read(24)
    declared = int.from_bytes(head[16:24], "little")
    if head[:16] == _W64_RIFF_GUID and size_bytes < declared < 2**62:
        return Promise(None, f"header declares a file of {declared} bytes, it has {size_bytes}")
    return Promise()


def _ogg(file: BinaryIO, size_bytes: int) -> Promise:
    """Look at the last page: encoders mark it, so an unmarked one, or one with no page behind it, was not the last."""
    file.seek(max(0, size_bytes - _OGG_PAGE_BYTES_MAX))
    tail = file.read(_OGG_PAGE_BYTES_MAX)
    page = tail.rfind(b"OggS\x00")
    if page < 0 or page + 27 > len(tail) or tail[page + 5] & _OGG_LAST_PAGE:
        return Promise()
    return Promise(None, "the last Ogg page is not marked as the end of the stream")


_READERS: dict[str, Callable[[BinaryIO, int], Promise]] = {"W64": _w64, "OGG": _ogg}
