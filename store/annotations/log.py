"""AnnotationLog: judgements added, undone and read back; nothing that was written is ever changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from sonotheque.core.errors import Invalid, NotFound
from store.annotations.annotation import ANNOTATION_SCHEMA, Annotation, require_text
from store.annotations.database import reading, writing
from store.annotations.tables import COUNTING_OF_RECORDING, CURRENT, EVENTS
from store.annotations.undo import Undone, changes_of_batch, changes_of_one, last_batch
from store.fsops import FileOps

EVENT_SCHEMA = pa.schema(
    [
        pa.field("batch_id", pa.int64(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("undoes", pa.int64()),
        pa.field("by", pa.string(), nullable=False),
        pa.field("at_utc", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("annotation_id", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("judgement", pa.string(), nullable=False),
        pa.field("annotator", pa.string(), nullable=False),
        pa.field("provenance", pa.string(), nullable=False),
    ]
)
"""Columns of the history: ``event`` is ``add``, ``undo`` or ``restore``."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSERT = "INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Added:
    """What :meth:`AnnotationLog.add` did.

    Attributes
    ----------
    batch : int or None
        What :meth:`AnnotationLog.undo` takes; None if nothing was new.
    added : int
    already_there : int
        The same annotator had said the same of the same span; not doubled.
    contrary : int
        Of those added: the same annotator says otherwise of the same span and label, and both count.
    """

    batch: int | None
    added: int
    already_there: int
    contrary: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


class AnnotationLog:
    """The annotations of a store.

    Parameters
    ----------
    root : str
        The store's folder. Nothing is opened or made before it is needed; every call opens the database for itself,
        so that one object serves any number of threads and processes.
    ops : FileOps, optional
        What makes the database's file.
    """

    def __init__(self, root: str, ops: FileOps | None = None) -> None:
        self.root = root
        self._ops = ops

    def add(
        self,
        annotations: Iterable[Annotation],
        *,
        annotator: str | Sequence[str],
        provenance: str | Sequence[str],
        created_utc: Sequence[datetime | None] | None = None,
    ) -> Added:
        """Add annotations in one transaction: all, or none.

        Parameters
        ----------
        annotations : iterable of Annotation
        annotator : str or sequence of str
            Who judged; one for all, or one each.
        provenance : str or sequence of str
            Where the judgements come from; one for all, or one each.
        created_utc : sequence of datetime or None, optional
            When they were made, aware; now where None.

        Raises
        ------
        Invalid
            If annotator or provenance is empty, or their number is another than that of the annotations.
        NotFound, Conflict, Damaged, Unavailable
            See :func:`store.annotations.database.writing`.
        """
        rows = list(annotations)
        who, whence = _each("annotator", annotator, len(rows)), _each("provenance", provenance, len(rows))
        if created_utc is not None and len(created_utc) != len(rows):
            raise Invalid(f"{len(created_utc):,} times for {len(rows):,} annotations: expected one each")
        now_us = _micros(datetime.now(UTC))
        times = [now_us if t is None else _micros(t) for t in created_utc or [None] * len(rows)]
        if not rows:
            return Added(None, 0, 0, 0)
        with writing(self.root, self._ops) as db:
            new, contrary = _new_among(db, rows, who)
            first, batch = _next(db, "annotations", "annotation_id"), _next(db, "batches", "batch_id")
            if new:
                speaker = annotator if isinstance(annotator, str) else ", ".join(dict.fromkeys(who))
                _new_batch(db, batch, "add", speaker, None, now_us)
                cells = (
                    (number, batch, *_span(rows[i]), who[i], whence[i], rows[i].note, times[i])
                    for number, i in enumerate(new, first)
                )
                db.executemany(_INSERT, cells)
        return Added(batch if new else None, len(new), len(rows) - len(new), contrary)

    def would_add(self, annotations: Iterable[Annotation], *, annotator: str | Sequence[str]) -> Added:
        """Return what :meth:`add` would do now, without doing it; ``batch`` is None."""
        rows = list(annotations)
        who = _each("annotator", annotator, len(rows))
        with reading(self.root) as db:
            new, contrary = _new_among(db, rows, who)
        return Added(None, len(new), len(rows) - len(new), contrary)

    def undo(
        self,
        *,
        batch: int | None = None,
        annotation_id: int | None = None,
        last: bool = False,
        annotator: str,
        of_annotator: str | None = None,
    ) -> Undone:
        """Undo a batch, one annotation, or the newest batch of annotations that still counts. An undo is a batch too.

        Parameters
        ----------
        batch : int, optional
            A batch of annotations: those of it that count, count no more. A batch of undos: what it took counts again,
            and what it brought back counts no more; annotations changed since by another batch are left alone, and so is
            one that was said again since (it would count twice).
        annotation_id : int, optional
        last : bool
            Called again and again, this goes back batch by batch.
        annotator : str
            Who undoes.
        of_annotator : str, optional
            With ``last``: only batches by this annotator.

        Raises
        ------
        Invalid
            Unless exactly one of ``batch``, ``annotation_id`` and ``last`` is given.
        NotFound
            If there is no such batch or annotation.
        Conflict
            (``nothing_to_undo``) If it is undone already.
        """
        if (batch is not None) + (annotation_id is not None) + last != 1:
            raise Invalid("undo: expected one of a batch, an annotation's id, or the last batch")
        require_text("annotator", annotator)
        with reading(self.root) as db:  # an undo in a store without annotations makes no database
            if db is None:
                raise NotFound(f"{self.root} holds no annotations: nothing to undo")
        with writing(self.root, self._ops) as db:
            left = 0
            if annotation_id is not None:
                undoes, changes = changes_of_one(db, annotation_id)
            else:
                undoes = last_batch(db, of_annotator) if batch is None else batch
                changes, left = changes_of_batch(db, undoes)
            made, first = _next(db, "batches", "batch_id"), _next(db, "changes", "change_id")
            _new_batch(db, made, "undo", annotator, undoes, _micros(datetime.now(UTC)))
            rows = [(first + i, made, number, counts) for i, (number, counts) in enumerate(changes)]
            db.executemany("INSERT INTO changes VALUES (?, ?, ?, ?)", rows)
        restored = sum(counts for _, counts in changes)
        return Undone(made, undoes, len(changes) - restored, restored, left)

    def current(self) -> pa.Table:
        """Return the annotations that count, by id, as ``ANNOTATION_SCHEMA``; no rows if none was ever made."""
        with reading(self.root) as db:
            rows = db.execute(CURRENT).fetchall() if db else []
        return annotation_table(rows)

    def events(self) -> pa.Table:
        """Return everything that ever happened, in order, as ``EVENT_SCHEMA``."""
        with reading(self.root) as db:
            rows = db.execute(EVENTS).fetchall() if db else []
        return _table(rows, EVENT_SCHEMA)


def _new_among(db: sqlite3.Connection | None, rows: Sequence[Annotation], who: Sequence[str]) -> tuple[list[int], int]:
    """Return which rows nobody said before, and how many of them contradict what the same annotator says of the same place."""
    recordings = {row.recording_id for row in rows} if db else set()
    known = {key for one in recordings for key in db.execute(COUNTING_OF_RECORDING, (one,))} if db else set()
    said = {(*key[:6], key[7]) for key in known}
    new, contrary = [], 0
    for i, (row, by) in enumerate(zip(rows, who, strict=True)):
        key, place = (*row.key, by), (*row.place, by)
        if key in known:
            continue
        contrary += place in said
        known.add(key)
        said.add(place)
        new.append(i)
    return new, contrary


def _span(row: Annotation) -> tuple[Any, ...]:
    place = (row.recording_id, row.path, row.start_s, row.end_s, row.low_hz, row.high_hz)
    return (*place, row.label, row.judgement)


def _each(what: str, given: str | Sequence[str], n: int) -> list[str]:
    values = [given] * n if isinstance(given, str) else list(given)
    if len(values) != n:
        raise Invalid(f"{len(values):,} values of {what} for {n:,} annotations: expected one for all, or one each")
    for value in dict.fromkeys([given] if isinstance(given, str) else values):
        require_text(what, value)
    return values


def _micros(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise Invalid(f"time {moment.isoformat()} has no zone: expected UTC")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _next(db: sqlite3.Connection, table: str, key: str) -> int:
    return int(db.execute(f"SELECT coalesce(max({key}), 0) + 1 FROM {table}").fetchone()[0])


def _new_batch(db: sqlite3.Connection, number: int, kind: str, annotator: str, undoes: int | None, at_us: int) -> None:
    db.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", (number, kind, annotator, undoes, at_us))


def annotation_table(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Return rows of the database's annotations as ``ANNOTATION_SCHEMA``."""
    return _table(rows, ANNOTATION_SCHEMA)


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    arrays = []
    for field, values in zip(schema, columns, strict=True):
        kind = pa.int64() if pa.types.is_timestamp(field.type) else field.type
        arrays.append(pa.array(values, kind).cast(field.type))
    return pa.table(arrays, schema=schema)
