"""Some of the annotations that count, found by SQLite's own keys: without reading all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import pyarrow as pa

from store.annotations.annotation import ANNOTATION_SCHEMA, Annotation
from store.annotations.database import reading
from store.annotations.log import annotation_table

_COLUMNS: Final = (
    "a.annotation_id, a.recording_id, a.path, a.start_s, a.end_s, a.low_hz, a.high_hz, a.label, a.judgement, a.annotator, "
    "a.provenance, a.note, a.created_us"
)
_COUNTS: Final = "coalesce((SELECT counts FROM changes c WHERE c.annotation_id = a.annotation_id ORDER BY change_id DESC LIMIT 1), 1)"
_CHUNK: Final = 500  # parameters of one query; SQLite takes no more than some thousands
_KEY: Final = ("recording_id", "start_s", "end_s", "low_hz", "high_hz", "label", "judgement")


def of_recordings(root: str, recording_ids: Iterable[int]) -> pa.Table:
    """Return the annotations of some recordings, by id, as ``ANNOTATION_SCHEMA``."""
    ids = sorted(set(recording_ids))
    rows: list[tuple[Any, ...]] = []
    with reading(root) as db:
        for first in range(0, len(ids) if db else 0, _CHUNK):
            own = ids[first : first + _CHUNK]
            marks = ", ".join("?" * len(own))
            query = f"SELECT {_COLUMNS} FROM annotations a WHERE a.recording_id IN ({marks}) AND {_COUNTS}"
            rows += _rows(db, query, own)
    return annotation_table(sorted(rows))


def page_of(
    root: str,
    *,
    before_id: int | None = None,
    limit: int,
    label: str | None = None,
    annotator: str | None = None,
    judgement: str | None = None,
    path_glob: str | None = None,
) -> pa.Table:
    """Return the newest annotations that count, newest first, as ``ANNOTATION_SCHEMA``.

    Parameters
    ----------
    root : str
    before_id : int, optional
        Only those made before this one.
    limit : int
    label, annotator, judgement : str, optional
        Only these.
    path_glob : str, optional
        Only of recordings with this path; ``*`` and ``?`` stand for any characters and any one.
    """
    terms: list[str] = [_COUNTS]
    values: list[Any] = []
    for column, value in (("label", label), ("annotator", annotator), ("judgement", judgement)):
        if value is not None:
            terms.append(f"a.{column} = ?")
            values.append(value)
    if path_glob is not None:
        terms.append("a.path GLOB ?")
        values.append(path_glob.replace("[", "[[]"))  # a bracket of a name is a bracket
    if before_id is not None:
        terms.append("a.annotation_id < ?")
        values.append(before_id)
    query = f"SELECT {_COLUMNS} FROM annotations a WHERE {' AND '.join(terms)} ORDER BY a.annotation_id DESC LIMIT ?"
    with reading(root) as db:
        return annotation_table(_rows(db, query, [*values, limit]) if db else [])


def ids_of(root: str, annotations: Sequence[Annotation], annotator: str) -> list[int | None]:
    """Return the ids of judgements that were added: of the one that counts, else of the newest; None if there is none."""
    found: dict[tuple[Any, ...], int] = {}
    with reading(root) as db:
        for recording_id in sorted({a.recording_id for a in annotations}) if db else ():
            query = (
                f"SELECT {', '.join(_KEY)}, annotation_id FROM annotations a WHERE recording_id = ? AND annotator = ? "
                f"ORDER BY {_COUNTS}, annotation_id"
            )
            for *key, number in _rows(db, query, [recording_id, annotator]):
                found[tuple(key)] = number
    return [found.get(a.key) for a in annotations]


def label_counts(root: str) -> list[tuple[str, int]]:
    """Return each label of the annotations that count, and how many have it."""
    query = f"SELECT a.label, count(*) FROM annotations a WHERE {_COUNTS} GROUP BY 1 ORDER BY 1"
    with reading(root) as db:
        return [(str(label), int(n)) for label, n in _rows(db, query, [])]


def named(root: str, column: str) -> list[str]:
    """Return the values of ``label``, ``annotator`` or ``path`` that annotations which count have, in order."""
    if column not in ("label", "annotator", "path"):
        raise ValueError(f"no list of {column!r}")
    with reading(root) as db:
        rows = _rows(db, f"SELECT DISTINCT a.{column} FROM annotations a WHERE {_COUNTS} ORDER BY 1", []) if db else []
    return [row[0] for row in rows]


def _rows(db: sqlite3.Connection | None, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    return list(db.execute(query, list(values)).fetchall()) if db else []


__all__ = ["ANNOTATION_SCHEMA", "ids_of", "label_counts", "named", "of_recordings", "page_of"]
