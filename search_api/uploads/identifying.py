"""What is singing here? The model's own classes and the probes' scores of each window, and both over the whole sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedder.topk import top_classes
from probes import Probe
from search_api.browsing.identity import parse_window_id
from search_api.queries import QueryWindow, window_query
from search_api.uploads.probing import ProbeCache, classified, probe_rows
from store import Archive

SUMMARY_SCORE: Final = (
    0.1  # of a model's class that the summary counts; its best class of a window counts with any score
)


def predictions_of(
    logits: NDArray[np.float32] | None,
    classes: Sequence[str],
    scores: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    top_k: int,
) -> list[list[dict[str, Any]]]:
    """Return the best classes of each window: ``label, score, rank``.

    Parameters
    ----------
    logits : float32, (n, n_classes), or None
        None of a model without classes.
    classes : sequence of str
    scores : callable
        The model's scores of logits.
    top_k : int
    """
    if logits is None or not top_k or not len(classes):
        return []
    index, values = top_classes(logits, top_k)
    best = scores(values)
    return [
        [
            {"label": classes[column], "score": float(str(score)), "rank": rank}
            for rank, (column, score) in enumerate(zip(columns, row, strict=True), 1)
        ]
        for columns, row in zip(index.tolist(), best, strict=True)
    ]


def identify_window(
    archive: Archive, window_id: str, cache: ProbeCache, names: Sequence[str], top_k: int
) -> tuple[dict[str, Any], list[str], int]:
    """Return what :func:`identified` does for a window of the archive, from what is stored of it; notes; and the snapshot's number.

    Raises
    ------
    NotFound, Invalid, Conflict, Damaged
        As :func:`search_api.queries.window_query` and :meth:`ProbeCache.in_use`.
    """
    _, start_sample = parse_window_id(window_id)
    query = window_query(archive, window_id)
    probes, notes = cache.in_use(names)
    found = archive.sql(
        "SELECT label, score, rank FROM predictions WHERE recording_id = ? AND start_sample = ? AND rank <= ? ORDER BY rank",
        [query.recording_id, start_sample, top_k],
    ).to_pylist()
    predictions = [{**row, "score": float(str(np.float32(row["score"])))} for row in found]
    return identified(query.windows, query.vectors, [predictions], probes), notes, archive.snapshot.number


def classify(probe: Probe, windows: Sequence[QueryWindow], vectors: NDArray[np.float32]) -> dict[str, Any]:
    """Return what a probe says of windows.

    Returns
    -------
    dict
        ``probe, version, classes, thresholds, windows`` (``start_s, end_s, valid_s, scores, hits``).
    """
    rows = [
        {"start_s": round(w.start_s, 6), "end_s": round(w.end_s, 6), "valid_s": round(w.valid_s, 6), **said}
        for w, said in zip(windows, classified(probe, vectors), strict=True)
    ]
    return {
        "probe": probe.name,
        "version": probe.version,
        "classes": list(probe.classes),
        "thresholds": {label: float(t) for label, t in zip(probe.classes, probe.thresholds, strict=True)},
        "windows": rows,
    }


def classify_windows(archive: Archive, window_ids: Sequence[str], probe: Probe) -> tuple[dict[str, Any], int]:
    """Return what :func:`classify` does for windows of the archive, with their ``window_id``, and the snapshot's number.

    Raises
    ------
    NotFound
        If there is no such window; it is named.
    """
    wanted = [parse_window_id(text) for text in window_ids]
    table = pa.table(
        {
            "n": pa.array(range(len(wanted)), pa.int64()),
            "recording_id": pa.array([recording for recording, _ in wanted], pa.int64()),
            "start_sample": pa.array([start for _, start in wanted], pa.int64()),
        }
    )
    rows = archive.sql_with(
        {"_wanted": table},
        "SELECT n, start_s, end_s, valid_s, part_id, part_row FROM windows JOIN _wanted USING (recording_id, start_sample) ORDER BY n",
    )
    if rows.num_rows < len(wanted):
        there = set(rows["n"].to_pylist())
        window_query(archive, window_ids[next(n for n in range(len(wanted)) if n not in there)])  # names what is near
    vectors = archive.vectors_of(rows.select(["part_id", "part_row"]))
    windows = [QueryWindow(row["start_s"], row["end_s"], row["valid_s"]) for row in rows.to_pylist()]
    found = classify(probe, windows, vectors)
    for row, text in zip(found["windows"], window_ids, strict=True):
        row["window_id"] = text
    return found, archive.snapshot.number


def identified(
    windows: Sequence[QueryWindow],
    vectors: NDArray[np.float32],
    predictions: Sequence[Sequence[Mapping[str, Any]]],
    probes: Sequence[Probe],
) -> dict[str, Any]:
    """Return what model and probes say.

    Parameters
    ----------
    windows : sequence of QueryWindow
        n of them.
    vectors : float32, (n, dim)
    predictions : sequence
        Of each window; empty for a model without classes.
    probes : sequence of Probe

    Returns
    -------
    dict
        ``windows``: ``start_s, end_s, valid_s, predictions, probes``; ``summary``: ``label, source`` (``model``, or a probe's name after
        ``probe:``), ``windows`` with it, ``best_score, best_start_s``, those in most windows first.
    """
    of_probes = [probe_rows(probe, vectors) for probe in probes]
    rows = [
        {
            "start_s": round(window.start_s, 6),
            "end_s": round(window.end_s, 6),
            "valid_s": round(window.valid_s, 6),
            "predictions": list(predictions[i]) if predictions else [],
            "probes": [row for one in of_probes for row in one[i]],
        }
        for i, window in enumerate(windows)
    ]
    return {"windows": rows, "summary": summary(rows)}


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what was found over all windows of :func:`identified`."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        heard = [("model", p) for p in row["predictions"] if p["rank"] == 1 or p["score"] >= SUMMARY_SCORE]
        heard += [(f"probe:{p['probe']}", p) for p in row["probes"] if p["hit"]]
        for source, one in heard:
            entry = found.setdefault(
                (source, one["label"]),
                {"label": one["label"], "source": source, "windows": 0, "best_score": -1.0, "best_start_s": 0.0},
            )
            entry["windows"] += 1
            if one["score"] > entry["best_score"]:
                entry["best_score"], entry["best_start_s"] = one["score"], row["start_s"]
    return sorted(found.values(), key=lambda e: (-e["windows"], -e["best_score"], e["source"], e["label"]))
