"""MP3 files that do not say how long they are.

Without a Xing, Info or VBRI frame libsndfile takes the first frame's bit rate for the whole file's, and stops reading
at the length that follows: of a file with variable bit rate it may leave out two thirds, without an error. So such a
file is shown to it with a Xing frame in front, which promises more than there can be; the decoder then ends at the end.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_ID3_HEADER_BYTES = 10
_LAYER_3 = 1
_MPEG_1 = 3
_MONO = 3
_FRAME_BYTES_MIN = 24  # 8 kbit/s at 24 kHz
_XING_BIT_RATE_INDEX = 9  # 128 kbit/s in MPEG 1, 80 in MPEG 2: room for what a Xing frame holds
_BIT_RATES = {_MPEG_1: 128_000, 2: 80_000, 0: 80_000}
_SAMPLE_RATES_HZ = {
    _MPEG_1: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_VBRI_OFFSET = 36


def length_frame(file: BinaryIO, size_bytes: int) -> tuple[int, bytes] | None:
    """Return what must stand before an MP3 file's frames.

    Parameters
    ----------
    file : binary file
        At its beginning.
    size_bytes : int
        Of the file.

    Returns
    -------
    offset : int
        Where the frames start: behind an ID3 tag.
    frame : bytes
        A Xing frame; None instead of both if the file has one, or does not start with a frame of layer III.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    offset = _id3_bytes(file.read(_ID3_HEADER_BYTES))
    file.seek(offset)
    head = file.read(256)
    if len(head) < 64 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate_index, is_mono = head[2] >> 2 & 3, head[3] >> 6 == _MONO
    if layer != _LAYER_3 or version not in _SAMPLE_RATES_HZ or rate_index > 2:
        return None
    side_bytes = (17 if is_mono else 32) if version == _MPEG_1 else (9 if is_mono else 17)
    at = 4 + side_bytes
    if head[at : at + 4] in (b"Xing", b"Info") or head[_VBRI_OFFSET : _VBRI_OFFSET + 4] == b"VBRI":
        return None
    slots = 144 if version == _MPEG_1 else 72
    frame_bytes = slots * _BIT_RATES[version] // _SAMPLE_RATES_HZ[version][rate_index]
    frame = bytearray(frame_bytes)
    # The file's own frame header, without checksum and padding, so that the decoder finds no change behind it.
    frame[:4] = bytes([0xFF, head[1] | 1, _XING_BIT_RATE_INDEX << 4 | rate_index << 2, head[3]])
    frames_max = min(size_bytes // _FRAME_BYTES_MIN + 1, 2**31 - 1)
    frame[at : at + 12] = b"Xing" + struct.pack(">II", 1, frames_max)
    return offset, bytes(frame)


def _id3_bytes(head: bytes) -> int:
    """Return the length of an ID3v2 tag, 0 if there is none. Its size is in four groups of seven bits."""
    if len(head) < _ID3_HEADER_BYTES or head[:3] != b"ID3":
        return 0
    size = 0
    for value in head[6:10]:
        size = size << 7 | value & 0x7F
    footer = _ID3_HEADER_BYTES if head[5] & 0x10 else 0
    return _ID3_HEADER_BYTES + size + footer
