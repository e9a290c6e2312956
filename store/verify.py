"""Proof that a store holds what was planned: planned = committed, no window twice, nothing damaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from store import layout
from store.beside import faults_beside
from store.config import StoreConfig, read_config
from store.ledger import Ledger, Part, list_part_files, load_ledger
from store.part_vectors import matrix
from store.reading import parquet, parquet_footer, sha256_of
from store.schema import embeddings_schema
from store.snapshots import Snapshot, latest_number, read_snapshots

PlannedKey = tuple[str, int, int]  # path, size_bytes, mtime_ns


@dataclass(slots=True)
class VerifyReport:
    """What ``verify`` found.

    Attributes
    ----------
    ok : bool
        Nothing is missing, doubled or damaged. (Foreign and unused files are named, and are no fault.)
    planned, committed : int
        Files that some run planned; those of them that are in the ledger as planned.
    missing, foreign, damaged, duplicate_windows : int
        Planned and not committed; committed and never planned; files that do not read back or are not there though a snapshot lists
        them: parts, snapshots, changes of the metadata, the annotations; windows seen twice.
    windows, superseded_windows, parts, dead_parts, snapshot : int
        Live windows, rows that a newer version of a file or a compacted part replaces, parts, those of them that hold nothing else
        (``gc`` removes them after their grace period), and the newest snapshot's number.
    deep : bool
        Whether digests and every vector were checked as well.
    precisions : dict
        Live windows by the precision their vectors were made with; more than one where somebody asked to mix.
    """

    ok: bool = False
    planned: int = 0
    committed: int = 0
    missing: int = 0
    foreign: int = 0
    duplicate_windows: int = 0
    damaged: int = 0
    parts: int = 0
    dead_parts: int = 0
    windows: int = 0
    superseded_windows: int = 0
    snapshot: int = 0
    deep: bool = False
    precisions: dict[str, int] = field(default_factory=dict)
    missing_paths: list[str] = field(default_factory=list)
    foreign_paths: list[str] = field(default_factory=list)
    damaged_files: dict[str, str] = field(default_factory=dict)
    unused_files: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def verify(root: str, planned: Iterable[PlannedKey], *, deep: bool = False) -> VerifyReport:
    """Check a store against what was planned for it.

    Parameters
    ----------
    root : str
    planned : iterable of (path, size_bytes, mtime_ns)
        The newest version of every file that any run planned.
    deep : bool
        Also read every file: digests against the snapshot and the footers, and every vector finite.

    Raises
    ------
    NotFound, Damaged
        If the folder is no store.
    """
    config = read_config(root)
    ledger = load_ledger(root)
    report = VerifyReport(deep=deep, parts=len(ledger.parts), damaged_files=dict(ledger.damaged))
    report.dead_parts = sum(ledger.is_dead(p) for p in ledger.parts.values())
    for part in ledger.parts.values():
        fault = _part_fault(root, part, config.digest)
        if fault:
            report.damaged_files[part.embeddings] = fault
    _compare_plan(report, ledger, planned)
    _check_snapshots(report, root, ledger, deep=deep)
    _count_rows(report, root, ledger, config, deep=deep)
    report.precisions = _precisions(ledger, config.model.precision)
    used = {p.predictions for p in ledger.parts.values()}
    report.damaged_files.update(faults_beside(root))
    report.unused_files = [f for f in list_part_files(root, layout.PREDICTIONS) if f not in used]
    report.damaged = len(report.damaged_files)
    report.ok = not (report.missing or report.duplicate_windows or report.damaged)
    return report


def _precisions(ledger: Ledger, usual: str) -> dict[str, int]:
    counted: dict[str, int] = {}
    for _, file in ledger.live.values():
        if file.windows:
            name = file.precision or usual
            counted[name] = counted.get(name, 0) + file.windows
    return dict(sorted(counted.items()))


def _part_fault(root: str, part: Part, digest: str) -> str:
    """Return what is wrong with a readable part, or an empty string."""
    if part.store_digest != digest:
        return f"written under other settings ({part.store_digest}) than this store's ({digest})"
    if part.predictions is None:
        return ""
    try:
        rows = parquet_footer(f"{root}/{part.predictions}").num_rows
    except (OSError, pa.ArrowException) as error:
        return f"its predictions file {part.predictions} cannot be read: {error}"
    if rows != part.predictions_rows:
        return f"its predictions file {part.predictions} has {rows} rows, the ledger says {part.predictions_rows}"
    return ""


def _compare_plan(report: VerifyReport, ledger: Ledger, planned: Iterable[PlannedKey]) -> None:
    held = {entry.path: (entry.path, entry.size_bytes, entry.mtime_ns) for _, entry in ledger.live.values()}
    names = set()
    for key in planned:
        names.add(key[0])
        report.planned += 1
        if held.get(key[0]) == key:
            report.committed += 1
        else:
            report.missing_paths.append(key[0])
    report.foreign_paths = sorted(set(held) - names)
    report.missing, report.foreign = len(report.missing_paths), len(report.foreign_paths)


def _check_snapshots(report: VerifyReport, root: str, ledger: Ledger, *, deep: bool) -> None:
    """Check every snapshot that is there: a reader may open any of them by its number."""
    report.snapshot = latest_number(root)
    told: dict[str, tuple[str, int]] = {}
    for number, content in read_snapshots(root):  # newest first
        if not isinstance(content, Snapshot):
            report.damaged_files[layout.snapshot_path(number)] = content
            continue
        for listed in content.parts:
            if listed.part_id in ledger.parts:
                sha256, first = told.setdefault(listed.part_id, (listed.sha256, number))
                if sha256 != listed.sha256:
                    report.damaged_files[layout.snapshot_path(number)] = (
                        f"does not agree with snapshot {first} on the bytes of part {listed.part_id}"
                    )
            elif listed.embeddings not in report.damaged_files:
                report.damaged_files[listed.embeddings] = f"listed in snapshot {number} and not there"
    for part_id, (sha256, number) in told.items() if deep else ():
        path = ledger.parts[part_id].embeddings
        if _sha256(f"{root}/{path}") != sha256:
            report.damaged_files[path] = f"its bytes are not those of snapshot {number}"


def _sha256(path: str) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        return str(error)


def _count_rows(report: VerifyReport, root: str, ledger: Ledger, config: StoreConfig, *, deep: bool) -> None:
    """Read the identity columns of every part; a window may appear once within its part, and its recording is live in one."""
    schema = embeddings_schema(config.model.dim, config.dtype)
    columns = ["recording_id", "start_sample", *(["embedding"] if deep else [])]
    for part in ledger.parts.values():
        try:
            with parquet(f"{root}/{part.embeddings}") as file:
                fault = _schema_fault(file.schema_arrow, schema)
                table = None if fault else file.read(columns=columns)
        except (OSError, pa.ArrowException) as error:
            fault, table = f"its rows cannot be read: {error}", None
        if table is None:
            report.damaged_files[part.embeddings] = fault
            continue
        if not _agrees(table, part):
            report.damaged_files[part.embeddings] = "its rows are not of the recordings that its ledger lists"
        dead = ledger.superseded.get(part.part_id, set())
        gone = pc.is_in(table["recording_id"], value_set=pa.array(sorted(dead), pa.int64()))
        report.superseded_windows += pc.sum(gone).as_py() or 0
        live = table.filter(pc.invert(gone))
        report.windows += live.num_rows
        unique = live.select(["recording_id", "start_sample"]).group_by(["recording_id", "start_sample"]).aggregate([])
        twice = live.num_rows - unique.num_rows
        if twice:
            report.duplicate_windows += twice
            report.damaged_files[part.embeddings] = f"holds {twice} windows more than once"
        if deep:
            _check_deep(report, root, part, table)


def _schema_fault(found: pa.Schema, expected: pa.Schema) -> str:
    """Return what a part lacks of the columns of the format, or an empty string; more columns are no fault."""
    for wanted in expected:
        index = found.get_field_index(wanted.name)
        if index < 0:
            return f"has no column {wanted.name}"
        if found.field(index).type != wanted.type:
            return f"its column {wanted.name} is {found.field(index).type}, this store's is {wanted.type}"
    return ""


def _agrees(table: pa.Table, part: Part) -> bool:
    """Tell whether a part has as many rows of each recording as its ledger says."""
    counts = table.group_by("recording_id").aggregate([([], "count_all")]).to_pydict()
    found = dict(zip(counts["recording_id"], counts["count_all"], strict=True))
    return found == {f.recording_id: f.windows for f in part.files if f.windows}


def _check_deep(report: VerifyReport, root: str, part: Part, table: pa.Table) -> None:
    dim = table.schema.field("embedding").type.list_size
    if not np.isfinite(matrix(table["embedding"], dim)).all():
        report.damaged_files[part.embeddings] = "holds a vector that is not finite"
    if part.predictions is None:
        return
    try:
        sha256 = sha256_of(f"{root}/{part.predictions}")
    except OSError as error:
        report.damaged_files[part.predictions] = f"cannot be read: {error}"
        return
    if sha256 != part.predictions_sha256:
        report.damaged_files[part.predictions] = f"its bytes are not those that part {part.part_id} was committed with"
