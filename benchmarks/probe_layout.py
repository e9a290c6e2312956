"""The set that two programs train on, as files: vectors, classes, and what is held out. NumPy alone: peers read it too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.probe_data import labelled

CLASSES, EACH, UNLABELLED, TEST_EACH, TEST_NONE = 20, 25, 5_500, 100, 2_000
DIM = 1536
A_RECORDING = 10  # windows


def make_set(folder: Path) -> None:
    """Write ``windows.npy`` with ``of.npy`` (-1: not labelled), and ``test.npy`` with ``test_of.npy``."""
    folder.mkdir(parents=True, exist_ok=True)
    train = labelled(np.full(CLASSES, EACH), UNLABELLED, DIM, 1)
    test = labelled(np.full(CLASSES, TEST_EACH), TEST_NONE, DIM, 2)
    np.save(folder / "windows.npy", train.vectors)
    np.save(folder / "of.npy", train.of)
    np.save(folder / "test.npy", test.vectors)
    np.save(folder / "test_of.npy", test.of)


def label(number: int) -> str:
    """Return the name of a class."""
    return f"class {number:02d}"


def roc_auc(scores: NDArray[np.floating], of: NDArray[np.int64]) -> float:
    """Return the macro ROC-AUC of scores (n, C) on windows of the classes ``of``; ties count half."""
    found = []
    for c in range(scores.shape[1]):
        positive, negative = scores[of == c, c], np.sort(scores[of != c, c])
        below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
        found.append(below.mean() / 2 / len(negative))
    return float(np.mean(found))
