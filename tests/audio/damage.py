"""Audio files as recorders leave them, whole and damaged, made by generators; each with what must become of it.

Other suites take the corpus from here::

    for name, damage in DAMAGE.items():
        path = damage.make(folder)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from sonotheque.core.outcome import Status
from sonotheque.core.windows import WindowRule

RATE_HZ = 48_000
SECONDS = 11.0
# 11 s: windows at 0, 3, 6 and 9 s, the last with 2 s of sound.
RULE = WindowRule(sample_rate_hz=48_000, window_samples=144_000, hop_samples=144_000, valid_samples_min=48_000)
WHOLE = 4
HALF = 2  # windows of 5.5 s

Make = Callable[[Path], str]


@dataclass(frozen=True)
class Damage:
    """How to make one file in a folder (returns its path), its status and how many windows of RULE it gives."""

    make: Make
    status: Status
    windows: int


DAMAGE: dict[str, Damage] = {}


def case(status: Status, windows: int) -> Callable[[Make], Make]:
    """Enter a generator into DAMAGE under its own name."""

    def enter(make: Make) -> Make:
        DAMAGE[make.__name__] = Damage(make, status, windows)
        return make

    return enter


def sound(seconds: float = SECONDS, rate_hz: int = RATE_HZ, channels: int = 1, seed: int = 1) -> np.ndarray:
    """Return a chirp over noise: float32 (n,) or (n, channels), never exactly zero for long, peak below 0.5."""
    n = round(seconds * rate_hz)
    t = np.arange(n) / rate_hz
    rng = np.random.default_rng(seed)
    chirp = 0.3 * np.sin(2 * np.pi * (0.02 * rate_hz * t + 0.1 * rate_hz * t**2 / max(seconds, 1e-9)))
    mono = (chirp + 0.02 * rng.standard_normal(n)).astype(np.float32)
    if channels == 1:
        return mono
    gains = np.linspace(1.0, 0.5, channels, dtype=np.float32)
    return mono[:, None] * gains


def write(path: Path | str, samples: np.ndarray, rate_hz: int = RATE_HZ, **options: Any) -> str:
    """Write a sound file in blocks of 1 s: libsndfile's Vorbis encoder overflows its stack on one long write."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with sf.SoundFile(os.fsencode(path), "w", rate_hz, channels, **options) as file:
        for start in range(0, len(samples), rate_hz):
            file.write(samples[start : start + rate_hz])
    return os.fspath(path)


def wav_bytes(
    samples: np.ndarray,
    rate_hz: int = RATE_HZ,
    *,
    channels: int = 1,
    data_size: int | None = None,
    magic: bytes = b"RIFF",
) -> bytes:
    """Return a 16-bit WAV file; the data size in its header is the caller's if given."""
    order = ">" if magic == b"RIFX" else "<"
    data = (samples * 32_767).astype(order + "i2").tobytes()
    size = len(data) if data_size is None else data_size
    fmt = struct.pack(order + "HHIIHH", 1, channels % 65_536, rate_hz, (rate_hz * 2 * channels) % 2**32, 2, 16)
    if channels < 1_000:
        fmt = fmt[:12] + struct.pack(order + "HH", 2 * channels, 16)
    head = magic + struct.pack(order + "I", (36 + size) % 2**32) + b"WAVEfmt " + struct.pack(order + "I", 16) + fmt
    return head + b"data" + struct.pack(order + "I", size) + data


def put(folder: Path, name: str, data: bytes) -> str:
    """Write bytes under a name and return the path."""
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def get(path: str) -> bytes:
    """Return a file's bytes."""
    with open(path, "rb") as file:
        return file.read()


def rot(path: str, at: float = 0.5, n_bytes: int = 400) -> str:
    """Flip bits of ``n_bytes`` bytes at a fraction of the file."""
    data = bytearray(get(path))
    start = int(len(data) * at)
    for i in range(start, min(start + n_bytes, len(data))):
        data[i] ^= 0x5A
    with open(path, "wb") as file:
        file.write(data)
    return path


def cut(path: str, at: float = 0.5) -> str:
    """Keep the first part of a file."""
    os.truncate(path, int(os.path.getsize(path) * at))
    return path


def flac_with_total(path: str, total_samples: int) -> str:
    """Write another count of samples into a FLAC file's STREAMINFO."""
    data = bytearray(get(path))
    packed = int.from_bytes(data[18:26], "big")
    data[18:26] = ((packed >> 36 << 36) | total_samples).to_bytes(8, "big")
    with open(path, "wb") as file:
        file.write(data)
    return path


def with_zero_tail(sound_s: float = 5.0, total_s: float = SECONDS) -> np.ndarray:
    """Return sound followed by exact zeros."""
    samples = sound(total_s)
    samples[round(sound_s * RATE_HZ) :] = 0.0
    return samples


# ---- whole files of every kind --------------------------------------------------------------------------------------


def _plain(name: str, file_name: str, *, rate_hz: int = RATE_HZ, channels: int = 1, **options: Any) -> None:
    def make(folder: Path) -> str:
        return write(folder / file_name, sound(SECONDS, rate_hz, channels), rate_hz, **options)

    make.__name__ = name
    case(Status.OK, WHOLE)(make)


_plain("wav_16", "wav_16.wav", subtype="PCM_16")
_plain("wav_24", "wav_24.wav", subtype="PCM_24")
_plain("wav_32", "wav_32.wav", subtype="PCM_32")
_plain("wav_8", "wav_8.WAV", subtype="PCM_U8")
_plain("wav_float32", "wav_float32.wav", subtype="FLOAT")
_plain("wav_float64", "wav_float64.wave", format="WAV", subtype="DOUBLE")
_plain("wav_mu_law", "wav_mu_law.wav", subtype="ULAW")
_plain("wav_ima_adpcm", "wav_ima_adpcm.wav", subtype="IMA_ADPCM")
_plain("wav_extensible", "wav_extensible.wav", format="WAVEX", subtype="PCM_24", channels=2)
_plain("wav_stereo", "wav_stereo.wav", channels=2)
_plain("wav_ambisonic_8", "wav_ambisonic_8.wav", channels=8)
_plain("wav_2_khz", "wav_2_khz.wav", rate_hz=2_000)
_plain("wav_400_khz", "wav_400_khz.wav", rate_hz=400_000)
_plain("wav_44_1_khz", "wav_44_1_khz.wav", rate_hz=44_100)
_plain("rf64", "rf64.wav", format="RF64")
_plain("w64", "w64.wav", format="W64")
_plain("aiff", "aiff.aiff")
_plain("flac_16", "flac_16.flac")
_plain("flac_24_stereo_96_khz", "flac_24.flac", rate_hz=96_000, channels=2, subtype="PCM_24")
_plain("mp3", "mp3.mp3")
_plain("vorbis", "vorbis.ogg", subtype="VORBIS")
_plain("opus", "opus.opus", format="OGG", subtype="OPUS")
_plain("name_with_spaces", " a dawn chorus .wav")
_plain("name_unicode", "Zaunkönig ✓ 鳥 e\u0301.flac")
_plain("name_quotes_and_newline", 'it\'s "one"\n; --x $(y).wav')
_plain("name_not_utf8", os.fsdecode(b"caf\xe9 \xff\xfe.wav"))
_plain("name_255_bytes", "n" * 251 + ".wav")


@case(Status.OK, WHOLE)
def wav_rifx(folder: Path) -> str:
    return put(folder, "rifx.wav", wav_bytes(sound(), magic=b"RIFX"))


@case(Status.OK, WHOLE)
def wav_dc(folder: Path) -> str:
    return write(folder / "dc.wav", np.full(int(SECONDS * RATE_HZ), 0.25, np.float32))


@case(Status.OK, WHOLE)
def wav_odd_data_length(folder: Path) -> str:
    """24 bits and an odd number of frames: the data chunk has a pad byte."""
    return write(folder / "odd.wav", sound()[:-1], subtype="PCM_24")


@case(Status.OK, WHOLE)
def wav_half_frame_at_end(folder: Path) -> str:
    whole = wav_bytes(sound())
    return put(folder, "half_frame.wav", wav_bytes(sound(), data_size=len(whole) - 44 + 1) + b"\x01")


@case(Status.OK, WHOLE)
def wav_long_header(folder: Path) -> str:
    """A comment chunk before the data, as AudioMoth writes: the sound does not start at byte 44."""
    plain = wav_bytes(sound())
    text = b"INFOICMT" + struct.pack("<I", 384) + b"Recorded at 19:30:00".ljust(384, b"\0")
    chunk = b"LIST" + struct.pack("<I", len(text)) + text
    size = struct.pack("<I", len(plain) - 8 + len(chunk))
    return put(folder, "20240501_193000.WAV", b"RIFF" + size + plain[8:36] + chunk + plain[36:])


@case(Status.OK, WHOLE)
def wav_streamed(folder: Path) -> str:
    """Size 0xFFFFFFFF: written to a pipe."""
    return put(folder, "streamed.wav", wav_bytes(sound(), data_size=0xFFFFFFFF))


@case(Status.OK, WHOLE)
def mp3_named_wav(folder: Path) -> str:
    path = write(folder / "x.mp3", sound())
    os.replace(path, folder / "mp3_inside.wav")
    return str(folder / "mp3_inside.wav")


@case(Status.OK, WHOLE)
def flac_named_wav(folder: Path) -> str:
    return write(folder / "flac_inside.wav", sound(), format="FLAC")


def mp3_without_length(path: str) -> str:
    """Take away an MP3 file's first frame, the one that says how long it is."""
    data = get(path)
    bit_rates = {3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)}
    lower = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    rates_hz = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
    version = data[1] >> 3 & 3
    kbit = bit_rates.get(version, lower)[(data[2] >> 4) - 1]
    slots = 144_000 if version == 3 else 72_000
    first = slots * kbit // rates_hz[version][data[2] >> 2 & 3] + (data[2] >> 1 & 1)
    with open(path, "wb") as file:
        file.write(data[first:])
    return path


@case(Status.OK, WHOLE)
def mp3_vbr_without_length(folder: Path) -> str:
    """libsndfile guesses the length from the first frame's bit rate, and would stop there."""
    return mp3_without_length(write(folder / "no_length.mp3", sound()))


@case(Status.OK, WHOLE)
def mp3_behind_id3(folder: Path) -> str:
    path = write(folder / "id3.mp3", sound())
    picture = bytes(200_000)
    size = bytes([len(picture) >> shift & 127 for shift in (21, 14, 7, 0)])
    return put(folder, "id3.mp3", b"ID3\x03\0\0" + size + picture + get(path) + b"TAG" + bytes(125))


@case(Status.OK, WHOLE)
def flac_total_0(folder: Path) -> str:
    return flac_with_total(write(folder / "total_0.flac", sound()), 0)


@case(Status.OK, WHOLE)
def flac_total_max(folder: Path) -> str:
    return flac_with_total(write(folder / "total_max.flac", sound()), 2**36 - 1)


# ---- damaged, with windows ------------------------------------------------------------------------------------------


@case(Status.TRUNCATED, HALF)
def wav_cut(folder: Path) -> str:
    return cut(write(folder / "cut.wav", sound()))


@case(Status.TRUNCATED, HALF)
def wav_24_cut_in_a_frame(folder: Path) -> str:
    path = write(folder / "cut_24.wav", sound(), subtype="PCM_24")
    os.truncate(path, 44 + 792_001)
    return path


@case(Status.TRUNCATED, HALF)
def rf64_cut(folder: Path) -> str:
    return cut(write(folder / "cut_rf64.wav", sound(), format="RF64"))


@case(Status.TRUNCATED, HALF)
def w64_cut(folder: Path) -> str:
    return cut(write(folder / "cut_w64.wav", sound(), format="W64"))


@case(Status.TRUNCATED, HALF)
def aiff_cut(folder: Path) -> str:
    return cut(write(folder / "cut.aif", sound(), format="AIFF"))


@case(Status.TRUNCATED, HALF)
def vorbis_cut(folder: Path) -> str:
    return cut(write(folder / "cut.ogg", sound(), subtype="VORBIS"))


@case(Status.HEADER_REPAIRED, WHOLE)
def wav_size_0(folder: Path) -> str:
    return put(folder, "size_0.wav", wav_bytes(sound(), data_size=0))


@case(Status.HEADER_REPAIRED, WHOLE)
def wav_size_0_stereo_24(folder: Path) -> str:
    path = write(folder / "size_0_24.wav", sound(channels=2), subtype="PCM_24", format="WAV")
    data = bytearray(get(path))
    at = data.index(b"data") + 4
    data[at : at + 4] = bytes(4)
    return put(folder, "size_0_24.wav", bytes(data))


@case(Status.HEADER_REPAIRED, WHOLE)
def wav_rifx_size_0(folder: Path) -> str:
    return put(folder, "rifx_size_0.wav", wav_bytes(sound(), data_size=0, magic=b"RIFX"))


@case(Status.HEADER_REPAIRED, HALF)
def wav_size_44_zero_tail(folder: Path) -> str:
    """Size too small, and a file allocated beforehand: both faults at once."""
    return put(folder, "size_44.wav", wav_bytes(with_zero_tail(), data_size=44))


@case(Status.ZERO_TAIL, HALF)
def wav_zero_tail(folder: Path) -> str:
    return write(folder / "zero_tail.wav", with_zero_tail())


@case(Status.ZERO_TAIL, HALF)
def flac_zero_tail(folder: Path) -> str:
    return write(folder / "zero_tail.flac", with_zero_tail())


@case(Status.SILENT, WHOLE)
def wav_silent(folder: Path) -> str:
    return write(folder / "silent.wav", np.zeros(int(SECONDS * RATE_HZ), np.float32))


@case(Status.CORRUPT, HALF)
def flac_cut(folder: Path) -> str:
    return cut(write(folder / "cut.flac", sound()))


@case(Status.CORRUPT, HALF)
def flac_rot(folder: Path) -> str:
    return rot(write(folder / "rot.flac", sound()))


@case(Status.SHORT, WHOLE)
def flac_total_too_large(folder: Path) -> str:
    return flac_with_total(write(folder / "total_large.flac", sound()), 20 * RATE_HZ)


@case(Status.SHORT, WHOLE)
def mp3_rot(folder: Path) -> str:
    return rot(write(folder / "rot.mp3", sound()))


@case(Status.SHORT, HALF)
def mp3_cut(folder: Path) -> str:
    return cut(write(folder / "cut.mp3", sound()))


@case(Status.SHORT, WHOLE)
def vorbis_rot(folder: Path) -> str:
    return rot(write(folder / "rot.ogg", sound(), subtype="VORBIS"))


@case(Status.SHORT, WHOLE)
def opus_rot(folder: Path) -> str:
    return rot(write(folder / "rot.opus", sound(), format="OGG", subtype="OPUS"))


@case(Status.NONFINITE, WHOLE)
def wav_nan_inf(folder: Path) -> str:
    samples = sound()
    samples[1_000:1_010], samples[200_000], samples[300_000] = np.nan, np.inf, -np.inf
    return write(folder / "nan.wav", samples, subtype="FLOAT")


@case(Status.NONFINITE, WHOLE)
def wav_all_nan(folder: Path) -> str:
    return write(folder / "all_nan.wav", np.full(int(SECONDS * RATE_HZ), np.nan, np.float32), subtype="FLOAT")


@case(Status.NONFINITE, WHOLE)
def wav_damaged_exponent(folder: Path) -> str:
    samples = sound(channels=2)
    samples[5_000] = 3e38
    return write(folder / "exponent.wav", samples, subtype="FLOAT")


# ---- no windows -----------------------------------------------------------------------------------------------------


@case(Status.TOO_SHORT, 0)
def wav_tiny(folder: Path) -> str:
    return write(folder / "tiny.wav", sound(0.14))


@case(Status.TOO_SHORT, 0)
def wav_one_sample(folder: Path) -> str:
    return write(folder / "one.wav", np.full(1, 0.5, np.float32), 44_100)


@case(Status.TOO_SHORT, 0)
def wav_cut_tiny(folder: Path) -> str:
    path = write(folder / "cut_tiny.wav", sound())
    os.truncate(path, 44 + 2 * 4_800)
    return path


@case(Status.EMPTY, 0)
def zero_bytes(folder: Path) -> str:
    return put(folder, "zero_bytes.wav", b"")


@case(Status.EMPTY, 0)
def wav_header_only(folder: Path) -> str:
    return put(folder, "header_only.wav", wav_bytes(np.zeros(0, np.float32)))


@case(Status.EMPTY, 0)
def wav_header_promises(folder: Path) -> str:
    return put(folder, "promises.wav", wav_bytes(sound())[:44])


@case(Status.EMPTY, 0)
def flac_no_frames(folder: Path) -> str:
    """A recorder that lost power before the first frame: a header that never learnt its length."""
    path = flac_with_total(write(folder / "no_frames.flac", sound()), 0)
    data = get(path)
    return put(folder, "no_frames.flac", data[: data.index(b"\xff\xf8")])


@case(Status.UNREADABLE, 0)
def text(folder: Path) -> str:
    return put(folder, "text.wav", b"this is no sound\n" * 300)


@case(Status.UNREADABLE, 0)
def zeros_4_kb(folder: Path) -> str:
    return put(folder, "zeros.wav", bytes(4_096))


@case(Status.UNREADABLE, 0)
def random_bytes(folder: Path) -> str:
    return put(folder, "random.wav", np.random.default_rng(7).bytes(100_000))


@case(Status.UNREADABLE, 0)
def header_20_bytes(folder: Path) -> str:
    return put(folder, "header_20.wav", wav_bytes(sound(0.1))[:20])


@case(Status.UNREADABLE, 0)
def mp4_named_wav(folder: Path) -> str:
    return put(folder, "m4a.wav", b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + bytes(2_000))


@case(Status.UNREADABLE, 0)
def wav_rate_0(folder: Path) -> str:
    return put(folder, "rate_0.wav", wav_bytes(sound(2), 0))


@case(Status.UNREADABLE, 0)
def wav_rate_999(folder: Path) -> str:
    return put(folder, "rate_999.wav", wav_bytes(sound(2), 999))


@case(Status.UNREADABLE, 0)
def wav_rate_2_mhz(folder: Path) -> str:
    return put(folder, "rate_2_mhz.wav", wav_bytes(sound(2), 2_000_000))


@case(Status.UNREADABLE, 0)
def wav_rate_0_size_0(folder: Path) -> str:
    return put(folder, "rate_0_size_0.wav", wav_bytes(sound(2), 0, data_size=0))


@case(Status.UNREADABLE, 0)
def wav_65_channels(folder: Path) -> str:
    return put(folder, "ch_65.wav", wav_bytes(sound(2), channels=65))


@case(Status.UNREADABLE, 0)
def wav_65535_channels(folder: Path) -> str:
    return put(folder, "ch_65535.wav", wav_bytes(sound(2), channels=65_535))


@case(Status.UNREADABLE, 0)
def flac_rot_first_frame(folder: Path) -> str:
    """The header is right and no frame is."""
    path = write(folder / "rot_first.flac", sound())
    data = get(path)
    start = data.index(b"\xff\xf8")
    return put(folder, "rot_first.flac", data[:start] + bytes(len(data) - start))
