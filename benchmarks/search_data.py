"""Vectors to search in: a generator of clustered unit vectors that look like a sound archive's, stated here in full.

The archive has ``n`` windows of ``SITES`` sites. Each belongs to one of K = 2,000 sqrt(n / 300,000) clusters, whose sizes follow
Zipf's law with exponent 0.9 and of which each site hears a fifth: the commonest has some 50,000 windows of a million, the rarest
fewer than the 50 that a search asks for. Clusters come in kindred groups of about twelve, as calls of one bird or birds of one genus
do: a centre is one part common to all (activations are not centred), one part its group's and one part its own. A window is its
cluster's centre, plus 40 directions of the cluster's own, chosen from a bank of 320 with standard deviations falling as
1/sqrt(rank), plus noise in all directions; scaled to length 1 and rounded to float16. Rows lie in the order of sites, as a store's
do. Queries are windows left out of the archive, drawn as the archive's own are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SITES = 50
_BANK, _OWN = 320, 40
_KINDRED = 12
_COMMON, _GROUP, _WITHIN, _NOISE = 1.5, 0.7, 0.35, 0.35
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of one generated archive.

    Attributes
    ----------
    centres : float32, (K, dim)
    bank : float32, (320, dim)
    chosen : int, (K, 40)
        Rows of the bank.
    share : float64, (K,)
        Of the windows; sums to 1.
    """

    centres: NDArray[np.float32]
    bank: NDArray[np.float32]
    chosen: NDArray[np.int64]
    share: NDArray[np.float64]

    @classmethod
    def make(cls, n: int, dim: int, seed: int) -> Clusters:
        """Draw the clusters for an archive of ``n`` windows."""
        rng = np.random.default_rng([seed, n, dim])
        count = max(20, round(2000 * (n / 300_000) ** 0.5))
        common = _unit(rng.standard_normal((1, dim), np.float32))
        bank = _unit(rng.standard_normal((_BANK, dim), np.float32))
        groups = _directions(bank, -(-count // _KINDRED), rng)
        own = _directions(bank, count, rng)
        centres = _COMMON * common + _GROUP * groups[rng.integers(0, len(groups), count)] + own
        chosen = np.stack([rng.choice(_BANK, _OWN, replace=False) for _ in range(count)])
        share = 1.0 / np.arange(1, count + 1) ** 0.9
        return cls(centres, bank, chosen, share / share.sum())

    def rows(self, cluster: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw one window of each cluster given; float32 (n, dim), unit length."""
        spread = _WITHIN / np.sqrt(np.arange(1, _OWN + 1, dtype=np.float32))
        order = np.argsort(cluster, kind="stable")
        out = self.centres[cluster]
        starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
        for begin, end in zip(starts, [*starts[1:], len(order)], strict=True):
            at = order[begin:end]
            weights = rng.standard_normal((len(at), _OWN), np.float32) * spread
            out[at] += weights @ self.bank[self.chosen[cluster[at[0]]]]
        out += rng.standard_normal(out.shape, np.float32) * np.float32(_NOISE / np.sqrt(out.shape[1]))
        return _unit(out)


def archive(clusters: Clusters, n: int, seed: int) -> Iterator[NDArray[np.float16]]:
    """Yield the windows of the archive, site by site, in blocks of at most 8,192."""
    for site in range(SITES):
        yield from site_windows(clusters, n, seed, site)


def site_windows(clusters: Clusters, n: int, seed: int, site: int, sites: int = SITES) -> Iterator[NDArray[np.float16]]:
    """Yield the windows of one site of an archive of ``n``, in blocks of at most 8,192; the same whatever else is drawn."""
    rng = np.random.default_rng([seed, n, site])
    heard = rng.random(len(clusters.share)) < 0.2
    share = np.where(heard, clusters.share, 0) + clusters.share * 1e-3
    rows = n // sites + (site < n % sites)
    for first in range(0, rows, _BLOCK):
        cluster = rng.choice(len(share), min(_BLOCK, rows - first), p=share / share.sum())
        yield clusters.rows(cluster, rng).astype(np.float16)


def queries(clusters: Clusters, n: int, seed: int) -> NDArray[np.float32]:
    """Return ``n`` windows that are not in the archive; float32 (n, dim)."""
    rng = np.random.default_rng([seed, n, 9_999])
    return clusters.rows(rng.choice(len(clusters.share), n, p=clusters.share), rng)


def _directions(bank: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return unit vectors in the bank's span, most of them along its first directions."""
    weights = rng.standard_normal((n, len(bank)), np.float32) / np.sqrt(np.arange(1, len(bank) + 1, dtype=np.float32))
    return _unit(weights @ bank)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found
