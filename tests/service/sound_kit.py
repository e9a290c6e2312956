"""Sounds as bytes, good and hostile, for tests of uploads."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile as sf

from tests.search import kit

FORMS = {
    "wav16": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "float": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", None),
}


def packed(sound: np.ndarray, rate_hz: int = kit.RATE_HZ, form: str = "wav16") -> bytes:
    """A sound as a file; in blocks, since libsndfile's Vorbis encoder does not survive long ones."""
    container, subtype = FORMS[form]
    file = io.BytesIO()
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    with sf.SoundFile(file, "w", rate_hz, channels, format=container, subtype=subtype) as out:
        for begin in range(0, len(sound), rate_hz):
            out.write(sound[begin : begin + rate_hz])
    return file.getvalue()


def clip(
    hz: float = 703.0, seconds: float = 2.0, *, rate_hz: int = kit.RATE_HZ, form: str = "wav16", seed: int = 9
) -> bytes:
    return packed(kit.tone(hz, seconds, seed=seed, rate_hz=rate_hz), rate_hz, form)


def wav_head(channels: int = 1, rate_hz: int = 16_000, bits: int = 16, data_bytes: int = 0) -> bytes:
    """A header of one's own choice."""
    align = channels * bits // 8
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", (36 + data_bytes) & 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1,
        channels, rate_hz & 0xFFFFFFFF, rate_hz * align & 0xFFFFFFFF, align & 0xFFFF, bits, b"data", data_bytes,
    )  # fmt: skip


def lying_flac(frames: int = 2**36 - 1) -> bytes:
    """Two seconds whose header promises something else."""
    data = bytearray(clip(form="flac"))
    # STREAMINFO begins at byte 8; its last 36 bits before the checksum are the number of frames.
    data[21] = (data[21] & 0xF0) | (frames >> 32)
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


def silence(seconds: int, rate_hz: int = 8_000, form: str = "flac") -> bytes:
    """Very much of nothing in very few bytes."""
    return packed(np.zeros(seconds * rate_hz, np.int16), rate_hz, form)
