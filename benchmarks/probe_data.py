"""Labelled windows to train on: sounds that overlap, made of the clustered vectors of ``search_data``. NumPy alone: peers read them too.

A window of a class is a part of a window of the class's cluster and a part of a window of any other cluster, 0.3 to 0.7 of it, scaled to
length 1 and rounded to float16: a call over whatever else is heard. A window of no class is made of two others. Clusters of one kin
(``search_data``) are among the classes as chance has it, so that some classes are near each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_data import Clusters

SEED = 11
_OF = 100_000  # the archive whose clusters are used
_FAINTEST, _LOUDEST = 0.3, 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Windows with their class.

    Attributes
    ----------
    vectors : float16, (n, dim)
    of : int64, (n,)
        Class; -1: none.
    """

    vectors: NDArray[np.float16]
    of: NDArray[np.int64]


def labelled(counts: NDArray[np.int64], none: int, dim: int, seed: int) -> Labelled:
    """Return ``counts[c]`` windows of each class c, and ``none`` of no class, in an order drawn at random."""
    clusters = Clusters.make(_OF, dim, SEED)
    rng = np.random.default_rng([SEED, seed, dim])
    classes = np.random.default_rng(SEED).choice(len(clusters.share), len(counts), replace=False)
    of = rng.permutation(np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(none, -1)]))
    free = np.setdiff1d(np.arange(len(clusters.share)), classes)
    out = np.empty((len(of), dim), np.float16)
    for first in range(0, len(of), 8192):
        part = of[first : first + 8192]
        call = clusters.rows(np.where(part >= 0, classes[part], rng.choice(free, len(part))), rng)
        other = clusters.rows(rng.choice(free, len(part)), rng)
        share = rng.uniform(_FAINTEST, _LOUDEST, (len(part), 1)).astype(np.float32)
        mixed = share * call + (1 - share) * other
        out[first : first + len(part)] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return Labelled(out, of)
