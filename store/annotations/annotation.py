"""Annotation: a judgement on a span of a recording, checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyarrow as pa

from sonotheque.core.errors import Invalid
from sonotheque.core.filters import JUDGEMENTS

# Overlap is measured with floats: two spans that share less than this only touch.
TOUCH_S = 1e-6

ANNOTATION_SCHEMA = pa.schema(
    [
        pa.field("annotation_id", pa.int64(), nullable=False),
        pa.field("recording_id", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("low_hz", pa.float64()),
        pa.field("high_hz", pa.float64()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("judgement", pa.string(), nullable=False),
        pa.field("annotator", pa.string(), nullable=False),
        pa.field("provenance", pa.string(), nullable=False),
        pa.field("note", pa.string(), nullable=False),
        pa.field("created_utc", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
"""Columns of the current annotations: seconds from the recording's start, hertz, UTC."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What somebody says of a span of a recording.

    Attributes
    ----------
    recording_id : int
    path : str
        Of the recording, as stored.
    start_s, end_s : float
        Half-open span, in seconds from the recording's start; longer than a microsecond.
    label : str
        A species or a sound; free text.
    judgement : str
        ``positive``: it is there; ``negative``: it is not; ``uncertain``.
    low_hz, high_hz : float or None
        Edges of the box in the spectrogram, if one was drawn.
    note : str

    Raises
    ------
    Invalid
        If a value cannot be right.
    """

    recording_id: int
    path: str
    start_s: float
    end_s: float
    label: str
    judgement: str = "positive"
    low_hz: float | None = None
    high_hz: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        require_span(self.start_s, self.end_s)
        require_band(self.low_hz, self.high_hz)
        require_text("label", self.label)
        require_text("path", self.path)
        require_text("note", self.note, empty=True)
        if self.judgement not in JUDGEMENTS:
            raise Invalid(f"judgement {self.judgement!r}: expected {', '.join(JUDGEMENTS)}")
        object.__setattr__(self, "recording_id", int(self.recording_id))
        for name in ("start_s", "end_s", "low_hz", "high_hz"):
            value = getattr(self, name)  # + 0.0: a minus zero is the same place as a zero
            object.__setattr__(self, name, None if value is None else float(value) + 0.0)

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two judgements of one annotator the same: recording, span, band, label, judgement."""
        return (*self.place, self.judgement)

    @property
    def place(self) -> tuple[object, ...]:
        """What is judged: recording, span, band and label."""
        return (self.recording_id, self.start_s, self.end_s, self.low_hz, self.high_hz, self.label)


def require_span(start_s: float, end_s: float) -> None:
    """Raise Invalid unless ``0 <= start_s < end_s``, both finite and a microsecond apart."""
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise Invalid(f"span {start_s:g} to {end_s:g} s: expected finite seconds")
    if start_s < 0:
        raise Invalid(f"span {start_s:g} to {end_s:g} s: it begins before the recording")
    if end_s - start_s <= TOUCH_S:
        raise Invalid(
            f"span {start_s:.9g} to {end_s:.9g} s: expected an end after the start (by more than a microsecond)"
        )


def require_band(low_hz: float | None, high_hz: float | None) -> None:
    """Raise Invalid unless the edges given are finite, not negative and in order."""
    for value in (low_hz, high_hz):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise Invalid(f"frequency {value:g} Hz: expected a finite number, 0 or more")
    if low_hz is not None and high_hz is not None and low_hz > high_hz:
        raise Invalid(f"band {low_hz:g} to {high_hz:g} Hz: the low edge is above the high one")


def require_text(what: str, text: str, *, empty: bool = False) -> None:
    """Raise Invalid for a text that is empty, or that SQLite, Arrow or a table cannot hold as it is."""
    if not (empty or any(char.isprintable() and not char.isspace() for char in text)):
        raise Invalid(
            f"{what} is empty: expected some text" if not text.strip() else f"{what} {text!r} holds nothing to read"
        )
    if "\0" in text:
        raise Invalid(f"{what} {text!r} holds a NUL character, which no table can hold; take it out")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Invalid(f"{what} {text!r} is not UTF-8 text; take out the bytes that are not") from None
