"""What this program's trainings cost: ``python -m benchmarks.probe_fit WHAT FOLDER``, each in a process of its own."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.probe_data import labelled
from benchmarks.probe_layout import A_RECORDING, CLASSES, DIM, label, roc_auc
from benchmarks.probe_store import annotated_store
from probes import Examples
from probes.experiment import Experiment, Negatives, Split
from probes.training import Trained, train
from sonotheque.core.model_spec import ModelSpec

REPEATS = 3
LARGE = (188_588, 5_905)  # negatives, positives
MANY, MANY_WINDOWS, MANY_CLASSES = 232, 2_400, 3
_WINDOW_S = 5.0


def spec(dim: int = DIM) -> ModelSpec:
    """Return a model for the vectors."""
    return ModelSpec("generated", "1", "0" * 64, 32_000, 160_000, dim, 0, "0", "none")


def examples(vectors: NDArray[Any], targets: NDArray[Any], weights: NDArray[Any], classes: tuple[str, ...]) -> Examples:
    """Return rows in recordings of ten windows, ten recordings a day, at five sites."""
    n = len(vectors)
    of = np.arange(n) // A_RECORDING

    def text(form: str, numbers: NDArray[Any]) -> NDArray[np.object_]:
        return np.array([form.format(i) for i in numbers], object)

    start_s = np.arange(n) % A_RECORDING * _WINDOW_S
    return Examples(
        classes,
        np.asarray(vectors, np.float32),
        targets.astype(np.float32),
        weights.astype(np.float32),
        of.astype(np.int64),
        (start_s * 32_000).astype(np.int64),
        text("r{}.wav", of),
        text("site {}", of % 5),
        text("day {}", of // 10 % 30),
        (of % 24).astype(np.int16),
        np.full(n, np.nan, np.float32),
        start_s,
        start_s + _WINDOW_S,
    )


def timed(trained: Any) -> tuple[Trained, dict[str, float]]:
    """Run a training; return it, and its wall and CPU seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    found = trained()
    return found, {"wall_s": round(time.perf_counter() - began, 3), "cpu_s": round(time.process_time() - cpu, 3)}


def brief(folder: Path) -> dict[str, Any]:
    """Do as ``small`` does, once, and without the learning curve."""
    return small(folder, repeats=1, curve=False)


def small(folder: Path, *, repeats: int = REPEATS, curve: bool = True) -> dict[str, Any]:
    """Train on the set that perch-hoplite trains on: from arrays, and from a store with everything that is reported."""
    from search_api.probes.training import train_probe
    from search_api.probes.versions import load_probe

    vectors, of = np.load(folder / "windows.npy"), np.load(folder / "of.npy")
    test, test_of = np.load(folder / "test.npy").astype(np.float32), np.load(folder / "test_of.npy")
    rows = np.flatnonzero(of >= 0)
    targets = of[rows][:, None] == np.arange(CLASSES)
    weights = np.where(targets, 1.0, 0.05)
    some = examples(vectors[rows], targets, weights, tuple(label(c) for c in range(CLASSES)))
    some = replace(some, recording_ids=(rows // A_RECORDING).astype(np.int64))
    bare = Experiment("bare", split=Split(test_share=0.1), bootstrap=0, shots=())
    train(some, bare, spec())  # the first one loads libraries
    arrays = []
    for seed in range(repeats):
        found, spent = timed(
            lambda seed=seed: train(some, replace(bare, split=Split(test_share=0.1, seed=seed)), spec())
        )
        arrays.append(
            {**spent, "roc_auc": roc_auc(found.probe.logits(test), test_of), "l2": found.report["solver"]["l2"]}
        )
    root = annotated_store(folder / "store", vectors, of)
    runs = {}
    experiments = {
        "labelled windows alone, held-out metrics": replace(bare, name="few", negatives=Negatives(0)),
        "and 1,000 weak negatives": replace(bare, name="weak"),
    }
    if curve:
        experiments["and intervals and the learning curve"] = Experiment("all", split=Split(test_share=0.1))
    for name, experiment in experiments.items():
        runs[name] = []
        for _ in range(repeats):
            made, spent = timed(lambda experiment=experiment: train_probe(root, experiment))
            probe = load_probe(root, experiment.name, made["version"])  # type: ignore[index]
            runs[name].append({**spent, "roc_auc": roc_auc(probe.logits(test), test_of)})
    shutil.rmtree(folder / "store")
    return {"arrays": arrays, "store": runs}


def large(folder: Path) -> dict[str, Any]:
    """Train one class of many negatives."""
    negatives, positives = LARGE
    made = labelled(np.array([positives]), negatives, DIM, 3)
    targets = (made.of == 0)[:, None]
    some = examples(made.vectors, targets, np.ones_like(targets, float), ("call",))
    found, spent = timed(lambda: train(some, Experiment("large", bootstrap=200, shots=()), spec()))
    told = found.report["test"]
    one = told["classes"]["call"]
    return {
        **spent,
        "windows": len(some),
        "ap": one["ap"],
        "ap_ci": one["ap_ci"],
        "roc_auc": one["roc_auc"],
        "recall_at_1_false_alarm_an_hour": recall_at(found, 1.0),
        "l2": found.report["solver"]["l2"],
        "converged": found.report["solver"]["converged"],
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def recall_at(found: Trained, per_hour: float) -> float:
    """Return the recall on the test side at the threshold that lets so many false alarms an hour through."""
    scores = found.probe.logits(found.test.vectors)[:, 0]
    truth = found.test.targets[:, 0] > 0
    hours = (found.test.end_s - found.test.start_s)[~truth].sum() / 3600
    allowed = int(per_hour * hours)
    limit = np.sort(scores[~truth])[::-1][allowed]  # the first that would be one too many
    return float((scores[truth] > limit).mean())


def one_of_many(number: int) -> float:
    """Train one of many probes of three classes; returns its seconds."""
    made = labelled(np.full(MANY_CLASSES, MANY_WINDOWS // MANY_CLASSES), 0, DIM, 100 + number)
    targets = made.of[:, None] == np.arange(MANY_CLASSES)
    some = examples(made.vectors, targets, np.ones_like(targets, float), ("song", "call", "alarm"))
    _, spent = timed(lambda: train(some, Experiment(f"p{number}", kind="multiclass", shots=()), spec()))
    return spent["wall_s"]


def many(folder: Path) -> dict[str, Any]:
    """Train 232 probes in as many processes as there are cores; making their data is not counted in ``train_s``."""
    import multiprocessing
    import os

    cores = len(os.sched_getaffinity(0))
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        each = pool.map(one_of_many, range(MANY), chunksize=4)
    return {
        "probes": MANY,
        "processes": cores,
        "train_s": round(sum(each) / cores, 1),
        "each_s": round(float(np.median(each)), 3),
        "wall_s_with_making_the_data": round(time.perf_counter() - began, 1),
    }


if __name__ == "__main__":
    what = {"small": small, "brief": brief, "large": large, "many": many}[sys.argv[1]]
    sys.stdout.write(json.dumps(what(Path(sys.argv[2]))) + "\n")
