"""Which examples are learnt from and which are held out, so that versions of a probe can be judged by the same ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.examples import Examples
from probes.experiment import Split
from probes.grouping import whole_groups
from probes.splitting import split
from sonotheque.core.errors import Invalid

Rows = NDArray[np.int64]


class Sides(NamedTuple):
    """Recordings, by their ids, that an earlier version learnt from, and that were held out for it."""

    train: frozenset[int]
    test: frozenset[int]


def parted(examples: Examples, how: Split, before: Sides | None = None) -> tuple[Rows, Rows, list[str]]:
    """Return rows to learn from, rows held out, and notes.

    A recording that was held out for an earlier version stays held out, and one that it learnt from is learnt from again: whole groups
    with such a recording follow it, and only what is new is divided. What cannot be divided is learnt from, and told.
    """
    every, none = np.arange(len(examples)), np.empty(0, np.int64)
    if how.test_share == 0:
        return every, none, ["nothing was held out, as asked: nothing is known of how good this probe is"]
    if before is None or not before.test:
        try:
            return (*split(examples, how.by, how.test_share, how.seed), [])
        except Invalid as error:
            return (
                every,
                none,
                [f"nothing was held out, so nothing is known of how good this probe is: {error.message}"],
            )
    group, n_groups = whole_groups(examples, how.by)
    learnt, held = _holding(examples, group, n_groups, before.train), _holding(examples, group, n_groups, before.test)
    in_test, new = (held & ~learnt)[group], ~(held | learnt)[group]
    if new.any():
        try:
            _, more = split(examples.take(np.flatnonzero(new)), how.by, how.test_share, how.seed)
            in_test[np.flatnonzero(new)[more]] = True
        except Invalid:
            pass  # too little that is new to divide: it is learnt from
    rows = np.flatnonzero(in_test)
    if not len(rows):
        return (
            every,
            none,
            ["nothing was held out: no recording that was held out for the version in use has an example"],
        )
    told = f"{len(set(examples.recording_ids[rows].tolist()) & before.test):,} recordings held out for the version in use stay held out"
    return np.flatnonzero(~in_test), rows, [told]


def _holding(examples: Examples, group: Rows, n_groups: int, recordings: frozenset[int]) -> NDArray[np.bool_]:
    found = np.zeros(n_groups, bool)
    found[group[np.isin(examples.recording_ids, np.fromiter(recordings, np.int64, len(recordings)))]] = True
    return found
