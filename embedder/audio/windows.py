"""A file as the model's windows: the one way sound enters the program."""

from __future__ import annotations

import math
from collections.abc import Iterator
from time import perf_counter

import numpy as np

from embedder.audio.decode import BlockReader, Channels
from embedder.audio.findings import Finding, combine
from embedder.audio.framing import Framer, Window
from embedder.audio.resample import Float32, Resampler
from sonotheque.core.outcome import DecodeSummary, StageSeconds, Status
from sonotheque.core.windows import WindowRule


class WindowStream:
    """The windows of one file; iterate it once.

    Parameters
    ----------
    path : str
    rule : WindowRule
    channels : {'mean', 'first'}
    expect : (int, int), optional
        Size in bytes and modification time in ns the file must have.
    reader : BlockReader, optional
        Where the sound comes from instead of the path.

    Attributes
    ----------
    n_windows : int
        Windows yielded so far.
    n_samples : int
        Samples at the model's rate so far; ``rule.count(n_samples)`` windows at the end, less those of a zero tail.

    Notes
    -----
    A file may turn out ``changed`` or ``io_error`` after windows were yielded: drop them where the summary's outcome
    is not ``done``.
    """

    def __init__(
        self,
        path: str,
        rule: WindowRule,
        *,
        channels: Channels = "mean",
        expect: tuple[int, int] | None = None,
        reader: BlockReader | None = None,
    ) -> None:
        self.path, self.rule = path, rule
        self._reader = reader or BlockReader(path, channels=channels, expect=expect)
        self._framer = Framer(rule)
        self._windows: Iterator[Window] | None = None
        self._summary: DecodeSummary | None = None
        self._decode_s = self._resample_s = 0.0
        self._sound_end = 0  # frames of the file up to and with the last one that is not zero
        self.n_windows = 0

    @property
    def n_samples(self) -> int:
        """Samples at the model's rate so far."""
        return self._framer.n_samples

    @property
    def summary(self) -> DecodeSummary:
        """What decoding found; there is none before the last window."""
        if self._summary is None:
            raise RuntimeError(f"{self.path!r}: the summary is known after the last window, {self.n_windows} so far")
        return self._summary

    @property
    def stages(self) -> StageSeconds:
        """Seconds spent decoding and resampling so far."""
        return StageSeconds(decode_s=self._decode_s, resample_s=self._resample_s)

    def __iter__(self) -> Iterator[Window]:
        """Yield the windows.

        Yields
        ------
        start_sample : int
            At the model's rate.
        valid_samples : int
            How many of the frame's samples are sound; those after it are zeros.
        frame : float32, (window_samples,)
            The caller's own.
        """
        if self._windows is not None:
            raise RuntimeError(f"{self.path!r}: a window stream is read once; open the file again")
        self._windows = self._run()
        return self._windows

    def _run(self) -> Iterator[Window]:
        with self._reader as reader:
            resampler: Resampler | None = None
            for block in self._timed_blocks(reader):
                if resampler is None:
                    resampler = self._resampler(reader)
                self._note_sound(block, reader.decoded_frames)
                yield from self._frame(self._timed_resample(resampler, block), resampler)
            # After a fault of the disk this is not the sound's end: what flushing and padding give would be taken for true windows
            # by whoever reads on from here in another try.
            broken = any(finding.status is Status.IO_ERROR for finding in reader.findings)
            if resampler is not None and not broken:
                yield from self._frame(self._timed_resample(resampler, None), resampler)
        if not broken:
            for window in self._framer.finish(keep_zero_tail=not self._has_zero_tail()):
                self.n_windows += 1
                yield window
        self._summary = self._summarise(self._framer.n_dropped)

    def _frame(self, samples: Float32, resampler: Resampler) -> Iterator[Window]:
        zero_from = math.ceil(self._sound_end * resampler.ratio) + resampler.ringing_samples if self._sound_end else 0
        for window in self._framer.push(samples, zero_from):
            self.n_windows += 1
            yield window

    def _timed_blocks(self, reader: BlockReader) -> Iterator[Float32]:
        blocks = iter(reader)
        while True:
            began = perf_counter()
            block = next(blocks, None)
            self._decode_s += perf_counter() - began
            if block is None:
                return
            yield block

    def _resampler(self, reader: BlockReader) -> Resampler:
        return Resampler(reader.sample_rate_hz, self.rule.sample_rate_hz, self.rule.rate_factor)

    def _timed_resample(self, resampler: Resampler, block: Float32 | None) -> Float32:
        began = perf_counter()
        samples = resampler.flush() if block is None else resampler.process(block)
        self._resample_s += perf_counter() - began
        return samples

    def _note_sound(self, block: Float32, decoded_frames: int) -> None:
        # Zeros are looked for here, before the resampler: it rings, so its output is exactly zero only much later.
        if block[-1] != 0.0:
            self._sound_end = decoded_frames
        elif block.any():
            self._sound_end = decoded_frames - int(np.flatnonzero(block[::-1])[0])

    def _has_zero_tail(self) -> bool:
        """Return whether there is sound, and then at least one window's length of exact zeros up to the end."""
        tail_s = self._tail_s()
        return self._sound_end > 0 and tail_s >= self.rule.window_s

    def _tail_s(self) -> float:
        rate_hz = self._reader.sample_rate_hz
        return (self._reader.decoded_frames - self._sound_end) / rate_hz if rate_hz else 0.0

    def _summarise(self, dropped: int) -> DecodeSummary:
        reader, findings = self._reader, list(self._reader.findings)
        decoded = reader.decoded_frames
        if decoded and self._sound_end == 0:
            findings.append(Finding(Status.SILENT, f"all {decoded} frames are exactly zero"))
        if dropped:
            reason = f"the last {self._tail_s():.3f} s are exact zeros: {dropped} windows left out"
            findings.append(Finding(Status.ZERO_TAIL, reason))
        if decoded and self.n_windows == 0:
            needed_s = self.rule.seconds(self.rule.valid_samples_min)
            reason = f"{decoded / reader.sample_rate_hz:.3f} s of sound; a window must hold {needed_s:g} s"
            findings.append(Finding(Status.TOO_SHORT, reason))
        status, reason = combine(findings)
        return DecodeSummary(
            status=status,
            reason=reason,
            sample_rate_hz=reader.sample_rate_hz,
            channels=reader.n_channels,
            declared_frames=reader.declared_frames,
            decoded_frames=decoded,
            duration_s=decoded / reader.sample_rate_hz if reader.sample_rate_hz else 0.0,
            container=reader.container,
            codec=reader.codec,
            passing=any(finding.passing for finding in findings),
        )
