"""A clip, or a range of one, as the model's windows: the decoding that search by sound shares, wherever it runs.

Light on purpose: the processes that decode uploads import this and neither the store nor a database.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from embedder.audio import BlockReader, Channels, Window, WindowStream
from embedder.audio.decode import BLOCK_VALUES_MAX, DECODE_BLOCK_S
from embedder.audio.resample import Float32
from search_api.clip_rules import ClipBounds, require_range, seconds_text
from search_api.cutting import CLIP_S_MAX, Sound, cut_spans
from sonotheque.core.errors import Damaged, Invalid
from sonotheque.core.outcome import DecodeSummary, StageSeconds
from sonotheque.core.windows import WindowRule

_FAR_S: Final = 1e6  # longer than any clip
_MARGIN_S: Final = 0.1  # a resampler's filter reaches less far


class ClipWindows:
    """The windows of a clip or of a range of one; iterate it once.

    Parameters
    ----------
    stream : WindowStream
    reader : BlockReader
        What the stream reads.
    keep : (int, int)
        The windows that start at samples ``[first, end)`` are meant, all from ``first`` on if the end is -1; their starts count from
        ``first``.

    Attributes
    ----------
    first_s : float
        Where the first window begins in the clip; the starts of the windows count from there.
    notes : list of str
        What a user should know of the range.
    left_s : float or None
        Seconds of sound from the range's start on, if there is a range.
    sample_rate_hz, channels : int
        Of the clip; known after the first window.
    """

    def __init__(
        self,
        stream: WindowStream,
        reader: BlockReader,
        *,
        first_s: float = 0.0,
        keep: tuple[int, int] = (0, -1),
        notes: Sequence[str] = (),
        left_s: float | None = None,
    ) -> None:
        self._stream, self._reader, self._keep = stream, reader, keep
        self.first_s, self.notes, self.left_s = first_s, list(notes), left_s

    @property
    def sample_rate_hz(self) -> int:
        """Of the clip."""
        return self._reader.sample_rate_hz

    @property
    def channels(self) -> int:
        """Of the clip."""
        return self._reader.n_channels

    @property
    def summary(self) -> DecodeSummary:
        """What decoding found; there is none before the last window."""
        return self._stream.summary

    @property
    def stages(self) -> StageSeconds:
        """Seconds spent so far."""
        return self._stream.stages

    def __iter__(self) -> Iterator[Window]:
        """Yield start, valid samples and frame, as :class:`embedder.audio.WindowStream`."""
        first, end = self._keep
        for start, valid, frame in self._stream:
            if start >= first and (end < 0 or start < end):
                yield start - first, valid, frame


def open_clip(
    path: str,
    rule: WindowRule,
    *,
    name: str,
    channels: Channels = "mean",
    from_s: float | None = None,
    to_s: float | None = None,
    bounds: ClipBounds | None = None,
) -> ClipWindows:
    """Return the windows of a sound file.

    Parameters
    ----------
    path : str
    rule : WindowRule
    name : str
        What the file is called in messages.
    channels : {'mean', 'first'}
    from_s, to_s : float, optional
        Only this range; windows begin at its start. A range shorter than a window means the window at its start.
    bounds : ClipBounds, optional

    Returns
    -------
    ClipWindows
        Of a whole file nothing is read before the first window is asked for; of a range the sound is read here.

    Raises
    ------
    Invalid
        If the range cannot be, or there is no sound in it; while iterating, ``unsupported_audio`` for what the bounds leave out.
    Limit
        If it holds more sound than the bounds allow; also while iterating.
    """
    bounds = bounds or ClipBounds()
    require_range(name, from_s, to_s, bounds.flags)
    if from_s is None and to_s is None:
        reader = _Bounded(path, name, channels, bounds)
        return ClipWindows(WindowStream(path, rule, reader=reader), reader)
    return _open_range(path, rule, name, channels, (from_s or 0.0, to_s), bounds)


def _open_range(
    path: str, rule: WindowRule, name: str, channels: Channels, span: tuple[float, float | None], bounds: ClipBounds
) -> ClipWindows:
    """Return the windows from a second on, numbered from there.

    The sound before and after the range goes through the resampler too: cut off first, a window would begin and end with a click that
    the archive's windows do not have (and of a quiet recording at another rate BirdNET hears it: cosine 0.990 instead of 1).
    """
    from_s, to_s = span
    window_s, hop_s = rule.window_s, rule.seconds(rule.hop_samples)
    lead_s = hop_s * math.ceil(_MARGIN_S / hop_s)
    notes, count = [], None
    if to_s is not None:
        if to_s - from_s < window_s:
            notes.append(
                f"the range is {seconds_text(to_s - from_s)} s, a window {seconds_text(window_s)} s: the window at its start was taken"
            )
        count = max(1, rule.count(round(min(to_s - from_s, _FAR_S) * rule.sample_rate_hz * rule.rate_factor)))
    longest_s = min(CLIP_S_MAX, bounds.decoded_s)
    end_s = from_s + longest_s - lead_s if count is None else from_s + (count - 1) * hop_s + window_s + _MARGIN_S
    sound = _cut(path, name, from_s, (max(0.0, from_s - lead_s), end_s), bounds)
    if count is None and sound.end_s >= end_s:
        raise Invalid(f"{name} goes on for more than {end_s - from_s:g} s after {from_s:g} s: add {bounds.flags[1]}")
    if to_s is not None and sound.end_s < to_s - 1 / sound.sample_rate_hz:
        notes.append(f"the range ends at {seconds_text(to_s)} s, the sound already at {seconds_text(sound.end_s)} s")
    lead = round(lead_s * sound.sample_rate_hz)
    before = lead - (round(from_s * sound.sample_rate_hz) - round(sound.start_s * sound.sample_rate_hz))
    reader = _Held(sound, before, channels)
    first = round(lead_s / hop_s) * rule.hop_samples
    return ClipWindows(
        WindowStream(path, rule, reader=reader),
        reader,
        first_s=from_s,
        keep=(first, -1 if count is None else first + count * rule.hop_samples),
        notes=notes,
        left_s=max(0.0, sound.end_s - from_s),
    )


def _cut(path: str, name: str, from_s: float, span: tuple[float, float], bounds: ClipBounds) -> Sound:
    if max(from_s, span[1] - span[0]) > bounds.decoded_s:  # what lies before a range may have to be decoded too
        raise bounds.too_long(name)

    def check(channels: int, rate_hz: int) -> None:
        bounds.refuse_format(name, channels, rate_hz)

    try:
        _, sound = next(cut_spans(path, [span], check=check))
    except Damaged as error:
        raise Invalid(f"{name} cannot be searched with: {error.message}", kind="unsupported_audio") from error
    if isinstance(sound, Damaged):
        raise Invalid(f"{name} has no sound from {seconds_text(from_s)} s on: {sound.message}")
    if sound.end_s <= from_s:
        raise Invalid(f"{name} has no sound from {seconds_text(from_s)} s on: it ends at {seconds_text(sound.end_s)} s")
    return sound


class _Bounded(BlockReader):
    """A file that is read no further than the bounds allow, whatever its header promises."""

    def __init__(self, path: str, name: str, channels: Channels, bounds: ClipBounds) -> None:
        super().__init__(path, channels=channels)
        self._name, self._bounds = name, bounds

    def __iter__(self) -> Iterator[Float32]:
        if self.sample_rate_hz:
            self._bounds.refuse_format(self._name, self.n_channels, self.sample_rate_hz)
        for block in super().__iter__():
            if self.decoded_frames > self._bounds.decoded_s * self.sample_rate_hz:
                raise self._bounds.too_long(self._name)
            yield block


class _Held(BlockReader):
    """A piece of sound in memory, read as a file of it would be: zeros are what a resampler takes to lie before the first sample."""

    def __init__(self, sound: Sound, before: int, channels: Channels) -> None:
        super().__init__("", channels=channels)
        self._sound, self._before = sound, before

    def __enter__(self) -> BlockReader:
        self.sample_rate_hz, self.n_channels = self._sound.sample_rate_hz, self._sound.samples.shape[1]
        self.declared_frames = self._before + len(self._sound.samples)
        return self

    def __iter__(self) -> Iterator[Float32]:
        samples, before, total = self._sound.samples, self._before, self.declared_frames or 0
        step = max(1, min(round(DECODE_BLOCK_S * self.sample_rate_hz), BLOCK_VALUES_MAX // self.n_channels))
        scale = np.float32(2.0**-31 if samples.dtype == np.int32 else 1.0)  # libsndfile's, exact
        for begin in range(0, total, step):
            end = min(begin + step, total)
            block = np.zeros((end - begin, self.n_channels), np.float32)
            inside = max(begin, before)
            if inside < end:
                np.multiply(
                    samples[inside - before : end - before],
                    scale,
                    out=block[inside - begin :],
                    casting="same_kind",
                    dtype=np.float32,
                )
            self.decoded_frames = end
            yield self._to_mono(block)
