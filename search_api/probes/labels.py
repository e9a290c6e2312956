"""From annotations to examples: which windows hold which judgements, and which are drawn to stand against them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from probes import Examples
from probes.experiment import Experiment
from search_api.probes.speaking import covers, speaks_of
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.suggest import did_you_mean
from store import Archive
from store.annotations import AnnotationLog, windows_of

COLUMNS: Final = "w.recording_id, w.start_sample, w.path, w.site, w.date, w.start_s, w.end_s, w.valid_s, w.hour, w.part_id, w.part_row"
_ORDER: Final = "ORDER BY w.path, w.start_sample"


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Examples, and what a user should know of how they came about."""

    examples: Examples
    notes: list[str] = field(default_factory=list)


def annotated_examples(archive: Archive, experiment: Experiment) -> Labelled:
    """Return the examples that an experiment means: annotated windows, and weak negatives.

    Parameters
    ----------
    archive : Archive
    experiment : Experiment

    Raises
    ------
    NotFound
        If a class or an annotator has no annotation; near names are given.
    Invalid
        If there is no annotation at all, or none that is on a window.
    """
    table, classes = _wanted(archive, experiment)
    windows = archive.sql_with({"_annotated": table.select(["recording_id"])}, *_windows_query(archive, experiment))
    rows_a, rows_w = windows_of(table, windows, experiment.examples.overlap_min_s)
    notes = _unplaced(archive, table, rows_a)
    used, place = np.unique(rows_w, return_inverse=True)
    if not len(used):
        raise Invalid(
            f"{table.num_rows:,} annotations, and none is on a window of {archive.root}"
            + (" that the filter means" if not experiment.examples.where.is_empty else "")
            + "; `sonotheque annotate list` shows where they are"
        )
    codes = np.array([classes.index(v) for v in table["label"].to_pylist()])[rows_a]
    judged = table["judgement"].to_numpy(zero_copy_only=False)[rows_a]
    speaks = speaks_of(table, windows, rows_a, rows_w)
    speaks &= (judged != "negative") | covers(table, windows, rows_a, rows_w)
    shape = (len(used), len(classes))
    targets, weights, told = _judgements(shape, (place, codes), np.where(speaks, judged, "uncertain"), experiment)
    chosen = windows.take(pa.array(used))
    weak = weak_negatives(archive, experiment)
    if weak.num_rows:
        targets = np.vstack([targets, np.zeros((weak.num_rows, len(classes)), np.float32)])
        share = np.float32(experiment.negatives.weight)
        weights = np.vstack([weights, np.full((weak.num_rows, len(classes)), share, np.float32)])
        chosen = pa.concat_tables([chosen, weak])
        notes.append(
            f"{weak.num_rows:,} windows without annotations stand as weak negatives, weight {experiment.negatives.weight:g}"
        )
        if experiment.kind == "multiclass":
            notes[-1] += (
                "; where classes exclude each other they teach nothing, and count in thresholds and in the test alone"
            )
    examples, wrong = examples_of(archive, chosen, classes, targets, weights)
    return Labelled(examples, notes + told + wrong)


def examples_of(
    archive: Archive, windows: pa.Table, classes: tuple[str, ...], targets: NDArray[Any], weights: NDArray[Any]
) -> tuple[Examples, list[str]]:
    """Return windows of the archive, with the columns of ``COLUMNS``, as examples; their vectors are read.

    Windows whose vector is not finite are left out; a note tells how many, and the first.
    """
    vectors = archive.vectors_of(windows)
    finite = np.isfinite(vectors).all(axis=1)
    notes = []
    if not finite.all():
        first = windows.slice(int(np.flatnonzero(~finite)[0]), 1).to_pylist()[0]
        notes.append(
            f"{int((~finite).sum()):,} windows hold a value that is not finite, and were left out; the first: {first['path']} at "
            f"{first['start_s']:g} s. `sonotheque verify --deep` tells whether the part is damaged"
        )
        windows, vectors = windows.filter(pa.array(finite)), vectors[finite]
        targets, weights = targets[finite], weights[finite]

    def text(column: str) -> NDArray[np.object_]:
        return np.array(["" if v is None else str(v) for v in windows[column].to_pylist()], object)

    n = windows.num_rows
    made = Examples(
        classes,
        vectors,
        targets.astype(np.float32),
        weights.astype(np.float32),
        windows["recording_id"].to_numpy().astype(np.int64),
        windows["start_sample"].to_numpy().astype(np.int64),
        text("path"),
        text("site"),
        text("date"),
        pc.fill_null(windows["hour"], -1).to_numpy().astype(np.int16),
        np.full(n, np.nan, np.float32),
        windows["start_s"].to_numpy().astype(np.float64),
        windows["end_s"].to_numpy().astype(np.float64),
    )
    return made, notes


def weak_negatives(archive: Archive, experiment: Experiment) -> pa.Table:
    """Return windows that no annotation touches, drawn at random: the same ones from the same store, whatever program asks."""
    if not experiment.negatives.weak or not experiment.negatives.weight:
        return pa.table({}).slice(0, 0)
    everything = AnnotationLog(archive.root).current().select(["recording_id", "start_s", "end_s"])
    query, parameters = archive.select(experiment.examples.where, columns=COLUMNS)
    # Touching is enough to be left out: what reaches into a window by a little is no example of its absence.
    query += (
        " AND NOT EXISTS (SELECT 1 FROM _said a WHERE a.recording_id = w.recording_id AND a.start_s < w.end_s AND a.end_s > w.start_s)"
        " ORDER BY md5_number_lower(w.recording_id || ':' || w.start_sample || ':' || ?), w.path, w.start_sample LIMIT ?"
    )
    drawn = archive.sql_with({"_said": everything}, query, [*parameters, experiment.seed, experiment.negatives.weak])
    return drawn.sort_by([("path", "ascending"), ("start_sample", "ascending")])


def _wanted(archive: Archive, experiment: Experiment) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the annotations that are meant, and the classes in order."""
    table = AnnotationLog(archive.root).current()
    if not table.num_rows:
        raise Invalid(
            f"{archive.root} holds no annotations: `sonotheque annotate import TABLE` takes those of Raven, Audacity and others, "
            "`sonotheque annotate add` one by one"
        )
    for who in experiment.examples.annotators:
        if who not in (known := table["annotator"].unique().to_pylist()):
            raise NotFound(f"nobody called {who!r} annotated {archive.root}; {did_you_mean(who, known)}")
    if experiment.examples.annotators:
        table = table.filter(pc.is_in(table["annotator"], pa.array(experiment.examples.annotators)))
    labels = table["label"].unique().to_pylist()
    for name in experiment.classes:
        if name not in labels:
            raise NotFound(f"no annotation of {archive.root} says {name!r}; {did_you_mean(name, labels)}")
    positive = table.filter(pc.equal(table["judgement"], "positive"))["label"].unique().to_pylist()
    classes = experiment.classes or tuple(sorted(positive))
    if not classes:
        raise Invalid(f"no annotation of {archive.root} says that something is there: all are negative or uncertain")
    return table.filter(pc.is_in(table["label"], pa.array(classes))), classes


def _windows_query(archive: Archive, experiment: Experiment) -> tuple[str, list[Any]]:
    query, parameters = archive.select(experiment.examples.where, columns=COLUMNS)
    return f"{query} AND w.recording_id IN (SELECT recording_id FROM _annotated) {_ORDER}", parameters


def _unplaced(archive: Archive, table: pa.Table, rows_a: NDArray[np.int64]) -> list[str]:
    lost = np.setdiff1d(np.arange(table.num_rows), rows_a)
    if not len(lost):
        return []
    known = set(archive.sql("SELECT recording_id FROM recordings")["recording_id"].to_pylist())
    gone = sorted(
        {
            p
            for p, i in zip(
                table["path"].take(lost).to_pylist(), table["recording_id"].take(lost).to_pylist(), strict=True
            )
            if i not in known
        }
    )
    told = [f"{len(lost):,} of {table.num_rows:,} annotations are on no window that is meant, and were left out"]
    if gone:
        told.append(
            f"{len(gone):,} annotated recordings are not in the store: {', '.join(gone[:3])}{' ...' if len(gone) > 3 else ''}"
        )
    return told


def _judgements(
    shape: tuple[int, int],
    at: tuple[NDArray[np.int64], NDArray[np.int64]],
    judged: NDArray[np.object_],
    experiment: Experiment,
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Return targets and weights (n, C) of annotated windows; ``at``: window and class of each judgement.

    Positive and negative on one window is a contradiction, and counts for neither. What nobody spoke of is a weak negative; where classes
    exclude each other, what is one class is not another.
    """
    said = {}
    for judgement in ("positive", "negative", "uncertain"):
        said[judgement] = np.zeros(shape, bool)
        of = judged == judgement
        said[judgement][at[0][of], at[1][of]] = True
    contrary = said["positive"] & said["negative"]
    yes, no = said["positive"] & ~contrary, said["negative"] & ~contrary
    weights = np.full(shape, experiment.negatives.weight, np.float32)
    weights[said["uncertain"] | contrary] = 0.0
    weights[yes | no] = 1.0
    told = []
    if contrary.any():
        told.append(
            f"{int(contrary.sum()):,} windows are judged positive and negative for the same class; they count for neither"
        )
    if experiment.kind == "multiclass":
        several = yes.sum(axis=1) > 1
        one = (yes.sum(axis=1) == 1)[:, None]
        weights = np.where(one & ~yes, np.float32(1.0), weights)
        if several.any():
            told.append(
                f"{int(several.sum()):,} windows hold several classes that should exclude each other; they are left out"
            )
            weights[several] = 0.0
    return yes.astype(np.float32), weights.astype(np.float32), told
