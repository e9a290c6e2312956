"""A spectrogram as PNG."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search_api.listening.colours import LEVELS, palette
from search_api.listening.levels import above_background, bins_of, linear_rows, mel_rows, quantised
from search_api.listening.pieces import Piece, SampleSource
from search_api.listening.spectrum import choose_fft, column_power, frames_per_column, plan_frames
from search_api.listening.wishes import PictureWish

VERSION: Final = 1  # part of every picture's key: one more when the same wish gives other pixels
WORK_S: Final = 20.0
_MEL_FINER: Final = 2  # the lowest rows of a mel picture are narrower than the mean row


def draw(source: SampleSource, piece: Piece, wish: PictureWish, *, work_s: float = WORK_S) -> bytes:
    """Return a PNG of a piece of sound.

    Parameters
    ----------
    source : SampleSource
    piece : Piece
    wish : PictureWish
    work_s : float
        Longest time to spend.

    Raises
    ------
    Invalid
        If the sound has none of the frequencies asked for.
    Limit
        If it takes longer.
    NotFound, Conflict, Damaged
        If there is no sound to read.
    """
    level = picture_levels(source, piece, wish, work_s=work_s)
    colours = quantised(level, wish.range_db, background=wish.reference == "background")
    return png(colours[::-1], wish.colormap)


def picture_levels(
    source: SampleSource, piece: Piece, wish: PictureWish, *, work_s: float = WORK_S
) -> NDArray[np.float32]:
    """Return what a picture shows, float32 (height, width), in dB, the lowest frequency first.

    Above each frequency's background if the wish says so, else in dB of full scale. Raises as :func:`draw`.
    """
    rate = piece.rate_hz
    band, _, n_fft = _layout(piece, wish)
    start_s, end_s = piece.span(wish.margin_s)
    frames = plan_frames(start_s * rate, end_s * rate, wish.width, n_fft, source.extent)
    bins = bins_of(*band, rate, n_fft)
    power = column_power(source, frames, rate, bins, work_s=work_s)
    if wish.scale == "mel":
        level = mel_rows(power, bins, n_fft, rate, band, wish.height)
    else:
        level = linear_rows(power, bins.start, rate / n_fft, band, wish.height)
    if wish.reference == "background":
        level = above_background(level, (band[1] - band[0]) / wish.height)
    return level


def share_of(piece: Piece, wish: PictureWish) -> float:
    """Return the share of a piece that its picture looks at: 1, but for many hours."""
    _, step, n_fft = _layout(piece, wish)
    count, needed = frames_per_column(step, wish.width, n_fft)
    return count / needed


def _layout(piece: Piece, wish: PictureWish) -> tuple[tuple[float, float], float, int]:
    """Return a picture's band in Hz, the samples of one column, and the length of the transform."""
    rate = piece.rate_hz
    band = wish.band(rate)
    start_s, end_s = piece.span(wish.margin_s)
    step = (end_s - start_s) * rate / wish.width
    finer = _MEL_FINER if wish.scale == "mel" else 1
    return band, step, choose_fft(rate, step, band[1] - band[0], wish.height * finer)


def png(colours: NDArray[np.uint8], colormap: str) -> bytes:
    """Return colour numbers, uint8 (height, width), the top row first, as a PNG with the colours in its palette."""
    height, width = colours.shape
    image = Image.frombytes("P", (width, height), np.ascontiguousarray(colours).tobytes())
    image.putpalette(palette(colormap)[: 3 * LEVELS])
    out = BytesIO()
    # Noise hardly packs: level 1 takes half the time of the default and gives files a few per cent larger.
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
