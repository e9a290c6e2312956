"""What can be asked of a piece of sound: how it is to be heard, and how it is to be drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from sonotheque.core.errors import Invalid

FORMS: Final = ("wav", "flac")
SCALES: Final = ("linear", "mel")
COLORMAPS: Final = ("viridis", "magma", "inferno", "plasma", "gray", "gray_r")
REFERENCES: Final = ("peak", "background")
NORMALISE: Final = ("none", "peak")
MARGIN_S: Final = (0.0, 30.0)
SPEED: Final = (0.01, 100.0)  # a bat at a hundredth; an hour of infrasound in half a minute
GAIN_DB: Final = (-60.0, 60.0)
WIDTH: Final = (50, 4000)
HEIGHT: Final = (50, 1200)
RANGE_DB: Final = (30.0, 140.0)
HZ_MAX: Final = 500_000.0


@dataclass(frozen=True, slots=True)
class AudioWish:
    """How a piece of sound is to be heard.

    Attributes
    ----------
    form : str
        ``wav`` or ``flac``.
    margin_s : float
        Seconds of sound before and after it, as far as there are.
    speed : float
        Of playback: at 0.1 a bat is ten times slower and lower.
    gain_db : float
        Louder or softer; what would go beyond full scale is cut off.
    normalise : str
        ``peak``: first made as loud as goes, up to 1 dB below full scale; or ``none``.

    Raises
    ------
    Invalid
        If a value cannot be.
    """

    form: str = "wav"
    margin_s: float = 0.0
    speed: float = 1.0
    gain_db: float = 0.0
    normalise: str = "none"

    def __post_init__(self) -> None:
        _one_of("form", self.form, FORMS)
        _one_of("normalise", self.normalise, NORMALISE)
        _between("margin_s", self.margin_s, MARGIN_S, "s")
        _between("speed", self.speed, SPEED, "times")
        _between("gain_db", self.gain_db, GAIN_DB, "dB")

    @property
    def exact(self) -> bool:
        """Whether the samples stay the file's own."""
        return self.gain_db == 0 and self.normalise == "none"


@dataclass(frozen=True, slots=True)
class PictureWish:
    """How a piece of sound is to be drawn.

    Attributes
    ----------
    width, height : int
        Pixels.
    margin_s : float
        Seconds of sound before and after it, as far as there are.
    scale : str
        Of the frequencies: ``linear`` or ``mel``.
    colormap : str
        A name of ``COLORMAPS``.
    range_db : float
        From the darkest colour to the brightest.
    min_hz, max_hz : float or None
        From 0 to half the recording's rate by default.
    reference : str
        What the brightest colour means: ``peak``, the loudest point; ``background``, so far above the median of
        its surroundings, which is the darkest: rumble and hiss vanish.

    Raises
    ------
    Invalid
        If a value cannot be.
    """

    width: int = 400
    height: int = 220
    margin_s: float = 0.0
    scale: str = "linear"
    colormap: str = "viridis"
    range_db: float = 80.0
    min_hz: float | None = None
    max_hz: float | None = None
    reference: str = "peak"

    def __post_init__(self) -> None:
        _between("width", self.width, WIDTH, "pixels")
        _between("height", self.height, HEIGHT, "pixels")
        _between("margin_s", self.margin_s, MARGIN_S, "s")
        _one_of("scale", self.scale, SCALES)
        _one_of("colormap", self.colormap, COLORMAPS)
        _between("range_db", self.range_db, RANGE_DB, "dB")
        _one_of("reference", self.reference, REFERENCES)
        for name, value in (("min_hz", self.min_hz), ("max_hz", self.max_hz)):
            if value is not None:
                _between(name, value, (0.0, HZ_MAX), "Hz")
        if self.min_hz is not None and self.max_hz is not None and self.min_hz >= self.max_hz:
            raise Invalid(f"min_hz {self.min_hz:g} is not below max_hz {self.max_hz:g}: there would be nothing to draw")

    def band(self, rate_hz: float) -> tuple[float, float]:
        """Return the frequencies to draw, in Hz, of sound of a rate.

        Raises
        ------
        Invalid
            If the recording has no frequency that high.
        """
        top = rate_hz / 2
        low, high = self.min_hz or 0.0, min(top, self.max_hz or top)
        if low >= high:
            raise Invalid(f"min_hz {low:g}: the recording holds frequencies up to {top:g} Hz; choose a lower one")
        return low, high


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise Invalid(f"{name} {value!r}: expected {', '.join(allowed[:-1])} or {allowed[-1]}")


def _between(name: str, value: float, bounds: tuple[float, float], unit: str) -> None:
    if not (math.isfinite(value) and bounds[0] <= value <= bounds[1]):
        raise Invalid(f"{name} {value!r}: expected {bounds[0]:g} to {bounds[1]:g} {unit}")
