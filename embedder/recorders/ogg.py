"""Length of an Ogg file from its first page and its last: the general readers walk over every page in between."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Final

_HEAD_BYTES: Final = 4096
_TAIL_BYTES: Final = 1 << 17  # two of the largest pages: the last whole one is in it
_PAGE_HEAD: Final = 27
_NO_GRANULE: Final = 0xFFFFFFFFFFFFFFFF  # a page on which no packet ends
_OPUS_RATE_HZ: Final = 48000  # Opus counts at this rate, whatever was recorded


def ogg_duration_s(handle: BinaryIO) -> float | None:
    """Return the length of an Ogg Vorbis, Opus or FLAC file in seconds.

    Parameters
    ----------
    handle : binary file, seekable

    Returns
    -------
    float or None
        None if it is not such a file, or not a plain one (several streams, a damaged end).
    """
    handle.seek(0)
    head = handle.read(_HEAD_BYTES)
    if len(head) < _PAGE_HEAD or not head.startswith(b"OggS\0"):
        return None
    serial = head[14:18]
    rate_hz, skip = _codec(head[_PAGE_HEAD + head[26] :])
    if rate_hz == 0:
        return None
    size = handle.seek(0, os.SEEK_END)
    handle.seek(max(0, size - _TAIL_BYTES))
    granule = _last_granule(handle.read(_TAIL_BYTES), serial)
    return None if granule is None else max(0, granule - skip) / rate_hz


def _codec(packet: bytes) -> tuple[int, int]:
    """Return the rate that positions are counted at and the samples to skip; rate 0 for an unknown codec."""
    if packet.startswith(b"\x01vorbis") and len(packet) >= 16:
        return int(struct.unpack_from("<I", packet, 12)[0]), 0
    if packet.startswith(b"OpusHead") and len(packet) >= 12:
        return _OPUS_RATE_HZ, int(struct.unpack_from("<H", packet, 10)[0])
    if packet.startswith(b"\x7fFLAC") and len(packet) >= 31:
        return int(struct.unpack_from(">I", packet, 27)[0]) >> 12, 0  # 20 bits of STREAMINFO
    return 0, 0


def _last_granule(tail: bytes, serial: bytes) -> int | None:
    at = tail.rfind(b"OggS\0")
    while at >= 0:
        if len(tail) - at >= _PAGE_HEAD and tail[at + 14 : at + 18] == serial:
            granule = int(struct.unpack_from("<Q", tail, at + 6)[0])
            # Bit 63 is set in no real position: such bytes only look like a page.
            if granule != _NO_GRANULE and granule < 1 << 63:
                return granule
        at = tail.rfind(b"OggS\0", 0, at)
    return None
