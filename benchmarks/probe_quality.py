"""On real embeddings: this program's probes beside scikit-learn's regression, tuned on the same training rows.

``python -m benchmarks.probe_quality STORE WHAT``: STORE was embedded with birdnet_v2.4; WHAT is ``truth``, a demo archive with the calls that
were put in, or ``species``, recordings whose labels are the model's own confident predictions: easy ones, for the regression is of what they
were made from. Recordings are parted at random, half to learn from; shots are drawn from as many recordings as there are.
"""

from __future__ import annotations

import csv
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes import Examples
from probes.curve import few_shots
from probes.experiment import Experiment, Split
from probes.metrics import average_precision, roc_auc
from probes.training import train
from sonotheque.core.model_spec import ModelSpec
from store import Archive, open_archive

SHOTS = (1, 4, 8, 16, 0)  # 0: all
REPEATS = 12
_SURE, _NOT = 0.5, 0.05
_LEAST = 9  # recordings with a class
_NEGATIVES = 300
_CS = (0.01, 0.1, 1.0, 10.0, 100.0)


def labelled(archive: Archive, what: str) -> Examples:
    """Return the windows of a store, with what is known of them."""
    columns = "recording_id, start_sample, path, site, date, hour, start_s, end_s, part_id, part_row"
    windows = archive.sql(f"SELECT {columns} FROM windows ORDER BY path, start_sample")
    classes, targets, weights = (_truth if what == "truth" else _species)(archive, windows)
    n = windows.num_rows

    def text(column: str) -> NDArray[np.object_]:
        return np.array([str(v) for v in windows[column].to_pylist()], object)

    return Examples(
        classes,
        archive.vectors_of(windows),
        targets,
        weights,
        windows["recording_id"].to_numpy(),
        windows["start_sample"].to_numpy(),
        text("path"),
        text("site"),
        text("date"),
        np.full(n, -1, np.int16),
        np.full(n, np.nan, np.float32),
        windows["start_s"].to_numpy(),
        windows["end_s"].to_numpy(),
    )


def _truth(archive: Archive, windows: Any) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    with (Path(archive.root).parent / "recordings" / "truth.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    classes = tuple(sorted({r["call"] for r in rows}))
    placed: dict[str, list[tuple[int, float, float]]] = {}
    for r in rows:
        placed.setdefault(r["path"], []).append((classes.index(r["call"]), float(r["start_s"]), float(r["end_s"])))
    targets = np.zeros((windows.num_rows, len(classes)), np.float32)
    weights = np.ones_like(targets)
    for i, w in enumerate(windows.select(["path", "start_s", "end_s"]).to_pylist()):
        for c, start, end in placed.get(w["path"], []):
            shared = min(end, w["end_s"]) - max(start, w["start_s"])
            if shared >= 0.5 or shared >= 0.9 * (end - start):
                targets[i, c] = 1.0
            elif shared > 0 and not targets[i, c]:
                weights[i, c] = 0.0  # a little of a call: neither there nor not
    weights[targets > 0] = 1.0
    return classes, targets, weights


def _species(archive: Archive, windows: Any) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    often = archive.sql(
        f"SELECT label FROM predictions WHERE score >= {_SURE} GROUP BY label HAVING count(DISTINCT recording_id) >= {_LEAST} ORDER BY label"
    )
    classes = tuple(often["label"].to_pylist())
    row = {
        k: i
        for i, k in enumerate(
            zip(windows["recording_id"].to_pylist(), windows["start_sample"].to_pylist(), strict=True)
        )
    }
    scores = np.zeros((windows.num_rows, len(classes)), np.float32)
    said = archive.sql("SELECT recording_id, start_sample, label, score FROM predictions").to_pylist()
    for p in said:
        if p["label"] in classes:
            scores[row[p["recording_id"], p["start_sample"]], classes.index(p["label"])] = p["score"]
    return classes, (scores >= _SURE).astype(np.float32), ((scores >= _SURE) | (scores < _NOT)).astype(np.float32)


def theirs(learnt: Examples, test: Examples) -> NDArray[np.float64]:
    """Return scores (n, C) of scikit-learn's regressions, C chosen by cross-validation by recording, balanced, on unit vectors."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    def unit(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30), np.float64)

    train_x, test_x = unit(learnt.vectors), unit(test.vectors)
    out = np.zeros((len(test), len(learnt.classes)))
    for c in range(len(learnt.classes)):
        known = learnt.weights[:, c] > 0
        x, y, groups = train_x[known], learnt.targets[known, c] > 0, learnt.recording_ids[known]
        plain = LogisticRegression(max_iter=2000, class_weight="balanced")
        folds = min(4, len(set(groups[y])), len(set(groups[~y])))
        if folds < 2:
            fitted = plain.fit(x, y)
        else:
            cut = StratifiedGroupKFold(folds)
            fitted = GridSearchCV(plain, {"C": _CS}, scoring="average_precision", cv=cut).fit(x, y, groups=groups)
        out[:, c] = fitted.decision_function(test_x)
    return out


def main(root: str, what: str) -> dict[str, Any]:
    """Compare at each number of shots."""
    warnings.filterwarnings("ignore")
    with open_archive(root) as archive:
        every, spec = labelled(archive, what), archive.config.model
    rows = []
    for shots in SHOTS:
        found = [_once(every, spec, shots, repeat) for repeat in range(REPEATS)]
        both = np.array([f for f in found if f is not None])  # (repeats, us or them, AP or AUC)
        if len(both):
            rows.append({"shots": shots or "all", "repeats": len(both), **_summed(both)})
    return {
        "what": what,
        "model": spec.name,
        "windows": len(every),
        "recordings": len(set(every.recording_ids.tolist())),
        "classes": {c: int((every.targets[:, i] > 0).sum()) for i, c in enumerate(every.classes)},
        "rows": rows,
    }


def _once(every: Examples, spec: ModelSpec, shots: int, repeat: int) -> NDArray[np.float64] | None:
    rng = np.random.default_rng([shots, repeat])
    recordings = rng.permutation(np.unique(every.recording_ids))
    in_test = np.isin(every.recording_ids, recordings[: len(recordings) // 2])
    test, learnt = every.take(np.flatnonzero(in_test)), every.take(np.flatnonzero(~in_test))
    enough = [
        c
        for i, c in enumerate(every.classes)
        if learnt.targets[:, i].sum() >= max(shots, 2) and test.targets[:, i].sum() >= 2
    ]
    if not enough:
        return None
    learnt, test = learnt.of_classes(tuple(enough)), test.of_classes(tuple(enough))
    if shots:
        learnt = few_shots(learnt, shots, rng)
    plain = ~(learnt.targets > 0).any(axis=1)
    keep = np.concatenate([np.flatnonzero(~plain), rng.permutation(np.flatnonzero(plain))[:_NEGATIVES]])
    learnt = learnt.take(np.sort(keep))
    alone = Experiment("quality", split=Split(test_share=0.0), bootstrap=0, shots=())
    ours = train(learnt, alone, spec).probe.logits(test.vectors)
    return np.array([_judged(scores, test) for scores in (ours, theirs(learnt, test))])


def _judged(scores: NDArray[Any], test: Examples) -> tuple[float, float]:
    found = []
    for c in range(len(test.classes)):
        known = test.weights[:, c] > 0
        truth = test.targets[known, c]
        found.append((average_precision(truth, scores[known, c]), roc_auc(truth, scores[known, c])))
    means = np.nanmean(found, axis=0)
    return float(means[0]), float(means[1])


def _summed(both: NDArray[np.float64]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for i, metric in enumerate(("map", "roc_auc")):
        difference = both[:, 0, i] - both[:, 1, i]
        half = 1.96 * difference.std(ddof=1) / np.sqrt(len(both)) if len(both) > 1 else float("nan")
        told[metric] = {
            "ours": round(float(both[:, 0, i].mean()), 4),
            "scikit_learn": round(float(both[:, 1, i].mean()), 4),
            "difference": round(float(difference.mean()), 4),
            "interval": [round(float(difference.mean() - half), 4), round(float(difference.mean() + half), 4)],
        }
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2])) + "\n")
