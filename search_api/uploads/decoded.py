"""What a decoder answered, as the model's windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_api.clip_queries import clip_windows, refusal
from search_api.clip_rules import clip_notes
from search_api.queries import QueryWindow
from search_api.uploads.processes import Window
from sonotheque.core.outcome import DecodeSummary, Outcome, Status
from store import StoreConfig

Told = tuple[list[Window], dict[str, Any]]  # what a decoder answers


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A sound as the model's windows.

    Attributes
    ----------
    frames : float32, (n, window_samples)
    windows : tuple of QueryWindow
        Where each lies in the sound.
    duration_s : float
        Of what was decoded: the sound, or its range and what lies around it.
    sample_rate_hz, channels : int
        Of the file.
    summary : DecodeSummary
    ranged : (float, float) or None
        Where the range began, and seconds of sound from there on.
    notes : tuple of str
        What a user should know of the sound.
    """

    frames: NDArray[np.float32]
    windows: tuple[QueryWindow, ...]
    duration_s: float
    sample_rate_hz: int
    channels: int
    summary: DecodeSummary
    ranged: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def decoded_of(config: StoreConfig, name: str, answer: Told) -> Decoded:
    """Return what a decoder answered as the model's windows.

    Raises
    ------
    Invalid
        If there is no window in it.
    KeyError, TypeError, ValueError
        If the answer is nonsense.
    """
    windows, told = answer
    left_s = told["left_s"]
    summary = DecodeSummary(
        Status(told["status"]),
        told["reason"],
        told["sample_rate_hz"],
        told["channels"],
        told["declared_frames"],
        told["decoded_frames"],
        told["duration_s"],
        told["container"],
        told["codec"],
    )
    ranged = None if left_s is None else (float(told["first_s"]), float(left_s))
    if not windows or summary.outcome is not Outcome.DONE:
        raise refusal(name, config, summary, ranged)
    starts = np.array([start for start, _, _ in windows], np.int64)
    valid = np.array([valid for _, valid, _ in windows], np.int64)
    return Decoded(
        np.stack([frame for _, _, frame in windows]),
        clip_windows(config, starts, valid, float(told["first_s"])),
        summary.duration_s,
        summary.sample_rate_hz,
        summary.channels,
        summary,
        ranged,
        (*told["notes"], *clip_notes(name, summary)),
    )


__all__ = ["Decoded", "Told", "decoded_of"]
