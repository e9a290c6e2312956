"""Probes kept in memory while they are in use, and what they say of vectors."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes import Probe
from search_api.probes.stored import load_probe
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from store.probes import ProbeStore, check_name, in_use

_KEPT: Final = 64


class ProbeCache:
    """Versions of probes, read once since a version never changes. Which one is in use is looked up each time.

    Parameters
    ----------
    root : str
        The store.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], Probe] = OrderedDict()

    def get(self, name: str, version: int | None = None) -> Probe:
        """Return a probe, in the version that is in use unless one is named; raises as :func:`search_api.probes.stored.load_probe`."""
        number = ProbeStore(self._root).in_use(check_name(name)) if version is None else version
        if number is not None:
            with self._lock:
                if (known := self._kept.get((name, number))) is not None:
                    self._kept.move_to_end((name, number))
                    return known
        probe = load_probe(self._root, name, number)
        with self._lock:
            self._kept[probe.name, probe.version] = probe
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return probe

    def in_use(self, names: Sequence[str] = ("all",)) -> tuple[list[Probe], list[str]]:
        """Return probes in the version that is in use, and notes on those that cannot be asked.

        Parameters
        ----------
        names : sequence of str
            ``all``, ``none``, or probes by name.

        Raises
        ------
        NotFound, Conflict, Damaged
            If a probe that was named cannot be asked; of ``all``, that is a note.
        """
        asked = set(names)
        if asked & {"all", "none"} and len(asked) > 1:
            raise Invalid("probes: expected all, or none, or names; not both")
        if asked == {"none"}:
            return [], []
        if "all" not in asked:
            return [self.get(name) for name in dict.fromkeys(names)], []
        found, notes = [], []
        for name, version in sorted(in_use(self._root).items()):
            try:
                found.append(self.get(name, version))
            except (NotFound, Conflict, Damaged) as error:
                notes.append(f"probe {name} was not asked: {error.message}")
        return found, notes


def probe_scores(probe: Probe, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a probe's calibrated probabilities, float32 (n, classes), of vectors, float32 (n, dim)."""
    return probe.probabilities(probe.logits(vectors))


def classified(probe: Probe, vectors: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return what a probe says of each vector.

    Returns
    -------
    list of dict
        ``scores`` (class -> probability) and ``hits`` (classes whose threshold is reached), one a vector.
    """
    return [
        {
            "scores": {label: _short(score) for label, score in zip(probe.classes, row, strict=True)},
            "hits": [
                label
                for label, score, threshold in zip(probe.classes, row, probe.thresholds, strict=True)
                if score >= threshold
            ],
        }
        for row in probe_scores(probe, vectors)
    ]


def probe_rows(probe: Probe, vectors: NDArray[np.float32]) -> list[list[dict[str, Any]]]:
    """Return, for each vector, one row a class: ``probe, version, label, score, threshold, hit``."""
    return [
        [
            {
                "probe": probe.name,
                "version": probe.version,
                "label": label,
                "score": _short(score),
                "threshold": float(threshold),
                "hit": bool(score >= threshold),
            }
            for label, score, threshold in zip(probe.classes, row, probe.thresholds, strict=True)
        ]
        for row in probe_scores(probe, vectors)
    ]


def _short(value: np.float32) -> float:
    return float(str(value))
