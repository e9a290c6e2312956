"""Reading on after a disk or a network failed for a moment: the file is opened again, and its windows go on where they broke off.

Decoding is the same each time, so the windows that had come out already are passed over. What a decoder finds in the bytes of a
file is never tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from threading import Event
from typing import Protocol

from embedder.audio import Window
from embedder.audio.findings import from_os_error
from sonotheque.core.outcome import DecodeSummary, StageSeconds, Status

DELAYS_S = (0.5, 2.0)  # before the second and the third try of a file
BUDGET_S = 60.0  # of all waiting in one part: a disk that is away for good must not cost this for each of its files


class Windows(Protocol):
    """Windows of one file, iterated once, and what decoding found: :class:`embedder.audio.WindowStream`, or a part of one."""

    @property
    def summary(self) -> DecodeSummary:
        """Known after the last window."""

    @property
    def stages(self) -> StageSeconds:
        """Seconds spent so far."""

    def __iter__(self) -> Iterator[Window]: ...


class Patience:
    """What may still be waited for in one part; shared by its decoders, a little more or less does not matter.

    Parameters
    ----------
    stop : threading.Event
        Ends every wait.
    delays_s : tuple of float
        Before the second try of a file, the third ...
    budget_s : float
    """

    def __init__(self, stop: Event, delays_s: tuple[float, ...] = DELAYS_S, budget_s: float = BUDGET_S) -> None:
        self._stop, self._delays_s, self._left_s = stop, delays_s, budget_s

    def wait(self, tries: int, spent_s: float = 0.0) -> bool:
        """Wait before another try; False if there were enough, or nobody wants it any more.

        Parameters
        ----------
        tries : int
            So far.
        spent_s : float
            What the last one waited in vain itself: a network that does not answer for minutes is not asked file after file.
        """
        self._left_s -= spent_s
        if tries > len(self._delays_s) or self._delays_s[tries - 1] > self._left_s:
            return False
        self._left_s -= self._delays_s[tries - 1]
        return not self._stop.wait(self._delays_s[tries - 1])


class PatientWindows:
    """The windows of one file, read on after faults that pass.

    Parameters
    ----------
    opened : callable
        Opens the file from its beginning, anew each time.
    patience : Patience
    """

    def __init__(self, opened: Callable[[], Windows], patience: Patience) -> None:
        self._opened, self._patience = opened, patience
        self._summary: DecodeSummary | None = None
        self._stages = StageSeconds()

    @property
    def summary(self) -> DecodeSummary:
        """What decoding found in the last try."""
        if self._summary is None:
            raise RuntimeError("the summary is known after the last window")
        return self._summary

    @property
    def stages(self) -> StageSeconds:
        """Seconds spent in all tries."""
        return self._stages

    def __iter__(self) -> Iterator[Window]:
        """Yield each window once, whatever the number of tries."""
        came, tries = 0, 0
        while True:
            tries += 1
            stream = self._opened()
            began = since = time.perf_counter()
            try:
                for window in islice(stream, came, None):
                    came += 1
                    yield window
                    since = time.perf_counter()
                summary, stages = stream.summary, stream.stages
            except OSError as error:  # of the look at the file after its last block, or of a library below it
                found = from_os_error(error)
                summary = DecodeSummary(found.status, found.reason, passing=found.passing)
                stages = StageSeconds(decode_s=time.perf_counter() - began)
            self._stages += stages
            vain_s = time.perf_counter() - since
            if not (summary.passing and summary.status is Status.IO_ERROR and self._patience.wait(tries, vain_s)):
                break
        said = f"{summary.reason} (tried {tries} times)" if tries > 1 and summary.status is Status.IO_ERROR else None
        self._summary = replace(summary, reason=said) if said else summary
