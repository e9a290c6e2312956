"""Does the test side hold what the training side has seen?"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.examples import Examples
from probes.grouping import whole_groups

_BLOCK = 4096
_STEPS = 2.0**14  # unit vectors are compared to within one in 16,384: two copies of a file differ by less


def leaks(train: Examples, test: Examples, by: str) -> dict[str, Any]:
    """Count what stands on both sides.

    Parameters
    ----------
    train, test : Examples
    by : {'recording', 'day', 'site'}
        What should not stand on both.

    Returns
    -------
    dict
        ``by``; ``shared_groups``: recordings, days or sites on both sides; ``shared_recordings``; ``identical_vectors``: test
        windows whose vector, at length 1, is also a training window's (a file that is in the archive twice, or digital
        silence); ``overlapping_windows``: test windows that share sound with a training window of the same recording.
    """
    return {
        "by": by,
        "shared_groups": len(_names(train, by) & _names(test, by)),
        "shared_recordings": len(np.intersect1d(train.recording_ids, test.recording_ids)),
        "identical_vectors": _identical(train.vectors, test.vectors),
        "overlapping_windows": _overlapping(train, test),
    }


def _names(examples: Examples, by: str) -> set[str]:
    group, n_groups = whole_groups(examples, by)
    labels = examples.groups(by)
    first = np.zeros(n_groups, np.int64)
    earliest = np.lexsort((examples.start_samples, examples.recording_ids))[::-1]
    first[group[earliest]] = earliest  # the last one written is the earliest row, whose label is the group's
    return {str(labels[i]) for i in first}


def _identical(train: NDArray[np.float32], test: NDArray[np.float32]) -> int:
    seen = set(_keys(train))
    return sum(key in seen for key in _keys(test))


def _keys(vectors: NDArray[np.float32]) -> list[bytes]:
    keys = []
    for first in range(0, len(vectors), _BLOCK):
        block = vectors[first : first + _BLOCK].astype(np.float64)
        lengths = np.linalg.norm(block, axis=1, keepdims=True)
        steps = np.rint(block / np.where(lengths > 0, lengths, 1) * _STEPS).astype(np.int16)
        keys += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in steps]
    return keys


def _overlapping(train: Examples, test: Examples) -> int:
    found = 0
    for recording in np.intersect1d(train.recording_ids, test.recording_ids):
        taught, judged = train.recording_ids == recording, test.recording_ids == recording
        order = np.argsort(train.start_s[taught], kind="stable")
        starts = train.start_s[taught][order]
        reach = np.maximum.accumulate(train.end_s[taught][order])
        # Of the training windows that begin before a test window ends, does any end after it begins?
        before = np.searchsorted(starts, test.end_s[judged], side="left")
        found += int(np.count_nonzero((before > 0) & (reach[before - 1] > test.start_s[judged])))
    return found
