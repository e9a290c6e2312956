"""A store with annotations to train from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.probe_layout import label
from benchmarks.search_layout import WINDOW_S, Layout
from benchmarks.search_store import recordings_of, write_store
from sonotheque.core.ids import recording_id
from store.annotations import Annotation, AnnotationLog


def annotated_store(folder: Path, vectors: NDArray[Any], of: NDArray[np.int64]) -> str:
    """Write a store of vectors (n, dim), and an annotation for each whose class is not -1; its folder.

    Raises
    ------
    ValueError
        If so many windows do not fill recordings of one length.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shape = Layout(len(vectors), vectors.shape[1], sites=1)
    if shape.windows != len(vectors):
        raise ValueError(f"{len(vectors)} windows do not fill recordings: {shape.windows} would")
    root = write_store(folder, shape, vectors.astype(np.float16))
    said, row = [], 0
    for day in range(shape.days):
        for recording in recordings_of(shape, 0, day):
            path = recording.source.path
            for i in range(shape.each):
                if of[row] >= 0:
                    start_s = float(i * WINDOW_S)
                    said.append(Annotation(recording_id(path), path, start_s, start_s + WINDOW_S, label(int(of[row]))))
                row += 1
    AnnotationLog(root).add(said, annotator="generator", provenance="known")
    return root
