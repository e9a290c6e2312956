"""Any story of changes and undos on a real store, against a list in memory: what is read back, what it does, what is refused."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sonotheque.core.errors import Conflict, NotFound
from store.metadata import Undo, latest_metadata, read_metadata, write_change
from store.metadata.effective import apply_metadata
from tests.metadata.support import frame, recording, twin
from tests.metadata.test_twin import clock_changes, site_changes, tables
from tests.store import kit

ROWS = (
    recording("A/x.wav", local=datetime(2025, 3, 30, 1, 59), deployment="d1"),
    recording("B/P_a.wav", site="B", local=datetime(2025, 10, 26, 2, 30), zone="America/New_York"),
    recording("C/D d/y.wav", site="C", local=datetime(2011, 12, 30), source="guano", zone="UTC"),
    recording("x.wav", site="A"),
)


class Story(RuleBasedStateMachine):
    """``said`` is the twin's history: a change, or the number that an undo takes back."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.root, _ = kit.new_store(Path(self.folder))
        self.said: list[object] = []
        self.bytes: dict[str, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def holds(self, number: int) -> bool:
        later = range(number + 1, len(self.said) + 1)
        return not any(self.said[n - 1] == number and self.holds(n) for n in later)

    def holding(self, version: int) -> list[object]:
        whole, self.said = self.said, self.said[:version]
        found = [c for n, c in enumerate(self.said, 1) if not isinstance(c, int) and self.holds(n)]
        self.said = whole
        return found

    @rule(change=st.one_of(site_changes, clock_changes, tables))
    def change(self, change):
        assert write_change(self.root, change).number == len(self.said) + 1
        self.said.append(change)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def undo(self, data):
        number = data.draw(st.integers(1, len(self.said)))
        if self.holds(number):
            write_change(self.root, Undo(number))
            self.said.append(number)
        else:
            with pytest.raises(Conflict):
                write_change(self.root, Undo(number))

    @rule(beyond=st.integers(1, 9))
    def undo_of_nothing(self, beyond):
        for number in (0, -beyond, len(self.said) + beyond):
            with pytest.raises(NotFound):
                write_change(self.root, Undo(number))

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def an_earlier_version(self, data):
        version = data.draw(st.integers(0, len(self.said)))
        self.compare(version)

    @invariant()
    def is_what_was_said(self):
        assert latest_metadata(self.root) == len(self.said)
        self.compare(len(self.said))
        files = {name: data for name, data in kit.tree(self.root).items() if name.startswith("metadata/")}
        assert len(files) == len(self.said) and files.items() >= self.bytes.items()  # history is never rewritten
        self.bytes = files

    def compare(self, version: int) -> None:
        state = read_metadata(self.root, version)
        assert state.version == version
        assert state.undone == {n for n in range(1, version + 1) if not self.holds_at(n, version)}
        got = apply_metadata(frame(*ROWS), state).to_dicts()
        for stored, row in zip(ROWS, got, strict=True):
            expected = twin(stored, self.holding(version))
            assert {**{k: row[k] for k in expected}, "time_issues": sorted(row["time_issues"])} == expected

    def holds_at(self, number: int, version: int) -> bool:
        whole, self.said = self.said, self.said[:version]
        try:
            return self.holds(number)
        finally:
            self.said = whole


Story.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestStory = Story.TestCase
