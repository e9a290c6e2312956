"""What an undo changes: worked out from the log within the transaction that writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sonotheque.core.errors import Conflict, NotFound
from store.annotations.tables import COUNTING_OF_RECORDING, LATEST

_STATE = f"""
SELECT a.annotation_id, coalesce(c.batch_id, a.batch_id) AS newest, coalesce(c.counts, 1) AS counts,
       a.recording_id, a.start_s, a.end_s, a.low_hz, a.high_hz, a.label, a.judgement, a.annotator
FROM annotations a LEFT JOIN ({LATEST}) c USING (annotation_id)
"""
_OF_ADDED = f"{_STATE} WHERE a.batch_id = ? ORDER BY a.annotation_id"
_OF_CHANGED = f"{_STATE} WHERE a.annotation_id IN (SELECT annotation_id FROM changes WHERE batch_id = ?) ORDER BY 1"
_OF_ONE = """
SELECT a.batch_id, c.batch_id, coalesce(c.counts, 1) FROM annotations a
LEFT JOIN changes c ON c.change_id = (SELECT max(change_id) FROM changes WHERE annotation_id = a.annotation_id)
WHERE a.annotation_id = ?
"""
_LAST = f"""
SELECT max(a.batch_id) FROM annotations a JOIN batches b USING (batch_id)
LEFT JOIN ({LATEST}) c USING (annotation_id) WHERE c.counts IS NOT 0 AND (?1 IS NULL OR b.annotator = ?1)
"""


@dataclass(frozen=True, slots=True)
class Undone:
    """What :meth:`AnnotationLog.undo` did.

    Attributes
    ----------
    batch : int
        Of this undo; undoing it brings back what it took.
    undoes : int
        The batch that was undone, or that holds the annotation that was.
    undone, restored : int
        Annotations that count no more, and that count again.
    left : int
        Annotations of that batch that were left as they are: changed since, or said again since.
    """

    batch: int
    undoes: int
    undone: int
    restored: int
    left: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def last_batch(db: sqlite3.Connection, annotator: str | None) -> int:
    """Return the newest batch of annotations of which any counts.

    Raises
    ------
    Conflict
        (``nothing_to_undo``) If no annotation counts.
    """
    found = db.execute(_LAST, (annotator,)).fetchone()[0]
    if found is None:
        whose = f" added by {annotator!r}" if annotator is not None else ""
        raise Conflict(f"no annotation{whose} counts now: nothing to undo", kind="nothing_to_undo")
    return int(found)


def changes_of_one(db: sqlite3.Connection, annotation_id: int) -> tuple[int, list[tuple[int, int]]]:
    """Return an annotation's batch, and the change that undoes it.

    Raises
    ------
    NotFound, Conflict
        If there is no such annotation; if it does not count now (``nothing_to_undo``).
    """
    found = db.execute(_OF_ONE, (annotation_id,)).fetchone()
    if found is None:
        newest = db.execute("SELECT max(annotation_id) FROM annotations").fetchone()[0]
        raise NotFound(f"annotation {annotation_id}: there is none of this id; the newest is {newest}")
    batch, changed_by, counts = found
    if not counts:
        raise Conflict(
            f"annotation {annotation_id} was undone by batch {changed_by} already; undoing that batch brings it back",
            kind="nothing_to_undo",
        )
    return batch, [(annotation_id, 0)]


def changes_of_batch(db: sqlite3.Connection, batch: int) -> tuple[list[tuple[int, int]], int]:
    """Return what undoing a batch changes, as ``(annotation_id, counts)``, and how many annotations it leaves.

    Raises
    ------
    NotFound, Conflict
        If there is no such batch; if nothing of it is left to undo (``nothing_to_undo``).
    """
    found = db.execute("SELECT kind FROM batches WHERE batch_id = ?", (batch,)).fetchone()
    if found is None:
        newest = db.execute("SELECT max(batch_id) FROM batches").fetchone()[0]
        raise NotFound(f"batch {batch}: there is none of this number; the newest is {newest}")
    if found[0] == "add":
        rows = db.execute(_OF_ADDED, (batch,)).fetchall()
        changes = [(row[0], 0) for row in rows if row[2]]
    else:
        rows = db.execute(_OF_CHANGED, (batch,)).fetchall()
        changes = _flipped(db, batch, rows)
    if not changes:
        raise Conflict(
            f"batch {batch}: nothing to undo, all of its {len(rows):,} annotations were changed or said again later. "
            "`sonotheque annotate list --history` shows by which batch",
            kind="nothing_to_undo",
        )
    return changes, len(rows) - len(changes)


def _flipped(db: sqlite3.Connection, batch: int, rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, int]]:
    """Return the opposite of a batch's changes, but where a later batch changed them or made them again."""
    mine = [row for row in rows if row[1] == batch]
    back = {row[3] for row in mine if not row[2]}
    counting = {key for recording in back for key in db.execute(COUNTING_OF_RECORDING, (recording,))}
    return [(row[0], 1 - row[2]) for row in mine if row[2] or row[3:] not in counting]
