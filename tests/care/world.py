"""A store as footers alone, in memory: programs that plan from what they saw, commits in any order, compaction, snapshots, gc, a clock.

Beside it the dumb twin: every version ever committed, never moved and never removed, and the rule of FORMAT.md for which is live.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from store import LedgerFile, Part, part_id
from store.care.retention import SeenSnapshot, Waves, dead_parts, due, kept_snapshots
from store.care.rewriting import compacted_id, moved
from store.ledger import Ledger
from store.live import held_by, resolve_live
from tests.store import kit

GRACE = 10


@dataclass
class Twin:
    """All versions: path -> label -> (content, labels it replaces)."""

    versions: dict[str, dict[str, tuple[int, frozenset[str]]]] = field(default_factory=dict)

    def add(self, path: str, label: str, content: int, replaces: frozenset[str]) -> None:
        self.versions.setdefault(path, {}).setdefault(label, (content, replaces))

    def live(self) -> dict[str, tuple[str, int]]:
        return {path: self._winner(known) for path, known in self.versions.items()}

    def _winner(self, known: dict[str, tuple[int, frozenset[str]]]) -> tuple[str, int]:
        def chain(label: str) -> int:
            return 1 + max((chain(old) for old in known.get(label, (0, frozenset()))[1]), default=0)

        replaced = {old for _, olds in known.values() for old in olds}
        best = max(chain(label) for label in known if label not in replaced)
        label = min(label for label in known if label not in replaced and chain(label) == best)
        return label, known[label][0]


@dataclass
class Planned:
    """A part that somebody is going to commit, and when it was planned."""

    at: int
    part: Part
    versions: list[tuple[str, int, frozenset[str]]] = field(default_factory=list)  # path, content, labels replaced


class World:
    def __init__(self) -> None:
        self.now = 0
        self.disk: dict[str, int] = {}
        self.parts: dict[str, Part] = {}
        self.committed: dict[str, float] = {}
        self.planned: list[Planned] = []
        self.snapshots: list[SeenSnapshot] = []
        self.twin = Twin()
        self.removed = self.compacted = self.held_back = 0

    def ledger(self) -> Ledger:
        live, superseded = resolve_live(self.parts.values())
        return Ledger(dict(self.parts), live, superseded)

    def plan(self, group: int) -> None:
        """As a run does that looks at the store and at the archive: new files, and changed ones replacing what is live."""
        found, _ = resolve_live(self.parts.values())
        by_path = {entry.path: (name, entry) for name, entry in found.values()}
        todo = []
        for path, version in sorted(self.disk.items()):
            held = by_path.get(path)
            if held is None:
                todo.append((kit.recording(path, version=version), version, frozenset[str]()))
            elif held[1].mtime_ns != kit.recording(path, version=version).source.mtime_ns:
                recording = kit.recording(path, version=version, replaces=[held[0]])
                todo.append((recording, version, frozenset({held[1].origin or held[0]})))
        for chunk in (todo[i : i + group] for i in range(0, len(todo), group)):
            files = [_file(r, version) for r, version, _ in chunk]
            made = _part(part_id("x", [r for r, _, _ in chunk]), files)
            self.planned.append(Planned(self.now, made, [(r.source.path, v, olds) for r, v, olds in chunk]))

    def plan_compaction(self, rng: random.Random) -> None:
        """Choose any live parts, whatever selection would say."""
        ledger = self.ledger()
        alive = sorted((p for p in ledger.parts.values() if not ledger.is_dead(p)), key=lambda p: p.part_id)
        if not alive:
            return
        self._plan_merge(ledger, rng.sample(alive, rng.randint(1, min(3, len(alive)))))

    def compact_all(self) -> None:
        """Merge whatever is live into one part."""
        ledger = self.ledger()
        self._plan_merge(ledger, [p for p in ledger.parts.values() if not ledger.is_dead(p)])
        self.commit(-1)

    def _plan_merge(self, ledger: Ledger, sources: list[Part]) -> None:
        holders = held_by(ledger.parts.values())
        files = []
        for source in sources:
            for f in ledger.live_files(source):
                held = (source.part_id, f)
                files.append((f, moved(held, holders.get(f.recording_id, [held]))))
        files.sort(key=lambda item: item[0].path)
        told = [{"path": f.path, "size_bytes": f.size_bytes, "mtime_ns": f.mtime_ns, **m} for f, m in files]
        names = sorted(p.part_id for p in sources)
        entries = [
            LedgerFile(
                f.path, f.size_bytes, f.mtime_ns, f.recording_id, tuple(m["replaces"]), f.status, f.windows, 1.0,
                origin=m["origin"], moved_from=tuple(m["moved_from"]),
            )
            for f, m in files
        ]  # fmt: skip
        self.planned.append(Planned(self.now, _part(compacted_id("x", names, told), entries, tuple(names))))

    def commit(self, index: int) -> None:
        """Commit something planned; nobody holds a plan for longer than the grace period."""
        planned = self.planned.pop(index % len(self.planned))
        if self.now - planned.at >= GRACE:
            return
        made = planned.part
        if made.part_id not in self.parts:
            self.parts[made.part_id] = made
            self.committed[made.part_id] = self.now
            self.compacted += bool(made.compacted_from)
        for path, content, olds in planned.versions:
            self.twin.add(path, made.part_id, content, olds)

    def update(self, path: str, version: int) -> None:
        """A file changes and is embedded at once, while others wait with their plans."""
        waiting, self.planned = self.planned, []
        self.disk[path] = version
        self.plan(3)
        while self.planned:
            self.commit(0)
        self.planned = waiting

    def snapshot(self) -> None:
        ledger = self.ledger()
        ids = frozenset(p.part_id for p in ledger.parts.values() if not ledger.is_dead(p))
        number = self.snapshots[-1].number + 1 if self.snapshots else 1
        self.snapshots.append(SeenSnapshot(number, float(self.now), ids))

    def gc(self, keep: int, rng: random.Random) -> None:
        """Remove what may go, wave by wave; at any moment of a wave a crash may leave any part of it."""
        self.snapshot()
        ledger = self.ledger()
        kept = kept_snapshots(self.snapshots, keep, GRACE, self.now)
        may_go, *_ = due(dead_parts(ledger), self.snapshots, kept, self.committed, GRACE, self.now)
        self.snapshots = [s for s in self.snapshots if s.number in kept]
        waves = Waves(ledger, may_go)
        for wave in waves:
            crashed = dict(self.parts)
            for part in rng.sample(wave, rng.randint(0, len(wave))):
                del crashed[part.part_id]
            assert live_of(crashed) == self.twin.live(), "a crash in the middle of a wave"
            for part in wave:
                del self.parts[part.part_id]
                self.removed += 1
            self.check()
        self.held_back += len(waves.held_back)
        for seen in self.snapshots:
            assert seen.parts is not None and seen.parts <= self.parts.keys(), (
                "a kept snapshot lists a part that is gone"
            )

    def check(self) -> None:
        """The live version of every path is the twin's, and every row is live once or superseded."""
        assert live_of(self.parts) == self.twin.live()
        found, superseded = resolve_live(self.parts.values())
        for part in self.parts.values():
            for f in part.files:
                is_live = found[f.recording_id][0] == part.part_id
                assert is_live is (f.recording_id not in superseded.get(part.part_id, ()))


def live_of(parts: dict[str, Part]) -> dict[str, tuple[str, int]]:
    """Path -> (version, content) of the live rows."""
    found, _ = resolve_live(parts.values())
    return {e.path: (e.origin or name, e.mtime_ns - 1_700_000_000_000_000_000) for name, e in found.values()}


def _file(recording: Any, version: int) -> LedgerFile:
    source = recording.source
    windows = 0 if version == 3 else 2  # a version that fails
    return LedgerFile(
        source.path, source.size_bytes, source.mtime_ns, recording.recording_id, recording.replaces, "ok", windows, 1.0
    )


def _part(name: str, files: list[LedgerFile], compacted_from: tuple[str, ...] = ()) -> Part:
    rows = sum(f.windows for f in files)
    return Part(name, "A", None, f"embeddings/{name}", None, 0, None, rows, "x", tuple(files), compacted_from)
