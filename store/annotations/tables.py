"""The tables of ``annotations.sqlite``: only ever added to, and triggers see to it.

A batch is one call: some annotations added, or some undone or restored. An annotation counts unless the newest change of
it says that it does not. So an undo is undone by a newer change, and history is never rewritten.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x534F4E4F  # "SONO", where SQLite keeps whose file this is
DATABASE_VERSION: Final = 1

TABLES: Final = """
CREATE TABLE batches (
    batch_id    INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('add', 'undo')),
    annotator   TEXT NOT NULL CHECK (annotator <> ''),
    undoes      INTEGER REFERENCES batches (batch_id) CHECK (undoes < batch_id),
    at_us       INTEGER NOT NULL
) STRICT;

CREATE TABLE annotations (
    annotation_id INTEGER PRIMARY KEY,
    batch_id      INTEGER NOT NULL REFERENCES batches (batch_id),
    recording_id  INTEGER NOT NULL,
    path          TEXT NOT NULL CHECK (path <> ''),
    start_s       REAL NOT NULL CHECK (start_s >= 0),
    end_s         REAL NOT NULL CHECK (end_s > start_s AND end_s < 9e999),
    low_hz        REAL CHECK (low_hz >= 0 AND low_hz < 9e999),
    high_hz       REAL CHECK (high_hz >= 0 AND high_hz < 9e999),
    label         TEXT NOT NULL CHECK (label <> ''),
    judgement     TEXT NOT NULL CHECK (judgement IN ('positive', 'negative', 'uncertain')),
    annotator     TEXT NOT NULL CHECK (annotator <> ''),
    provenance    TEXT NOT NULL CHECK (provenance <> ''),
    note          TEXT NOT NULL,
    created_us    INTEGER NOT NULL,
    CHECK (low_hz <= high_hz)
) STRICT;
CREATE INDEX annotations_by_recording ON annotations (recording_id);
CREATE INDEX annotations_by_batch ON annotations (batch_id);

CREATE TABLE changes (
    change_id     INTEGER PRIMARY KEY,
    batch_id      INTEGER NOT NULL REFERENCES batches (batch_id),
    annotation_id INTEGER NOT NULL REFERENCES annotations (annotation_id),
    counts        INTEGER NOT NULL CHECK (counts IN (0, 1))
) STRICT;
CREATE INDEX changes_by_annotation ON changes (annotation_id, change_id);
CREATE INDEX changes_by_batch ON changes (batch_id);
"""

# The insert trigger stops what would be a change in disguise: INSERT OR REPLACE of an old row.
_APPEND_ONLY: Final = """
CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: undo instead of changing'); END;
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only: undo instead of deleting'); END;
CREATE TRIGGER {table}_only_append BEFORE INSERT ON {table}
WHEN NEW.{key} <> (SELECT coalesce(max({key}), 0) + 1 FROM {table})
BEGIN SELECT RAISE(ABORT, '{table} is append-only: ids follow one another'); END;
"""

TRIGGERS: Final = "".join(
    _APPEND_ONLY.format(table=table, key=key)
    for table, key in (("batches", "batch_id"), ("annotations", "annotation_id"), ("changes", "change_id"))
)

MAKE: Final = (
    f"PRAGMA application_id = {APPLICATION_ID};\n"
    f"BEGIN;\n{TABLES}{TRIGGERS}\nPRAGMA user_version = {DATABASE_VERSION};\nCOMMIT;"
)

# The newest change of each annotation that ever changed: SQLite takes `counts` from the row that holds the maximum.
LATEST: Final = (
    "SELECT annotation_id, max(change_id) AS change_id, batch_id, counts FROM changes GROUP BY annotation_id"
)

CURRENT: Final = f"""
SELECT a.annotation_id, a.recording_id, a.path, a.start_s, a.end_s, a.low_hz, a.high_hz, a.label, a.judgement,
       a.annotator, a.provenance, a.note, a.created_us
FROM annotations a LEFT JOIN ({LATEST}) c USING (annotation_id)
WHERE c.counts IS NOT 0 ORDER BY a.annotation_id
"""

# The same of one recording, as what makes two judgements the same.
COUNTING_OF_RECORDING: Final = """
SELECT a.recording_id, a.start_s, a.end_s, a.low_hz, a.high_hz, a.label, a.judgement, a.annotator
FROM annotations a LEFT JOIN changes c ON c.change_id = (
    SELECT max(change_id) FROM changes WHERE annotation_id = a.annotation_id
)
WHERE a.recording_id = ? AND c.counts IS NOT 0
"""

EVENTS: Final = """
SELECT b.batch_id, CASE WHEN b.kind = 'add' THEN 'add' WHEN e.counts THEN 'restore' ELSE 'undo' END, b.undoes,
       b.annotator, b.at_us, e.annotation_id, a.path, a.start_s, a.end_s, a.label, a.judgement, a.annotator, a.provenance
FROM (
    SELECT batch_id, annotation_id, 1 AS counts FROM annotations
    UNION ALL SELECT batch_id, annotation_id, counts FROM changes
) e
JOIN batches b USING (batch_id) JOIN annotations a USING (annotation_id)
ORDER BY b.batch_id, e.annotation_id
"""
