"""A whole store under a state machine: files that come, change and fail; compaction, gc with a clock, damage; against a dict."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sonotheque.core.errors import Damaged
from store import Archive, load_ledger, part_id, verify, write_snapshot
from store.care import GRACE_H, collect_garbage, compact
from store.schema import embeddings_schema, predictions_schema
from store.snapshots import snapshot_numbers
from tests.care.support import HOUR_S, Row, _bits, seen, seen_now
from tests.store import kit

PATHS = [f"{c}.wav" for c in "abcdef"]
Live = dict[str, tuple[int, int]]  # path -> version, windows


def place_of(path: str) -> tuple[str, str | None]:
    """Two sites, and a file of an unknown date."""
    return ("A", "2024-05-01") if path < "d" else ("B", None)


def expected(config, live: Live) -> dict[str, list[Row]]:
    """What any reader must see, from the dict alone."""
    twin = kit.Twin(config)
    for path, (version, windows) in live.items():
        site, date = place_of(path)
        twin.add(kit.recording(path, version=version, site=site), windows, site=site, date=date)
    out = {}
    for dataset, rows, schema in (
        ("embeddings", twin.rows, embeddings_schema(kit.DIM, config.dtype)),
        ("predictions", twin.predictions, predictions_schema()),
    ):
        told = [
            (r["site"], r["date"] and r["date"].isoformat(), *(_bits(r[name]) for name in schema.names)) for r in rows
        ]
        out[dataset] = sorted(told, key=repr)
    return out


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.root, self.config = kit.new_store(self.folder)
        self.now_s = time.time()
        self.live: Live = {}
        self.answers: dict[int, dict[str, list[Row]]] = {}
        self.version = 0
        self.waiting: list[
            tuple[float, str, list[str], int]
        ] = []  # planned and not committed: when, path, replaces, windows
        self.stamped: set[str] = set()
        self.counts = {"compacted": 0, "removed": 0}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            report = verify(self.root, self._planned(), deep=True)
            assert report.ok and report.missing == 0 and report.committed == len(self.live), report
            shutil.rmtree(self.folder)

    def _planned(self):
        for path, (version, _) in self.live.items():
            source = kit.recording(path, version=version).source
            yield path, source.size_bytes, source.mtime_ns

    def _stamp(self) -> None:
        """Give new files the time of the clock."""
        for path in Path(self.root).rglob("*"):
            if path.is_file() and str(path) not in self.stamped:
                self.stamped.add(str(path))
                os.utime(path, (self.now_s, self.now_s))

    def _note_snapshots(self, by: dict[str, list[Row]] | None = None) -> None:
        for number in snapshot_numbers(self.root):
            self.answers.setdefault(number, by if by is not None else expected(self.config, self.live))

    def _held(self) -> dict[str, str]:
        return {e.path: name for name, e in load_ledger(self.root).live.values()}

    def _commit(self, files: list[tuple[str, int, int, list[str]]]) -> None:
        """One part for each site among the files."""
        for site, date in {place_of(path) for path, *_ in files}:
            items = [
                (kit.recording(path, version=version, site=site, replaces=replaces), windows)
                for path, version, windows, replaces in files
                if place_of(path) == (site, date)
            ]
            kit.write_part(self.root, self.config, items, site=site, date=date)
        self.live.update({path: (version, windows) for path, version, windows, _ in files})
        self._stamp()

    @rule(paths=st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True), windows=st.integers(0, 3))
    def files_come_or_change(self, paths: list[str], windows: int) -> None:
        self.version += 1
        held = self._held()
        self._commit(
            [(p, self.version, (windows + i) % 4, [held[p]] if p in held else []) for i, p in enumerate(paths)]
        )
        self.waiting = [w for w in self.waiting if w[1] not in paths]

    @rule(path=st.sampled_from(PATHS), windows=st.integers(0, 3))
    def a_change_is_planned(self, path: str, windows: int) -> None:
        """By a program on another machine, that commits later; here nothing knows of it."""
        if path not in [w[1] for w in self.waiting]:
            held = self._held()
            self.waiting.append((self.now_s, path, [held[path]] if path in held else [], windows))

    @precondition(lambda self: self.waiting)
    @rule()
    def the_planned_change_is_committed(self) -> None:
        at, path, replaces, windows = self.waiting.pop(0)
        if self.now_s - at < GRACE_H * HOUR_S:
            self.version += 1
            self._commit([(path, self.version, windows, replaces)])

    @rule()
    def a_snapshot(self) -> None:
        write_snapshot(self.root, self.config, load_ledger(self.root))
        self._stamp()
        self._note_snapshots()

    @rule(full=st.integers(2, 14), min_parts=st.integers(2, 3))
    def compaction(self, full: int, min_parts: int) -> None:
        report = compact(self.root, target=full, min_parts=min_parts)
        self._stamp()
        self._note_snapshots()
        self.counts["compacted"] += report.made
        assert snapshot_numbers(self.root)[-1] == report.snapshot
        again = compact(self.root, target=full, min_parts=min_parts, dry_run=True)
        assert again.made == 0

    @rule(keep=st.integers(1, 3))
    def gc(self, keep: int) -> None:
        dry = collect_garbage(self.root, keep_snapshots=keep, dry_run=True, now=lambda: self.now_s)
        report = collect_garbage(self.root, keep_snapshots=keep, now=lambda: self.now_s)
        self._stamp()
        self._note_snapshots()
        assert dry.parts <= report.parts + report.waiting
        self.counts["removed"] += report.parts
        self.answers = {n: a for n, a in self.answers.items() if n in snapshot_numbers(self.root)}
        assert sorted(self.answers) == snapshot_numbers(self.root) == report.snapshots_kept

    @rule(hours=st.sampled_from([0.5, 7, 23, 25, 100]))
    def time_goes_by(self, hours: float) -> None:
        self.now_s += hours * HOUR_S

    @precondition(lambda self: self.live)
    @rule(at=st.integers(0, 50), how=st.sampled_from(["renamed", "cut_off", "emptied"]))
    def a_part_is_damaged_and_mended(self, at: int, how: str) -> None:
        parts = sorted(load_ledger(self.root).parts.values(), key=lambda p: p.part_id)
        victim = Path(self.root, parts[at % len(parts)].embeddings)
        data, stat = victim.read_bytes(), victim.stat()
        named = victim
        if how == "renamed":
            named = victim.with_name(f"part-{'f' * 32}.parquet")
            victim.rename(named)
        else:
            victim.write_bytes(data[:-7] if how == "cut_off" else b"")
        before = kit.tree(self.root)
        report = verify(self.root, [])
        assert not report.ok and named.relative_to(self.root).as_posix() in report.damaged_files
        for work in (compact, lambda root: collect_garbage(root, grace_h=0, now=lambda: self.now_s)):
            with pytest.raises(Damaged, match=named.name):
                work(self.root)
        assert kit.tree(self.root) == before
        named.unlink()
        victim.write_bytes(data)
        os.utime(victim, (stat.st_mtime, stat.st_mtime))

    @precondition(lambda self: self.answers)
    @rule(at=st.integers(0, 50))
    def the_store_is_opened(self, at: int) -> None:
        number = sorted(self.answers)[at % len(self.answers)]
        with Archive(self.root, snapshot=number) as archive:
            rows = archive.sql("SELECT path, start_sample FROM windows ORDER BY ALL").to_pylist()
        told = [(r[3], r[4]) for r in self.answers[number]["embeddings"]]
        assert [(r["path"], r["start_sample"]) for r in rows] == sorted(told)
        self._stamp()

    @invariant()
    def what_is_live_is_what_the_dict_says(self) -> None:
        if not hasattr(self, "root"):
            return
        assert seen_now(self.root) == expected(self.config, self.live)
        held = {e.path: (e.size_bytes - 1000, e.windows) for _, e in load_ledger(self.root).live.values()}
        assert held == self.live
        assert kit.temporary_files(self.root) == []

    @invariant()
    def every_snapshot_gives_its_answer(self) -> None:
        for number, answer in getattr(self, "answers", {}).items():
            assert seen(self.root, number) == answer, number


SETTINGS = settings(max_examples=16, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck))


def test_any_life_of_a_store():
    run_state_machine_as_test(StoreMachine, settings=SETTINGS)


@pytest.mark.slow
def test_many_long_lives_of_a_store():
    run_state_machine_as_test(StoreMachine, settings=settings(SETTINGS, max_examples=150, stateful_step_count=40))


def test_a_life_that_meets_everything():
    """The machine's rules in a fixed order, so that it is known that they compact, remove and keep."""
    machine = StoreMachine()
    machine.begin()
    check = (machine.what_is_live_is_what_the_dict_says, machine.every_snapshot_gives_its_answer)

    def do(step, *args, **options) -> None:
        step(machine, *args, **options)
        for look in check:
            look()

    for n in range(3):
        do(StoreMachine.files_come_or_change, PATHS[n : n + 2], n)
        do(StoreMachine.a_snapshot)
    do(StoreMachine.a_change_is_planned, "a.wav", 2)
    do(StoreMachine.compaction, 12, 2)
    do(StoreMachine.the_store_is_opened, 0)
    do(StoreMachine.the_planned_change_is_committed)
    do(StoreMachine.time_goes_by, 25)
    do(StoreMachine.compaction, 12, 2)
    do(StoreMachine.time_goes_by, 25)
    for how in ("renamed", "cut_off", "emptied"):
        do(StoreMachine.a_part_is_damaged_and_mended, 1, how)
    for keep in (2, 1):
        do(StoreMachine.gc, keep)
    do(StoreMachine.the_store_is_opened, 0)
    assert machine.counts["compacted"] >= 2 and machine.counts["removed"] >= 4, machine.counts
    assert part_id(machine.config.digest, []) and len(load_ledger(machine.root).parts) <= 2
    machine.teardown()
