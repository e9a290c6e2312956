"""Audio files whose headers are damaged on purpose, at every place where a chunk, block, page or frame begins or says its size.

A case is a kind of file and a number; the same number makes the same bytes from the same whole file. ``tests/audio/fuzz_child.py`` reads
such files in a process with limits, ``tests/audio/test_fuzz.py`` judges what came out.
"""

from __future__ import annotations

import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from tests.audio.damage import sound

RATE_HZ, SECONDS = 8_000, 1.3
COMMENT = b"Recorded at 19:30:00 01/05/2024 (UTC) by AudioMoth 24F3190361DA5D3E at medium gain while battery was 4.2V"
GUANO = b"GUAN|Version: 1.0\nTimestamp: 2024-05-01T19:30:00+02:00\nLoc Position: 52.5 13.4\nMake: Wildlife Acoustics\nModel: SM4\n"


# ---- whole files -----------------------------------------------------------------------------------------------------


def _samples(channels: int = 1) -> np.ndarray:
    samples = sound(SECONDS, RATE_HZ, channels)
    samples[4_000:6_000] = 0.0
    return samples


def _chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    return name + struct.pack(order + "I", len(body)) + body + b"\0" * (len(body) % 2)


def _info() -> bytes:
    return b"INFO" + _chunk(b"ICMT", COMMENT + b"\0") + _chunk(b"IART", b"AudioMoth 24F3190361DA5D3E\0")


def _wav(magic: bytes = b"RIFF") -> bytes:
    """Every chunk that recorders write, before the sound and behind it."""
    data = (_samples() * 32_767).astype("<i2").tobytes()
    bext = b"Dawn chorus".ljust(256, b"\0") + bytes(602 - 256) + b"A=PCM,F=8000\r\n"
    cue = struct.pack("<IIIIIII", 1, 1, 0, int.from_bytes(b"data", "little"), 0, 0, 4_000)
    before = [
        _chunk(b"JUNK", bytes(28)),
        _chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)),
        _chunk(b"fact", struct.pack("<I", len(data) // 2)),
        _chunk(b"bext", bext),
        _chunk(b"LIST", _info()),
        _chunk(b"guan", GUANO),
        _chunk(b"wamd", bytes(range(64))),
    ]
    behind = [
        _chunk(b"cue ", cue),
        _chunk(b"LIST", b"adtl" + _chunk(b"labl", struct.pack("<I", 1) + b"call\0")),
        _chunk(b"id3 ", _id3()),
    ]
    body = b"WAVE" + b"".join(before) + _chunk(b"data", data) + b"".join(behind)
    if magic == b"RIFF":
        return magic + struct.pack("<I", len(body)) + body
    sizes = struct.pack("<QQQI", len(body), len(data), len(data) // 2, 0)  # as long as the JUNK whose place it takes
    body = body.replace(before[0], _chunk(b"ds64", sizes)).replace(
        b"data" + struct.pack("<I", len(data)), b"data" + b"\xff" * 4
    )
    return magic + b"\xff" * 4 + body


def _id3() -> bytes:
    frame = b"TIT2" + struct.pack(">I", 12) + b"\0\0\0dawn chorus"
    return b"ID3\x03\0\0" + bytes([0, 0, 0, len(frame)]) + frame


def _aiff(kind: bytes = b"AIFF") -> bytes:
    order = "<i2" if kind == b"AIFC" else ">i2"
    data = (_samples() * 32_767).astype(order).tobytes()
    rate = struct.pack(">HQ", 16383 + 12, RATE_HZ << 51)
    common = struct.pack(">HIH", 1, len(data) // 2, 16) + rate
    chunks = [_chunk(b"COMM", common, ">"), _chunk(b"NAME", b"dawn", ">"), _chunk(b"ANNO", COMMENT, ">")]
    if kind == b"AIFC":
        chunks = [_chunk(b"FVER", b"\xa2\x80\x51\x40", ">"), _chunk(b"COMM", common + b"sowt\x04dawn\0", ">")]
    chunks += [
        _chunk(b"MARK", b"\0\1\0\1\0\0\0\x10\4mark\0", ">"),
        _chunk(b"SSND", bytes(8) + data, ">"),
        _chunk(b"INST", bytes(20), ">"),
    ]
    body = kind + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(body)) + body


def _flac() -> bytes:
    """An encoder's file, with the blocks that taggers and cameras add."""
    plain = _encoded("x.flac", channels=2)
    stream_info, frames = plain[4 : 4 + 38], plain[_flac_frames(plain) :]
    picture = (
        struct.pack(">I", 3) + struct.pack(">I", 9) + b"image/png" + bytes(20) + struct.pack(">I", 100) + bytes(100)
    )
    comment = struct.pack("<I", 4) + b"test" + struct.pack("<I", 1) + struct.pack("<I", 12) + b"COMMENT=dawn"
    blocks = [
        (2, b"test" + bytes(12)),
        (3, struct.pack(">QQH", 0, 0, 4_096) + struct.pack(">QQH", 4_096, 5_000, 4_096)),
        (4, comment),
        (6, picture),
        (1, bytes(64)),
    ]
    packed = b"".join(
        bytes([kind | (0x80 if n == len(blocks) - 1 else 0)]) + len(body).to_bytes(3, "big") + body
        for n, (kind, body) in enumerate(blocks)
    )
    return b"fLaC" + bytes([stream_info[0] & 0x7F]) + stream_info[1:] + packed + frames


def _mp3() -> bytes:
    return _id3() + _encoded("x.mp3") + b"TAG" + bytes(125)


def _m4a() -> bytes:
    """What the length of an MP4 is read from; libsndfile decodes none."""

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + name + body

    header = bytes(12) + struct.pack(">II", RATE_HZ, round(RATE_HZ * SECONDS)) + bytes(80)
    entry = bytes(45) + b"\x10" + bytes(3) + b"\1" + bytes(6) + struct.pack(">II", 128_000, RATE_HZ)
    table = box(b"stbl", box(b"stsd", struct.pack(">II", 0, 1) + box(b"alac", entry)))
    media = box(b"mdia", box(b"mdhd", bytes(12) + struct.pack(">II", RATE_HZ, 10_400) + bytes(4)) + box(b"minf", table))
    movie = box(
        b"moov",
        box(b"mvhd", header) + box(b"trak", box(b"tkhd", bytes(84)) + media) + box(b"udta", box(b"meta", bytes(4))),
    )
    return box(b"ftyp", b"M4A \0\0\0\0M4A mp42isom") + movie + box(b"mdat", bytes(2_000))


def _encoded(name: str, channels: int = 1, **options: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        sf.write(path, _samples(channels), RATE_HZ, **options)
        return path.read_bytes()


WHOLE: dict[str, Callable[[], bytes]] = {
    "wav": _wav,
    "rf64": lambda: _wav(b"RF64"),
    "wav_adpcm": lambda: _encoded("x.wav", subtype="IMA_ADPCM"),
    "wav_extensible": lambda: _encoded("x.wav", 2, format="WAVEX", subtype="PCM_24"),
    "wav_float": lambda: _encoded("x.wav", subtype="FLOAT"),
    "aiff": _aiff,
    "aifc": lambda: _aiff(b"AIFC"),
    "w64": lambda: _encoded("x.w64", format="W64"),
    "flac": _flac,
    "vorbis": lambda: _encoded("x.ogg", subtype="VORBIS"),
    "opus": lambda: _encoded("x.opus", format="OGG", subtype="OPUS"),
    "mp3": _mp3,
    "m4a": _m4a,
}
KINDS = tuple(WHOLE)


# ---- where things begin ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unit:
    """A chunk, block, page or frame: its first byte, how many bytes its header has, and where it ends."""

    start: int
    header: int
    end: int


def _iff_units(data: bytes, order: str) -> Iterator[Unit]:
    yield Unit(0, 12, len(data))
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int(struct.unpack(order + "I", data[at + 4 : at + 8])[0])
        if size == 0xFFFFFFFF:  # an RF64's sound
            size = len(data) - at - 8 - (len(_wav()) - _wav().index(b"cue "))
        yield Unit(at, 8 + min(size, 0 if name in (b"data", b"JUNK") else 40), min(at + 8 + size + size % 2, len(data)))
        at += 8 + size + size % 2


def _flac_frames(data: bytes) -> int:
    at, last = 4, False
    while not last:
        last = bool(data[at] & 0x80)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    return at


def _flac_units(data: bytes) -> Iterator[Unit]:
    yield Unit(0, 4, len(data))
    at, last = 4, False
    while not last:
        last, size = bool(data[at] & 0x80), int.from_bytes(data[at + 1 : at + 4], "big")
        yield Unit(at, 4 + min(size, 34), at + 4 + size)
        at += 4 + size
    yield from _marked_units(data, data[at : at + 2], at, 8)


def _marked_units(data: bytes, mark: bytes, at: int, header: int) -> Iterator[Unit]:
    while at >= 0:
        following = data.find(mark, at + 2)
        yield Unit(at, header, following if following >= 0 else len(data))
        at = following


def _mp3_units(data: bytes) -> Iterator[Unit]:
    tag = len(_id3())
    yield Unit(0, tag, tag)
    yield from _marked_units(data, data[tag : tag + 2], tag, 44)


def _w64_units(data: bytes) -> Iterator[Unit]:
    yield Unit(0, 40, len(data))
    at = 40
    while at + 24 <= len(data):
        size = int(struct.unpack("<Q", data[at + 16 : at + 24])[0])
        yield Unit(at, 24 + min(max(size - 24, 0), 24), min(at + (size + 7) // 8 * 8, len(data)))
        at += max(size + 7, 8) // 8 * 8


def _mp4_units(data: bytes, at: int = 0, end: int | None = None) -> Iterator[Unit]:
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, name = int(struct.unpack(">I", data[at : at + 4])[0]), data[at + 4 : at + 8]
        yield Unit(at, min(32, size), at + size)
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta"):
            yield from _mp4_units(data, at + 8, at + size)
        at += size


def units(kind: str, data: bytes) -> list[Unit]:
    """Return where the parts of a whole file begin; of many frames or pages the first three and the last two."""
    if kind == "flac":
        found = list(_flac_units(data))
    elif kind in ("vorbis", "opus"):
        found = list(_marked_units(data, b"OggS", 0, 27 + 48))
    elif kind == "mp3":
        found = list(_mp3_units(data))
    elif kind == "w64":
        found = list(_w64_units(data))
    elif kind == "m4a":
        found = list(_mp4_units(data))
    else:
        found = list(_iff_units(data, ">" if kind.startswith("aif") else "<"))
    return found if len(found) < 20 else [*found[:10], *found[-2:]]


# ---- what is done to them --------------------------------------------------------------------------------------------

_WORDS = {
    2: (b"\0\0", b"\xff\xff", b"\x7f\xff", b"\xff\x7f"),
    4: (
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\x7f",
        b"\1\0\0\0",
        b"\0\0\0\1",
        b"\x80\0\0\0",
        b"\0\0\0\x80",
    ),
    8: (bytes(8), b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 7 + b"\x7f"),
}


def _flips(data: bytes, unit: Unit) -> Iterator[tuple[str, bytes]]:
    for at in range(unit.start, min(unit.start + unit.header, len(data))):
        for bits in (0x01, 0x80, 0xFF):
            mutant = bytearray(data)
            mutant[at] ^= bits
            yield f"flip {at} {bits:#04x}", bytes(mutant)


def _oversizes(data: bytes, unit: Unit) -> Iterator[tuple[str, bytes]]:
    for at in range(unit.start, min(unit.start + unit.header, len(data)), 2):
        for width, words in _WORDS.items():
            for word in words:
                yield f"word {at} {word.hex()}", data[:at] + word + data[at + width :]


def _cuts(data: bytes, unit: Unit) -> Iterator[tuple[str, bytes]]:
    start, body = unit.start, unit.start + unit.header
    for at in sorted({start - 1, start, start + 1, start + 4, body - 1, body, unit.end - 1}):
        if 0 <= at < len(data):
            yield f"cut {at}", data[:at]


def _splices(data: bytes, unit: Unit) -> Iterator[tuple[str, bytes]]:
    start, end = unit.start, unit.end
    own = data[start:end]
    yield f"without {start}..{end}", data[:start] + data[end:]
    yield f"twice {start}..{end}", data[:start] + own + data[start:]
    yield f"a thousand times {start}", data[:start] + own[:64] * 1_000 + data[start:]
    yield f"moved to the end {start}", data[:start] + data[end:] + own
    yield f"zeros in front of {start}", data[:start] + bytes(4_096) + data[start:]
    yield f"zeros for {start}..{end}", data[:start] + bytes(end - start) + data[end:]
    yield f"noise for {start}..{end}", data[:start] + np.random.default_rng(start).bytes(end - start) + data[end:]


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


_CRC = _crc_table()


def with_checksums(data: bytes) -> bytes:
    """Return an Ogg file with the right checksum on every page: without it a reader drops what was changed unseen."""
    pages = bytearray(data)
    at = data.find(b"OggS")
    while at >= 0:
        following = data.find(b"OggS", at + 4)
        end = following if following >= 0 else len(data)
        if end - at >= 27:
            pages[at + 22 : at + 26] = bytes(4)
            value = 0
            for byte in pages[at:end]:
                value = (value << 8 & 0xFFFFFFFF) ^ _CRC[value >> 24 ^ byte]
            pages[at + 22 : at + 26] = struct.pack("<I", value)
        at = following
    return bytes(pages)


def _several(kind: str, whole: dict[str, bytes], seed: int) -> bytes:
    """Return a file with two to five damages at once, at places where something begins or says its size."""
    rng = random.Random(f"{kind} {seed}")
    data = whole[kind]
    places = units(kind, data)
    for _ in range(rng.randint(2, 5)):
        unit = rng.choice(places)
        at = min(unit.start + rng.randrange(max(unit.header, 1)), len(data))
        what = rng.choice(("flip", "word", "word", "piece", "without", "cut"))
        if what == "flip":
            data = data[:at] + bytes(byte ^ rng.randrange(1, 256) for byte in data[at : at + 1]) + data[at + 1 :]
        elif what == "word":
            word = rng.choice(_WORDS[rng.choice((2, 4, 8))])
            data = data[:at] + word + data[at + len(word) :]
        elif what == "piece":
            other = whole[rng.choice(KINDS)]
            start = rng.randrange(len(other))
            data = data[:at] + other[start : start + rng.choice((8, 100, 4_000))] + data[at:]
        elif what == "without":
            data = data[:at] + data[at + rng.choice((1, 2, 8, 100)) :]
        elif rng.random() < 0.2:  # nothing is left for the others to damage
            data = data[:at]
    return with_checksums(data) if kind in ("vorbis", "opus") and rng.random() < 0.7 else data


def cases(kind: str, whole: dict[str, bytes], several: int = 0) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield the name of every case of a kind and what makes its bytes, always in the same order.

    ``several``: how many cases with more than one damage come behind those with one at every place.
    """
    data = whole[kind]
    for unit in units(kind, data):
        for way in (_flips, _oversizes, _cuts, _splices):
            for name, mutant in way(data, unit):
                yield name, lambda mutant=mutant: mutant
                if kind in ("vorbis", "opus"):
                    yield f"{name}, checksums right", lambda mutant=mutant: with_checksums(mutant)
    for at in sorted({unit.start for unit in units(kind, data)}):
        for other in KINDS:
            half = len(whole[other]) // 2
            yield f"{other} from {at}", lambda at=at, other=other: data[:at] + whole[other]
            yield f"{other}'s end from {at}", lambda at=at, other=other, half=half: data[:at] + whole[other][half:]
    for seed in range(several):
        yield f"several, seed {seed}", lambda seed=seed: _several(kind, whole, seed)
