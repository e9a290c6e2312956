"""From scores of examples that were left out: what a logit means, and above what it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.calibration import fit_platt, fit_temperature
from probes.examples import Examples
from probes.experiment import Experiment
from probes.probe import Probe
from probes.selection import Selection
from probes.thresholds import choose

PLATT = "Platt's sigmoid on cross-validated logits (Platt 1999, Lin et al. 2007)"
TEMPERATURE = "one temperature on cross-validated logits (Guo et al. 2017)"
_FAR = -30.0  # the logit of a class that a fold could not learn
_NONE = "none: no score of an unseen example to calibrate with"


def calibrated(
    found: Selection, learnt: Examples, experiment: Experiment
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return slopes (C,), offsets (C,) and the method in words, from scores of examples that were left out."""
    c = len(learnt.classes)
    slopes, offsets = np.ones(c), np.zeros(c)
    if not len(found.rows):
        return slopes, offsets, _NONE
    part = _scored(found, learnt)
    if experiment.kind == "multiclass":
        usable = ((part.targets * part.weights).max(axis=1) > 0) & np.isfinite(found.logits).all(axis=1)
        if not usable.any():
            return slopes, offsets, _NONE
        temperature = fit_temperature(
            found.logits[usable], part.targets[usable].argmax(axis=1), part.weights[usable].max(axis=1)
        )
        return slopes / temperature, offsets, TEMPERATURE
    for k in range(c):
        known = (part.weights[:, k] > 0) & np.isfinite(found.logits[:, k])
        slopes[k], offsets[k] = fit_platt(found.logits[known, k], part.targets[known, k], part.weights[known, k])
    return slopes, offsets, PLATT


def thresholds_of(
    probe: Probe, found: Selection, learnt: Examples, experiment: Experiment, sound_s: float
) -> tuple[NDArray[np.float64], list[dict[str, Any]]]:
    """Return thresholds (C,) by the experiment's rule, and what each would do to the examples that were left out.

    ``sound_s``: seconds of recording that a window stands for.
    """
    c = len(learnt.classes)
    thresholds, told = np.full(c, 0.5), []
    part = _scored(found, learnt)
    scored = probe.probabilities(np.nan_to_num(found.logits, nan=_FAR)) if len(found.rows) else None
    for k, name in enumerate(learnt.classes):
        row: dict[str, Any] = {"class": name, "threshold": 0.5, "note": "no score of an unseen example to choose by"}
        if scored is not None:
            known = (part.weights[:, k] > 0) & np.isfinite(found.logits[:, k])
            truth = part.targets[known, k]
            if (truth > 0).any() and (truth == 0).any():
                rule = experiment.threshold
                counted = part.weights[:, k].astype(np.float64)
                if rule.rule == "precision":
                    # A share of what is found: if weak negatives weighed a twentieth, finding everything would look precise.
                    counted = np.where(counted > 0, found.stands_for, 0.0)
                hours = float(counted[known & (part.targets[:, k] == 0)].sum()) * sound_s / 3600.0
                best = choose(rule.rule, rule.value, truth, scored[known, k], counted[known], hours)
                thresholds[k] = best.threshold
                row = {
                    "class": name,
                    "threshold": best.threshold,
                    "precision": best.precision,
                    "recall": best.recall,
                    "f1": best.f1,
                    "false_alarms_per_hour": best.false_alarms_per_hour,
                    "note": best.note,
                }
        told.append({key: None if value != value else value for key, value in row.items()})  # NaN is no JSON
    return thresholds, told


def _scored(found: Selection, learnt: Examples) -> Examples:
    """Return the examples that have scores, each with the weight of those that it stands for."""
    part = learnt.take(found.rows)
    return replace(part, weights=(part.weights * found.stands_for[:, None]).astype(np.float32))
