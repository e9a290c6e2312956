"""Reports of probes to look at and to test with: trained on made vectors, and then spoilt on purpose."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np

from probes.examples import Examples
from probes.experiment import Experiment, Negatives, Split
from probes.training import train
from sonotheque.core.model_spec import ModelSpec

DIM = 16
OWL, THRUSH, WREN = "Strix aluco_Tawny Owl", "Turdus philomelos_Song Thrush", "Troglodytes troglodytes_Eurasian Wren"
HOSTILE = ("<script>alert(1)</script>", "a\"b' onload=x & <b>", "L" * 300, "\u202egnorw", "caf\u00e9 \udcff \x00")


def spec() -> ModelSpec:
    return ModelSpec("birdnet_v2.4", "2.4", "0" * 64, 48_000, 144_000, DIM, 6522, "1" * 64, "sigmoid")


def examples(classes: tuple[str, ...], *, n: int = 900, seed: int = 0, sites: int = 4, spread: float = 1.1) -> Examples:
    """Classes are directions; some windows hold one of them, faintly or not, the rest none."""
    random = np.random.default_rng(seed)
    c = len(classes)
    centres = random.normal(0, 1, (c, DIM))
    held = random.choice(c + 1, n, p=[*([0.5 / c] * c), 0.5])
    loud = random.uniform(0.25, 1.4, n)
    vectors = (
        random.normal(0, spread, (n, DIM)) + np.where(held < c, loud, 0)[:, None] * centres[np.minimum(held, c - 1)]
    )
    targets = np.zeros((n, c), np.float32)
    targets[np.flatnonzero(held < c), held[held < c]] = 1.0
    weights = np.where(random.random((n, 1)) < 0.4, np.float32(0.05), np.float32(1.0)) * np.ones((1, c), np.float32)
    weights[held < c] = 1.0
    recording = np.arange(n) // 12
    site = np.array([f"site {chr(65 + r % sites)}" for r in recording], object)
    start = (np.arange(n) % 12) * 3.0
    return Examples(
        classes,
        vectors.astype(np.float32),
        targets,
        weights.astype(np.float32),
        recording.astype(np.int64),
        (start * 48_000).astype(np.int64),
        np.array([f"{s}/{r:04d}.wav" for s, r in zip(site, recording, strict=True)], object),
        site,
        np.array([f"2024-05-{1 + r % 28:02d}" for r in recording], object),
        (recording * 5 % 24).astype(np.int16),
        (loud * 12 - 2).astype(np.float32),
        start,
        start + 3.0,
    )


@cache
def _trained(classes: tuple[str, ...], kind: str, seed: int, n: int, shots: tuple[int, ...]) -> dict[str, Any]:
    experiment = Experiment(
        "dawn-birds",
        kind=kind,
        classes=classes,
        negatives=Negatives(1000, 0.05),
        split=Split("recording"),
        bootstrap=50,
        shots=shots,
    )
    made = train(examples(classes, n=n, seed=seed), experiment, spec()).report
    return {**made, "version": 3}


def trained(
    classes: tuple[str, ...] = (OWL, THRUSH, WREN),
    *,
    kind: str = "multilabel",
    seed: int = 0,
    n: int = 900,
    shots: tuple[int, ...] = (1, 4, 16),
) -> dict[str, Any]:
    """A report as a training makes it; a copy, to be changed."""
    return copy.deepcopy(_trained(classes, kind, seed, n, shots))


def renamed(report: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The same report with other names of classes, wherever they stand."""

    def new(value: Any) -> Any:
        if isinstance(value, dict):
            return {names.get(k, k): new(v) for k, v in value.items()}
        if isinstance(value, list):
            return [new(v) for v in value]
        return names.get(value, value) if isinstance(value, str) else value

    return dict(new(report))


def hostile() -> dict[str, Any]:
    """Names that are HTML, very long, turn the reading direction, or are no UTF-8."""
    report = trained((OWL, THRUSH, WREN, "X", "Y"), n=600, shots=())
    report = renamed(report, dict(zip(report["classes"], HOSTILE, strict=True)))
    report["probe"] = "<img src=x onerror=alert(1)>"
    report["notes"] = ["</style><script>alert(2)</script>"]
    report["test"]["slices"]["site"]["<b>\udce9</b>"] = {"n": 3, "map": None, "roc_auc": None}
    return report


def without_positives() -> dict[str, Any]:
    """One class has no positives in the test."""
    report = trained()
    row = report["test"]["classes"][WREN]
    for key in ("ap", "ap_chance", "roc_auc", "roc_auc_chance", "precision", "recall", "f1", "f1_chance"):
        row[key] = None
    row |= {"n": 0, "n_positive": 0, "ap_ci": [None, None], "roc_auc_ci": [None, None]}
    report["test"]["curves"][WREN] = {"recall": [], "precision": [], "threshold": []}
    report["test"]["macro"]["classes_counted"] = 2
    report["test"]["notes"] = [f"{WREN}: no positives in the test, so nothing is known of it; annotate more recordings"]
    return report


def nothing_held_out() -> dict[str, Any]:
    """Everything was trained on."""
    report = trained()
    report["test"], report["learning_curve"] = None, []
    report["split"]["test"] = {"rows": 0, "recordings": 0}
    return report


def leaking() -> dict[str, Any]:
    """The sides share sound."""
    report = trained()
    report["split"]["leaks"] |= {"shared_groups": 1, "identical_vectors": 12, "overlapping_windows": 0}
    report["solver"]["converged"] = False
    return report


def one_class() -> dict[str, Any]:
    """A detector of one species."""
    return trained((OWL,), n=600)


def forty() -> dict[str, Any]:
    """Forty classes."""
    return trained(tuple(f"Genus{i:02d} species{i:02d}_Bird number {i}" for i in range(40)), n=2400, shots=())


def exclusive() -> dict[str, Any]:
    """Classes that exclude each other."""
    return trained((OWL, THRUSH, WREN), kind="multiclass", seed=5)


EVERY = {
    "usual": trained,
    "without positives": without_positives,
    "nothing held out": nothing_held_out,
    "leaking": leaking,
    "one class": one_class,
    "forty classes": forty,
    "exclusive": exclusive,
    "hostile": hostile,
    "empty": dict,
}
