"""Exact search of the whole set in device memory: one worker, which answers what several threads ask in one call of the device.

A set is held whole or not at all. Half of it would be compared in full and half by codes: the answer would be exact for some
recordings and not for others, and would come no sooner, for the half on the CPU takes the time.

No GPU was at hand: this module was run with :class:`store.index.device.HostDevice`, the twin on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid
from store.index.batching import DeviceWorker, Pieces
from store.index.device import FAULTS, K_MAX, Device, last_line, turn_off
from store.index.ranges import Run, are_eligible, eligible_runs
from store.scoring import unit

MARGIN_BYTES: Final = 2 << 30  # left free on each device: FAISS takes 1.5 GiB for a search
# By how much a device's score may differ from the exact one: row and query are both rounded to float16, by 2**-11 of their length at
# most; the rest is for sums in float32.
ROUNDING: Final = 2.0**-10 + 2.0**-13
_BLOCK: Final = 16_384

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class DeviceSet:
    """Rows of an archive in the memory of one or several devices; several threads may ask at once.

    Use :meth:`load`.

    Attributes
    ----------
    rows, dim : int
        0 rows: nothing is held.
    worker : DeviceWorker
    """

    def __init__(self, devices: Sequence[Device], firsts: Sequence[int], dim: int, note: str | None = None) -> None:
        self._firsts = list(firsts)
        self.rows, self.dim = self._firsts[-1], dim
        self.worker = DeviceWorker(devices, note)

    @property
    def note(self) -> str | None:
        """Why nothing is answered any more, in one line."""
        return self.worker.note

    @classmethod
    def load(
        cls, blocks: Sequence[NDArray[Any]], devices: Sequence[Device], *, margin_bytes: int = MARGIN_BYTES
    ) -> DeviceSet:
        """Copy all rows to the devices, at length 1 and in float16; a zero row stays zero.

        Parameters
        ----------
        blocks : sequence of float16 or float32, (n, dim)
            As stored; rows are numbered on through them.
        devices : sequence of Device
            Each gets a run of rows in proportion to its free memory.
        margin_bytes : int
            To be left free on each.

        Returns
        -------
        DeviceSet
            With 0 rows and a ``note`` if they do not fit, or a device failed.
        """
        rows, dim = sum(len(b) for b in blocks), blocks[0].shape[1] if blocks else 0
        try:
            room = [max(0, d.free_bytes - margin_bytes) // max(1, 2 * dim) for d in devices]
            if not rows or sum(room) < rows:
                need, free = 2 * rows * dim / 1e9, 2 * sum(room) * dim / 1e9
                note = f"{rows:,} windows need {need:,.1f} GB of GPU memory, {free:,.1f} GB are free: the CPU searches"
                return cls([], [0], dim, note if rows else None)
            firsts = [round(rows * sum(room[:i]) / sum(room)) for i in range(len(room) + 1)]
            held = [(d, a, b) for d, a, b in zip(devices, firsts, firsts[1:], strict=False) if b > a]
            for device, first, end in held:
                device.reserve(end - first, dim)
                _upload(blocks, device, first, end)
                device.finish()
            return cls([d for d, _, _ in held], [0, *(end for _, _, end in held)], dim)
        except FAULTS as error:
            note = f"copying {rows:,} windows to the GPU failed ({last_line(error)}): the CPU searches from here on"
            turn_off(note)
            for device in devices:
                with contextlib.suppress(*FAULTS):
                    device.close()
            return cls([], [0], dim, note)

    def candidates(
        self, queries: Floats, k: int, *, eligible: NDArray[np.uint8] | None = None, least: int | None = None
    ) -> tuple[Floats, Rows] | None:
        """Return the nearest eligible rows, the nearest first: exact but for ``ROUNDING``.

        Parameters
        ----------
        queries : float32, (nq, dim)
            Length 1.
        k : int
            At most ``K_MAX``.
        eligible : uint8 or None
            One bit a row, lowest first; None: all rows.
        least : int, optional
            Fewer than ``k`` will do, if not fewer than these.

        Returns
        -------
        scores, rows : float32 and int64, (nq, k)
            Where fewer were found, the rest is -inf and row -1. None: not certain (a filter left too few of the nearest ``K_MAX`` of a
            run), ``k`` too large, or the device is off; then the CPU has to search.
        """
        if self.rows and queries.shape[1] != self.dim:
            raise Invalid(f"the query has {queries.shape[1]:,} numbers, the vectors on the GPU {self.dim:,}")
        if self.note is not None or not 0 < k <= K_MAX or not self.rows:
            return None
        runs, count = eligible_runs(eligible, self.rows)
        pieces = tuple(
            (number, Run(own.first - first, own.end - first, own.has_holes))
            for number, (first, end) in enumerate(zip(self._firsts, self._firsts[1:], strict=False))
            for run in runs
            if (own := run.within(first, end))
        )
        if not pieces:
            return np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
        found = self.worker.ask(np.ascontiguousarray(queries, np.float16), pieces, k)
        if found is None:
            return None
        scores, rows = self._merged(found, pieces, k, eligible)
        enough = min(k if least is None else least, count)
        return (scores, rows) if ((rows >= 0).sum(axis=1) >= enough).all() else None

    def certain(self, queries: Floats, depth: int, eligible: NDArray[np.uint8] | None, count: int) -> Rows | None:
        """Return all rows that may be among the ``depth`` nearest of a query, whatever was rounded; None if that is not certain.

        Parameters
        ----------
        queries : float32, (nq, dim)
        depth : int
        eligible : uint8 or None
        count : int
            Of the eligible rows.
        """
        for k in sorted({min(4 * depth + 64, K_MAX), K_MAX}):
            found = self.candidates(queries, k, eligible=eligible, least=depth) if depth <= k else None
            if found is None:
                return None
            scores, rows = found
            held = (rows >= 0).sum(axis=1)
            worst = scores[np.arange(len(scores)), held - 1]
            low = scores[np.arange(len(scores)), np.minimum(depth, held) - 1] - 2 * ROUNDING
            if ((held == count) | (worst < low)).all():
                return np.unique(rows[(rows >= 0) & (scores >= low[:, None])])
        return None

    def close(self) -> None:
        """Give the memory back; the CPU searches from here on."""
        self.worker.close("the vectors were removed from the GPU: the CPU searches")

    def _merged(
        self, found: list[tuple[Floats, Rows]], pieces: Pieces, k: int, eligible: NDArray[np.uint8] | None
    ) -> tuple[Floats, Rows]:
        """Join what the runs gave, without rows that are not eligible and those that a better one may have been missed before."""
        scores = np.concatenate([s for s, _ in found], axis=1)
        rows = np.concatenate([r + self._firsts[n] for (_, r), (n, _) in zip(found, pieces, strict=True)], axis=1)
        cut = np.full(len(scores), -np.inf, np.float32)
        for (own, _), (_, run) in zip(found, pieces, strict=True):
            if run.has_holes and own.shape[1] < run.end - run.first:
                cut = np.maximum(cut, own[:, -1])
        good = scores >= cut[:, None]
        if eligible is not None:
            good &= are_eligible(eligible, rows)
        scores, rows = np.where(good, scores, np.float32(-np.inf)), np.where(good, rows, -1)
        order = np.lexsort((rows, -scores))[:, :k]
        out, at = np.full((len(scores), k), -np.inf, np.float32), np.full((len(scores), k), -1, np.int64)
        out[:, : order.shape[1]] = np.take_along_axis(scores, order, 1)
        at[:, : order.shape[1]] = np.take_along_axis(rows, order, 1)
        return out, at


def _upload(blocks: Sequence[NDArray[Any]], device: Device, first: int, end: int) -> None:
    """Copy rows ``[first, end)`` of all blocks to a device, numbered from 0."""
    begin = 0
    for block in blocks:
        low, high = max(first, begin), min(end, begin + len(block))
        for at in range(low, high, _BLOCK):
            with np.errstate(invalid="ignore"):
                some = unit(block[at - begin : min(at + _BLOCK, high) - begin]).astype(np.float16)
            some[~np.isfinite(some).all(axis=1)] = 0  # one such number would spoil the order of all
            device.put(at - first, some)
        begin += len(block)
