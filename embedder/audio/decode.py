"""A file's sound as mono float32 blocks, in bounded memory, whatever the file holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Literal

import numpy as np
import soundfile as sf

from embedder.audio.findings import Finding, Refused, from_os_error
from embedder.audio.opening import SYSTEM_ERROR, OpenSound, difference, open_sound
from embedder.audio.resample import Float32
from sonotheque.core.outcome import Status

Channels = Literal["mean", "first"]

# Part of the settings that name a part: a decoder may resume elsewhere after damaged data if it is asked for other
# amounts at a time.
DECODE_BLOCK_S = 1.0

# Bound of one block over all channels, 16 MiB: 1 s holds up to 8 channels at 500 kHz, or 64 at 65 kHz.
BLOCK_VALUES_MAX = 4 * 1024 * 1024

# Float files may hold integers' ranges, up to 2^31; a value beyond twice that is a damaged exponent, and it would
# overflow in a model as infinity does.
SAMPLE_ABS_MAX = np.float32(2.0**32)


class BlockReader:
    """A file as mono blocks of one second.

    Nothing in a file raises: what is wrong is in ``findings``. A file that cannot be opened gives no block.

    Parameters
    ----------
    path : str
    channels : {'mean', 'first'}
        How several channels become one.
    expect : (int, int), optional
        Size in bytes and modification time in ns the file must have, now and after the last block.

    Attributes
    ----------
    findings : list of Finding
        Complete after the last block.
    sample_rate_hz, n_channels : int
        0 if not opened.
    declared_frames : int or None
        Frames the header promises.
    decoded_frames, nonfinite_values : int
        Frames so far, and values among them that were set to zero.
    container, codec : str
        As libsndfile names them.

    Examples
    --------
    >>> with BlockReader("dawn.flac") as reader:  # doctest: +SKIP
    ...     loudest = max(abs(block).max() for block in reader)
    """

    def __init__(self, path: str, *, channels: Channels = "mean", expect: tuple[int, int] | None = None) -> None:
        self._path, self._channels, self._expect = path, channels, expect
        self._stack = ExitStack()
        self._opened: OpenSound | None = None
        self._buffer = np.empty((0, 1), np.float32)
        self.findings: list[Finding] = []
        self.sample_rate_hz = self.n_channels = self.decoded_frames = self.nonfinite_values = 0
        self.declared_frames: int | None = None
        self.container = self.codec = ""

    def __enter__(self) -> BlockReader:
        try:
            opened = open_sound(self._path, self._expect, self._stack)
        except Refused as refused:
            self._stack.close()
            self.findings.append(refused.finding)
            return self
        except BaseException:
            self._stack.close()
            raise
        self._opened = opened
        self.findings.extend(opened.findings)
        self.sample_rate_hz, self.n_channels = opened.sound.samplerate, opened.sound.channels
        self.container, self.codec = opened.container, opened.codec
        self.declared_frames = opened.declared_frames
        frames = max(1, min(round(DECODE_BLOCK_S * self.sample_rate_hz), BLOCK_VALUES_MAX // self.n_channels))
        self._buffer = np.empty((frames, self.n_channels), np.float32)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened = None
        self._stack.close()

    def __iter__(self) -> Iterator[Float32]:
        """Yield the blocks.

        Yields
        ------
        float32, (n,)
            Mono, finite, 1 s or less; valid until the next one is asked for.
        """
        opened = self._opened
        if opened is None:
            return
        more = True
        while more:
            frames, more = self._read(opened)
            if frames:
                values = self._buffer[:frames]
                self._remove_nonfinite(values)
                self.decoded_frames += frames
                yield self._to_mono(values)
        self._conclude(opened)

    def _read(self, opened: OpenSound) -> tuple[int, bool]:
        """Fill the buffer; return how many frames it holds, and whether there may be more."""
        # After an error libsndfile does not say how many frames it wrote before it: the marks that are left do.
        self._buffer.fill(np.nan)
        try:
            frames = len(opened.sound.read(out=self._buffer))
        except sf.LibsndfileError as error:
            if self._broke_off(opened):  # the decoder only met the end of what came
                return 0, False
            marked = np.isnan(self._buffer[:, -1])
            frames = int(marked.argmax()) if marked.any() else marked.size
            position_s = (self.decoded_frames + frames) / self.sample_rate_hz
            status = Status.IO_ERROR if error.code == SYSTEM_ERROR else Status.CORRUPT
            promise = "" if self.declared_frames is None else f" of {self.declared_frames / self.sample_rate_hz:.3f} s"
            reason = f"libsndfile at {position_s:.3f} s{promise}: {error.error_string}"
            self.findings.append(Finding(status, reason, passing=status is Status.IO_ERROR))
            # What a decoder makes of a read that failed may be no sound of the file: the whole block is left out, as it will be
            # read again.
            return (0 if status is Status.IO_ERROR else frames), False
        if self._broke_off(opened):
            return 0, False
        room = opened.frames_max - self.decoded_frames
        if frames > room:
            reason = f"the decoder gives more than {opened.frames_max / self.sample_rate_hz:.3f} s of sound, which {opened.size_bytes} bytes"
            self.findings.append(Finding(Status.CORRUPT, f"{reason} cannot hold; the rest is left out"))
            return room, False
        return frames, frames > 0

    def _broke_off(self, opened: OpenSound) -> bool:
        """Note what went wrong below the decoder, if anything did. An error of the program itself is raised."""
        error = opened.span.error if opened.span is not None else None
        if error is None:
            return False
        if not isinstance(error, OSError):
            raise error
        self.findings.append(from_os_error(error))
        return True

    def _remove_nonfinite(self, values: Float32) -> None:
        """Set what is no sound to zero, in place. NaN fails both comparisons."""
        if values.min() >= -SAMPLE_ABS_MAX and values.max() <= SAMPLE_ABS_MAX:
            return
        wrong = ~(np.abs(values) <= SAMPLE_ABS_MAX)
        values[wrong] = 0.0
        self.nonfinite_values += int(wrong.sum())

    def _to_mono(self, values: Float32) -> Float32:
        """Return float32 (n,) of float32 (n, channels)."""
        if self.n_channels == 1 or self._channels == "first":
            return values[:, 0]
        mono = values[:, 0].copy()
        for channel in range(1, self.n_channels):  # numpy's mean over a short inner axis is ten times slower
            mono += values[:, channel]
        mono /= np.float32(self.n_channels)
        return mono

    def _conclude(self, opened: OpenSound) -> None:
        """Compare what came out with what was promised, and the file with what it was."""
        found, declared = self.decoded_frames, self.declared_frames
        known = {finding.status for finding in self.findings}
        promise = "no length" if declared is None else f"{declared} frames"
        if found == 0 and Status.CORRUPT in known:
            self.findings = [Finding(Status.UNREADABLE, finding.reason) for finding in self.findings]
        elif found == 0 and Status.IO_ERROR not in known:
            self._find(Status.EMPTY, f"holds no frame; header declares {promise}")
        elif declared is not None and found < declared and not known & {Status.CORRUPT, Status.TRUNCATED}:
            missing_s = (declared - found) / self.sample_rate_hz
            self._find(
                Status.SHORT, f"header declares {declared} frames, {found} were decoded ({missing_s:.3f} s less)"
            )
        if self.nonfinite_values:
            total = found * self.n_channels
            self._find(Status.NONFINITE, f"{self.nonfinite_values} of {total} values were NaN, infinite or beyond 2^32")
        changed = difference(self._expect, opened.source.now()) if self._expect else ""
        if changed:
            self._find(Status.CHANGED, f"while it was read: {changed}")

    def _find(self, status: Status, reason: str) -> None:
        self.findings.append(Finding(status, reason))
