"""The log: what was said stays said, in order, whatever crashes; the fold against a twin."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import tempfile
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.clock import ClockReading, load_zone
from sonotheque.core.deployments import Deployment
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound, SonothequeError
from store.metadata import (
    ClockChange,
    DeploymentsChange,
    MetadataState,
    Scope,
    SiteChange,
    Undo,
    latest_metadata,
    read_metadata,
    state_of,
    write_change,
)
from store.metadata.change import change_of, change_to_json
from store.metadata.effective import apply_metadata
from store.metadata.log import Entry
from tests.metadata.support import frame, recording
from tests.store import kit
from tests.store.faults import FAULTS, FaultyOps, PowerCut

WHEN = ClockReading(kit.LOCAL, -210)
TABLE = (
    Deployment(
        "d1", "Oak wood", 47.5, 4.25, WHEN, None, load_zone("Europe/Paris"), load_zone("UTC"), "a/b", "P", "r", "m", 2
    ),
    Deployment("d2"),
)
CHANGES = (
    SiteChange("A", rename="B"),
    SiteChange("B", zone="Europe/Paris", keep="instant"),
    SiteChange("Č 日", latitude=-33.5, longitude=151.25),
    ClockChange(Scope(site="A", date_from="2025-05-01"), add_s=-3600.5),
    ClockChange(Scope(recording="*/x?.wav", deployment="d"), clock_zone="UTC", ignore_offsets=True),
    ClockChange(Scope(recording="a*"), add_s=1.0),
    DeploymentsChange(TABLE, "table.csv"),
    DeploymentsChange((Deployment("d3", "C"),), "more.csv", add=True),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.text)
def test_a_change_comes_back_as_it_was(tmp_path, change):
    root, _ = kit.new_store(tmp_path)
    assert change_of(json.loads(json.dumps(change_to_json(change)))) == change
    entry = write_change(root, change, by="ana", reason="because")
    (read,) = read_metadata(root).entries
    assert read == entry
    assert (read.change, read.by, read.reason, read.number) == (change, "ana", "because", 1)


def test_an_empty_store(tmp_path):
    root, _ = kit.new_store(tmp_path)
    state = read_metadata(root)
    assert (state.version, state.changes, latest_metadata(root)) == (0, (), 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(0, len(CHANGES) - 1), st.integers(-12, -1)), max_size=12))
def test_the_fold_against_a_twin(steps):
    """Negative: undo that change. The twin plays the history from the start after every step."""
    entries: list[Entry] = []
    for step in steps:
        number = len(entries) + 1
        change = CHANGES[step] if step >= 0 else Undo(-step)
        if isinstance(change, Undo) and (change.change >= number or change.change in state_of(tuple(entries)).undone):
            continue
        entries.append(Entry(number, "", "", "", change))
    state = state_of(tuple(entries))

    def holds(number: int) -> bool:
        return not any(isinstance(e.change, Undo) and e.change.change == number and holds(e.number) for e in entries)

    held = [e for e in entries if holds(e.number) and not isinstance(e.change, Undo)]

    def replaced(at: int) -> bool:
        """A later table stands in for this one, and no clock between the two speaks of what it said."""
        for entry in held[at + 1 :]:
            if isinstance(entry.change, ClockChange) and entry.change.scope.is_placed:
                return False
            if isinstance(entry.change, DeploymentsChange) and not entry.change.add:
                return True
        return False

    kept = [e for at, e in enumerate(held) if not (isinstance(e.change, DeploymentsChange) and replaced(at))]
    expected, numbers = [e.change for e in kept], tuple(e.number for e in kept)
    assert state.numbers == numbers
    assert list(state.changes) == expected
    assert state.version == len(entries)
    assert state.undone == {e.number for e in entries if not holds(e.number)}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(CHANGES) - 1), max_size=8))
def test_a_table_that_is_left_out_changes_nothing(steps):
    """The whole history, tables that were replaced too, gives the same recordings."""
    said = tuple(CHANGES[step] for step in steps)
    state = state_of(tuple(Entry(n, "", "", "", c) for n, c in enumerate(said, 1)))
    local = datetime(2025, 5, 5, 1)
    rows = frame(
        recording("a/b/P_x1.wav", local=local),
        recording("d2/x2.wav", site="B", local=local, zone="UTC"),
        recording("d3/y.wav", local=local, source="guano", zone="Europe/Paris", deployment="d"),
    )
    assert apply_metadata(rows, state).equals(apply_metadata(rows, MetadataState(len(said), said)))


def test_digest_is_of_what_holds():
    said = tuple(Entry(n, "", "", "", c) for n, c in enumerate((CHANGES[0], CHANGES[1], Undo(2)), 1))
    assert state_of(said).digest == state_of(said[:1]).digest != state_of(said[:2]).digest


@pytest.mark.parametrize(
    ("undo", "error"), [(Undo(3), NotFound), (Undo(0), NotFound), (Undo(1), Conflict)], ids=["future", "zero", "twice"]
)
def test_undo_refused(tmp_path, undo, error):
    root, _ = kit.new_store(tmp_path)
    write_change(root, CHANGES[0])
    write_change(root, Undo(1))
    with pytest.raises(error):
        write_change(root, undo)
    assert latest_metadata(root) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: SiteChange("A"),
        lambda: SiteChange("A", zone="Europe/Pariss"),
        lambda: SiteChange("A", rename=" x\n"),
        lambda: SiteChange("A", latitude=1.0),
        lambda: SiteChange("A", latitude=91.0, longitude=0.0),
        lambda: SiteChange("A", latitude=float("nan"), longitude=0.0),
        lambda: SiteChange("A", zone="UTC", keep="both"),
        lambda: ClockChange(Scope()),
        lambda: ClockChange(Scope(), add_s=float("nan")),
        lambda: ClockChange(Scope(), add_s=1e12),
        lambda: ClockChange(Scope(), clock_zone="Mars"),
        lambda: ClockChange(Scope(), add_s=1.0, ignore_offsets=True),
        lambda: SiteChange("A", zone="localtime"),
        lambda: SiteChange("A", zone="right/Europe/Paris"),
        lambda: Scope(date_from="1 May"),
        lambda: Scope(date_from="2025-05-02", date_to="2025-05-01"),
    ],
)
def test_what_cannot_be_right(make):
    with pytest.raises(Invalid):
        make()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:40]),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text(path.read_text().replace('"change": 1', '"change": 7')),
        lambda path: path.write_text(path.read_text().replace('"kind": "site"', '"kind": "gossip"')),
        lambda path: path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99')),
    ],
    ids=["gone", "torn", "no object", "renamed", "unknown kind", "later version"],
)
def test_damage_is_named(tmp_path, spoil):
    root, _ = kit.new_store(tmp_path)
    write_change(root, CHANGES[0])
    write_change(root, CHANGES[3])
    spoil(Path(root, "metadata", "1.json"))
    with pytest.raises(Damaged, match=r"metadata/1\.json"):
        read_metadata(root)


def test_earlier_versions_can_be_read(tmp_path):
    root, _ = kit.new_store(tmp_path)
    for change in CHANGES[:3]:
        write_change(root, change)
    assert read_metadata(root, 2).changes == CHANGES[:2]
    assert read_metadata(root, 0).changes == ()
    with pytest.raises(NotFound, match="newest is 3"):
        read_metadata(root, 4)


def test_every_call_may_fail():
    """After any fault the log is what it was or one change longer, and the next change comes in."""
    with tempfile.TemporaryDirectory() as folder:
        root, _ = kit.new_store(Path(folder))
        ops = FaultyOps()
        write_change(root, CHANGES[0], ops=ops)
        calls = len(ops.calls)
    assert calls >= 8
    for fault in FAULTS:
        for at in range(calls):
            with tempfile.TemporaryDirectory() as folder:
                root, _ = kit.new_store(Path(folder))
                write_change(root, CHANGES[1])
                with contextlib.suppress(OSError, SonothequeError, PowerCut):
                    write_change(root, CHANGES[0], ops=FaultyOps(at, fault))
                state = read_metadata(root)
                assert state.changes in ((CHANGES[1],), (CHANGES[1], CHANGES[0])), (fault, at)
                write_change(root, CHANGES[2])
                assert read_metadata(root).changes == (*state.changes, CHANGES[2])


def test_a_lost_race_is_judged_again(tmp_path, monkeypatch):
    """Somebody takes the number between the look and the link: what they wrote is looked at, and the next number taken."""
    root, _ = kit.new_store(tmp_path)
    seen = []

    def check(state):
        seen.append(state.version)
        if len(seen) == 1:
            write_change(root, CHANGES[1], by="the other")

    entry = write_change(root, CHANGES[0], check=check)
    assert (seen, entry.number) == ([0, 1], 2)
    assert [e.by == "the other" for e in read_metadata(root).entries] == [True, False]
    assert kit.temporary_files(root) == []


def test_an_undo_that_comes_second_is_refused(tmp_path):
    root, _ = kit.new_store(tmp_path)
    write_change(root, CHANGES[0])
    with pytest.raises(Conflict, match="by change 2; undo 2"):
        write_change(root, Undo(1), check=lambda state: state.version == 1 and write_change(root, Undo(1)))
    assert latest_metadata(root) == 2


@pytest.mark.parametrize("text", ["two\nlines\t and a \x1b[31mcolour", "caf\udce9", "x" * 10_000])
def test_who_and_why_are_one_printable_line(tmp_path, text):
    root, _ = kit.new_store(tmp_path)
    write_change(root, CHANGES[0], by=text, reason=text)
    (entry,) = read_metadata(root).entries
    for got in (entry.by, entry.reason):
        assert got.isprintable() and got.encode() and got.split()[0] == text.split()[0].replace("\udce9", "\\udce9")
    assert write_change(root, CHANGES[1], by=" \n").by.count("@") == 1


def test_other_files_in_the_folder_are_no_changes(tmp_path):
    root, _ = kit.new_store(tmp_path)
    write_change(root, CHANGES[0])
    for name in ("notes.txt", "01.json", "0.json", "2.json.bak", "-1.json"):
        Path(root, "metadata", name).write_text("{}")
    assert read_metadata(root).version == 1


def _write_many(root: str, name: str) -> None:
    for n in range(10):
        write_change(root, SiteChange(name, rename=f"{name}{n}"), by=name)


def test_two_writers_lose_nothing(tmp_path):
    root, _ = kit.new_store(tmp_path)
    writers = [multiprocessing.get_context("spawn").Process(target=_write_many, args=(root, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    entries = read_metadata(root).entries
    assert [e.number for e in entries] == list(range(1, 21))
    for name in "ab":
        assert [e.change.rename for e in entries if e.by == name] == [f"{name}{n}" for n in range(10)]
    assert kit.temporary_files(root) == []
