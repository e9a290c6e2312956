"""Small sets of examples for the tests of splitting and of evaluation."""

from __future__ import annotations

import numpy as np

from probes.examples import Examples

WINDOW_S = 3.0


def examples(
    targets,
    recordings,
    *,
    weights=None,
    vectors=None,
    sites=None,
    days=None,
    hours=None,
    snr_db=None,
    starts=None,
    dim=8,
):
    """Examples from targets (n, C) and the recording of each row; the rest is made up, the same every time."""
    targets = np.asarray(targets, np.float32)
    n, c = targets.shape
    recordings = np.asarray(recordings, np.int64)
    if starts is None:  # windows of a recording follow each other
        starts = np.array([int(np.count_nonzero(recordings[:i] == recordings[i])) for i in range(n)], np.int64)
    starts = np.asarray(starts, np.float64) * WINDOW_S

    def texts(values, default):
        return np.array([default] * n if values is None else list(values), dtype=object)

    return Examples(
        classes=tuple(f"class {chr(97 + i)}" for i in range(c)),
        vectors=np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
        if vectors is None
        else np.asarray(vectors, np.float32),
        targets=targets,
        weights=np.ones((n, c), np.float32) if weights is None else np.asarray(weights, np.float32).reshape(n, c),
        recording_ids=recordings,
        start_samples=(starts * 48_000).astype(np.int64),
        paths=np.array([f"north/{i:03d}.wav" for i in recordings], dtype=object),
        sites=texts(sites, "north"),
        days=texts(days, "2024-05-01"),
        hours=np.full(n, 4, np.int16) if hours is None else np.asarray(hours, np.int16),
        snr_db=np.full(n, 12, np.float32) if snr_db is None else np.asarray(snr_db, np.float32),
        start_s=starts,
        end_s=starts + WINDOW_S,
    )


def noisy(n=240, classes=3, recordings=30, *, seed=0, lift=2.0, share=0.3):
    """Multilabel examples with probabilities that know something: targets at random, positives lifted in logit."""
    random = np.random.default_rng(seed)
    targets = (random.random((n, classes)) < share).astype(np.float32)
    logits = random.normal(size=(n, classes)) + lift * targets - lift / 2
    world = examples(targets, np.sort(random.integers(recordings, size=n)), hours=random.integers(-1, 24, size=n))
    return world, (1 / (1 + np.exp(-logits))).astype(np.float32)


def exclusive(n=200, classes=4, recordings=25, *, seed=0, lift=2.0):
    """Multiclass examples, one class a row, with softmax probabilities."""
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=n)
    targets = np.eye(classes, dtype=np.float32)[truth]
    logits = random.normal(size=(n, classes)) + lift * targets
    odds = np.exp(logits)
    world = examples(targets, random.integers(recordings, size=n))
    return world, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32), truth
