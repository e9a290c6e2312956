"""How good a probe is on examples it was not trained on: every number with its chance level and its interval."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes import metrics
from probes.examples import Examples
from probes.intervals import percentile_interval
from probes.judged import binary_counts, multiclass_decisions, multilabel_decisions
from probes.macro import PADDING, ClassRankings, Measured
from probes.plot_data import curve, histogram
from probes.slices import slices
from sonotheque.core.errors import Invalid

_ROUNDING: Final = 1e-5  # a softmax in float32 may come out this much above 1
Floats = NDArray[np.float64]
Interval = tuple[float, float]


def evaluate(
    examples: Examples,
    probabilities: NDArray[Any],
    *,
    kind: str,
    thresholds: NDArray[Any],
    window_s: float,
    bootstrap: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Judge probabilities by what is known.

    Parameters
    ----------
    examples : Examples
        The test side. A row counts for a class where its weight is above 0; weak negatives count as negatives with their weight.
    probabilities : float, (n, C)
    kind : {'multilabel', 'multiclass'}
    thresholds : float, (C,)
        A window is a hit for a class where its probability is at least this.
    window_s : float
        Sound that each row stands for, for false alarms per hour.
    bootstrap : int
        Repeats behind each interval; 0 for none. Recordings are drawn, with their windows.
    seed : int

    Returns
    -------
    dict
        JSON-ready; NaN is None. ``rows``, ``recordings``; ``classes``: per class counts, AP and ROC-AUC with intervals, and what its
        threshold does; ``macro``: means over the classes where each is defined (``classes_counted``: with an AP), with
        chance levels; ``confusion``, ``curves``, ``histograms``, ``slices``; ``notes``: sentences on what could not be measured.
        An interval is None where positives or negatives come from fewer than two recordings. ``cmap`` counts classes without
        positives too, as BirdCLEF 2023 does.

        Multiclass: ``accuracy``, ``balanced_accuracy``, ``macro_f1`` and ``confusion`` are of the likeliest class, over rows whose
        class is known. Multilabel: each is the mean over classes of the decision at the threshold; in ``confusion``,
        [i][j] counts windows with i in which j was found and is not there (with itself: found), the last column those in
        which nothing was found, the last row windows with none of the classes.

    Raises
    ------
    Invalid
        No rows; probabilities, thresholds or window of another shape or out of range, NaN among them; another kind.
    """
    values, limits = _checked(examples, probabilities, kind, thresholds, window_s)
    truth, weights = examples.targets > 0, examples.weights.astype(np.float64)
    rankings = ClassRankings(examples, values, examples.recording_ids)
    now = rankings.measure()
    repeats = rankings.repeats(bootstrap if rankings.n_groups > 1 else 0, seed)
    spread = np.array([_recordings_a_side(examples, truth[:, c], weights[:, c]) for c in range(len(limits))])
    decide = multiclass_decisions if kind == "multiclass" else multilabel_decisions
    decisions, confused = decide(truth, weights, values, limits, examples.classes)
    classes = {
        name: {
            **_counted(truth[:, c], weights[:, c]),
            **_ranked(now, repeats, c, truth[:, c], weights[:, c], enough=bool(spread[c].min() > 1)),
            **_thresholded(truth[:, c], weights[:, c], values[:, c], float(limits[c]), window_s),
        }
        for c, name in enumerate(examples.classes)
    }
    macro = {**_macro(now, repeats, truth, weights, enough=bool((spread.min(axis=1) > 1).any())), **decisions}
    columns = {name: (truth[:, c], values[:, c], weights[:, c]) for c, name in enumerate(examples.classes)}
    found: dict[str, Any] = _without_nan(
        {
            "rows": len(examples),
            "recordings": rankings.n_groups,
            "classes": classes,
            "macro": macro,
            "confusion": confused,
            "curves": {name: curve(*column) for name, column in columns.items()},
            "histograms": {name: histogram(*column) for name, column in columns.items()},
            "slices": slices(examples, values),
            "notes": _notes(examples.classes, truth, weights, spread),
        }
    )
    return found


def _checked(
    examples: Examples, probabilities: NDArray[Any], kind: str, thresholds: NDArray[Any], window_s: float
) -> tuple[NDArray[Any], Floats]:
    values, limits = np.asarray(probabilities), np.asarray(thresholds, np.float64)
    n, c = len(examples), len(examples.classes)
    if kind not in ("multilabel", "multiclass"):
        raise Invalid(f"there is no kind of probe {kind!r}: it is multilabel or multiclass")
    if not n or not c:
        raise Invalid(
            f"{n} examples of {c} classes: there is nothing to judge by; annotate more, or give the test a larger share"
        )
    if values.shape != (n, c) or limits.shape != (c,):
        raise Invalid(
            f"probabilities {values.shape} and thresholds {limits.shape} for {n} examples of {c} classes: expected ({n}, {c}) and ({c},)"
        )
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0]
        raise Invalid(
            f"{len(wrong):,} of {values.size:,} probabilities are not finite; the first is of {examples.classes[column]} in "
            f"{examples.paths[row]} at {examples.start_s[row]:g} s: run `sonotheque verify --deep`, and train the probe again"
        )
    if values.min() < -_ROUNDING or values.max() > 1 + _ROUNDING:
        raise Invalid(
            f"probabilities go from {values.min():g} to {values.max():g}, expected 0 to 1: were logits given?"
        )
    if not np.isfinite(limits).all():
        raise Invalid("a threshold is not finite: give one probability for each class")
    if not (np.isfinite(window_s) and window_s > 0):
        raise Invalid(f"a window of {window_s:g} s: it must be longer than 0 s")
    return np.clip(values, 0, 1), limits


def _recordings_a_side(examples: Examples, truth: NDArray[np.bool_], weights: Floats) -> tuple[int, int]:
    """Return from how many recordings the positives come, and the negatives."""
    ids = examples.recording_ids
    return len(np.unique(ids[truth & (weights > 0)])), len(np.unique(ids[~truth & (weights > 0)]))


def _counted(truth: NDArray[np.bool_], weights: Floats) -> dict[str, Any]:
    n = int((truth & (weights > 0)).sum())
    weak = int((~truth & (weights > 0) & (weights < 1)).sum())
    return {"n": n, "n_positive": n, "n_negative": int((~truth & (weights >= 1)).sum()), "n_weak": weak}


def _ranked(
    now: Measured, repeats: Measured, c: int, truth: NDArray[np.bool_], weights: Floats, *, enough: bool
) -> dict[str, Any]:
    return {
        "ap": now.average_precision[c, 0],
        "ap_ci": _interval(repeats.average_precision[c], enough),
        "ap_chance": metrics.average_precision_chance(truth, weights),
        "roc_auc": now.roc_auc[c, 0],
        "roc_auc_ci": _interval(repeats.roc_auc[c], enough),
        "roc_auc_chance": metrics.roc_auc_chance(truth, weights),
    }


def _thresholded(
    truth: NDArray[np.bool_], weights: Floats, values: NDArray[Any], threshold: float, window_s: float
) -> dict[str, Any]:
    found, false, missed, passed = binary_counts(truth, weights, values >= threshold)
    hours = (false + passed) * window_s / 3600
    return {
        "threshold": threshold,
        "precision": found / (found + false) if found + false > 0 else np.nan,
        "recall": found / (found + missed) if found + missed > 0 else np.nan,
        "f1": metrics.f1(found, false, missed),
        "f1_chance": metrics.f1_chance(found + missed, false + passed),
        "false_alarms_per_hour": false / hours if hours > 0 else np.nan,
    }


def _macro(
    now: Measured, repeats: Measured, truth: NDArray[np.bool_], weights: Floats, *, enough: bool
) -> dict[str, Any]:
    defined = ~np.isnan(now.average_precision[:, 0])
    chance = [metrics.average_precision_chance(truth[:, c], weights[:, c]) for c in np.flatnonzero(defined)]
    found: dict[str, Any] = {"classes_counted": int(defined.sum()), "classes": len(defined)}
    chances = {
        "map": float(np.mean(chance)) if chance else np.nan,
        "cmap": metrics.padded_cmap_chance(truth, PADDING, weights),
        "roc_auc": 0.5 if defined.any() else np.nan,
    }
    for name, level in chances.items():
        found[name] = now.macro(name)[0]
        found[f"{name}_ci"] = _interval(repeats.macro(name), enough)
        found[f"{name}_chance"] = level
    return found


def _interval(values: Floats, enough: bool) -> Interval:
    return percentile_interval(values) if enough else (np.nan, np.nan)


def _notes(classes: tuple[str, ...], truth: NDArray[np.bool_], weights: Floats, spread: NDArray[Any]) -> list[str]:
    notes = []
    for c, name in enumerate(classes):
        for side, rows, n_recordings in (
            ("positives", truth[:, c], spread[c, 0]),
            ("negatives", ~truth[:, c], spread[c, 1]),
        ):
            n = int((rows & (weights[:, c] > 0)).sum())
            if not n:
                notes.append(f"{name}: no {side} in the test, so nothing is known of it; annotate more recordings")
            elif n_recordings == 1:
                notes.append(f"{name}: the {n} {side} in the test come from one recording, so no interval can be given")
    return notes


def _without_nan(value: Any) -> Any:
    """Return plain Python values, with None for NaN."""
    if isinstance(value, dict):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value
