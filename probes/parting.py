"""Which examples are learnt from and which are held out, so that versions of a probe can be judged by the same ones."""

from __future__ import annotations

import contextlib
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
    group, n_groups = whole_groups(examples, how.by)
    in_test = np.zeros(len(examples), bool)
    notes = []
    if before is None or not before.test:
        try:
            in_test[split(examples, how.by, how.test_share, how.seed)[1]] = True
        except Invalid as error:
            return (
                every,
                none,
                [f"nothing was held out, so nothing is known of how good this probe is: {error.message}"],
            )
    else:
        learnt = _holding(examples, group, n_groups, before.train)
        held = _holding(examples, group, n_groups, before.test)
        in_test, new = (held & ~learnt)[group], ~(held | learnt)[group]
        if new.any():
            with contextlib.suppress(Invalid):  # too little that is new to divide: it is learnt from
                _, more = split(examples.take(np.flatnonzero(new)), how.by, how.test_share, how.seed)
                in_test[np.flatnonzero(new)[more]] = True
        stay = set(examples.recording_ids[in_test].tolist()) & before.test
        notes.append(f"{len(stay):,} recordings held out for the version in use stay held out")
    notes += _both_sides_to_learn(examples, in_test, group)
    rows = np.flatnonzero(in_test)
    if not len(rows):
        return every, none, [*notes[1:], "nothing was held out: no recording that could be has an example"]
    return np.flatnonzero(~in_test), rows, notes


def _both_sides_to_learn(examples: Examples, in_test: NDArray[np.bool_], group: Rows) -> list[str]:
    """Move groups from the test to what is learnt from, until each class has a positive and something against it there.

    The smallest group that holds what is missing moves. Nobody can learn a class from nothing, and a class that was not learnt would call
    every window a hit.
    """
    moved: dict[str, int] = {}
    known, heard = examples.weights > 0, examples.targets > 0
    for c, name in enumerate(examples.classes):
        for wanted in (known[:, c] & heard[:, c], known[:, c] & ~heard[:, c]):
            if (wanted & ~in_test).any() or not (wanted & in_test).any():
                continue
            there, counts = np.unique(group[in_test & np.isin(group, group[wanted])], return_counts=True)
            in_test[group == there[np.argmin(counts)]] = False
            moved[name] = moved.get(name, 0) + 1
    if not moved:
        return []
    told = ", ".join(moved)
    return [
        f"all that is known of {told} was held out: {sum(moved.values()):,} held-out groups of recordings are learnt from instead"
    ]


def _holding(examples: Examples, group: Rows, n_groups: int, recordings: frozenset[int]) -> NDArray[np.bool_]:
    found = np.zeros(n_groups, bool)
    found[group[np.isin(examples.recording_ids, np.fromiter(recordings, np.int64, len(recordings)))]] = True
    return found
