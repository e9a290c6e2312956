"""What holds vectors and finds the nearest ones for :mod:`store.index.gpu`: the protocol, its twin on the CPU, and when no GPU is used."""

from __future__ import annotations

import os
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Unavailable
from store.index.codes import load

OFF: Final = "SONOTHEQUE_GPU"
K_MAX: Final = 2048  # FAISS's limit on a GPU
# What a device's libraries raise; a lost device may also end the process, for FAISS checks some calls by assertions in C++.
FAULTS: Final = (MemoryError, OSError, RuntimeError, Unavailable)

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Rows = NDArray[np.int64]
_turned_off: list[str] = []


def gpu_reason() -> str | None:
    """Return why no GPU is used, in one line; None if one can be."""
    if _turned_off:
        return _turned_off[0]
    if os.environ.get(OFF, "").lower() == "off":
        return f"{OFF}=off"
    faiss = load()
    if not hasattr(faiss, "StandardGpuResources"):
        return "faiss-cpu is installed: on a machine with a GPU, uninstall it and install the extra `gpu` (faiss-gpu)"
    if faiss.get_num_gpus() <= 0:
        return "no GPU is visible to this process"
    return None


def turned_off() -> str | None:
    """Return why GPUs were given up in this process; None if they were not."""
    return _turned_off[0] if _turned_off else None


def turn_off(reason: str) -> None:
    """Use no GPU any more in this process."""
    _turned_off.append(reason)


def last_line(error: BaseException) -> str:
    """Return the end of what an error says: FAISS puts the place in its sources first."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


class Device(Protocol):
    """Memory for unit rows in float16, and an exact search of any run of them; used by one thread at a time."""

    name: str

    @property
    def free_bytes(self) -> int:
        """Bytes that are free."""

    def reserve(self, rows: int, dim: int) -> None:
        """Make room for all rows; once."""

    def put(self, first: int, block: Halves) -> None:
        """Copy rows to their place."""

    def finish(self) -> None:
        """Wait until all rows are in their place."""

    def nearest(self, first: int, end: int, queries: Halves, k: int) -> tuple[Floats, Rows]:
        """Return the ``k`` largest inner products of each query with rows ``[first, end)``, largest first, and these rows.

        ``k`` is at most ``K_MAX`` and at most the number of rows. Both results are (queries, k).
        """

    def close(self) -> None:
        """Give the memory back."""


class HostDevice:
    """The CPU's twin of a GPU: FAISS's exact search of the same float16 numbers, held in memory.

    Parameters
    ----------
    free_bytes : int
        As much as it pretends to have.
    """

    def __init__(self, free_bytes: int = 1 << 40) -> None:
        self.name = "the CPU"
        self._bytes = free_bytes
        self._held: Halves = np.empty((0, 0), np.float16)

    @property
    def free_bytes(self) -> int:
        """Bytes that are free."""
        return self._bytes - self._held.nbytes

    def reserve(self, rows: int, dim: int) -> None:
        """Make room for all rows."""
        if rows * dim * 2 > self.free_bytes:
            raise Unavailable(f"{self.name} has {self.free_bytes:,} bytes free; {rows * dim * 2:,} are needed")
        self._held = np.zeros((rows, dim), np.float16)

    def put(self, first: int, block: Halves) -> None:
        """Copy rows to their place."""
        self._held[first : first + len(block)] = block

    def finish(self) -> None:
        """They are."""

    def nearest(self, first: int, end: int, queries: Halves, k: int) -> tuple[Floats, Rows]:
        """Return the nearest rows of a run."""
        wide = np.asarray(self._held[first:end], np.float32)
        faiss = load()
        scores, rows = faiss.knn(np.asarray(queries, np.float32), wide, k, metric=faiss.METRIC_INNER_PRODUCT)
        return scores, rows.astype(np.int64) + first

    def close(self) -> None:
        """Give the memory back."""
        self._held = np.empty((0, 0), np.float16)
