"""One worker for all devices: what several threads ask within two milliseconds, or while a call runs, is answered by one call."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from store.index.device import FAULTS, K_MAX, Device, last_line, turn_off, turned_off
from store.index.ranges import Run

WAIT_S: Final = 0.002  # for others to join, if others did the time before
QUERIES_MAX: Final = 256  # from here on a call is not waited with

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Rows = NDArray[np.int64]
Pieces = tuple[tuple[int, Run], ...]  # number of the device, and rows as it counts them
Found = list[tuple[Floats, Rows]]  # of each piece


@dataclass(slots=True)
class _Asked:
    queries: Halves
    pieces: Pieces
    k: int
    answer: Future[Found | None] = field(default_factory=Future)


class DeviceWorker:
    """Asks devices, one batch after the other; several devices work on a batch at the same time.

    Parameters
    ----------
    devices : sequence of Device
    note : str, optional
        Why nothing will be answered.

    Attributes
    ----------
    note : str or None
        Why nothing is answered any more.
    calls : int
        Made of each device together, for all requests so far: one for each set of runs in a batch.
    """

    def __init__(self, devices: Sequence[Device], note: str | None = None) -> None:
        self.note, self.calls = note, 0
        self._devices = list(devices)
        self._queue: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pool = ThreadPoolExecutor(len(self._devices)) if len(self._devices) > 1 else None
        self._lock = threading.Lock()
        self._was_shared = False

    def ask(self, queries: Halves, pieces: Pieces, k: int) -> Found | None:
        """Return the nearest rows of each piece, at least ``k`` of them if it has so many, ``K_MAX`` where it has holes.

        None: the devices are off, and ``note`` says why.
        """
        asked = _Asked(queries, pieces, k)
        with self._lock:
            self.note = self.note or turned_off()
            if self.note is not None:
                return None
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="gpu-search", daemon=True)
                self._thread.start()
            self._queue.put(asked)
        return asked.answer.result()

    @property
    def waiting(self) -> int:
        """Requests that no call has begun to answer."""
        return self._queue.qsize()

    def close(self, note: str) -> None:
        """End the worker, when what was asked is answered, and give the devices' memory back."""
        with self._lock:
            self.note = self.note or note
            thread, self._thread = self._thread, None
            if thread is not None:
                self._queue.put(None)
        if thread is not None:
            thread.join()
        if self._pool is not None:
            self._pool.shutdown()
        for device in self._devices:
            with contextlib.suppress(*FAULTS):  # a device that is lost has lost its memory too
                device.close()
        self._devices = []

    def _work(self) -> None:
        is_open = True
        while is_open and (asked := self._queue.get()) is not None:
            batch = [asked]
            until = time.monotonic() + (WAIT_S if self._was_shared else 0.0)
            while sum(len(a.queries) for a in batch) < QUERIES_MAX:
                try:
                    more = self._queue.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if more is None:
                    is_open = False
                    break
                batch.append(more)
            self._was_shared = len(batch) > 1
            try:
                self._answer(batch)
            finally:  # whatever went wrong, nobody waits for ever
                for asked in batch:
                    if not asked.answer.done():
                        self.note = self.note or "the GPU's worker failed: the CPU searches from here on"
                        asked.answer.set_result(None)

    def _answer(self, batch: Sequence[_Asked]) -> None:
        """Answer requests for the same runs together."""
        together: dict[tuple[Pieces, int], list[_Asked]] = {}
        for asked in batch:
            together.setdefault((asked.pieces, asked.queries.shape[1]), []).append(asked)
        for (pieces, _), group in together.items():
            found = self._scanned(pieces, group)
            first = 0
            for asked in group:
                end = first + len(asked.queries)
                asked.answer.set_result(None if found is None else [(s[first:end], r[first:end]) for s, r in found])
                first = end

    def _scanned(self, pieces: Pieces, group: Sequence[_Asked]) -> Found | None:
        if turned_off() is not None:
            return None
        queries, k = np.concatenate([a.queries for a in group]), max(a.k for a in group)

        def scan(number: int) -> dict[int, tuple[Floats, Rows]]:
            found = {}
            for place, (own, run) in enumerate(pieces):
                if own == number:
                    wanted = min(K_MAX if run.has_holes else k, run.end - run.first)
                    found[place] = self._devices[number].nearest(run.first, run.end, queries, wanted)
            return found

        numbers = sorted({number for number, _ in pieces})
        try:
            parts = list(self._pool.map(scan, numbers)) if self._pool else [scan(n) for n in numbers]
        except FAULTS as error:
            self.note = f"the GPU failed ({last_line(error)}): the CPU searches from here on"
            turn_off(self.note)
            return None
        self.calls += 1
        found = {place: pair for part in parts for place, pair in part.items()}
        return [found[place] for place in range(len(pieces))]
