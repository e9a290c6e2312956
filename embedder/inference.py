"""Batches of windows → rows of files: the model, its best classes, and the watch for values that are not finite."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedder.models import Embedder
from embedder.topk import top_classes
from sonotheque.core.outcome import DecodeSummary, StageSeconds, Status


@dataclass(frozen=True, slots=True)
class Frame:
    """One window on its way to the model; ``samples`` is float32, (window_samples,)."""

    file_index: int
    start: int
    valid: int
    samples: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DecodeEnd:
    """A file has been decoded to its end."""

    file_index: int
    summary: DecodeSummary
    stages: StageSeconds


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive windows of one file, embedded.

    Attributes
    ----------
    file_index : int
        Position in the list given.
    start_samples, valid_samples : int64, (n,)
    embeddings : float32, (n, dim)
    top_index : int32, (n, k) or None
    top_logits, top_scores : float32, (n, k) or None
    """

    file_index: int
    start_samples: NDArray[np.int64]
    valid_samples: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    top_index: NDArray[np.int32] | None
    top_logits: NDArray[np.float32] | None
    top_scores: NDArray[np.float32] | None


def merge_rows(parts: Sequence[Rows]) -> Rows:
    """Return consecutive rows of one file as one."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return Rows(first.file_index, *(joined(f.name) for f in fields(Rows)[1:]))


@dataclass(frozen=True, slots=True)
class FileEnd:
    """All windows of a file have been handed over."""

    file_index: int
    summary: DecodeSummary
    stages: StageSeconds


class Inference:
    """Runs batches through a model and sorts what comes out by file.

    Parameters
    ----------
    model : Embedder
    top_k : int
        Classes kept a window; 0 leaves the logits out.
    largest : float
        Largest absolute value that the vectors will be kept with; a window beyond it is left out like one that is not finite.
    """

    def __init__(self, model: Embedder, top_k: int, largest: float = math.inf) -> None:
        self._model, self._top_k, self._largest = model, top_k, largest
        self._spent_s: dict[int, float] = {}
        self._kept: dict[int, int] = {}
        self._dropped: dict[int, int] = {}

    def run(self, batch: Sequence[Frame | DecodeEnd]) -> list[Rows | FileEnd]:
        """Return the rows of a batch, file by file, each file's end after its last rows.

        Parameters
        ----------
        batch : sequence
            Frames, in order, with the ends of files among them.
        """
        frames = [item for item in batch if isinstance(item, Frame)]
        rows = self._embed(frames) if frames else {}
        ends = {item.file_index: item for item in batch if isinstance(item, DecodeEnd)}
        out: list[Rows | FileEnd] = []
        for file_index in dict.fromkeys(item.file_index for item in batch):
            if file_index in rows:
                out.append(rows[file_index])
            if file_index in ends:
                out.append(self._end(ends[file_index]))
        return out

    def _embed(self, frames: list[Frame]) -> dict[int, Rows]:
        began = time.perf_counter()
        embedded = self._model.embed(np.stack([f.samples for f in frames]), logits=self._top_k > 0)
        index = values = scores = None
        if self._top_k and embedded.logits is not None:
            index, values = top_classes(embedded.logits, self._top_k)
            scores = self._model.scores(values)
        each_s = (time.perf_counter() - began) / len(frames)
        finite = (np.isfinite(embedded.embeddings) & (np.abs(embedded.embeddings) <= self._largest)).all(axis=1)
        if values is not None:
            finite &= np.isfinite(values).all(axis=1)
        owner = np.array([f.file_index for f in frames])
        start = np.array([f.start for f in frames], np.int64)
        valid = np.array([f.valid for f in frames], np.int64)
        out = {}
        for file_index in dict.fromkeys(owner.tolist()):
            mine = owner == file_index
            keep = mine & finite
            self._spent_s[file_index] = self._spent_s.get(file_index, 0.0) + each_s * int(mine.sum())
            self._kept[file_index] = self._kept.get(file_index, 0) + int(keep.sum())
            self._dropped[file_index] = self._dropped.get(file_index, 0) + int((mine & ~finite).sum())
            if keep.any():
                tops = tuple(None if a is None else a[keep] for a in (index, values, scores))
                out[file_index] = Rows(file_index, start[keep], valid[keep], embedded.embeddings[keep], *tops)
        return out

    def _end(self, end: DecodeEnd) -> FileEnd:
        stages = replace(end.stages, infer_s=self._spent_s.pop(end.file_index, 0.0))
        kept, dropped = self._kept.pop(end.file_index, 0), self._dropped.pop(end.file_index, 0)
        summary = end.summary
        if dropped:
            # A vector that is not finite would poison every search: the window is left out, and the report says so.
            text = f"{dropped} of {kept + dropped} windows left out: the model gave values that are not finite, or too large for the store's dtype"
            status = Status.NONFINITE if kept else Status.MODEL_ERROR
            summary = replace(summary, status=status, reason="; ".join(filter(None, (text, summary.reason))))
        return FileEnd(end.file_index, summary, stages)
