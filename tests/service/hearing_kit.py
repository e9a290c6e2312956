"""Probes on the placeholder's vectors, for tests of what is heard."""

from __future__ import annotations

import numpy as np

from probes import Probe
from probes.files import to_files
from store import read_config
from store.probes import ProbeStore

WAV = {"content-type": "audio/wav"}


def probe(root: str, seed: int = 0, classes=("high", "low"), name: str = "tones") -> Probe:
    spec = read_config(root).model
    rng = np.random.default_rng(seed)
    ones = np.ones(len(classes))
    return Probe(
        name,
        0,
        "multilabel",
        tuple(classes),
        spec,
        rng.normal(0, 3, (spec.dim, len(classes))).astype(np.float32),
        np.zeros(len(classes), np.float32),
        1.5 * ones,
        0.1 * ones,
        0.5 * ones,
        {},
    )


def keep(root: str, seed: int = 0, name: str = "tones", promote: bool = True, **more) -> int:
    """Put a probe into a store; return its version."""
    store = ProbeStore(root)
    version = store.add(name, to_files(probe(root, seed, name=name, **more)))
    if promote:
        store.promote(name, version, "a test")
    return version
