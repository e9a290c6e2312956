"""Facts of a RIFF, RIFX, RF64 or AIFF file from its chunk headers: no audio is read, and no byte can make it raise.

Recorders write wrong sizes: a header never finalised (0), a stream of unknown length (0xFFFFFFFF), a file cut short
by an empty battery, a placeholder left behind. ``RiffFacts`` has both what the header says and what the file holds.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

CHUNKS_MAX: Final = 1000
METADATA_BYTES_MAX: Final = 1 << 20
_TEXT_BYTES_MAX: Final = 1 << 18
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
_SOX_PIPE_SIZE: Final = 0x7FFFF000  # what SoX writes when its output is a pipe
_LINEAR_TAGS: Final = frozenset({1, 3, 6, 7})  # PCM, float, A-law, mu-law: every frame has the same size
_EXTENSIBLE_TAG: Final = 0xFFFE
_AIFC_TAGS: Final = {b"NONE": 1, b"twos": 1, b"sowt": 1, b"raw ": 1, b"fl32": 3, b"FL32": 3, b"fl64": 3, b"FL64": 3}
# A known name is believed even if the file was cut inside that chunk.
_KNOWN_IDS: Final = frozenset({
    b"LIST", b"guan", b"bext", b"wamd", b"id3 ", b"ID3 ", b"iXML", b"cue ", b"fact", b"smpl", b"inst", b"JUNK", b"junk",
    b"PAD ", b"FLLR", b"_PMX", b"COMM", b"MARK", b"NAME", b"AUTH", b"ANNO", b"INST",
})  # fmt: skip
_TRAILERS: Final = (b"TAG", b"ID3", b"APETAGEX")  # tags appended by audio players, outside the chunk structure


@dataclass(frozen=True, slots=True)
class RiffFacts:
    """What the headers of one file say, and what the file really holds.

    Attributes
    ----------
    form : str
        ``WAV``, ``RF64`` (also BW64) or ``AIFF`` (also AIFF-C).
    big_endian : bool
        Byte order of the headers: RIFX and AIFF.
    format_tag : int
        WAVE format: 1 PCM, 3 float, 6 A-law, 7 mu-law ...; the sub-format of an extensible header; 0 if unknown.
    channels, sample_rate_hz, bits_per_sample, block_align, byte_rate : int
        As the header says, 0 where it does not. A ``block_align`` too small for its samples is corrected.
    data_offset : int
        First byte of audio; 0 if there is no data chunk.
    declared_data_bytes : int
        Size in the header; the 64-bit size of an RF64.
    available_data_bytes : int
        Bytes of audio that are there: to the end of the declared data, or of the file, as ``data_problem`` says.
    data_problem : str
        Empty, or ``zero_size`` (header never finalised), ``streaming`` (length unknown when it was written),
        ``truncated`` (the file ends before the data), ``too_small`` (audio goes on after the declared size).
    fact_frames : int
        Frames as a ``fact`` or ``COMM`` chunk says; 0 if there is none. Used for compressed formats only.
    comment, artist : str
        ``ICMT`` and ``IART`` of the INFO list.
    guano : dict of str to str
        Fields of the GUANO chunk.
    """

    form: str
    big_endian: bool = False
    format_tag: int = 0
    channels: int = 0
    sample_rate_hz: int = 0
    bits_per_sample: int = 0
    block_align: int = 0
    byte_rate: int = 0
    data_offset: int = 0
    declared_data_bytes: int = 0
    available_data_bytes: int = 0
    data_problem: str = ""
    fact_frames: int = 0
    comment: str = ""
    artist: str = ""
    guano: dict[str, str] = field(default_factory=dict)

    @property
    def data_is_suspect(self) -> bool:
        """Whether the data size in the header is not the size of the data."""
        return self.data_problem != ""

    @property
    def declared_frames(self) -> int:
        """Frames the header promises; 0 if it does not say (``zero_size``, ``streaming``)."""
        return 0 if self.data_problem == "streaming" else self._frames(self.declared_data_bytes)

    @property
    def available_frames(self) -> int:
        """Whole frames the file holds; an estimate from the byte rate for compressed formats."""
        return self._frames(self.available_data_bytes)

    @property
    def duration_s(self) -> float:
        """Seconds of audio the file holds; 0 if the rate is unknown."""
        return self.available_frames / self.sample_rate_hz if self.sample_rate_hz > 0 else 0.0

    def _frames(self, n_bytes: int) -> int:
        if self.format_tag in _LINEAR_TAGS:
            return n_bytes // self.block_align if self.block_align > 0 else 0
        if self.fact_frames and self.declared_data_bytes and self.data_problem in ("", "truncated"):
            return self.fact_frames * n_bytes // self.declared_data_bytes
        return n_bytes * self.sample_rate_hz // self.byte_rate if self.byte_rate > 0 else 0


def read_riff(path: str | os.PathLike[str]) -> RiffFacts | None:
    """Return the facts of a file, or None if it is not RIFF/WAVE, RIFX, RF64, BW64, AIFF or AIFF-C, whatever its name.

    Raises
    ------
    OSError
        If the file cannot be opened or read. Its content never raises.
    """
    with Path(path).open("rb") as handle:
        return read_riff_from(handle)


def read_riff_from(handle: BinaryIO) -> RiffFacts | None:
    """Read the facts of an open, seekable binary file; see :func:`read_riff`."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(0)
    head = handle.read(12)
    magic, kind = head[:4], head[8:12]
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and kind == b"WAVE":
        form = "RF64" if magic in (b"RF64", b"BW64") else "WAV"
    elif magic == b"FORM" and kind in (b"AIFF", b"AIFC"):
        form = "AIFF"
    else:
        return None
    return _Walk(handle, size, form, big_endian=magic in (b"RIFX", b"FORM"), aifc=kind == b"AIFC").run()


class _Walk:
    """One pass over the chunks of a file, within a budget of bytes and chunks."""

    def __init__(self, handle: BinaryIO, size: int, form: str, *, big_endian: bool, aifc: bool) -> None:
        self.handle = handle
        self.size = size
        self.form = form
        self.big_endian = big_endian
        self.aifc = aifc
        self.order = ">" if big_endian else "<"
        self.budget = METADATA_BYTES_MAX
        self.ds64_data_bytes: int | None = None
        self.found: dict[str, int | str] = {}
        self.guano: dict[str, str] = {}

    def run(self) -> RiffFacts:
        offset = 12
        for _ in range(CHUNKS_MAX):
            head = self.read(offset, 8)
            if len(head) < 8:
                break
            name = head[:4]
            (size,) = struct.unpack(self.order + "I", head[4:])
            body = offset + 8
            if name in (b"data", b"SSND") and "data_offset" not in self.found:
                size = self.take_data(body, size)
            else:
                self.take_chunk(name, body, size)
            offset = self.after(body + size)
        return RiffFacts(self.form, self.big_endian, guano=self.guano, **self.found)  # type: ignore[arg-type]

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return up to ``n_bytes`` (a few: see ``read_text`` for more) at an offset; fewer at the end of the file."""
        if offset >= self.size:
            return b""
        self.handle.seek(offset)
        return self.handle.read(n_bytes)

    def read_text(self, offset: int, n_bytes: int) -> bytes:
        """Return a chunk of text, cut where it or the budget of all texts is too long."""
        data = self.read(offset, min(n_bytes, _TEXT_BYTES_MAX, self.budget))
        self.budget -= len(data)
        return data

    def after(self, end: int) -> int:
        """Return where the next chunk starts: chunks are padded to even lengths, but some writers forget it."""
        if end % 2 == 0:
            return end
        return end if not self.believable(end + 1) and self.believable(end) else end + 1

    def believable(self, offset: int) -> bool:
        """Whether a chunk, or a tag some player appended, starts here."""
        head = self.read(offset, 8)
        if head.startswith(_TRAILERS) or head[:4] in _KNOWN_IDS:
            return True
        if len(head) < 8 or not all(0x20 <= byte <= 0x7E for byte in head[:4]):
            return False
        (size,) = struct.unpack(self.order + "I", head[4:])
        return offset + 8 + int(size) <= self.size

    def take_data(self, body: int, size: int) -> int:
        """Note where the audio lies and how much there is; return the size to skip."""
        if self.form == "AIFF":
            head = self.read(body, 8)
            skip = 8 + (struct.unpack(">I", head[:4])[0] if len(head) == 8 else 0)
        else:
            skip = 0
            if self.form == "RF64" and size == _UNKNOWN_SIZE and self.ds64_data_bytes is not None:
                size = self.ds64_data_bytes
        start = min(body + skip, self.size)
        unknown = size == _UNKNOWN_SIZE and self.ds64_data_bytes is None
        declared = size if unknown else max(0, size - skip)
        problem, available = self.judge(start, declared, streaming=unknown)
        self.found["data_offset"] = start
        self.found["declared_data_bytes"] = declared
        self.found["available_data_bytes"] = available
        self.found["data_problem"] = problem
        return start + available - body

    def judge(self, start: int, declared: int, *, streaming: bool) -> tuple[str, int]:
        """Return the problem with a declared data size, and the bytes that are really there."""
        rest = self.size - start
        if streaming or (declared == _SOX_PIPE_SIZE and declared > rest):
            return "streaming", rest
        if declared > rest:
            return "truncated", rest
        end = start + declared
        # Fewer bytes than a chunk header are a pad byte or junk, not audio that the header forgot.
        if rest - declared < 8 or self.believable(end + end % 2) or self.believable(end):
            return "", declared
        return ("too_small" if declared else "zero_size"), rest

    def take_chunk(self, name: bytes, body: int, size: int) -> None:
        """Note what a chunk other than the audio says."""
        if name == b"fmt " and "sample_rate_hz" not in self.found:
            self.take_format(self.read(body, min(size, 40)))
        elif name == b"COMM" and self.form == "AIFF":
            self.take_common(self.read(body, min(size, 22)))
        elif name == b"ds64" and self.form == "RF64":
            data = self.read(body, min(size, 24))
            if len(data) >= 16:
                (self.ds64_data_bytes,) = struct.unpack(self.order + "Q", data[8:16])
        elif name == b"fact" and size >= 4:
            data = self.read(body, 4)
            if len(data) == 4:
                (self.found["fact_frames"],) = struct.unpack(self.order + "I", data)
        elif name == b"LIST":
            self.take_info(self.read_text(body, size))
        elif name == b"guan" and not self.guano:
            self.guano = parse_guano_text(self.read_text(body, size))

    def take_format(self, data: bytes) -> None:
        if len(data) < 16:
            return  # cut short: every field stays unknown
        tag, channels, rate, byte_rate, align, bits = struct.unpack(self.order + "HHIIHH", data[:16])
        if tag == _EXTENSIBLE_TAG and len(data) >= 26:
            (tag,) = struct.unpack(self.order + "H", data[24:26])  # the sub-format's id starts with the plain tag
        least = channels * ((bits + 7) // 8)
        if tag in _LINEAR_TAGS and (align < least or (channels and align % channels)):
            align = least  # as libsndfile does: such a frame could not hold its samples
        self.found.update(format_tag=tag, channels=channels, sample_rate_hz=rate, byte_rate=byte_rate)
        self.found.update(block_align=align, bits_per_sample=bits)

    def take_common(self, data: bytes) -> None:
        if len(data) < 18:
            return
        channels, frames, bits = struct.unpack(">HIH", data[:8])
        rate = _extended_to_int(data[8:18])
        align = channels * ((bits + 7) // 8)
        tag = _AIFC_TAGS.get(data[18:22], 0) if self.aifc else 1
        self.found.update(format_tag=tag, channels=channels, sample_rate_hz=rate, byte_rate=rate * align)
        self.found.update(block_align=align, bits_per_sample=bits, fact_frames=frames)

    def take_info(self, data: bytes) -> None:
        if data[:4] != b"INFO":
            return
        at = 4
        while at + 8 <= len(data):
            (size,) = struct.unpack(self.order + "I", data[at + 4 : at + 8])
            key = {b"ICMT": "comment", b"IART": "artist"}.get(data[at : at + 4])
            if key is not None and key not in self.found:
                self.found[key] = _text(data[at + 8 : at + 8 + size].split(b"\0")[0])
            at += 8 + size + size % 2


def parse_guano_text(data: bytes) -> dict[str, str]:
    """Return the ``key:value`` lines of a GUANO chunk; the first of two equal keys is kept."""
    fields: dict[str, str] = {}
    for line in _text(data).replace("\r", "\n").split("\n"):
        key, colon, value = line.partition(":")
        if colon and key.strip():
            fields.setdefault(key.strip(), value.strip())
    return fields


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip("\0 \r\n\t")


def _extended_to_int(data: bytes) -> int:
    """Return an 80-bit extended number rounded to an integer; 0 if it is negative, tiny, huge or not a number."""
    exponent, mantissa = struct.unpack(">HQ", data)
    shift = 16383 + 63 - exponent
    if not 32 <= shift <= 64:  # a sample rate lies between 1 and 2**32 Hz
        return 0
    return int((mantissa + (1 << (shift - 1))) >> shift)
