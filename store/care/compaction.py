"""Compaction: many small parts become few, and superseded rows are left behind. What readers see does not change."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sonotheque.core.errors import Conflict, Damaged, Invalid
from store.care.rewriting import Rewriter, SourceFault
from store.care.selection import MIN_PARTS, Group, select, shrink, target_rows
from store.config import read_config
from store.fsops import FileOps, ops_of
from store.ledger import Ledger, Part, load_ledger
from store.live import held_by
from store.snapshots import Snapshot, read_snapshots, write_snapshot

VERSION_MIN = 2
Progress = Callable[[int, int], None]  # windows moved, windows to be moved


@dataclass(slots=True)
class CompactionReport:
    """What compaction did, or would do.

    Attributes
    ----------
    dry_run : bool
    parts_before, parts_after : int
        With live rows or files, in the whole store. After a dry run: as it would be.
    merged, made : int
        Parts whose rows were copied, and parts they were copied into.
    files, windows : int
        Recordings and windows that were copied.
    superseded_windows : int
        Rows of the merged parts that were not copied, since newer versions of their files replace them.
    bytes_read, bytes_written : int
        Of the merged parts and the made ones. The merged ones stay on disk until ``gc`` removes them.
    snapshot : int
        The newest; 0 after a dry run of a store without one.
    left_alone : dict
        Part file -> why it was not touched.
    notes : list of str
        Snapshots that cannot be read, and parts that are not there any more.
    """

    dry_run: bool
    parts_before: int = 0
    parts_after: int = 0
    merged: int = 0
    made: int = 0
    files: int = 0
    windows: int = 0
    superseded_windows: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    snapshot: int = 0
    left_alone: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    def take(self, group: Group, bytes_read: int) -> None:
        """Count a group."""
        self.merged += len(group.parts)
        self.made += 1
        self.files += group.files
        self.windows += group.rows
        self.superseded_windows += group.dropped_rows
        self.bytes_read += bytes_read
        self.parts_after -= len(group.parts) - 1


def compact(
    root: str,
    *,
    dry_run: bool = False,
    min_parts: int = MIN_PARTS,
    target: int | None = None,
    skip_damaged: bool = False,
    progress: Progress | None = None,
    ops: FileOps | None = None,
) -> CompactionReport:
    """Merge small parts of each site and date, rewrite parts with superseded rows, and write a snapshot.

    The old parts stay where they are, for the readers of older snapshots; ``gc`` removes them later. Each new part is committed
    by itself, so whatever stops this leaves a store in which some parts are merged and nothing is lost or doubled.

    Parameters
    ----------
    root : str
    dry_run : bool
        Only tell what would be done; nothing is written.
    min_parts : int
        Fewer small parts of a site and date than this are left as they are.
    target : int, optional
        Windows a part; those of two hours of audio by default.
    skip_damaged : bool
        Leave parts whose rows are damaged where they are, and go on with the others; by default they are an error.
    progress : callable, optional
        Called with (windows moved, windows to be moved).

    Raises
    ------
    Invalid
        If ``min_parts`` is below 2.
    Conflict
        If the store is of format version 1 (kind ``old_format``).
    Damaged
        If a part or one of its files is not what was committed.
    Unavailable
        Disk full or read-only; what was committed before stays.
    """
    if min_parts < MIN_PARTS:
        raise Invalid(f"--min-parts {min_parts}: at least {MIN_PARTS} parts can become one")
    config = read_config(root)
    if config.format_version < VERSION_MIN:
        raise Conflict(
            f"{root} is a store of format version {config.format_version}, which has no compacted parts. Run "
            f"`sonotheque migrate --store {root}` first: it takes a moment and changes no part",
            kind="old_format",
        )
    ops = ops or ops_of(root)
    report = CompactionReport(dry_run)
    ledger = load_ledger(root, ops)
    if ledger.damaged:
        raise damaged_ledger(root, ledger, "Until then it is not known which rows it supersedes, and nothing is moved")
    report.parts_before = report.parts_after = sum(not ledger.is_dead(p) for p in ledger.parts.values())
    snapshots = _readable_snapshots(root, ops, report)
    for lost in (p for p in (snapshots[0].parts if snapshots else ()) if p.part_id not in ledger.parts):
        report.notes.append(
            f"{lost.embeddings} is listed in snapshot {snapshots[0].number} and not there: the new snapshot does without it, "
            "and `sonotheque resume` embeds its recordings anew"
        )
    digests = {p.part_id: p.sha256 for snapshot in reversed(snapshots) for p in snapshot.parts}
    groups = list(select(ledger, target or target_rows(config.windows), min_parts=min_parts))
    rewriter = Rewriter(root, config, ledger.superseded, held_by(ledger.parts.values()), digests, ops)
    made = _rewrite(rewriter, ledger, groups, report, min_parts, skip_damaged=skip_damaged, progress=progress)
    if dry_run:
        report.snapshot = snapshots[0].number if snapshots else 0
        return report
    if made:
        ledger = load_ledger(root, ops)
    report.snapshot = write_snapshot(root, config, ledger, known_sha256={**digests, **made}, ops=ops).number
    return report


def damaged_ledger(root: str, ledger: Ledger, otherwise: str) -> Damaged:
    """Return the error of a store that holds part files that cannot be read."""
    path, why = next(iter(ledger.damaged.items()))
    return Damaged(
        f"{len(ledger.damaged)} part file(s) of {root} cannot be read, the first: {path}: {why}. Put it back from a copy, or move it out of "
        f"the store (its recordings will be embedded anew). `sonotheque verify --store {root}` lists all. {otherwise}"
    )


def _readable_snapshots(root: str, ops: FileOps, report: CompactionReport) -> list[Snapshot]:
    """Return the snapshots that can be read, newest first; name the others."""
    found = []
    for number, content in read_snapshots(root, ops):
        if isinstance(content, Snapshot):
            found.append(content)
        else:
            report.notes.append(f"snapshot {number}: {content}")
    return found


def _rewrite(
    rewriter: Rewriter,
    ledger: Ledger,
    groups: Sequence[Group],
    report: CompactionReport,
    min_parts: int,
    *,
    skip_damaged: bool,
    progress: Progress | None,
) -> dict[str, str]:
    """Rewrite group by group; return part id -> SHA-256 of what was made."""
    made: dict[str, str] = {}
    total = sum(g.rows for g in groups)
    for planned in groups:
        group: Group | None = planned
        while group is not None:
            sizes = _bytes(rewriter.root, group.parts)
            if report.dry_run:
                report.take(group, sizes)
                break
            try:
                name, committed = rewriter.rewrite(group)
            except SourceFault as fault:
                if not skip_damaged:
                    raise
                report.left_alone[fault.embeddings] = f"{fault.relative} {fault.why}"
                group = shrink(ledger, group, fault.embeddings, min_parts)
                continue
            made[name] = committed.sha256
            report.bytes_written += committed.bytes_written
            report.take(group, sizes)
            break
        if progress:
            progress(report.windows, total)
    return made


def _bytes(root: str, parts: Sequence[Part]) -> int:
    paths = [f"{root}/{f}" for part in parts for f in (part.embeddings, part.predictions) if f]
    return sum(os.path.getsize(path) for path in paths if os.path.exists(path))
