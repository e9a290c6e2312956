"""Removes what nobody needs any more, after a grace period: the only code that deletes committed files.

The order is what makes a crash harmless: snapshots before the parts that only they list, parts in waves (``retention.Waves``), a
part's embeddings before its predictions. After any step the live rows are those from before, and every snapshot that is there can be read.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from sonotheque.core.errors import Damaged, Invalid
from sonotheque.core.ids import file_sha256
from store import layout
from store.care.compaction import damaged_ledger
from store.care.retention import SeenSnapshot, Waves, dead_parts, due, kept_snapshots
from store.config import read_config
from store.fsops import FileOps, ops_of, store_errors
from store.ledger import Ledger, Part, list_part_files, load_ledger
from store.leftovers import sweep_leftovers
from store.snapshots import Snapshot, read_snapshots, write_snapshot

GRACE_H = 24.0
KEEP_SNAPSHOTS = 3
_CATALOG_GRACE_S = 3600.0  # whatever is asked for: a reader may be building a catalog now, and names its files last


@dataclass(slots=True)
class GarbageReport:
    """What gc removed, or would remove.

    Attributes
    ----------
    dry_run : bool
    bytes_freed : int
        All of it together.
    parts, predictions : int
        Parts whose files others replace, and predictions files that belong to no part.
    snapshots : list of int
        Numbers of the snapshots that went.
    snapshots_kept : list of int
    catalog_files, index_files, temporary_files : int
    score_files : int
        Scores of parts that are gone.
    waiting, waiting_bytes : int
        Parts that nobody's rows are in and that are still in their grace period, listed in a kept snapshot, or the reason why older
        rows on disk are superseded.
    listed : int
        Of ``waiting``: those whose grace period is over and that a kept snapshot lists.
    notes : list of str
        Snapshots that cannot be read.
    """

    dry_run: bool
    bytes_freed: int = 0
    parts: int = 0
    predictions: int = 0
    snapshots: list[int] = field(default_factory=list)
    snapshots_kept: list[int] = field(default_factory=list)
    catalog_files: int = 0
    index_files: int = 0
    temporary_files: int = 0
    score_files: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    listed: int = 0
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def collect_garbage(
    root: str,
    *,
    grace_h: float = GRACE_H,
    keep_snapshots: int = KEEP_SNAPSHOTS,
    dry_run: bool = False,
    ops: FileOps | None = None,
    now: Callable[[], float] = time.time,
) -> GarbageReport:
    """Remove superseded parts, orphans, old snapshots, catalog files and leftovers of dead processes.

    Parameters
    ----------
    root : str
    grace_h : float
        Hours after which something that is out of use may go: longer than any reader keeps one snapshot open, and than any run
        takes from its plan to its last commit.
    keep_snapshots : int
        How many of the newest snapshots stay whatever their age, with their parts.
    dry_run : bool
        Only tell what would go.
    now : callable
        Seconds since 1970.

    Raises
    ------
    Invalid
        If the grace period or the number of snapshots cannot be.
    Damaged
        If a part cannot be read: what it supersedes cannot be told. Nothing is removed then.
    """
    if not (math.isfinite(grace_h) and grace_h >= 0):
        raise Invalid(f"--grace-h {grace_h:g}: a number of hours from 0 on")
    if keep_snapshots < 1:
        raise Invalid(f"--keep-snapshots {keep_snapshots}: at least 1, or nothing could be read")
    config = read_config(root)
    ops = ops or ops_of(root)
    ledger = load_ledger(root, ops)
    if ledger.damaged:
        raise damaged_ledger(root, ledger, "gc removes nothing until then: what such a part supersedes cannot be told")
    run = _Run(root, ledger, grace_h * 3600.0, now(), ops, GarbageReport(dry_run))
    with store_errors(root):
        if not dry_run and ledger.parts:
            write_snapshot(root, config, ledger, again=run.clock_stands(), ops=ops)
        run.go(keep_snapshots)
    return run.report


@dataclass(slots=True)
class _Run:
    root: str
    ledger: Ledger
    grace_s: float
    now_s: float
    ops: FileOps
    report: GarbageReport
    gone: set[str] = field(default_factory=set)

    def clock_stands(self) -> bool:
        """Tell whether a dead part is younger than every snapshot: then only a new one can begin its grace period."""
        newest = max((s.written_s for s in self._snapshots({})), default=0.0)
        self.report.notes.clear()
        return any(self._mtime(p.embeddings) > newest for p in dead_parts(self.ledger))

    def go(self, keep: int) -> None:
        """Remove everything that is due, in the order of the module's docstring."""
        listed: dict[str, str] = {}
        snapshots = self._snapshots(listed)
        kept = kept_snapshots(snapshots, keep, self.grace_s, self.now_s)
        dead = dead_parts(self.ledger)
        committed_s = {p.part_id: self._mtime(p.embeddings) for p in dead}
        may_go, listed_still, wait = due(dead, snapshots, kept, committed_s, self.grace_s, self.now_s)
        self._require_sound_copies(may_go, listed)
        self.report.snapshots_kept = sorted(kept)
        for seen in snapshots:
            if seen.number not in kept:
                self._remove(layout.snapshot_path(seen.number))
                self.report.snapshots.append(seen.number)
        if self.report.snapshots:
            self._sync({layout.SNAPSHOTS})
        waves = Waves(self.ledger, may_go)
        for wave in waves:
            self._remove_parts(wave)
        self.report.listed = len(listed_still)
        for part in [*listed_still, *wait, *waves.held_back]:
            self.report.waiting += 1
            self.report.waiting_bytes += sum(self._size(f) for f in (part.embeddings, part.predictions) if f)
        self._remove_orphans()
        self._sweep(kept)

    def _snapshots(self, digests: dict[str, str]) -> list[SeenSnapshot]:
        """Return the snapshots, oldest first; ``digests`` gets what they say of the parts' bytes."""
        seen = []
        for number, content in read_snapshots(self.root, self.ops):
            written_s = self._mtime(layout.snapshot_path(number))
            if not isinstance(content, Snapshot):
                self.report.notes.append(f"snapshot {number}: {content}")
                seen.append(SeenSnapshot(number, written_s, None))
                continue
            for part in content.parts:
                digests.setdefault(part.part_id, part.sha256)
            ids = frozenset(sys.intern(p.part_id) for p in content.parts)
            seen.append(SeenSnapshot(number, written_s, ids, ids <= self.ledger.parts.keys()))
        return seen[::-1]

    def _require_sound_copies(self, may_go: list[Part], digests: dict[str, str]) -> None:
        """Look at compacted parts once more before the parts that they were made of go: until then both have the rows."""
        copies = {
            held[0]
            for part in may_go
            for entry in part.files
            if (held := self.ledger.live.get(entry.recording_id)) and held[1].origin == (entry.origin or part.part_id)
        }
        for name in sorted(copies):
            part = self.ledger.parts[name]
            for relative, expected in (
                (part.embeddings, digests.get(name)),
                (part.predictions, part.predictions_sha256),
            ):
                if relative and expected and self._sha256(relative) != expected:
                    raise Damaged(
                        f"{relative} does not have the bytes it was committed with, and the parts that part {name} was made of would be removed "
                        f"now. Nothing was removed. Move {part.embeddings} out of {self.root} and run `sonotheque compact --store {self.root}`: "
                        "it makes the part anew from them"
                    )

    def _sha256(self, relative: str) -> str:
        try:
            return file_sha256(f"{self.root}/{relative}")
        except OSError as error:
            return f"cannot be read: {error}"

    def _remove_parts(self, wave: list[Part]) -> None:
        for part in wave:
            self._remove(part.embeddings)
            self.gone.add(part.part_id)
            self.report.parts += 1
        self._sync({part.embeddings.rpartition("/")[0] for part in wave})
        for part in wave:
            if part.predictions:
                self._remove(part.predictions)
        self._sync({part.predictions.rpartition("/")[0] for part in wave if part.predictions})

    def _remove_orphans(self) -> None:
        used = {p.predictions for p in self.ledger.parts.values()}
        for relative in list(list_part_files(self.root, layout.PREDICTIONS, self.ops)):
            if relative in used or self.now_s - self._mtime(relative) < self.grace_s or self._is_new(relative):
                continue
            self._remove(relative)
            self.report.predictions += 1

    def _is_new(self, relative: str) -> bool:
        """Tell whether a predictions file's part was committed after the ledger was read."""
        identity = layout.part_id_of(relative.rpartition("/")[2])
        folder = relative.rpartition("/")[0].replace(layout.PREDICTIONS, layout.EMBEDDINGS, 1)
        return identity not in self.ledger.parts and self.ops.exists(
            f"{self.root}/{folder}/{layout.part_name(str(identity))}"
        )

    def _sweep(self, kept: set[int]) -> None:
        from store.catalog import sweep

        grace_s = max(self.grace_s, _CATALOG_GRACE_S)
        files, size = sweep(self.root, kept, grace_s, self.ops, now=lambda: self.now_s, dry_run=self.report.dry_run)
        self.report.catalog_files, self.report.bytes_freed = files, self.report.bytes_freed + size
        from store.index.sweeping import sweep_index

        files, size = sweep_index(
            self.root, self.ops, grace_s=grace_s, now=lambda: self.now_s, dry_run=self.report.dry_run
        )
        self.report.index_files, self.report.bytes_freed = files, self.report.bytes_freed + size
        from store.scores.sweeping import sweep_scores

        there = self.ledger.parts.keys() - self.gone
        files, size = sweep_scores(
            self.root, there, self.ops, grace_s=grace_s, now=lambda: self.now_s, dry_run=self.report.dry_run
        )
        self.report.score_files, self.report.bytes_freed = files, self.report.bytes_freed + size
        from store.probes import sweep_unfinished

        files, size = sweep_unfinished(
            self.root, self.ops, grace_s=grace_s, now=lambda: self.now_s, dry_run=self.report.dry_run
        )
        self.report.temporary_files, self.report.bytes_freed = files, self.report.bytes_freed + size
        self.report.temporary_files += sweep_leftovers(self.root, self.ops, dry_run=self.report.dry_run)

    def _remove(self, relative: str) -> None:
        self.report.bytes_freed += self._size(relative)
        if not self.report.dry_run:
            self.ops.unlink(f"{self.root}/{relative}")

    def _sync(self, folders: set[str]) -> None:
        for folder in sorted(folders) if not self.report.dry_run else ():
            self.ops.sync_dir(f"{self.root}/{folder}")

    def _size(self, relative: str) -> int:
        path = f"{self.root}/{relative}"
        return os.path.getsize(path) if os.path.exists(path) else 0

    def _mtime(self, relative: str) -> float:
        try:
            return os.stat(f"{self.root}/{relative}").st_mtime
        except FileNotFoundError:
            return self.now_s
