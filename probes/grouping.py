"""What must stay on one side of a split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from probes.examples import Examples


def whole_groups(examples: Examples, by: str) -> tuple[NDArray[np.int64], int]:
    """Number the groups that must stay together.

    Parameters
    ----------
    examples : Examples
    by : {'recording', 'day', 'site'}
        A day is one local date at one site; rows of unknown day go with their recording.

    Returns
    -------
    group : int64, (n,)
        From 0. All windows of a recording have the group of its earliest window here: a recording that runs past
        midnight belongs to the day it begins on, whole.
    n_groups : int
    """
    if not len(examples):
        return np.zeros(0, np.int64), 0
    labels = examples.groups(by).astype(str)
    order = np.lexsort((examples.start_samples, examples.recording_ids))
    _, first, recording = np.unique(examples.recording_ids[order], return_index=True, return_inverse=True)
    of_recording = labels[order][first]
    names, numbers = np.unique(of_recording, return_inverse=True)
    group = np.empty(len(examples), np.int64)
    group[order] = numbers[recording]
    return group, len(names)
