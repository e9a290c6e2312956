"""Vectors as the parts hold them: copied once into a memory map for what is indexed, read part by part for what is not yet."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sonotheque.core.errors import Damaged
from store.catalog import UnitFault
from store.config import StoreConfig
from store.index.columns import values
from store.index.manifest import Segment
from store.part_vectors import lost_told
from store.reading import source
from store.snapshots import SnapshotPart
from store.state import state_root

_KEPT_BYTES = 256 << 20
_AHEAD = 3


def dtype_of(config: StoreConfig) -> Any:
    """Return the type of a store's numbers."""
    return np.dtype(np.float16 if config.dtype == "float16" else np.float32)


def part_vectors(root: str, part: SnapshotPart, config: StoreConfig) -> NDArray[Any]:
    """Return every vector of a part's file, superseded rows too, as stored; (rows, dim).

    Raises
    ------
    UnitFault, Damaged
        If it cannot be read.
    """
    dim = config.model.dim
    try:
        table = pq.read_table(
            source(f"{root}/{part.embeddings}"), columns=["embedding"], partitioning=None, use_threads=False
        )
    except (OSError, pa.ArrowException) as error:
        raise UnitFault(part.embeddings, str(error)) from error
    flat = [values(chunk.flatten()) for chunk in table["embedding"].chunks]
    found = np.concatenate(flat) if flat else np.empty(0, dtype_of(config))
    if len(found) != part.rows * dim:
        raise UnitFault(part.embeddings, f"holds {len(found):,} numbers; expected {part.rows:,} rows of {dim}")
    return np.ascontiguousarray(found.reshape(-1, dim), dtype_of(config))


def parts_in_order(
    root: str, parts: Sequence[SnapshotPart], config: StoreConfig
) -> Iterator[tuple[SnapshotPart, NDArray[Any]]]:
    """Yield parts with their vectors, reading a few ahead."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting = [pool.submit(part_vectors, root, p, config) for p in parts[:_AHEAD]]
        for number, part in enumerate(parts):
            vectors = waiting.pop(0).result()
            if number + _AHEAD < len(parts):
                waiting.append(pool.submit(part_vectors, root, parts[number + _AHEAD], config))
            yield part, vectors


def open_vectors(root: str, segment: Segment, config: StoreConfig) -> NDArray[Any]:
    """Map a segment's vectors into memory, (rows, dim), as stored."""
    path = f"{state_root(root)}/{segment.vectors.path}"
    try:
        return np.memmap(path, dtype_of(config), "r", shape=(segment.rows, config.model.dim))
    except (OSError, ValueError) as error:
        raise Damaged(
            f"{path} cannot be mapped: {error}. `sonotheque index build --store {root}` makes the index anew"
        ) from error


class FreshVectors:
    """Vectors of parts that no index holds yet; a few parts stay in memory.

    Parameters
    ----------
    archive : Archive
    parts : sequence of SnapshotPart
        In the order in which their rows are numbered.
    """

    def __init__(self, archive: Any, parts: Sequence[SnapshotPart]) -> None:
        self._archive = archive
        self._parts = list(parts)
        self.firsts = np.concatenate([[0], np.cumsum([p.rows for p in parts])]).astype(np.int64)
        self._held: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield ascending rows part by part, with their vectors as stored."""
        holding = np.searchsorted(self.firsts, rows, side="right") - 1
        for number in np.unique(holding):
            own = rows[holding == number]
            vectors = self._of(int(number))
            at = own - self.firsts[number]
            yield own, vectors if len(at) == len(vectors) else vectors[at]

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the vectors of rows, in their order."""
        config = self._archive.config
        out = np.empty((len(rows), config.model.dim), dtype_of(config))
        order = np.argsort(rows, kind="stable")
        first = 0
        for own, vectors in self.blocks(rows[order]):
            out[order[first : first + len(own)]] = vectors
            first += len(own)
        return out

    def _of(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number in self._held:
                self._held.move_to_end(number)
                return self._held[number]
        archive, part = self._archive, self._parts[number]
        with lost_told(archive.root, archive.snapshot):
            vectors = part_vectors(archive.root, part, archive.config)
        with self._lock:
            self._held[number] = vectors
            self._bytes += vectors.nbytes
            while self._bytes > _KEPT_BYTES and len(self._held) > 1:
                _, old = self._held.popitem(last=False)
                self._bytes -= old.nbytes
        return vectors
