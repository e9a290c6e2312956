"""perch-hoplite trains on the same windows, through its own calls: ``python -m benchmarks.probe_peer FOLDER``. In the peers' environment."""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import sys
import time
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.probe_layout import A_RECORDING, CLASSES, DIM, label, roc_auc

# As its notebook 02_agile_modeling has them.
STEPS, RATE, WEAK_WEIGHT, BATCH, WEAK_BATCH = 128, 1e-3, 0.05, 128, 128
TRAIN_SHARE = 0.9
REPEATS = 3


def main(folder: Path) -> dict[str, Any]:
    """Build its database, train some times, score the test windows."""
    windows, of = np.load(folder / "windows.npy"), np.load(folder / "of.npy")
    data = folder / "hoplite"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    db = _database(data, windows, of)
    classifier = importlib.import_module("perch_hoplite.agile.classifier")
    data_module = importlib.import_module("perch_hoplite.agile.classifier_data")
    test, test_of = np.load(folder / "test.npy").astype(np.float32), np.load(folder / "test_of.npy")
    runs = []
    for repeat in range(REPEATS):
        began, cpu = time.perf_counter(), time.process_time()
        manager = data_module.AgileDataManager(
            target_labels=tuple(label(c) for c in range(CLASSES)),
            db=db,
            batch_size=BATCH,
            rng=np.random.default_rng(repeat),
            train_ratio=TRAIN_SHARE,
            min_eval_examples=1,
            weak_negatives_batch_size=WEAK_BATCH,
        )
        with contextlib.redirect_stdout(sys.stderr):
            trained, _ = classifier.train_linear_classifier(
                manager, learning_rate=RATE, weak_neg_weight=WEAK_WEIGHT, num_train_steps=STEPS
            )
        wall, spent = time.perf_counter() - began, time.process_time() - cpu
        runs.append({"wall_s": round(wall, 3), "cpu_s": round(spent, 3), "roc_auc": roc_auc(trained(test), test_of)})
    versions = {name: version(name) for name in ("perch-hoplite", "tensorflow")}
    return {"name": "perch-hoplite", "versions": versions, "steps": STEPS, "runs": runs}


def _database(data: Path, windows: Any, of: Any) -> Any:
    db = importlib.import_module("perch_hoplite.db.db_loader").create_new_usearch_db(
        db_path=str(data / "db"), embedding_dim=DIM
    )
    interface = importlib.import_module("perch_hoplite.db.datatypes")
    deployment = db.insert_deployment("site", "bench")
    rows, recordings = [], []
    for number in range(-(-len(windows) // A_RECORDING)):
        begins = datetime(2025, 4, 1) + timedelta(minutes=number)
        recordings.append(db.insert_recording(f"{begins:%Y%m%d_%H%M%S}.WAV", begins, deployment))
    for i in range(len(windows)):
        start = float(i % A_RECORDING * 5)
        rows.append({"recording_id": recordings[i // A_RECORDING], "offsets": [start, start + 5.0]})
    db.insert_windows_batch(rows, windows, handle_duplicates="allow")
    for row, c in zip(rows, of, strict=True):
        if c >= 0:
            db.insert_annotation(
                row["recording_id"], row["offsets"], label(int(c)), interface.LabelType.POSITIVE, "bench"
            )
    config = importlib.import_module("ml_collections.config_dict")
    db.insert_metadata("model_config", config.create(model="made"))
    db.commit()
    return db


if __name__ == "__main__":
    found = main(Path(sys.argv[1]))
    sys.stdout.write(json.dumps(found) + "\n")
