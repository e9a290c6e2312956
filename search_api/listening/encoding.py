"""A piece of sound as the bytes of a WAV or FLAC file: the file's own samples where nothing else was asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from search_api.cutting import Sound
from search_api.listening.pieces import FULL_SCALE, Piece, SampleSource, as_float
from search_api.listening.wishes import AudioWish
from sonotheque.core.errors import Damaged, Invalid, Limit

VERSION: Final = 1  # part of every snippet's tag: one more when the same wish gives other bytes
BYTES_MAX: Final = 128 << 20  # of one snippet, before FLAC makes it smaller
_CUT_S: Final = 30.0  # read at once
_RATES: Final = (3_000, 192_000)  # what browsers play
_PLAYED_HZ: Final = (8_000, 96_000)  # where a changed speed would lead below or above
_PEAK: Final = 10 ** (-1 / 20)
_SILENT: Final = 1e-9  # -180 dB: nothing to make louder
_FLAC_RATE_MAX, _FLAC_CHANNELS_MAX = 655_350, 8
_DEEP: Final = frozenset({"PCM_24", "PCM_32"})


@dataclass(frozen=True, slots=True)
class Rates:
    """At which rates a snippet's samples are taken and written.

    Attributes
    ----------
    played_hz : float
        Rate that the recording's samples have at the speed asked for.
    written_hz : int
        Of the file. If it is not ``played_hz``, they are resampled.
    """

    played_hz: float
    written_hz: int

    @property
    def resampled(self) -> bool:
        """Whether samples are computed anew; half a hertz of difference is left to the header."""
        return abs(self.played_hz - self.written_hz) > 0.5


def rates_of(rate_hz: int, speed: float) -> Rates:
    """Return the rates of a snippet: other speed is another rate in the header, as long as browsers play that.

    Parameters
    ----------
    rate_hz : int
        Of the recording.
    speed : float
        At 1 the recording's own rate stays, whatever it is.
    """
    if speed == 1:
        return Rates(float(rate_hz), rate_hz)
    played = rate_hz * speed
    if played < _RATES[0]:
        return Rates(played, _PLAYED_HZ[0])
    if played > _RATES[1]:
        return Rates(played, _PLAYED_HZ[1])
    return Rates(played, round(played))


def encode(source: SampleSource, piece: Piece, wish: AudioWish) -> bytes:
    """Return the file.

    Parameters
    ----------
    source : SampleSource
    piece : Piece
    wish : AudioWish

    Raises
    ------
    Limit
        If it would be too large.
    Invalid
        If the format cannot hold it.
    Damaged
        If there is no sound to read.
    NotFound, Conflict
        As the source.
    """
    spans = cut_of(piece, wish.margin_s)
    rates = rates_of(piece.rate_hz, wish.speed)
    subtype = "PCM_24" if piece.codec in _DEEP else "PCM_16"
    _check_size(piece, wish, spans, rates, 3 if subtype == "PCM_24" else 2)
    gain = _gain(source, spans, wish)
    blocks = _resampled(_blocks(source.cut(spans), gain), rates)
    out = BytesIO()
    try:
        with sf.SoundFile(out, "w", rates.written_hz, piece.channels, subtype, format=wish.form.upper()) as file:
            for block in blocks:
                # A second at a time: libsndfile's encoders need not hold, and have been seen to fail on, minutes at once.
                for at in range(0, len(block), rates.written_hz):
                    file.write(block[at : at + rates.written_hz])
    except sf.LibsndfileError as error:
        told = f"{piece.channels} channels at {rates.written_hz:,} Hz"
        raise Damaged(f"{wish.form.upper()} cannot hold {told}: {error.error_string}; ask for form=wav") from error
    return out.getvalue()


def cut_of(piece: Piece, margin_s: float) -> list[tuple[int, int]]:
    """Return the frames to read, in stretches of half a minute."""
    start_s, end_s = piece.span(margin_s)
    begin, end = round(start_s * piece.rate_hz), max(round(start_s * piece.rate_hz) + 1, round(end_s * piece.rate_hz))
    step = round(_CUT_S * piece.rate_hz)
    return [(at, min(end, at + step)) for at in range(begin, end, step)]


def _check_size(piece: Piece, wish: AudioWish, spans: list[tuple[int, int]], rates: Rates, depth: int) -> None:
    frames = (spans[-1][1] - spans[0][0]) * (rates.written_hz / rates.played_hz if rates.resampled else 1.0)
    size = frames * piece.channels * depth
    if size > BYTES_MAX:
        share = BYTES_MAX / size * (spans[-1][1] - spans[0][0]) / piece.rate_hz
        raise Limit(
            f"a snippet of {size / 1e6:,.0f} MB is larger than the service makes; ask for at most {share:.0f} s"
        )
    if wish.form == "flac" and (rates.written_hz > _FLAC_RATE_MAX or piece.channels > _FLAC_CHANNELS_MAX):
        raise Invalid(
            f"FLAC holds {_FLAC_CHANNELS_MAX} channels and {_FLAC_RATE_MAX:,} Hz at most, and this has {piece.channels} at "
            f"{rates.written_hz:,} Hz; ask for form=wav"
        )


def _gain(source: SampleSource, spans: list[tuple[int, int]], wish: AudioWish) -> float | None:
    """Return what to multiply samples with; None to leave them as they are."""
    if wish.exact:
        return None
    gain = math.pow(10.0, wish.gain_db / 20)
    if wish.normalise == "peak":
        peak = max((float(np.abs(as_float(s)).max()) for s in source.cut(spans) if s is not None), default=0.0)
        gain *= _PEAK / peak if peak > _SILENT else 1.0
    return gain


def _blocks(sounds: Iterable[Sound | None], gain: float | None) -> Iterator[NDArray[Any]]:
    for sound in sounds:
        if sound is None:
            return
        if gain is None and sound.samples.dtype == np.int32:
            yield np.ascontiguousarray(sound.samples)
        else:
            yield np.clip(as_float(sound) * np.float32(gain or 1.0), -1.0, 1.0)


def _resampled(blocks: Iterable[NDArray[Any]], rates: Rates) -> Iterator[NDArray[Any]]:
    if not rates.resampled:
        yield from blocks
        return
    import soxr

    stream: Any = None
    channels = 1
    for block in blocks:
        floats = block.astype(np.float32) / FULL_SCALE if block.dtype == np.int32 else block
        if stream is None:
            channels = floats.shape[1]
            stream = soxr.ResampleStream(rates.played_hz, rates.written_hz, channels, dtype="float32")
        yield np.clip(stream.resample_chunk(floats), -1.0, 1.0)
    if stream is not None:
        rest = stream.resample_chunk(np.empty((0, channels), np.float32), last=True)
        yield np.clip(rest, -1.0, 1.0)
