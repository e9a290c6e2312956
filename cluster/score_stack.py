"""Many probes as one matrix: one product for all their classes, and only what is worth keeping is turned into probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from probes import Probe

_SLACK: Final = 1e-3  # logits are float32: what is nearer to the floor than this is looked at exactly


@dataclass(frozen=True, slots=True)
class StackScores:
    """What a stack says of some windows: by class, and by window within a class. All (k,).

    Attributes
    ----------
    columns : int64
        Number of the class, counted through all probes.
    rows : int64
        Number of the window.
    logits, scores : float32
    """

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Exclusive:
    """The ``multiclass`` probes of one number of classes: ``columns`` (P, K), and their slopes and offsets, (P, K, 1)."""

    columns: NDArray[np.int64]
    slopes: NDArray[np.float64]
    offsets: NDArray[np.float64]


class ProbeStack:
    """Probes of one model, applied together.

    Parameters
    ----------
    probes : sequence of Probe
        In the order in which their classes are counted.
    floor : float
        Least score that is wanted.
    """

    def __init__(self, probes: Sequence[Probe], floor: float) -> None:
        self._floor = floor
        # (C, dim): the logits of a class then lie side by side, and come out class by class.
        self._weights = np.ascontiguousarray(np.concatenate([p.weights for p in probes], axis=1).T)
        self._bias = np.concatenate([p.bias for p in probes])[:, None]
        self._slopes = np.concatenate([p.slopes for p in probes])
        self._offsets = np.concatenate([p.offsets for p in probes])
        starts = np.cumsum([0, *(len(p.classes) for p in probes)])
        self._cuts = self._cuts_of(probes, starts)
        self._exclusive = self._groups_of(probes, starts)

    @property
    def classes(self) -> int:
        """How many there are in all."""
        return len(self._slopes)

    def _cuts_of(self, probes: Sequence[Probe], starts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logit of each class below which no score reaches the floor; of exclusive classes that is not known beforehand."""
        cuts = np.full(len(self._slopes), -np.inf)
        if self._floor <= 0.0:
            return cuts.astype(np.float32)[:, None]
        for probe, first in zip(probes, starts[:-1], strict=True):
            if probe.kind == "multilabel":
                with np.errstate(divide="ignore", invalid="ignore"):
                    cut = (logit(self._floor) - probe.offsets) / probe.slopes
                    cut -= _SLACK * (1.0 + np.abs(cut))
                cuts[first : first + len(cut)] = np.where(probe.slopes > 0, cut, -np.inf)
        return cuts.astype(np.float32)[:, None]

    def _groups_of(self, probes: Sequence[Probe], starts: NDArray[np.int64]) -> list[_Exclusive]:
        by_size: dict[int, list[NDArray[np.int64]]] = {}
        for probe, first in zip(probes, starts[:-1], strict=True):
            if probe.kind == "multiclass":
                size = len(probe.classes)
                by_size.setdefault(size, []).append(np.arange(first, first + size))
        groups = []
        for found in by_size.values():
            columns = np.array(found, np.int64)
            groups.append(_Exclusive(columns, self._slopes[columns][..., None], self._offsets[columns][..., None]))
        return groups

    def scores(self, vectors: NDArray[np.float32]) -> tuple[StackScores, NDArray[np.int64]]:
        """Score windows.

        Parameters
        ----------
        vectors : float32, (n, dim)
            As stored.

        Returns
        -------
        scores : StackScores
            Of the floor or above.
        not_finite : int64, (m,)
            Windows that hold a value which is not finite: they have no scores.
        """
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        wrong = np.flatnonzero(~np.isfinite(norms))
        if len(wrong):
            norms[wrong] = 1.0
            vectors = vectors.copy()
            vectors[wrong] = 0.0
        norms[norms == 0.0] = 1.0
        logits = self._weights @ vectors.T
        logits /= norms  # after the product: there are fewer classes than numbers in a vector, or not many more
        logits += self._bias
        keep = logits >= self._cuts
        log_sums = [self._narrow(logits, keep, group) for group in self._exclusive]
        keep[:, wrong] = False
        flat = np.flatnonzero(keep)
        columns, rows = np.divmod(flat, len(vectors))
        found = logits.ravel()[flat]
        scores = self._probabilities(columns, rows, found, log_sums)
        enough = scores >= self._floor
        if not enough.all():
            columns, rows, found, scores = columns[enough], rows[enough], found[enough], scores[enough]
        return StackScores(columns, rows, found, scores), wrong

    def _narrow(
        self, logits: NDArray[np.float32], keep: NDArray[np.bool_], group: _Exclusive
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Leave out classes far below the best of their probe; return the maximum and the log of the sum of each probe, (P, n)."""
        z = logits[group.columns] * group.slopes + group.offsets
        most = z.max(axis=1)
        z -= most[:, None]
        if self._floor > 0.0:
            # The sum is 1 at least, so a score is exp(z) at most.
            keep[group.columns] = z >= np.log(self._floor) - _SLACK
        return most, np.log(np.exp(z, out=z).sum(axis=1))

    def _probabilities(
        self,
        columns: NDArray[np.int64],
        rows: NDArray[np.int64],
        logits: NDArray[np.float32],
        log_sums: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    ) -> NDArray[np.float32]:
        z = logits * self._slopes[columns] + self._offsets[columns]
        if not self._exclusive:
            return np.asarray(expit(z), np.float32)
        out = np.empty(len(z), np.float64)
        of_column = np.full(self.classes, -1, np.int64)
        probe_of = np.zeros(self.classes, np.int64)
        for number, group in enumerate(self._exclusive):
            of_column[group.columns] = number
            probe_of[group.columns] = np.arange(len(group.columns))[:, None]
        of = of_column[columns]
        own = of < 0
        out[own] = expit(z[own])
        for number, (most, log_sum) in enumerate(log_sums):
            here = np.flatnonzero(of == number)
            at = probe_of[columns[here]], rows[here]
            out[here] = np.exp(z[here] - most[at] - log_sum[at])
        return out.astype(np.float32)
