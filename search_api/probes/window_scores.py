"""The probabilities of all windows that a filter means: from the scores that were kept, or from the vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from probes import Probe
from search_api.probes.scores import ProbeScores
from sonotheque.core.errors import NotFound
from sonotheque.core.filters import SearchFilter
from store import Archive

BLOCK: Final = 16_384  # windows whose vectors are in memory at a time: 100 MB of 1,536 numbers
Progress = Callable[[int, int], None]  # windows done, windows in all
_ID: Final = np.dtype([("recording_id", np.int64), ("start_sample", np.int64)])


@dataclass(frozen=True, slots=True, eq=False)
class WindowScores:
    """Probabilities of windows, by recording id, then start.

    Attributes
    ----------
    ids : structured array, (n,)
        ``recording_id`` and ``start_sample``, int64 each.
    labels : tuple of str
    probabilities : float32, (n, labels)
        NaN where the vector is not finite. 0 for a score below the floor, which was not kept.
    source : str
        ``scores``: kept when the probe was applied; ``vectors``: computed now.
    floor : float
        Least score that was kept; 0 where nothing is missing.
    """

    ids: NDArray[Any]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    source: str
    floor: float = 0.0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def not_scored(self) -> int:
        """Windows whose vectors are not finite."""
        return int(np.isnan(self.probabilities).any(axis=1).sum())

    def rows_of(self, ids: NDArray[Any]) -> NDArray[np.int64]:
        """Return the rows of windows; -1 for one that is not among them."""
        if not len(self.ids):
            return np.full(len(ids), -1, np.int64)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[at] == ids, at, -1).astype(np.int64)


def ids_of_columns(recording_ids: NDArray[Any], start_samples: NDArray[Any]) -> NDArray[Any]:
    """Return windows' identities as one structured array."""
    found = np.empty(len(recording_ids), _ID)
    found["recording_id"], found["start_sample"] = recording_ids, start_samples
    return found


def window_scores(
    archive: Archive,
    probe: Probe,
    labels: Sequence[str],
    where: SearchFilter,
    enough: Callable[[WindowScores], bool],
    progress: Progress | None = None,
) -> WindowScores:
    """Return what a probe says of the windows that a filter means.

    Parameters
    ----------
    archive : Archive
    probe : Probe
    labels : sequence of str
        Classes of the probe.
    where : SearchFilter
    enough : callable
        Tells whether scores from a floor on are enough for the purpose. If not, or if the probe was not applied to all these
        windows, their vectors are read.
    progress : callable, optional

    Raises
    ------
    NotFound
        If the filter names what is not in the store.
    Damaged
        If a part or a file of scores cannot be read.
    """
    kept = _kept(archive, probe, tuple(labels), where)
    if kept is not None and (kept.floor == 0.0 or enough(kept)):
        return kept
    return _computed(archive, probe, tuple(labels), where, progress)


def _kept(archive: Archive, probe: Probe, labels: tuple[str, ...], where: SearchFilter) -> WindowScores | None:
    """Return the scores that were kept; None if the probe was not applied to all the windows."""
    try:
        scores = ProbeScores(archive, probe)
    except NotFound:
        return None
    windows, scored = scores.windows(where)
    if scored < windows:
        return None
    query, parameters = archive.select(where, columns="w.recording_id, w.start_sample")
    table = archive.sql(f"{query} ORDER BY w.recording_id, w.start_sample", parameters)
    ids = _ids(table)
    found = WindowScores(ids, labels, np.zeros((len(ids), len(labels)), np.float32), "scores", scores.floor)
    for column, label in enumerate(labels):
        rows = archive.sql(*scores.select({label: scores.floor}, where, "w.recording_id, w.start_sample, s.score"))
        found.probabilities[found.rows_of(_ids(rows)), column] = rows["score"].to_numpy()
    wrong = scores.not_scored()
    lost = found.rows_of(ids_of_columns(*(np.array([w[c] for w in wrong], np.int64) for c in _ID.names or ())))
    found.probabilities[lost[lost >= 0]] = np.nan
    return found


def _computed(
    archive: Archive, probe: Probe, labels: tuple[str, ...], where: SearchFilter, progress: Progress | None
) -> WindowScores:
    query, parameters = archive.select(where, columns="w.recording_id, w.start_sample, w.part_id, w.part_row")
    table = archive.sql(f"{query} ORDER BY w.part_id, w.part_row", parameters)
    columns = [probe.classes.index(label) for label in labels]
    out = np.full((table.num_rows, len(columns)), np.nan, np.float32)
    for first in range(0, table.num_rows, BLOCK):
        vectors = archive.vectors_of(table.slice(first, BLOCK))
        rows = np.flatnonzero(np.isfinite(vectors.sum(axis=1, dtype=np.float64)))
        out[first + rows] = probe.probabilities(probe.logits(vectors[rows]))[:, columns]
        if progress:
            progress(min(first + BLOCK, table.num_rows), table.num_rows)
    ids = _ids(table)
    order = np.lexsort((ids["start_sample"], ids["recording_id"]))
    return WindowScores(ids[order], labels, out[order], "vectors")


def _ids(table: pa.Table) -> NDArray[Any]:
    return ids_of_columns(*(table[c].to_numpy() for c in _ID.names or ()))
