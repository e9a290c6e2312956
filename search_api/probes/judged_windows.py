"""Which windows were judged for a class, and how."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from search_api.probes.speaking import SLACK_S, speaks_of
from store import Archive
from store.annotations import AnnotationLog, windows_of

YES: Final = 1
NO: Final = -1
UNCLEAR: Final = 2


def judged_windows(archive: Archive, label: str, table: pa.Table | None = None) -> tuple[pa.Table, NDArray[np.int8]]:
    """Return the windows that were judged for a class, and what follows from it; see :func:`states`.

    Parameters
    ----------
    archive : Archive
    label : str
    table : pyarrow.Table, optional
        Annotations; all that count by default.

    Returns
    -------
    windows : pyarrow.Table
        ``recording_id, start_sample``.
    states : int8, (n,)
        ``YES``, ``NO`` or ``UNCLEAR``.
    """
    own = annotations_of(archive.root, label) if table is None else table
    columns = "w.recording_id, w.start_sample, w.start_s, w.start_s + w.valid_s AS end_s"
    windows = archive.sql_with(
        {"_judged": own.select(["recording_id"])},
        f"SELECT {columns} FROM windows w WHERE w.recording_id IN (SELECT recording_id FROM _judged) "
        "ORDER BY w.recording_id, w.start_sample",
    )
    found = states(own, windows)
    touched = np.flatnonzero(found)
    return windows.select(["recording_id", "start_sample"]).take(pa.array(touched)), found[touched]


def annotations_of(root: str, label: str) -> pa.Table:
    """Return the annotations of a label that count."""
    table = AnnotationLog(root).current()
    return table.filter(pc.equal(table["label"], label))


def states(annotations: pa.Table, windows: pa.Table) -> NDArray[np.int8]:
    """Return what annotations of one label say of windows.

    Parameters
    ----------
    annotations : pyarrow.Table
        ``recording_id, start_s, end_s, judgement``.
    windows : pyarrow.Table
        ``recording_id, start_s, end_s``; the end is that of the sound.

    Returns
    -------
    int8, (n,)
        What shares less than half of itself and of the window says nothing of it. ``YES``: a positive one does; ``NO``: a negative
        one covers the window; ``UNCLEAR``: both, or one that is uncertain, or negative for a part of it. 0: not judged.
    """
    rows_a, rows_w = windows_of(annotations, windows)
    speaks = speaks_of(
        annotations, windows, rows_a, rows_w
    )  # a judgement of a window says nothing of those that overlap it
    rows_a, rows_w = rows_a[speaks], rows_w[speaks]
    start_a, end_a, start_w, end_w = (
        table[c].to_numpy().astype(np.float64)[rows]
        for table, rows in ((annotations, rows_a), (windows, rows_w))
        for c in ("start_s", "end_s")
    )
    shared = np.minimum(end_a, end_w) - np.maximum(start_a, start_w)
    shortest = np.minimum(end_a - start_a, end_w - start_w)
    judgement = annotations["judgement"].to_numpy(zero_copy_only=False)[rows_a]
    on_it = shared > 0.5 * shortest + 1e-6  # not what reaches in from the next window
    yes = _any((judgement == "positive") & on_it, rows_w, windows.num_rows)
    no = _any((judgement == "negative") & (shared >= end_w - start_w - SLACK_S), rows_w, windows.num_rows)
    found = np.where(_any(on_it, rows_w, windows.num_rows), UNCLEAR, 0)
    found[yes & ~no], found[no & ~yes] = YES, NO
    return found.astype(np.int8)


def _any(flags: NDArray[Any], rows: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    out = np.zeros(n, np.bool_)
    out[rows[flags]] = True
    return out
