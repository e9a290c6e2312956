"""Annotations as Parquet: our own columns, exactly; the one format that holds everything.

Ids are not read back: they are this store's own, and another store gives its own.
"""

from __future__ import annotations

import io
import os
from datetime import UTC
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sonotheque.core.errors import Invalid
from sonotheque.core.filters import JUDGEMENTS
from store.annotations.annotation import ANNOTATION_SCHEMA, require_band, require_span
from store.annotations.formats.raw import RawAnnotation

ENDING: Final = ".parquet"
MAGIC: Final = b"PAR1"
_NEEDED: Final = ("path", "start_s", "end_s", "label")
_OPTIONAL: Final = ("low_hz", "high_hz", "judgement", "annotator", "provenance", "note", "created_utc")


def read_parquet(
    path: str | os.PathLike[str], *, label_column: str | None = None, label: str | None = None
) -> list[RawAnnotation]:
    """Read annotations.

    Parameters
    ----------
    path : path-like
        A file with at least ``path``, ``start_s``, ``end_s`` and ``label``, under the names and of the types of ``ANNOTATION_SCHEMA``.
    label_column : str, optional
        The column that holds the label.
    label : str, optional
        For rows that have none.

    Raises
    ------
    Invalid
        (``invalid_table``) Naming file, row, column, value and what was expected.
    """
    file = os.fspath(path)
    sources = {name: name for name in (*_NEEDED, *_OPTIONAL)}
    sources["label"] = label_column or "label"
    needed = [sources[name] for name in _NEEDED if name != "label" or label is None or label_column]
    try:
        held = pq.read_schema(file).names
        if lost := [column for column in needed if column not in held]:
            raise Invalid(
                f"{file}: no column {lost[0]!r}; it has {', '.join(held)}. Expected the columns of `sonotheque annotate export X.parquet`",
                kind="invalid_table",
            )
        there = {name: column for name, column in sources.items() if column in held}
        table = pq.read_table(file, columns=list(there.values()))
    except (OSError, pa.ArrowException) as error:
        raise Invalid(f"{file}: not a Parquet file that can be read: {error}", kind="invalid_table") from error
    table = pa.table({name: table[column] for name, column in there.items()})
    return [_raw(file, i, row, label) for i, row in enumerate(_typed(file, table).to_pylist(), 1)]


def _typed(file: str, table: pa.Table) -> pa.Table:
    """Return the columns as the schema has them, refusing those that are something else."""
    for at, name in enumerate(table.column_names):
        wanted = ANNOTATION_SCHEMA.field(name).type
        try:
            table = table.set_column(at, name, table[name].cast(wanted))
        except pa.ArrowException:
            raise Invalid(
                f"{file}, column {name!r}: {table.schema.field(name).type}; expected {wanted}", kind="invalid_table"
            ) from None
    return table


def _raw(file: str, line: int, row: dict[str, Any], label: str | None) -> RawAnnotation:
    def refuse(column: str, expected: str) -> None:
        raise Invalid(
            f"{file}, row {line}, column {column!r}: {row.get(column)!r}; expected {expected}", kind="invalid_table"
        )

    for column in ("start_s", "end_s"):
        if row[column] is None:
            refuse(column, "seconds")
    for column in ("path", *(() if label else ("label",))):
        if not row.get(column):
            refuse(column, "some text")
    if row.get("judgement") not in (None, "", *JUDGEMENTS):
        refuse("judgement", ", ".join(JUDGEMENTS))
    try:
        require_span(row["start_s"], row["end_s"])
        require_band(row.get("low_hz"), row.get("high_hz"))
    except Invalid as error:
        raise Invalid(f"{file}, row {line}: {error.message}", kind="invalid_table") from None
    created = row.get("created_utc")
    return RawAnnotation(
        file,
        line,
        row["path"],
        row["start_s"],
        row["end_s"],
        row.get("label") or label or "",
        judgement=row.get("judgement") or None,
        low_hz=row.get("low_hz"),
        high_hz=row.get("high_hz"),
        note=row.get("note") or "",
        annotator=row.get("annotator") or None,
        provenance=row.get("provenance") or None,
        created_utc=created.astimezone(UTC) if created else None,
    )


def write_parquet(annotations: pa.Table) -> bytes:
    """Return current annotations, a table of ``ANNOTATION_SCHEMA``, as a Parquet file."""
    out = io.BytesIO()
    pq.write_table(annotations, out, compression="zstd")
    return out.getvalue()
