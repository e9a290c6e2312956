"""When the vectors of an opened index go to the GPUs, and the plan ``gpu`` of a search."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid
from sonotheque.core.search import SearchPlan, SearchQuery
from store.index.cuda import CudaDevice, gpu_devices
from store.index.device import FAULTS, K_MAX, gpu_reason, last_line, turn_off, turned_off
from store.index.eligible import Eligible
from store.index.gpu import DeviceSet
from store.index.picking import Found
from store.index.scan import Aim, Searched, worth_a_look
from store.scoring import quick_cosines

WHEN: Final = ("auto", "now", "off")
LEAST_ROWS: Final = 5_000  # fewer eligible rows are compared sooner on the CPU than asked of a GPU
_GROWTH: Final = 4

Rows = NDArray[np.int64]


class OnGpu:
    """The device set of an opened index: loaded when it is worth it.

    Parameters
    ----------
    blocks : sequence of float16 or float32, (n, dim)
    when : str
        ``auto``: from the second search on and in the background, for a process that asks once is done sooner on the CPU;
        ``now``: before anything is asked; ``off``: never.

    Attributes
    ----------
    asked : int
        Searches before the set was loaded.
    loading : threading.Thread or None
    """

    def __init__(self, blocks: Sequence[NDArray[Any]], when: str = "auto") -> None:
        if when not in WHEN:
            raise Invalid(f"gpu is {when!r}: expected one of {', '.join(WHEN)}")
        self._blocks, self._when = blocks, when
        self._set: DeviceSet | None = None
        self.asked = 0
        self.loading: threading.Thread | None = None
        self._lock = threading.Lock()
        if when == "now":
            self._load()

    def get(self) -> DeviceSet | None:
        """Return the set; None if there is none, or none yet."""
        if self._set is None and self._when == "auto":
            with self._lock:
                self.asked += 1
                if self.loading is None and self.asked >= 2 and self._blocks and gpu_reason() is None:
                    self.loading = threading.Thread(target=self._load, name="gpu-load", daemon=True)
                    self.loading.start()
        return self._set

    def found(
        self,
        query: SearchQuery,
        aim: Aim,
        eligible: Eligible,
        plan: SearchPlan,
        searched: Searched,
        best: Callable[[Rows, int], Found],
    ) -> Found | None:
        """Return what a search finds, and say so in its plan; None: the plan stands, but for a note, and the CPU has to do it.

        Parameters
        ----------
        query : SearchQuery
        aim : Aim
        eligible : Eligible
        plan : SearchPlan
            Of the CPU.
        searched : Searched
        best : callable
            Returns the best of some rows by their exact scores, at most so many, without those that the query wants left out.
        """
        indexed = plan.eligible - plan.fresh
        if plan.how == "nothing" or indexed < LEAST_ROWS or self._when == "off":
            return None
        held = self.get()
        if note := (turned_off() if held is None else held.note):
            plan.notes.append(note)
        if held is None or held.note is not None:
            return None
        bits = None
        if eligible.mask is not None:
            bits = np.packbits(eligible.mask[: searched.fresh_first], bitorder="little")
        fresh, fresh_scores = searched.quick(aim, eligible, only_fresh=True)
        wanted = min(query.k, eligible.count)
        is_plain = query.best_per is None and query.distinct is None
        depth = wanted if is_plain else min(wanted * _GROWTH, eligible.count)
        while depth <= K_MAX:
            near = held.certain(aim.directions, min(depth, indexed), bits, indexed)
            if near is None:
                plan.notes.extend([held.note] if held.note else [])
                return None
            scores = np.concatenate([fresh_scores, aim.joined(quick_cosines(searched.take(near), aim.units))])
            rows = np.concatenate([fresh, near])
            left = best(rows[worth_a_look(scores, depth)], depth)
            if len(left) >= wanted or depth >= eligible.count:
                plan.how, plan.compared, plan.recall = "gpu", eligible.count, 1.0
                return left.head(query.k)
            depth = min(depth * _GROWTH, eligible.count)
        return None

    def close(self) -> None:
        """Give the memory back."""
        self._when = "off"
        if self.loading is not None:
            self.loading.join()
        if self._set is not None:
            self._set.close()

    def _load(self) -> None:
        if gpu_reason() is None and self._blocks:
            try:
                devices = [CudaDevice(number) for number, *_ in gpu_devices()]
            except FAULTS as error:
                turn_off(f"the GPU cannot be used ({last_line(error)}): the CPU searches")
                return
            self._set = DeviceSet.load(self._blocks, devices)
