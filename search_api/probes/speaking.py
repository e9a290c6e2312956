"""Of which windows an annotation speaks, where windows overlap each other."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SLACK_S: Final = 1e-3  # of spans that were written as text and cut at a recording's end
_MOST: Final = 0.9

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


def speaks_of(
    annotations: pa.Table, windows: pa.Table, rows_a: NDArray[np.int64], rows_w: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell which of the overlaps carry a judgement.

    An annotation whose span is a window's own is a judgement of that window, and of no other that it overlaps: what a listener said of a hit
    says nothing of the window half of which is that hit. Any other one, drawn around a call, speaks of every window that it is on.

    Parameters
    ----------
    annotations, windows : pyarrow.Table
        ``start_s, end_s``; of windows, ``end_s`` may be that of the sound or that of the window.
    rows_a, rows_w : int64, (n,)
        The overlaps, as :func:`store.annotations.windows_of` gives them.

    Returns
    -------
    bool, (n,)
    """
    (start_a, start_w), (end_a, end_w) = (_both(annotations, windows, c, rows_a, rows_w) for c in ("start_s", "end_s"))
    sound_end = _sound_end(windows, rows_w, start_w, end_w)
    own = np.abs(start_a - start_w) <= SLACK_S
    own &= (np.abs(end_a - end_w) <= SLACK_S) | (np.abs(end_a - sound_end) <= SLACK_S)
    is_window = np.zeros(annotations.num_rows, np.bool_)
    is_window[rows_a[own]] = True
    return np.asarray(own | ~is_window[rows_a])


def covers(annotations: pa.Table, windows: pa.Table, rows_a: Rows, rows_w: Rows) -> NDArray[np.bool_]:
    """Tell which annotations reach over nine tenths of the window's sound or more; else a call may be in the rest of it."""
    (start_a, start_w), (end_a, end_w) = (_both(annotations, windows, c, rows_a, rows_w) for c in ("start_s", "end_s"))
    end_w = np.minimum(end_w, _sound_end(windows, rows_w, start_w, end_w))
    shared = np.minimum(end_a, end_w) - np.maximum(start_a, start_w)
    return np.asarray(shared >= _MOST * (end_w - start_w) - SLACK_S)


def _sound_end(windows: pa.Table, rows_w: Rows, start: Floats, end: Floats) -> Floats:
    """Return where the sound of each window ends, before its padding."""
    if "valid_s" not in windows.column_names:
        return end
    return np.asarray(start + windows["valid_s"].to_numpy().astype(np.float64)[rows_w])


def _both(annotations: pa.Table, windows: pa.Table, column: str, rows_a: Rows, rows_w: Rows) -> tuple[Floats, Floats]:
    a, w = annotations[column].to_numpy().astype(np.float64), windows[column].to_numpy().astype(np.float64)
    return a[rows_a], w[rows_w]
