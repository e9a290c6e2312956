"""How a probe's scores of one class are spread, and where the judged windows lie among them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from probes import Probe
from search_api.probes.judged_windows import NO, YES, judged_windows
from search_api.probes.scores import ProbeScores
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from sonotheque.core.suggest import did_you_mean
from store import Archive

BINS: Final = 50
BINS_MAX: Final = 500
SAMPLE: Final = 20_000  # windows whose vectors are read where the probe was not applied
_JUDGED_MAX: Final = 20_000
_VECTORS: Final = "w.recording_id, w.start_sample, w.part_id, w.part_row"


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Scores of one class in equal bins from 0 to 1.

    Attributes
    ----------
    label : str
    version : int
        Of the probe.
    threshold : float
        Of the class.
    edges : list of float
        One more than there are bins; a score on an edge is in the bin above it, and 1 in the last.
    counts : list of int
        Windows with a score, per bin.
    positive, negative : list of int
        Those among the judged windows whose judgement is clear, per bin.
    floor : float
        Scores below it were not kept, and are in no bin; 0: all are there.
    below, positive_below, negative_below : int
        Windows with a score below the floor.
    scored : int
        Windows that were looked at.
    windows : int
        That the filter means.
    source : str
        ``scores``: kept when the probe was applied; ``vectors``: computed now.
    notes : tuple of str
    """

    label: str
    version: int
    threshold: float
    edges: list[float]
    counts: list[int]
    positive: list[int]
    negative: list[int]
    floor: float
    below: int
    positive_below: int
    negative_below: int
    scored: int
    windows: int
    source: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {**asdict(self), "notes": list(self.notes)}


def score_histogram(
    archive: Archive, probe: Probe, label: str | None = None, where: SearchFilter | None = None, *, bins: int = BINS
) -> ScoreHistogram:
    """Return how a probe's scores are spread: of all windows if it was applied, else of a sample that is scored now.

    Parameters
    ----------
    archive : Archive
    probe : Probe
        As stored.
    label : str, optional
        A class; may be left out where there is only one.
    where : SearchFilter, optional
    bins : int

    Raises
    ------
    Invalid
        If there is no such class, or the number of bins is out of range.
    NotFound
        If the filter names what is not in the store.
    Damaged
        If a part or a file of scores cannot be read.
    """
    where = where or SearchFilter()
    if not 1 <= bins <= BINS_MAX:
        raise Invalid(f"bins {bins}: expected 1 to {BINS_MAX}")
    label = _class_of(probe, label)
    column = probe.classes.index(label)
    try:
        scores = ProbeScores(archive, probe)
    except NotFound:
        found = _computed(archive, probe, column, label, where, bins)
    else:
        found = _kept(archive, scores, label, where, bins)
    edges = [round(float(e), 9) for e in np.linspace(0.0, 1.0, bins + 1)]
    return ScoreHistogram(label, probe.version, float(probe.thresholds[column]), edges, **found)


def _class_of(probe: Probe, label: str | None) -> str:
    if label is None and len(probe.classes) == 1:
        return probe.classes[0]
    if label is None:
        raise Invalid(f"a histogram is of one class: probe {probe.name} has {', '.join(probe.classes)}; choose one")
    if label not in probe.classes:
        raise Invalid(f"probe {probe.name} has no class {label!r}; {did_you_mean(label, probe.classes)}")
    return label


def _kept(archive: Archive, scores: ProbeScores, label: str, where: SearchFilter, bins: int) -> dict[str, Any]:
    windows, scored = scores.windows(where)
    inner, parameters = scores.select({label: scores.floor}, where, "w.recording_id, w.start_sample, s.score")
    counted = archive.sql(
        f"SELECT least(floor(score::DOUBLE * {bins}), {bins - 1})::INTEGER AS bin, count(*) AS n FROM ({inner}) GROUP BY bin",
        parameters,
    )
    counts = np.zeros(bins, np.int64)
    counts[counted["bin"].to_numpy()] = counted["n"].to_numpy()
    judged = _judged(archive, label, where)
    known = archive.sql_with(
        {"_judged": judged},
        f"SELECT j.said, h.score FROM _judged j LEFT JOIN ({inner}) h USING (recording_id, start_sample) "
        f"WHERE j.part_id IN ({_marks(scores.part_ids)})",
        [*parameters, *scores.part_ids],
    )
    notes = []
    if scored < windows:
        notes.append(
            f"{windows - scored:,} of {windows:,} windows were embedded since probe {scores.probe.name} was applied; apply it again"
        )
    lost = len(scores.not_scored()) if where.is_empty else 0
    below = max(0, scored - int(counts.sum()) - lost)
    return {
        "counts": counts.tolist(),
        **_said(known["said"].to_numpy(), known["score"].to_numpy(), bins),
        "floor": float(scores.floor),
        "below": below,
        "scored": scored,
        "windows": windows,
        "source": "scores",
        "notes": tuple(notes),
    }


def _computed(
    archive: Archive, probe: Probe, column: int, label: str, where: SearchFilter, bins: int
) -> dict[str, Any]:
    query, parameters = archive.select(where, columns=_VECTORS)
    table = archive.sql(f"{query} ORDER BY w.part_id, w.part_row", parameters)
    sample = _whole_parts(table)
    notes = [
        f"probe {probe.name} was not applied yet: {sample.num_rows:,} of {table.num_rows:,} windows were scored for this"
        + ("" if sample.num_rows == table.num_rows else ", those of parts drawn at random")
    ]
    scores = _scores_of(archive, probe, column, sample)
    finite = scores[np.isfinite(scores)]
    counts = np.bincount(_bin(finite, bins), minlength=bins)
    judged = _judged(archive, label, where)
    if judged.num_rows > _JUDGED_MAX:
        notes.append(f"the first {_JUDGED_MAX:,} of {judged.num_rows:,} judged windows are shown")
        judged = judged.slice(0, _JUDGED_MAX)
    own = _scores_of(archive, probe, column, judged)
    return {
        "counts": counts.tolist(),
        **_said(judged["said"].to_numpy(), own, bins),
        "floor": 0.0,
        "below": 0,
        "scored": sample.num_rows,
        "windows": table.num_rows,
        "source": "vectors",
        "notes": tuple(notes),
    }


def _whole_parts(table: pa.Table) -> pa.Table:
    """Return the windows of parts drawn at random, the same ones each time, until there are enough.

    Vectors of single windows all over an archive would mean to read nearly every file of it.
    """
    if table.num_rows <= SAMPLE:
        return table
    parts = table["part_id"].combine_chunks().dictionary_encode()
    codes = parts.indices.to_numpy()
    sizes = np.bincount(codes, minlength=len(parts.dictionary))
    order = np.random.default_rng(0).permutation(len(sizes))
    taken = order[: int(np.searchsorted(np.cumsum(sizes[order]), SAMPLE)) + 1]
    rows = np.flatnonzero(np.isin(codes, taken))[: 2 * SAMPLE]
    return table.take(pa.array(rows))


def _judged(archive: Archive, label: str, where: SearchFilter) -> pa.Table:
    """Return the windows of the filter with a clear judgement: ``recording_id, start_sample, part_id, part_row, said``."""
    windows, states = judged_windows(archive, label)
    clear = np.isin(states, (YES, NO))
    table = windows.filter(pa.array(clear)).append_column("said", pa.array(states[clear].astype(np.int8)))
    query, parameters = archive.select(where, columns=_VECTORS)
    return archive.sql_with(
        {"_said": table},
        f"SELECT w.*, j.said FROM _said j JOIN ({query}) w USING (recording_id, start_sample) ORDER BY w.part_id, w.part_row",
        parameters,
    )


def _scores_of(archive: Archive, probe: Probe, column: int, windows: pa.Table) -> NDArray[np.float32]:
    """Return a class's scores of windows, float32 (n,); NaN where the vector is not finite."""
    vectors = archive.vectors_of(windows)
    out = np.full(windows.num_rows, np.nan, np.float32)
    rows = np.flatnonzero(np.isfinite(vectors.sum(axis=1, dtype=np.float64)))
    out[rows] = probe.probabilities(probe.logits(vectors[rows]))[:, column]
    return out


def _said(said: NDArray[Any], scores: NDArray[Any], bins: int) -> dict[str, Any]:
    """Return the judged windows per bin; those without a score are below the floor."""
    found: dict[str, Any] = {}
    scores = np.asarray(scores, np.float64)
    has = np.isfinite(scores)
    for name, word in (("positive", YES), ("negative", NO)):
        of = said == word
        found[name] = np.bincount(_bin(scores[of & has], bins), minlength=bins).tolist()
        found[f"{name}_below"] = int((of & ~has).sum())
    return found


def _bin(scores: NDArray[Any], bins: int) -> NDArray[np.int64]:
    return np.clip(np.floor(scores.astype(np.float64) * bins), 0, bins - 1).astype(np.int64)


def _marks(values: list[str]) -> str:
    return ", ".join("?" * len(values)) or "NULL"
