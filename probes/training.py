"""A training: examples and an experiment in, a probe and its report out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.curve import learning_curve
from probes.decisions import calibrated, thresholds_of
from probes.evaluation import evaluate
from probes.examples import Examples
from probes.experiment import Experiment
from probes.fitting import features_of, fit, unit_rows
from probes.parting import Sides, parted
from probes.probe import Probe, scores_of
from probes.selection import select
from probes.splitting import leaks
from sonotheque.core.errors import Invalid
from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.version import VERSION


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A probe, its report, and which examples it learnt from and is judged by."""

    probe: Probe
    report: dict[str, Any]
    train: Examples
    test: Examples


def train(
    examples: Examples,
    experiment: Experiment,
    spec: ModelSpec,
    before: Sides | None = None,
    *,
    sound_s: float | None = None,
) -> Trained:
    """Train a probe and judge it by examples that it has not seen.

    Parameters
    ----------
    examples : Examples
    experiment : Experiment
    spec : ModelSpec
        Of the vectors.
    before : Sides, optional
        Of an earlier version: its recordings stay on their sides, so that both can be judged by the same ones.
    sound_s : float, optional
        Seconds of recording that a window stands for, for false alarms an hour: the hop, where windows overlap. A window's length by default.

    Raises
    ------
    Invalid
        If a class has no positive or nothing against it.
    """
    began = time.perf_counter()
    sound_s = sound_s or (float(np.median(examples.end_s - examples.start_s)) if len(examples) else 0.0)
    notes = _require_both_sides(examples, experiment)
    train_rows, test_rows, told = parted(examples, experiment.split, before)
    learnt, test = examples.take(train_rows), examples.take(test_rows)
    _require_both_sides(learnt, experiment)
    features = features_of(learnt.vectors)
    found = select(learnt, experiment, features)
    notes += told + found.notes
    weights, bias, solution = fit(
        learnt,
        kind=experiment.kind,
        l2=found.l2,
        class_weights=experiment.class_weights,
        device=experiment.device,
        features=features,
    )
    del features
    if not solution.converged:
        notes.append(f"the solve stopped at a gradient of {solution.gradient:.1e} after {solution.iterations} steps")
    slopes, offsets, method = calibrated(found, learnt, experiment)
    probe = Probe(
        experiment.name,
        0,
        experiment.kind,
        examples.classes,
        spec,
        weights.astype(np.float32),
        bias.astype(np.float32),
        slopes,
        offsets,
        np.full(len(examples.classes), 0.5),
        {},
    )
    thresholds, chosen = thresholds_of(probe, found, learnt, experiment, sound_s)
    about = {
        "experiment": experiment.to_json(),
        "experiment_digest": experiment.digest,
        "data_digest": examples.digest,
        "code_version": VERSION,
        "calibration": method,
        "l2": found.l2,
    }
    probe = replace(probe, thresholds=thresholds, about=about)
    report = {
        **_told(probe, experiment),
        "split": {**_sides(experiment), **_sizes(learnt, test), "leaks": leaks(learnt, test, experiment.split.by)},
        "solver": {
            "l2": found.l2,
            "l2_tried": found.tried,
            "iterations": solution.iterations,
            "gradient": solution.gradient,
            "converged": solution.converged,
            "seconds": round(time.perf_counter() - began, 3),
        },
        "calibration": {"method": method, "slopes": slopes.tolist(), "offsets": offsets.tolist()},
        "threshold_rule": {"rule": experiment.threshold.rule, "value": experiment.threshold.value, "chosen": chosen},
        "test": _judged(probe, test, experiment, sound_s),
        "learning_curve": _curve(learnt, test, experiment, found.l2),
        "notes": notes,
    }
    return Trained(probe, report, learnt, test)


def _told(probe: Probe, experiment: Experiment) -> dict[str, Any]:
    return {
        "probe": experiment.name,
        "version": 0,
        "kind": experiment.kind,
        "classes": list(probe.classes),
        "model": {"name": probe.model.name, "version": probe.model.version},
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": VERSION,
        "data_digest": probe.about["data_digest"],
        "experiment": experiment.to_json(),
    }


def _sides(experiment: Experiment) -> dict[str, Any]:
    return {
        "by": experiment.split.by,
        "test_share": experiment.split.test_share,
        "seed": experiment.split.seed,
    }


def _sizes(learnt: Examples, test: Examples) -> dict[str, Any]:
    return {"train": _size(learnt), "test": _size(test)}


def _require_both_sides(examples: Examples, experiment: Experiment) -> list[str]:
    """Raise Invalid for a class that cannot be learnt; return notes on those that hardly can."""
    if not examples.classes:
        raise Invalid(f"probe {experiment.name}: there is no class to learn; annotate some windows first")
    if experiment.kind == "multiclass" and len(examples.classes) < 2:
        raise Invalid(
            f"probe {experiment.name}: {examples.classes[0]!r} is the only class; use kind multilabel, or annotate others"
        )
    notes = []
    known = examples.weights > 0
    positive = (known & (examples.targets > 0)).sum(axis=0)
    negative = (known & (examples.targets == 0)).sum(axis=0)
    for name, n_pos, n_neg in zip(examples.classes, positive, negative, strict=True):
        if not n_pos:
            raise Invalid(
                f"probe {experiment.name}: class {name!r} has no positive example; annotate one, or leave the class out"
            )
        if not n_neg:
            raise Invalid(
                f"probe {experiment.name}: nothing is known not to be {name!r}; annotate negatives, or let some be drawn: negatives.weak 1000"
            )
        if n_pos == 1:
            notes.append(f"class {name} has one positive example: nothing is known of how well it is recognised")
    several = int(((examples.targets * known).sum(axis=1) > 1).sum())
    if experiment.kind == "multiclass" and several:
        notes.append(f"{several:,} windows hold several classes that should exclude each other; they teach nothing")
    return notes


def _judged(probe: Probe, test: Examples, experiment: Experiment, sound_s: float) -> dict[str, Any] | None:
    if not len(test):
        return None
    scores = probe.probabilities(probe.logits(test.vectors))
    return evaluate(
        test,
        scores,
        kind=probe.kind,
        thresholds=probe.thresholds,
        window_s=sound_s,
        bootstrap=experiment.bootstrap,
        seed=experiment.seed,
    )


def _curve(learnt: Examples, test: Examples, experiment: Experiment, l2: float) -> list[dict[str, Any]]:
    if not len(test) or not experiment.shots:
        return []

    def fit_and_score(few: Examples, asked: Examples) -> NDArray[Any]:
        weights, bias, _ = fit(few, kind=experiment.kind, l2=l2, class_weights=experiment.class_weights, rough=True)
        return scores_of(unit_rows(asked.vectors) @ weights + bias, experiment.kind)

    return learning_curve(learnt, test, fit_and_score, shots=experiment.shots, seed=experiment.seed)


def _size(examples: Examples) -> dict[str, int]:
    return {"rows": len(examples), "recordings": len(set(examples.recording_ids.tolist()))}
