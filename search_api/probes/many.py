"""Train many probes, unattended: in parallel, what is done already is not done again, and no row spoils another."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from probes.experiment import Experiment
from search_api.probes.lanes import Answer, Interrupts, Lane, one_thread_each, ready
from search_api.probes.many_table import TableRow, read_table
from search_api.probes.training import gather, train_probe
from sonotheque.core.errors import Invalid, SonothequeError
from store import layout, open_archive
from store.probes import ProbeStore

PENDING, TRAINING, DONE, FAILED = "pending", "training", "done", "failed"
_TICK_S: Final = 0.5
_MEASURES: Final = ("balanced_accuracy", "macro_f1", "map", "roc_auc")
Train = Callable[[str, Experiment], Mapping[str, Any]]
Watch = Callable[[Sequence["Row"]], None]


@dataclass(slots=True)
class Row:
    """A row of the table, and how far it is.

    Attributes
    ----------
    line : int
        Of the table's file.
    name : str
    state : str
        ``pending``, ``training``, ``done`` or ``failed``.
    reason : str or None
        Why it failed.
    already : bool
        Done before this run: the same experiment on the same data has a version.
    version : int or None
    n : dict of str to int
        Positives of each class, on both sides.
    balanced_accuracy, macro_f1, map, roc_auc : float or None
        Of the test side, means over classes; each with its ``_chance``.
    seconds : float or None
    """

    line: int
    name: str
    state: str = PENDING
    reason: str | None = None
    already: bool = False
    version: int | None = None
    n: dict[str, int] = field(default_factory=dict)
    balanced_accuracy: float | None = None
    balanced_accuracy_chance: float | None = None
    macro_f1: float | None = None
    macro_f1_chance: float | None = None
    map: float | None = None
    map_chance: float | None = None
    roc_auc: float | None = None
    roc_auc_chance: float | None = None
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ManyTrained:
    """What became of a table.

    Attributes
    ----------
    rows : list of Row
        In the table's order.
    stopped : bool
        By Ctrl-C: rows that were not begun are pending.
    wall_s : float
    """

    rows: list[Row]
    stopped: bool
    wall_s: float

    def count(self, state: str) -> int:
        """Return how many rows are in a state."""
        return sum(row.state == state for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        numbers = {state: self.count(state) for state in (DONE, FAILED, PENDING)}
        already = sum(row.already for row in self.rows)
        return numbers | {
            "already": already,
            "stopped": self.stopped,
            "wall_s": round(self.wall_s, 3),
            "rows": [row.to_json() for row in self.rows],
        }


def train_all(
    root: str,
    table: str | Path,
    *,
    workers: int | None = None,
    train: Train = train_probe,
    watch: Watch | None = None,
) -> ManyTrained:
    """Train every row of a table.

    A row whose experiment and data have a version already is done. A row that fails, or whose worker process dies, fails alone. Ctrl-C
    lets the rows that are being trained end and begins no others; a second one ends them too. What is done is kept either way.

    Parameters
    ----------
    root : str
        The store.
    table : path-like
        See :func:`search_api.probes.many_table.read_table`.
    workers : int, optional
        Processes; one a core by default, never more than rows.
    train : callable
        Given the store and an experiment, returns ``version``, ``report`` and ``seconds``. It goes through pickle.
    watch : callable, optional
        Called with all rows whenever one changes, and now and then.

    Raises
    ------
    NotFound, Invalid
        If there is no store or table, or the table as a whole cannot be read.
    """
    began = time.monotonic()
    if workers is not None and workers < 1:
        raise Invalid(f"--workers {workers}: expected 1 or more")
    with open_archive(root):
        pass  # a wrong folder is one error, not one a row
    found = read_table(table)
    rows = [
        Row(row.line, row.name or f"line {row.line}", FAILED if row.problem else PENDING, row.problem) for row in found
    ]
    todo = [(row, given) for row, given in zip(rows, found, strict=True) if given.experiment]
    n_lanes = min(workers or os.cpu_count() or 1, max(len(todo), 1))
    lanes = [Lane(functools.partial(train_row, train, str(root))) for _ in range(n_lanes)]
    run = _Run(rows, todo, lanes, watch)
    try:
        with one_thread_each():
            run.through()
    finally:
        for lane in lanes:
            lane.close()
    return ManyTrained(rows, run.stopped, time.monotonic() - began)


class _Run:
    """The rows on their way through the lanes."""

    def __init__(
        self, rows: list[Row], todo: list[tuple[Row, TableRow]], lanes: list[Lane], watch: Watch | None
    ) -> None:
        self._rows, self._todo, self._watch = rows, todo[::-1], watch
        self._free, self._busy = lanes[::-1], dict[Lane, tuple[Row, float]]()
        self.stopped = False

    def through(self) -> None:
        """Train all that is to be done."""
        with Interrupts() as interrupts:
            while self._busy or (self._todo and not self.stopped):
                self._begin()
                self._take()
                self.stopped = interrupts.count > 0
                if interrupts.count > 1:
                    break
        for row, _ in self._busy.values():  # ended by a second Ctrl-C; nothing of them is in the store
            row.state = PENDING
        self._told()

    def _begin(self) -> None:
        while self._free and self._todo and not self.stopped:
            lane, (row, given) = self._free.pop(), self._todo.pop()
            row.state = TRAINING
            self._busy[lane] = row, time.monotonic()
            lane.give(given.experiment)
        self._told()

    def _take(self) -> None:
        for lane in ready(list(self._busy), _TICK_S):
            row, since = self._busy.pop(lane)
            _settle(row, lane.take(), time.monotonic() - since)
            self._free.append(lane)

    def _told(self) -> None:
        if self._watch:
            self._watch(self._rows)


def train_row(train: Train, root: str, experiment: Experiment) -> dict[str, Any]:
    """Train a row in a worker process, unless it is done; return what the table shows of it.

    Raises
    ------
    SonothequeError
        Whatever ``train`` raises.
    """
    began = time.perf_counter()
    if (done := trained_already(root, experiment)) is not None:
        report = json.loads(ProbeStore(root).read(experiment.name, done, (layout.PROBE_REPORT,))[layout.PROBE_REPORT])
        return _told_of(root, experiment.name, done, report) | {"already": True, "seconds": time.perf_counter() - began}
    made = train(root, experiment)
    return _told_of(root, experiment.name, made["version"], made["report"]) | {"seconds": made.get("seconds")}


def trained_already(root: str, experiment: Experiment) -> int | None:
    """Return the newest version that the same experiment gave from the same data; None if there is none.

    Raises
    ------
    SonothequeError
        If the examples, which are gathered to compare them, cannot be.
    """
    store = ProbeStore(root)
    same: dict[int, Any] = {}
    for version in store.versions(experiment.name):
        files = store.read(experiment.name, version, (layout.PROBE_FILE, layout.PROBE_REPORT))
        try:
            about = json.loads(files[layout.PROBE_FILE])["about"]
            json.loads(files[layout.PROBE_REPORT])
            if about["experiment_digest"] == experiment.digest:
                same[version] = about["data_digest"]
        except (ValueError, KeyError, TypeError):  # imported or damaged: not known to be the same
            continue
    if not same:
        return None
    with open_archive(root) as archive:
        digest = gather(archive, experiment).examples.digest
    return max((version for version, data in same.items() if data == digest), default=None)


def _told_of(root: str, name: str, version: int, report: Mapping[str, Any]) -> dict[str, Any]:
    test = report.get("test") or {}
    macro = test.get("macro") or {}
    keys = [key for measure in _MEASURES for key in (measure, f"{measure}_chance")]
    return {"version": version, "n": _positives(root, name, version, test)} | {key: macro.get(key) for key in keys}


def _positives(root: str, name: str, version: int, test: Mapping[str, Any]) -> dict[str, int]:
    """Return the positives of each class: of both sides if they are written down, otherwise of the test."""
    from search_api.probes.held_out import classes_of, sides_table

    try:
        table = sides_table(root, name, version)
    except SonothequeError:
        table = None
    if table is None or not table.num_rows:
        return {label: int(row.get("n") or 0) for label, row in (test.get("classes") or {}).items()}
    targets, weights = (np.array(table[column].to_pylist(), np.float32) for column in ("targets", "weights"))
    counts = ((targets > 0) & (weights > 0)).sum(axis=0)
    return dict(zip(classes_of(table), map(int, counts), strict=True))


def _settle(row: Row, answer: Answer, wall_s: float) -> None:
    row.seconds = round(wall_s, 3)
    if answer.problem is not None:
        row.state, row.reason = FAILED, answer.problem
        return
    row.state = DONE
    for key, value in answer.value.items():
        setattr(row, key, round(value, 3) if key == "seconds" and value is not None else value)
