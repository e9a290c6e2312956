"""Products with mel filters: most of such a matrix is zero, and what is not lies along its diagonal."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Block:
    """Some neighbouring filters and the bins they have weights for.

    Attributes
    ----------
    filters, bins : slice
        Columns and rows of the whole matrix.
    weights : NDArray[np.float32]
        float32 (bins, filters) of this block, C-ordered.
    """

    filters: slice
    bins: slice
    weights: Float32


def blocks_of(matrix: Float32, edges: Sequence[int]) -> tuple[Block, ...]:
    """Cut a matrix into blocks of columns, each with only the rows in which it is not zero.

    Parameters
    ----------
    matrix : NDArray[np.float32]
        float32 (bins, filters).
    edges : sequence of int
        Where a block of filters ends and the next begins; the first and the last edge are added.

    Returns
    -------
    tuple of Block
        Together they hold every weight that is not zero. A block of zeros alone has one row.
    """
    bounds = [0, *edges, matrix.shape[1]]
    blocks = []
    for start, stop in itertools.pairwise(bounds):
        used = np.flatnonzero(matrix[:, start:stop].any(axis=1))
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
        weights = np.ascontiguousarray(matrix[first:last, start:stop])
        blocks.append(Block(slice(start, stop), slice(first, last), weights))
    return tuple(blocks)


def banded_product(values: Float32, blocks: tuple[Block, ...], out: Float32) -> None:
    """Write ``values @ matrix`` into ``out``.

    Parameters
    ----------
    values : NDArray[np.float32]
        float32 (rows, bins).
    blocks : tuple of Block
        The matrix, from :func:`blocks_of`.
    out : NDArray[np.float32]
        float32 (rows, filters); overwritten.
    """
    for block in blocks:
        np.matmul(values[:, block.bins], block.weights, out=out[:, block.filters])
