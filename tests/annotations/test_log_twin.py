"""The log against a dict: whatever is added, undone, restored and reopened, both count the same annotations."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sonotheque.core.errors import Conflict, NotFound
from sonotheque.core.filters import JUDGEMENTS
from store.annotations import Added, Annotation, AnnotationLog
from tests.annotations.support import judged, log_in

ANNOTATORS = ("Ana", "Ben")
some = st.builds(
    judged,
    start_s=st.sampled_from((0.0, 1.0)),
    end_s=st.just(2.0),
    label=st.sampled_from(("a", "b")),
    path=st.sampled_from(("x.wav", "y.wav")),
    judgement=st.sampled_from(JUDGEMENTS[:2]),
    low_hz=st.sampled_from((None, 5.0)),
)


class Twin:
    """Every batch as what it did; what counts is found by walking through all of them, every time."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Any]]] = []
        self.made: dict[int, tuple[Any, ...]] = {}  # id -> identity

    def state(self) -> dict[int, tuple[bool, int]]:
        """Return id -> (counts, number of the batch that said so last)."""
        out: dict[int, tuple[bool, int]] = {}
        for number, (kind, entries) in enumerate(self.batches, 1):
            for entry in entries:
                out[entry if kind == "add" else entry[0]] = (True if kind == "add" else entry[1], number)
        return out

    def counting(self) -> dict[tuple[Any, ...], int]:
        return {self.made[i]: i for i, (counts, _) in self.state().items() if counts}

    def add(self, annotations: list[Annotation], by: str) -> tuple[int, int]:
        new: list[int] = []
        for one in annotations:
            identity = (one.recording_id, one.start_s, one.end_s, one.low_hz, one.high_hz, one.label, one.judgement, by)
            if identity in self.counting() or identity in [self.made[i] for i in new]:
                continue
            number = len(self.made) + 1
            self.made[number] = identity
            new.append(number)
        if new:
            self.batches.append(("add", new))
        return len(new), len(annotations) - len(new)

    def changes(self, batch: int) -> list[tuple[int, bool]]:
        kind, entries = self.batches[batch - 1]
        state = self.state()
        if kind == "add":
            return [(i, False) for i in entries if state[i][0]]
        counting = self.counting()
        flipped = [(i, not counts) for i, counts in entries if state[i][1] == batch]
        return [(i, counts) for i, counts in flipped if not counts or self.made[i] not in counting]


class LogAndTwin(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.log = log_in(self.folder)
        self.twin = Twin()

    @rule(annotations=st.lists(some, min_size=1, max_size=4), by=st.sampled_from(ANNOTATORS))
    def add(self, annotations: list[Annotation], by: str) -> None:
        foreseen = self.log.would_add(annotations, annotator=by)
        done = self.log.add(annotations, annotator=by, provenance="x")
        added, there = self.twin.add(annotations, by)
        batch = len(self.twin.batches) if added else None
        assert done == Added(batch, added, there, done.contrary)
        assert foreseen == Added(None, added, there, done.contrary)

    @rule(batch=st.integers(1, 12))
    def undo_batch(self, batch: int) -> None:
        if batch > len(self.twin.batches):
            with pytest.raises(NotFound):
                self.log.undo(batch=batch, annotator="Ana")
            return
        self.expect(self.twin.changes(batch), batch, {"batch": batch})

    @rule(number=st.integers(1, 12))
    def undo_one(self, number: int) -> None:
        if number not in self.twin.made:
            with pytest.raises(NotFound):
                self.log.undo(annotation_id=number, annotator="Ana")
            return
        batch = next(n for n, (kind, e) in enumerate(self.twin.batches, 1) if kind == "add" and number in e)
        changes = [(number, False)] if self.twin.state()[number][0] else []
        self.expect(changes, batch, {"annotation_id": number})

    @rule()
    def undo_last(self) -> None:
        state = self.twin.state()
        batches = [
            n for n, (kind, e) in enumerate(self.twin.batches, 1) if kind == "add" and any(state[i][0] for i in e)
        ]
        if not batches:
            with pytest.raises((Conflict, NotFound)):
                self.log.undo(last=True, annotator="Ana")
            return
        self.expect(self.twin.changes(batches[-1]), batches[-1], {"last": True})

    def expect(self, changes: list[tuple[int, bool]], batch: int, what: dict[str, Any]) -> None:
        if not changes:
            with pytest.raises(Conflict):
                self.log.undo(annotator="Ana", **what)
            return
        done = self.log.undo(annotator="Ana", **what)
        self.twin.batches.append(("undo", changes))
        assert (done.batch, done.undoes) == (len(self.twin.batches), batch)
        assert (done.undone, done.restored) == (sum(not c for _, c in changes), sum(c for _, c in changes))

    @rule()
    def reopen(self) -> None:
        self.log = AnnotationLog(self.log.root)

    @rule()
    def move(self) -> None:
        """The database is one file: a copy of it is the whole log."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.log.root, copy)
        assert AnnotationLog(str(copy)).current().equals(self.log.current())

    @invariant()
    def both_count_the_same(self) -> None:
        if not hasattr(self, "log"):
            return
        columns = ("recording_id", "start_s", "end_s", "low_hz", "high_hz", "label", "judgement", "annotator")
        rows = self.log.current().to_pylist()
        found = {tuple(row[c] for c in columns): row["annotation_id"] for row in rows}
        assert found == self.twin.counting()
        assert len(found) == len(rows), "nothing counts twice"
        assert self.log.events().num_rows == sum(len(entries) for _, entries in self.twin.batches)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


LogAndTwin.TestCase.settings = settings(max_examples=25, stateful_step_count=16, deadline=None)
TestLogAndTwin = LogAndTwin.TestCase
