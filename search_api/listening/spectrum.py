"""The power of a sound in each pixel column of a picture, read and transformed in blocks: memory does not grow with the sound."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from search_api.cutting import Sound
from search_api.listening.pieces import SampleSource, as_float
from sonotheque.core.errors import Limit

WORK_SAMPLES: Final = (
    1 << 29
)  # transformed for one picture at most: a second or two; 90 minutes at 48 kHz are drawn whole
_FFT_MIN, _FFT_MAX = 64, 8192
_CHUNK_SAMPLES: Final = 1 << 19  # transformed at once: stays in a core's cache, and a few MB
_CHUNK_S: Final = 60.0
_GAP_S: Final = 1.0  # longer gaps between frames are not read


@dataclass(frozen=True, slots=True)
class Frames:
    """Which stretches of a sound are transformed for a picture.

    Attributes
    ----------
    n_fft : int
        Samples of each.
    starts : int64, (width x per_column,)
        First sample of each, ascending; they lie in the sound, unless that is shorter than one of them.
    per_column : int
        How many make up a pixel column: its loudest is drawn.
    """

    n_fft: int
    starts: NDArray[np.int64]
    per_column: int


def choose_fft(rate_hz: float, step: float, band_hz: float, height: int) -> int:
    """Return the length of the transform, a power of two, that suits a picture's pixels.

    Parameters
    ----------
    rate_hz : float
    step : float
        Samples of one pixel column.
    band_hz : float
        Frequencies of the whole picture.
    height : int
        Its pixels.

    Notes
    -----
    A transform as long as a column is wide shows time as finely as the picture can, one of ``rate * height / band`` samples
    frequency: the geometric mean of both, twice as long because a Hann window hears its middle only. Longer than gives two lines
    a pixel row shows nothing more.
    """
    fine = rate_hz * height / band_hz
    wanted = min(2 * math.sqrt(fine * max(step, 1.0)), 2 * fine)
    return int(min(_FFT_MAX, max(_FFT_MIN, 2 ** round(math.log2(wanted)))))


def plan_frames(first: float, last: float, width: int, n_fft: int, extent: tuple[int, int]) -> Frames:
    """Place frames in a picture's columns: evenly, overlapping by half or more, as many as it takes to leave nothing out.

    Parameters
    ----------
    first, last : float
        What the picture spans, in samples.
    width : int
        Pixel columns.
    n_fft : int
    extent : (int, int)
        First sample of the sound and the one after its last.
    """
    step = (last - first) / width
    count, needed = frames_per_column(step, width, n_fft)
    # Too many: those around the column's middle, still overlapping by half, so that they are read in one go.
    hop = step / needed
    inside = (np.arange(count) - (count - 1) / 2) * hop
    middles = first + (np.arange(width) + 0.5) * step
    starts = np.rint((middles[:, None] + inside).ravel() - n_fft / 2).astype(np.int64)
    # At the ends, frames inside rather than half in silence: its edge would be drawn as a click.
    starts = np.clip(starts, extent[0], max(extent[0], extent[1] - n_fft))
    return Frames(n_fft, starts, count)


def frames_per_column(step: float, width: int, n_fft: int) -> tuple[int, int]:
    """Return how many frames a pixel column gets, and how many it would take to leave nothing out.

    Fewer where a picture spans more sound than is worth transforming for it.
    """
    needed = max(1, math.ceil(step / (n_fft / 2)))
    return max(1, min(needed, WORK_SAMPLES // (width * n_fft))), needed


def column_power(
    source: SampleSource, frames: Frames, rate_hz: int, bins: slice, *, work_s: float
) -> NDArray[np.float32]:
    """Return the loudest power of each frequency in each column.

    Parameters
    ----------
    source : SampleSource
    frames : Frames
    rate_hz : int
    bins : slice
        Of the transform's frequencies.
    work_s : float
        Longest time to spend.

    Returns
    -------
    float32, (width, bins)
        1 is a full-scale sine. The mean of the channels is transformed; each frame's own mean is taken off first, so that a
        recorder's constant offset does not outshine the sound.

    Raises
    ------
    Limit
        If it takes longer.
    NotFound, Conflict, Damaged
        If there is no sound to read.
    """
    until = time.monotonic() + work_s
    window = np.hanning(frames.n_fft + 1)[:-1].astype(np.float32)
    window *= np.float32(2.0 / window.sum())
    width = len(frames.starts) // frames.per_column
    power = np.zeros((width, bins.stop - bins.start), np.float32)
    chunks = list(_chunks(frames, rate_hz))
    spans = [
        (int(frames.starts[a]), min(source.extent[1], int(frames.starts[b - 1]) + frames.n_fft)) for a, b in chunks
    ]
    for (a, b), (begin, _), sound in zip(chunks, spans, source.cut(spans), strict=False):
        if sound is None:
            break
        if time.monotonic() > until:
            raise Limit(
                f"drawing this takes longer than {work_s:g} s; ask for a part of it with from_s and to_s, or store long "
                "recordings as WAV or FLAC, which can be entered anywhere"
            )
        starts = frames.starts[a:b]
        samples = _mono(sound, int(starts[-1]) + frames.n_fft - begin)
        found = _power(samples, starts - starts[0], window, bins)
        columns = np.arange(a, b) // frames.per_column
        edges = np.flatnonzero(np.diff(columns, prepend=-1))
        loudest = np.maximum.reduceat(found, edges, axis=0)
        here = columns[edges]
        power[here] = np.maximum(power[here], loudest)
    return power


def _chunks(frames: Frames, rate_hz: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of frames to read and transform at once: not too many, not too far apart."""
    starts = frames.starts
    gaps = np.flatnonzero(np.diff(starts) > frames.n_fft + _GAP_S * rate_hz) + 1
    most = max(1, _CHUNK_SAMPLES // frames.n_fft)
    a = 0
    while a < len(starts):
        b = min(len(starts), a + most, int(np.searchsorted(starts, starts[a] + int(_CHUNK_S * rate_hz), side="right")))
        gap = int(np.searchsorted(gaps, a, side="right"))
        b = min(b, int(gaps[gap])) if gap < len(gaps) else b
        yield a, b
        a = b


def _mono(sound: Sound, length: int) -> NDArray[np.float32]:
    """Return the mean of the channels, filled up with silence where the sound ends too soon."""
    samples = as_float(sound)
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    return np.pad(mono, (0, length - len(mono))) if len(mono) < length else mono


def _power(
    samples: NDArray[np.float32], starts: NDArray[np.int64], window: NDArray[np.float32], bins: slice
) -> NDArray[np.float32]:
    block = np.lib.stride_tricks.sliding_window_view(samples, len(window))[starts]  # a copy: the starts are an index
    block -= block.mean(axis=1, keepdims=True)
    block *= window
    # SciPy keeps float32, and takes a fifth of NumPy's time and a third of librosa's for it.
    found = scipy.fft.rfft(block, axis=1)[:, bins]
    power: NDArray[np.float32] = found.real**2 + found.imag**2
    return power
