"""Cosine similarity: one exact number for every use, and a quick one to choose what is worth it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# By how much a quick score may differ from the exact one: the query is rounded to the vectors' type, by 2**-11 of each value at most.
QUICK_ERROR = 2.0**-10
_BLOCK = 1024
_SHORT, _LONG = 1e-15, 1e18  # lengths between which float32 holds their squares


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return vectors of length 1 along the last axis; a zero vector stays zero."""
    wide = np.array(vectors, np.float32, ndmin=1)
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.einsum("...i,...i->...", wide, wide))
    odd = ~((norms > _SHORT) & (norms < _LONG))  # squares vanish or overflow; or zero
    rows = wide[odd].astype(np.float64)
    wide /= np.maximum(norms, np.finfo(np.float32).tiny)[..., None]
    if len(rows):
        lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
        wide[odd] = rows / np.where(lengths > 0, lengths, 1)
    return wide


def cosines(vectors: NDArray[Any], query: NDArray[Any]) -> NDArray[np.float32]:
    """Return the cosine similarity of each vector to a query.

    Parameters
    ----------
    vectors : float16 or float32, (n, dim)
        As stored; need not be normalised.
    query : float32, (dim,)
        Not zero.

    Returns
    -------
    float32, (n,)
        Worked out in float64, row by row: the same for a row whatever stands beside it, so that equal vectors have equal scores.
        0 for a zero vector.
    """
    wanted = np.asarray(query, np.float64)
    wanted = wanted / np.linalg.norm(wanted)
    out = np.empty(len(vectors), np.float32)
    for first in range(0, len(vectors), _BLOCK):
        rows = np.asarray(vectors[first : first + _BLOCK], np.float64)
        # Not `@`: a matrix product may round equal rows differently, by their place in the block.
        norms = np.sqrt(np.vecdot(rows, rows))
        products = np.vecdot(rows, wanted)
        out[first : first + _BLOCK] = np.divide(products, norms, out=np.zeros(len(rows)), where=norms > 0)
    return out


def quick_cosines(vectors: NDArray[Any], queries: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return cosine similarities to within ``QUICK_ERROR``, without widening the vectors.

    Parameters
    ----------
    vectors : float16 or float32, (n, dim)
        Contiguous.
    queries : float32, (m, dim)
        Length 1.

    Returns
    -------
    float32, (m, n)
    """
    import numkong

    if not len(vectors):
        return np.zeros((len(queries), 0), np.float32)
    rounded = np.ascontiguousarray(queries, vectors.dtype)
    apart = np.asarray(numkong.cdist(rounded, vectors, "angular"), np.float32).reshape(len(queries), len(vectors))
    found: NDArray[np.float32] = np.nan_to_num(np.float32(1) - apart, nan=0.0, posinf=0.0, neginf=0.0)
    return found


def quick_cosines_at(
    vectors: NDArray[Any], rows: NDArray[np.int64] | slice, queries: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return :func:`quick_cosines` of some rows of a large array, float32 (m, rows), gathered block by block.

    Blocks are small enough to be scored from the processor's cache; a slice is scored where it lies.
    """
    if isinstance(rows, slice):
        at = range(*rows.indices(len(vectors)))
        blocks = [vectors[f : min(f + 16 * _BLOCK, at.stop)] for f in range(at.start, at.stop, 16 * _BLOCK)]
        scored = [quick_cosines(block, queries) for block in blocks]
        if scored:
            return np.concatenate(scored, axis=1)
        return np.zeros((len(queries), 0), np.float32)
    out = np.empty((len(queries), len(rows)), np.float32)
    buffer = np.empty((min(_BLOCK // 2, len(rows)), vectors.shape[1]), vectors.dtype)
    for first in range(0, len(rows), len(buffer) or 1):
        some = rows[first : first + len(buffer)]
        block = buffer[: len(some)]
        np.take(vectors, some, axis=0, out=block, mode="clip")
        out[:, first : first + len(some)] = quick_cosines(block, queries)
    return out
