"""Which windows to judge next, so that a probe gets better or its calls can be counted."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from probes import Probe
from probes.picking import bin_of, margin, per_bin, pool_of, quantile_edges, top, uncertain_diverse
from search_api.probes.judged_windows import NO, YES, judged_windows
from search_api.probes.review import REVIEW_COLUMNS, Review, ReviewOptions
from search_api.probes.window_scores import Progress, WindowScores, ids_of_columns, window_scores
from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean
from store import Archive
from store.probes.reviews import put_review

_BINS_LEAST: Final = 3  # of scores from a floor on; with fewer, the vectors are read


def review(
    archive: Archive, probe: Probe, options: ReviewOptions | None = None, progress: Progress | None = None
) -> Review:
    """Choose windows to judge; those that were judged for their class are left out.

    With ``bins`` the draw is recorded in the store, so that its judgements can be counted with.

    Parameters
    ----------
    archive : Archive
    probe : Probe
        As stored.
    options : ReviewOptions, optional
    progress : callable, optional
        Called with (done, all) windows, if vectors have to be read.

    Raises
    ------
    Invalid
        If the probe has no such class, or ``bins`` is asked for without one.
    NotFound
        If the filter names what is not in the store.
    Damaged
        If a part or a file of scores cannot be read.
    Unavailable
        If the draw cannot be recorded: disk full or read-only.
    """
    options = options or ReviewOptions()
    labels = _labels(probe, options)
    states = {label: judged_windows(archive, label) for label in labels}

    def state(scores: WindowScores, label: str) -> NDArray[np.int8]:
        windows, said = states[label]
        rows = scores.rows_of(ids_of_columns(windows["recording_id"].to_numpy(), windows["start_sample"].to_numpy()))
        found = np.zeros(len(scores), np.int8)
        found[rows[rows >= 0]] = said[rows >= 0]
        return found

    def enough(scores: WindowScores) -> bool:
        return all(_enough(scores, probe, label, state(scores, label) != 0, options) for label in labels)

    scores = window_scores(archive, probe, labels, options.where, enough, progress)
    picked, strata, before = [], [], {}
    bins: list[dict[str, Any]] = []
    for label in labels:
        said = state(scores, label)
        before[label] = int((said != 0).sum())
        rows, numbers, bins = _pick(archive, scores, probe, label, said, options)
        picked.append(rows)
        strata.append(numbers)
    table = _table(archive, scores, labels, picked, strata)
    number = _record(archive, probe, labels[0], options, bins, table) if options.how == "bins" else None
    return Review(
        archive.root,
        archive.snapshot.number,
        probe,
        options,
        labels,
        len(scores),
        before,
        scores.source,
        scores.floor,
        table,
        bins,
        number,
        tuple(_notes(scores, labels, picked, before, bins, options)),
    )


def _labels(probe: Probe, options: ReviewOptions) -> tuple[str, ...]:
    if options.label is not None:
        if options.label not in probe.classes:
            raise Invalid(
                f"probe {probe.name} has no class {options.label!r}; {did_you_mean(options.label, probe.classes)}"
            )
        return (options.label,)
    if options.how == "bins" and len(probe.classes) > 1:
        raise Invalid(
            f"--how bins is about one class: probe {probe.name} has {', '.join(probe.classes)}; choose with --label"
        )
    return probe.classes


def _threshold(probe: Probe, label: str) -> float:
    return float(probe.thresholds[probe.classes.index(label)])


def _enough(scores: WindowScores, probe: Probe, label: str, judged: NDArray[np.bool_], options: ReviewOptions) -> bool:
    """Tell whether what is below the floor cannot be among the windows that are wanted, or does no harm there."""
    p = scores.probabilities[:, scores.labels.index(label)]
    if options.how == "bins":  # one bin then holds all that is below the floor: right, only coarser
        return len(quantile_edges(p, options.bins)) > min(options.bins, _BINS_LEAST)
    at = {"top": 1.0, "margin": _threshold(probe, label), "uncertain": 0.5}[options.how]
    wanted = pool_of(options.wanted) if options.how == "uncertain" else options.wanted
    open_ = p[np.isfinite(p) & ~judged & (p >= scores.floor)]
    return int((np.abs(open_.astype(np.float64) - at) <= at - scores.floor).sum()) >= wanted


def _pick(
    archive: Archive, scores: WindowScores, probe: Probe, label: str, said: NDArray[np.int8], options: ReviewOptions
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, list[dict[str, Any]]]:
    """Return rows, their bins, and what the bins hold."""
    p, k, judged = scores.probabilities[:, scores.labels.index(label)], options.wanted, said != 0
    if options.how == "top":
        return top(p, k, judged), None, []
    if options.how == "margin":
        return margin(p, k, judged, at=_threshold(probe, label)), None, []
    if options.how == "uncertain":
        return uncertain_diverse(p, lambda rows: _vectors(archive, scores, rows), k, judged), None, []
    edges = quantile_edges(p, options.bins)
    rows, numbers = per_bin(p, edges, k, judged, seed=options.seed)
    return rows, numbers, _bins(edges, bin_of(p, edges), said, numbers)


def _bins(
    edges: NDArray[np.float64], of: NDArray[np.int64], said: NDArray[np.int8], picked: NDArray[np.int64]
) -> list[dict[str, Any]]:
    return [
        {
            "low": float(low),
            "high": float(high),
            "windows": int(((of == b) & (said != YES) & (said != NO)).sum()),
            "known_positive": int(((of == b) & (said == YES)).sum()),
            "known_negative": int(((of == b) & (said == NO)).sum()),
            "picked": int((picked == b).sum()),
        }
        for b, (low, high) in enumerate(pairwise(edges.tolist()))
    ]


def _vectors(archive: Archive, scores: WindowScores, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return archive.vectors_of(_found(archive, scores, rows, {}, "w.part_id, w.part_row"))


def _found(
    archive: Archive, scores: WindowScores, rows: NDArray[np.int64], more: dict[str, Any], columns: str
) -> pa.Table:
    """Return columns of windows, given by their rows and in their order."""
    ids = scores.ids[rows]
    values = {"recording_id": ids["recording_id"].copy(), "start_sample": ids["start_sample"].copy()}
    picked = pa.table({**values, "place": np.arange(len(rows)), **more})
    query = f"SELECT {columns} FROM _picked p JOIN windows w USING (recording_id, start_sample) ORDER BY p.place"
    return archive.sql_with({"_picked": picked}, query)


def _table(
    archive: Archive,
    scores: WindowScores,
    labels: tuple[str, ...],
    picked: list[NDArray[np.int64]],
    strata: list[NDArray[np.int64] | None],
) -> pa.Table:
    rows = np.concatenate(picked)
    own = {
        "rank": np.arange(1, len(rows) + 1),
        "score": np.concatenate([scores.probabilities[r, c] for c, r in enumerate(picked)]),
        "label": pa.array([label for label, r in zip(labels, picked, strict=True) for _ in r], pa.string()),
        "stratum": pa.array(
            [None if s is None else int(s[i]) + 1 for r, s in zip(picked, strata, strict=True) for i in range(len(r))],
            pa.int64(),
        ),
    }
    columns = ", ".join(f"{'p' if name in own else 'w'}.{name}" for name in REVIEW_COLUMNS.names)
    return _found(archive, scores, rows, own, columns).cast(REVIEW_COLUMNS)


def _record(
    archive: Archive, probe: Probe, label: str, options: ReviewOptions, bins: list[dict[str, Any]], table: pa.Table
) -> int:
    design = {
        "probe": probe.name,
        "version": probe.version,
        "probe_digest": probe.digest,
        "label": label,
        "snapshot": archive.snapshot.number,
        "window_s": archive.config.model.window_s,
        "filter": options.where.to_json(),
        "seed": options.seed,
        "bins": bins,
        "picks": [
            {
                "recording_id": row["recording_id"],
                "start_sample": row["start_sample"],
                "path": row["path"].encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
                "start_s": row["start_s"],
                "end_s": row["start_s"] + row["valid_s"],
                "bin": row["stratum"] - 1,
            }
            for row in table.to_pylist()
        ],
    }
    return put_review(archive.root, probe.name, design)


def _notes(
    scores: WindowScores,
    labels: tuple[str, ...],
    picked: list[NDArray[np.int64]],
    before: dict[str, int],
    bins: list[dict[str, Any]],
    options: ReviewOptions,
) -> list[str]:
    notes = []
    for label, rows in zip(labels, picked, strict=True):
        if len(rows) < options.wanted:
            notes.append(
                f"{label}: {len(rows):,} of {options.wanted:,} windows asked for; {before[label]:,} of {len(scores):,} were judged before, "
                "and the others are all there"
            )
    if bins and len(bins) < options.bins:
        shared = f"scores below {scores.floor:g} were not kept" if scores.floor else "many windows share a score"
        notes.append(f"{len(bins)} score bins instead of {options.bins}: {shared}")
    if scores.not_scored:
        notes.append(f"{scores.not_scored:,} windows are left out: their vectors are not finite")
    return notes
