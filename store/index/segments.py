"""Open segments: vectors and codes mapped into memory, and the rows that codes put forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.config import StoreConfig
from store.index.codes import Clusters, Codes
from store.index.manifest import IndexVersion
from store.index.stored import open_vectors
from store.state import state_root

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OpenSegment:
    """A segment opened for reading.

    Attributes
    ----------
    first : int
        Number of its first row among all rows.
    vectors : float16 or float32, (rows, dim)
        As stored, mapped into memory.
    codes : Codes or None
    """

    first: int
    vectors: NDArray[Any]
    codes: Codes | None

    @property
    def rows(self) -> int:
        """Rows, superseded ones too."""
        return len(self.vectors)


def open_segments(root: str, version: IndexVersion, config: StoreConfig) -> list[OpenSegment]:
    """Map all segments of a version.

    Raises
    ------
    Damaged
        If a file cannot be read, or is not what it should be.
    """
    found = []
    first = 0
    for segment in version.segments:
        codes = None
        if segment.codes:
            codes = Codes(f"{state_root(root)}/{segment.codes.path}", segment.rows, int(version.recipe["code_dim"]))
        found.append(OpenSegment(first, open_vectors(root, segment, config), codes))
        first += segment.rows
    return found


def take(segments: Sequence[OpenSegment], rows: Rows, dim: int) -> NDArray[Any]:
    """Return the vectors of rows of any segments, in their order."""
    if len(segments) == 1:
        return np.take(segments[0].vectors, rows, axis=0, mode="clip")
    out = np.empty((len(rows), dim), segments[0].vectors.dtype)
    for segment in segments:
        own = (rows >= segment.first) & (rows < segment.first + segment.rows)
        if own.any():
            out[own] = np.take(segment.vectors, rows[own] - segment.first, axis=0, mode="clip")
    return out


def put_forward(
    segments: Sequence[OpenSegment],
    clusters: Clusters,
    query: NDArray[np.float32],
    lists: int,
    count: int,
    eligible: NDArray[np.bool_] | None = None,
) -> Rows:
    """Return the rows that look nearest by their codes, the nearest first.

    Parameters
    ----------
    segments : sequence of OpenSegment
        With codes.
    clusters : Clusters
    query : float32, (dim,)
        Length 1.
    lists : int
        Clusters to look through.
    count : int
    eligible : bool or None
        For every row of all segments; None: every row.
    """
    turned, chosen, nearness = clusters.nearest(query, min(lists, len(clusters.centres)))
    products, rows = [], []
    for segment in segments:
        bits = None
        if eligible is not None:
            own = eligible[segment.first : segment.first + segment.rows]
            if not own.any():
                continue
            bits = np.packbits(own, bitorder="little")
        if segment.codes is None:
            raise ValueError("a segment without codes has nothing to put forward")
        near, found = segment.codes.candidates(turned, chosen, nearness, min(count, segment.rows), bits)
        products.append(near)
        rows.append(found + segment.first)
    if not rows:
        return np.empty(0, np.int64)
    if len(rows) == 1:
        return rows[0]
    all_rows = np.concatenate(rows)
    order = np.argsort(-np.concatenate(products), kind="stable")[:count]
    return all_rows[order]
