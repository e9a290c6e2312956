"""From the power of columns to levels of pixels: frequencies onto rows, decibels onto colours."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search_api.listening.colours import LEVELS

_TINY: Final = np.float32(1e-16)  # -160 dB of full scale: below any recorder's noise
_SILENT_DB: Final = -159.0
_NEAR_HZ: Final = 500.0  # as in `search_api.pictures`: a band of steady noise is wider than a call's tone
_CONTRAST_MIN_DB: Final = 20.0  # above the background; less would make its flicker look like calls


def bins_of(low_hz: float, high_hz: float, rate_hz: float, n_fft: int) -> slice:
    """Return which frequencies of a transform a picture of a band needs: one beyond on both sides."""
    line = rate_hz / n_fft
    return slice(max(0, int(low_hz // line)), min(n_fft // 2, int(-(-high_hz // line))) + 1)


def linear_rows(
    power: NDArray[np.float32], first_bin: int, line_hz: float, band: tuple[float, float], height: int
) -> NDArray[np.float32]:
    """Return levels of rows that are evenly spaced in Hz.

    Parameters
    ----------
    power : float32, (width, bins)
    first_bin : int
        Which frequency of the transform the first is.
    line_hz : float
        From one to the next.
    band : (float, float)
        Lower edge of the lowest row, upper edge of the highest, in Hz.
    height : int

    Returns
    -------
    float32, (height, width)
        In dB of full scale, the lowest frequency first. A row has the mean power of what lies in it, at least one line's worth:
        the loudest line of each row would draw stripes where rows hold one line and two by turns.
    """
    row = (band[1] - band[0]) / height / line_hz  # in lines of the transform, as all that follows
    middles = (band[0] / line_hz - first_bin) + (np.arange(height) + 0.5) * row
    reach = max(row, 1.0) / 2
    lowest = np.floor(middles - reach + 0.5).astype(int)
    found = np.zeros((height, len(power)), np.float32)
    total = np.zeros((height, 1), np.float32)
    lines = power.T
    for step in range(math.ceil(2 * reach) + 1):
        line = lowest + step
        share = np.minimum(line + 0.5, middles + reach) - np.maximum(line - 0.5, middles - reach)
        share = np.where((line >= 0) & (line < len(lines)), np.maximum(share, 0.0), 0.0).astype(np.float32)[:, None]
        found += share * lines[np.clip(line, 0, len(lines) - 1)]
        total += share
    return decibels(found / total)


def mel_rows(
    power: NDArray[np.float32], bins: slice, n_fft: int, rate_hz: int, band: tuple[float, float], height: int
) -> NDArray[np.float32]:
    """Return levels of rows that are evenly spaced in mel, by librosa's filters (Slaney's scale, each of equal area).

    Parameters
    ----------
    power : float32, (width, bins)
    bins : slice
        Which frequencies of the transform they are.
    n_fft, rate_hz : int
    band : (float, float)
        In Hz.
    height : int

    Returns
    -------
    float32, (height, width)
        In dB, the lowest frequency first; only differences between them mean something. Where the transform is too coarse for a
        filter a row, there are fewer filters, and rows between them.
    """
    from librosa.filters import mel

    bands = mel_bands(n_fft, rate_hz, band, height)
    filters = mel(sr=rate_hz, n_fft=n_fft, n_mels=bands, fmin=band[0], fmax=band[1])[:, bins]
    level = decibels(filters @ power.T)
    if bands == height:
        return level
    middles = (np.arange(height) + 0.5) / height * (bands + 1) - 1
    return _between(level, np.clip(middles, 0, bands - 1))


def mel_bands(n_fft: int, rate_hz: int, band: tuple[float, float], height: int) -> int:
    """Return how many mel filters a transform can feed, at most one a row: the narrowest still holds a line."""
    from librosa import hz_to_mel

    low, high = hz_to_mel(band[0]), hz_to_mel(band[1])
    narrow = hz_to_mel(band[0] + 0.75 * rate_hz / n_fft) - low  # mel from one filter to the next that are wide enough
    return max(1, min(height, int((high - low) / narrow) - 1))


def above_background(level: NDArray[np.float32], row_hz: float) -> NDArray[np.float32]:
    """Return levels above the background: rumble and hiss vanish, calls and steady tones stay.

    The background is the median over time of each row, and of its neighbours within 500 Hz, as
    :func:`search_api.pictures.above_background_db` has it.

    Parameters
    ----------
    level : float32, (height, width)
        In dB.
    row_hz : float
        Frequencies of one row.
    """
    steady = np.median(level, axis=1)
    reach = max(1, min(len(steady) // 4, round(_NEAR_HZ / row_hz)))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(steady, reach, mode="edge"), 2 * reach + 1)
    found: NDArray[np.float32] = level - np.median(around, axis=1)[:, None].astype(np.float32)
    return found


def quantised(level: NDArray[np.float32], range_db: float, *, background: bool) -> NDArray[np.uint8]:
    """Return which colour each level has.

    Parameters
    ----------
    level : float32
        In dB; above the background if ``background``.
    range_db : float
        Below the loudest; or, above the background, the most that the brightest colour may stand for.

    Returns
    -------
    uint8
        0, the faintest, to ``LEVELS - 1``; of the same shape.
    """
    top = float(level.max(initial=-np.inf)) if level.size else 0.0
    if background:
        low, span = 0.0, min(range_db, max(_CONTRAST_MIN_DB, top))
    else:
        low, span = top - range_db, range_db
    steps = (level - np.float32(low)) * np.float32((LEVELS - 1) / span)
    if not background and top < _SILENT_DB:
        return np.zeros(level.shape, np.uint8)  # silence has no loudest point
    found: NDArray[np.uint8] = np.rint(np.clip(steps, 0, LEVELS - 1)).astype(np.uint8)
    return found


def decibels(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return power in dB of full scale, -160 at least."""
    level: NDArray[np.float32] = np.log10(np.maximum(power, _TINY), dtype=np.float32)
    level *= np.float32(10.0)
    return level


def _between(level: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return levels at fractional rows."""
    places = np.clip(places, 0, len(level) - 1)
    below = np.minimum(places.astype(int), max(0, len(level) - 2))
    share = (places - below).astype(np.float32)[:, None]
    above = np.minimum(below + 1, len(level) - 1)
    found: NDArray[np.float32] = level[below] * (1 - share) + level[above] * share
    return found
