"""What a clip may be, what a user is told of one that is not, and what a range of one means. Light, as :mod:`search_api.clip_sound`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from sonotheque.core.errors import Invalid, Limit
from sonotheque.core.outcome import DecodeSummary, Status
from sonotheque.core.windows import WindowRule

WINDOWS_MAX: Final = 1000  # query windows of one search


@dataclass(frozen=True, slots=True)
class ClipBounds:
    """What a clip may be; the defaults are those of a user's own file.

    Attributes
    ----------
    decoded_s : float
        Seconds of sound.
    channels : int
    rate_min_hz, rate_max_hz : int
    flags : (str, str)
        What the two ends of a range are called where it was asked for.
    """

    decoded_s: float = math.inf
    channels: int = 64
    rate_min_hz: int = 1_000
    rate_max_hz: int = 1_000_000
    flags: tuple[str, str] = ("--from-s", "--to-s")

    def refuse_format(self, name: str, channels: int, rate_hz: int) -> None:
        """Raise Invalid (``unsupported_audio``) unless sound of so many channels, at this rate, is taken."""
        if channels > self.channels:
            raise Invalid(
                f"{name} has {channels} channels; a clip has at most {self.channels}", kind="unsupported_audio"
            )
        if not self.rate_min_hz <= rate_hz <= self.rate_max_hz:
            raise Invalid(
                f"{name} has a sample rate of {rate_hz:,} Hz; rates from {self.rate_min_hz:,} to {self.rate_max_hz:,} Hz are read",
                kind="unsupported_audio",
            )

    def too_long(self, name: str) -> Limit:
        """Return the error of a clip that goes on for too long."""
        return Limit(f"{name} holds more than {self.decoded_s:g} s of sound: send a shorter piece of it")


def too_many(name: str, window_s: float, flags: tuple[str, str]) -> Limit:
    """Return the error of a clip with more windows than a search takes."""
    return Limit(
        f"{name} has more than {WINDOWS_MAX:,} windows of {window_s:g} s: pick a range with {flags[0]} and {flags[1]}"
    )


def too_short(name: str, model: str, rule: WindowRule, found_s: float, where: str = "") -> Invalid:
    """Return the error of sound that gives no window."""
    least_s = rule.seconds(rule.valid_samples_min)
    return Invalid(
        f"{name} holds {found_s:.3f} s of sound{where}; a query needs at least {least_s:g} s "
        f"(a window of {model} is {rule.window_s:g} s)"
    )


def seconds_text(value: float) -> str:
    """Return seconds as they are typed: to a millisecond at most."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def require_range(name: str, from_s: float | None, to_s: float | None, flags: tuple[str, str]) -> None:
    """Raise Invalid unless a range begins at 0 or later and ends after it begins."""
    begin = from_s or 0.0
    if not (math.isfinite(begin) and begin >= 0):
        raise Invalid(f"{flags[0]} {begin:g}: expected seconds from the start of {name}, 0 or more")
    if to_s is not None and not (math.isfinite(to_s) and to_s > begin):
        raise Invalid(f"the range of {name} ends at {to_s:g} s and begins at {begin:g} s: it has no length")


def clip_notes(name: str, summary: DecodeSummary) -> list[str]:
    """Return what a user should know of a clip that was decoded."""
    if summary.status is Status.SILENT:
        return [f"{name} is digital silence: what is nearest to it is silence too, and says nothing of any sound"]
    return [f"{name}: {summary.status}: {summary.reason}"] if summary.status is not Status.OK else []
