"""A model whose every output is known, and files whose every sample is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf

from embedder.models import Embedded, Runtime
from embedder.pipeline import AudioFile, FileEnd, Rows
from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.windows import WindowRule

RATE_HZ = 16_000
WINDOW = 1_600
CLASSES = 7
RULE = WindowRule(RATE_HZ, WINDOW, WINDOW, 800)
RUNTIME = Runtime("fake", "CPU", 1)
SPEC = ModelSpec("fake", "1", "", RATE_HZ, WINDOW, 3, CLASSES, "", "sigmoid(logit)")


@dataclass
class FakeModel:
    """Vector = (first sample, sum, largest) of the window; counts its calls; may do something before each."""

    batch_size: int = 4
    before: Callable[[np.ndarray], None] | None = None
    spoil: Callable[[np.ndarray, np.ndarray], None] | None = None
    calls: list[int] = field(default_factory=list)
    spec: ModelSpec = SPEC
    classes: tuple[str, ...] = tuple(f"class {i}" for i in range(CLASSES))
    runtime: Runtime = RUNTIME
    note: str = ""

    def embed(self, frames: np.ndarray, *, logits: bool = True) -> Embedded:
        self.calls.append(len(frames))
        if self.before:
            self.before(frames)
        vectors = np.stack([frames[:, 0], frames.sum(axis=1, dtype=np.float64), frames.max(axis=1)], axis=1)
        vectors = vectors.astype(np.float32)
        if self.spoil:
            self.spoil(frames, vectors)
        # Few different values, so that classes tie.
        out = np.round(frames[:, :CLASSES] * 4).astype(np.float32) if logits else None
        return Embedded(vectors, out)

    def scores(self, logits: np.ndarray) -> np.ndarray:
        return (1 / (1 + np.exp(-logits))).astype(np.float32)


def sound_file(path: Path, windows: float, seed: int) -> AudioFile:
    """Write noise of so many windows; returns it as the pipeline wants it."""
    samples = np.random.default_rng(seed).uniform(-0.9, 0.9, round(windows * WINDOW)).astype(np.float32)
    sf.write(path, samples, RATE_HZ, subtype="PCM_16")
    return AudioFile(str(path))


def rows_by_file(events: Sequence[Rows | FileEnd]) -> dict[int, list[tuple[object, ...]]]:
    """Return each file's rows as plain tuples, in the order they came."""
    out: dict[int, list[tuple[object, ...]]] = {}
    for item in events:
        if isinstance(item, FileEnd):
            out.setdefault(item.file_index, [])
            continue
        for i in range(len(item.start_samples)):
            top = () if item.top_index is None else tuple(item.top_index[i].tolist())
            values = () if item.top_logits is None else tuple(item.top_logits[i].tolist())
            scores = () if item.top_scores is None else tuple(item.top_scores[i].tolist())
            row = (
                int(item.start_samples[i]),
                int(item.valid_samples[i]),
                item.embeddings[i].tobytes(),
                top,
                values,
                scores,
            )
            out.setdefault(item.file_index, []).append(row)
    return out
