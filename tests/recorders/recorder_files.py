"""WAV, RF64, RIFX and AIFF files made by code, and where the real recordings are."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared" / "recordings"

needs_recordings = pytest.mark.skipif(
    not REAL.is_dir(),
    reason="the real recordings are not here: expected them in ../shared/recordings beside the project",
)


def chunk(name: bytes, body: bytes, *, size: int | None = None, order: str = "<", pad: bool = True) -> bytes:
    """One chunk; `size` is a lie if given."""
    declared = len(body) if size is None else size
    return name + struct.pack(order + "I", declared) + body + (b"\0" if pad and len(body) % 2 else b"")


def fmt(
    rate: int = 1000,
    channels: int = 1,
    bits: int = 16,
    tag: int = 1,
    order: str = "<",
    align: int | None = None,
    extra: bytes = b"",
) -> bytes:
    align = channels * bits // 8 if align is None else align
    return chunk(
        b"fmt ", struct.pack(order + "HHIIHH", tag, channels, rate, rate * align, align, bits) + extra, order=order
    )


def riff(*chunks: bytes, magic: bytes = b"RIFF", kind: bytes = b"WAVE", order: str = "<") -> bytes:
    body = kind + b"".join(chunks)
    return magic + struct.pack(order + "I", min(len(body), 0xFFFFFFFF)) + body


def info(**texts: str) -> bytes:
    parts = b"".join(chunk(key.encode(), text.encode() + b"\0") for key, text in texts.items())
    return chunk(b"LIST", b"INFO" + parts)


def guano(**fields: str) -> bytes:
    lines = [
        "GUANO|Version:1.0",
        *(f"{key.replace('__', '|').replace('_', ' ')}:{value}" for key, value in fields.items()),
    ]
    return chunk(b"guan", "\n".join(lines).encode())


def loud(n_bytes: int) -> bytes:
    """Audio bytes that never look like a chunk: no printable ASCII."""
    return bytes([0x81, 0xF0, 0x90, 0x05] * (n_bytes // 4 + 1))[:n_bytes]


def wav(seconds: float = 2.0, rate: int = 1000, *extra: bytes) -> bytes:
    return riff(fmt(rate), chunk(b"data", loud(int(seconds * rate) * 2)), *extra)


def extended(rate: int) -> bytes:
    """80-bit extended number of a positive integer."""
    shift = 64 - rate.bit_length()
    return struct.pack(">HQ", 16383 + 63 - shift, rate << shift)


def aiff(
    n_bytes: int,
    rate: int = 44100,
    *,
    channels: int = 1,
    bits: int = 16,
    size: int | None = None,
    codec: bytes = b"",
    offset: int = 0,
) -> bytes:
    frames = n_bytes // max(1, channels * bits // 8)
    comm = struct.pack(">HIH", channels, frames, bits) + extended(rate) + codec
    body = struct.pack(">II", offset, 0) + bytes(offset) + loud(n_bytes)
    declared = None if size is None else size + 8
    kind = b"AIFC" if codec else b"AIFF"
    return riff(
        chunk(b"COMM", comm, order=">"),
        chunk(b"SSND", body, size=declared, order=">"),
        magic=b"FORM",
        kind=kind,
        order=">",
    )


AUDIOMOTH = (
    "Recorded at 03:13:00 03/05/2025 (UTC) by AudioMoth 242A2604603691DD at medium gain while battery was 3.8V "
    "and temperature was 13.1C."
)
