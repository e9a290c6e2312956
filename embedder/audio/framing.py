"""Samples in, windows out: the window rule applied to a stream, with exact zeros held back as a count."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from embedder.audio.resample import Float32
from sonotheque.core.errors import Invalid
from sonotheque.core.windows import WindowRule

Window = tuple[int, int, Float32]


class Framer:
    """Cuts a stream of samples at the model's rate.

    Parameters
    ----------
    rule : WindowRule

    Attributes
    ----------
    n_samples : int
        Samples pushed so far.
    n_dropped : int
        Windows of a zero tail that were left out; known after :meth:`finish`.

    Notes
    -----
    A window that lies wholly after the last sound is not yielded but counted. If sound comes back, the counted ones
    follow as zeros, which they are; if the stream ends, they are the zero tail. Memory is one window and two pushes.
    """

    def __init__(self, rule: WindowRule) -> None:
        if not (rule.window_samples >= rule.valid_samples_min >= 1 and rule.hop_samples >= 1):
            raise Invalid(
                f"window rule: window {rule.window_samples}, least sound {rule.valid_samples_min} and hop "
                f"{rule.hop_samples} samples; all must be at least 1, and the least sound no more than the window"
            )
        self._rule = rule
        self._buffer = np.empty(2 * rule.window_samples, np.float32)
        self._base = 0  # sample number of the buffer's first value
        self._fill = 0
        self._next = 0  # number of the next window to cut
        self._held = 0
        self._zero_from = 0
        self.n_samples = 0
        self.n_dropped = 0

    def push(self, samples: Float32, zero_from: int) -> Iterator[Window]:
        """Take samples, yield the windows that are complete with them.

        Parameters
        ----------
        samples : float32, (n,)
            Copied.
        zero_from : int
            No window that starts here or later has, by now, any sound in it.

        Yields
        ------
        start_sample, valid_samples, frame
            See :class:`~embedder.audio.windows.WindowStream`.
        """
        self._append(samples)
        window = self._rule.window_samples
        start = self._next * self._rule.hop_samples
        while start + window <= self.n_samples:
            yield from self._cut(start, window, zero_from)
            start = self._next * self._rule.hop_samples
        self._zero_from = zero_from

    def finish(self, *, keep_zero_tail: bool) -> Iterator[Window]:
        """Yield what is left: the padded window at the end, and the held ones if they are to be kept."""
        total = self._rule.count(self.n_samples)
        while self._next < total:
            start = self._next * self._rule.hop_samples
            yield from self._cut(start, min(self._rule.window_samples, self.n_samples - start), self._zero_from)
        if keep_zero_tail:
            yield from self._release()
        else:
            # Sound too short for a window of its own may have come after them: those that begin before it are no tail.
            first, hop = self._next - self._held, self._rule.hop_samples
            yield from self._release(min(self._held, max(0, -(-self._zero_from // hop) - first)))
        self.n_dropped, self._held = self._held, 0

    def _cut(self, start: int, valid: int, zero_from: int) -> Iterator[Window]:
        begin = start - self._base
        sound = self._buffer[begin : begin + valid]
        # Both: the first says that it is a tail so far, the second that zeros are what it is.
        if start >= zero_from and not sound.any():
            self._next += 1
            self._held += 1
            return
        yield from self._release()
        self._next += 1
        frame = np.zeros(self._rule.window_samples, np.float32)
        frame[:valid] = sound
        yield start, valid, frame

    def _release(self, count: int | None = None) -> Iterator[Window]:
        """Yield the held windows, or the first so many; they are those just before the next one."""
        rule = self._rule
        first = self._next - self._held
        count = self._held if count is None else count
        self._held -= count
        for number in range(first, first + count):
            start = number * rule.hop_samples
            valid = min(rule.window_samples, self.n_samples - start)
            yield start, valid, np.zeros(rule.window_samples, np.float32)

    def _append(self, samples: Float32) -> None:
        if self._fill + samples.size > self._buffer.size:
            self._make_room(samples.size)
        self._buffer[self._fill : self._fill + samples.size] = samples
        self._fill += samples.size
        self.n_samples += samples.size

    def _make_room(self, size: int) -> None:
        """Forget what lies before the next window; grow if a push is larger than ever before."""
        done = min(self._next * self._rule.hop_samples - self._base, self._fill)
        kept = self._buffer[done : self._fill]
        needed = kept.size + size
        target = self._buffer if needed <= self._buffer.size else np.empty(needed + size, np.float32)
        target[: kept.size] = kept  # numpy copies overlapping slices correctly
        self._buffer = target
        self._base += done
        self._fill = kept.size
