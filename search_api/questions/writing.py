"""The rows of a query as what leaves the program: a table for people, CSV, JSON, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from search_api.questions.sql import Rows
from search_api.questions.values import column_texts, column_values, for_people
from sonotheque.core.errors import Invalid
from store.formats.whole import require_free, whole_files

CSV, JSON, PARQUET = "csv", "json", "parquet"
FORMATS: Final = (CSV, JSON, PARQUET)
_GROUP_BYTES = 64 * 1024 * 1024  # a row group of the Parquet written, at most about so much memory
_UTC = "%Y-%m-%dT%H:%M:%S%.fZ"
_CLOCK = "%Y-%m-%dT%H:%M:%S%.f"


def rows_of(rows: list[dict[str, Any]]) -> Rows:
    """Return rows of plain values as a query's result; a column that is null throughout is text."""
    table = pa.Table.from_pylist(rows)
    fields = [f.with_type(pa.string()) if pa.types.is_null(f.type) else f for f in table.schema]
    return Rows(pa.schema(fields), iter(table.cast(pa.schema(fields)).to_batches()), None)


def write_csv(rows: Rows, handle: IO[bytes]) -> int:
    """Write rows as RFC 4180: UTF-8, a header, CRLF, quotes where needed, an empty field for null. Returns how many.

    Instants are UTC with ``Z``, times on a site's clock have no mark; lists and structures are JSON.
    """
    # Through a text, so that a closed pipe is the OSError that it is.
    header = pl.DataFrame(schema=dict.fromkeys(rows.schema.names, pl.String))
    handle.write(header.write_csv(line_terminator="\r\n").encode())
    count = 0
    for block in rows:
        handle.write(_csv_frame(block).write_csv(include_header=False, line_terminator="\r\n").encode())
        count += block.num_rows
    return count


def shown_rows(rows: Rows, most: int | None) -> tuple[list[list[str]], int]:
    """Return the first rows as texts for people, and how many there are in all.

    Parameters
    ----------
    rows : Rows
    most : int or None
        At most so many texts; all are counted.
    """
    texts: list[list[str]] = []
    count = 0
    for block in rows:
        head = block if most is None else block.slice(0, max(0, most - len(texts)))
        columns = [[for_people(v) for v in column_texts(column)] for column in head.columns]
        texts += [list(row) for row in zip(*columns, strict=True)]
        count += block.num_rows
    return texts, count


def _csv_frame(block: pa.RecordBatch) -> pl.DataFrame:
    columns = []
    for name, column in zip(block.schema.names, block.columns, strict=True):
        kind = column.type
        if pa.types.is_timestamp(kind):
            values = pl.Series(name, pl.from_arrow(column.cast(pa.timestamp("us", kind.tz), safe=False)))
            columns.append(values.dt.to_string(_UTC if kind.tz else _CLOCK))
        elif (
            pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_date(kind) or pa.types.is_boolean(kind)
        ):
            columns.append(pl.Series(name, pl.from_arrow(column)))
        elif pa.types.is_floating(kind):
            columns.append(pl.Series(name, pl.from_arrow(column)).fill_nan(None))
        else:
            texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in column_values(column)]
            columns.append(pl.Series(name, texts, dtype=pl.String))
    return pl.DataFrame(columns)


def write_parquet(rows: Rows, target: str | Path) -> int:
    """Write rows as one Parquet file, whole or not at all. Returns how many.

    Raises
    ------
    Unavailable
        If the disk is full or cannot be written to.
    Invalid
        If Parquet has no such type.
    """
    count = 0
    with whole_files(Path(target), overwrite=True) as (path,):
        try:
            with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
                for group in _grouped(rows):
                    writer.write_table(group, row_group_size=max(1, group.num_rows))
                    count += group.num_rows
        except pa.ArrowNotImplementedError as error:
            raise Invalid(f"Parquet cannot hold a column of this result: {error}. CAST it to VARCHAR") from error
    return count


def _grouped(rows: Rows) -> Iterator[pa.Table]:
    """Yield tables of many blocks: a row group of one block would be read slowly."""
    held: list[pa.RecordBatch] = []
    for block in rows:
        held.append(block)
        if sum(b.nbytes for b in held) >= _GROUP_BYTES:
            yield pa.Table.from_batches(held, schema=rows.schema)
            held = []
    if held:
        yield pa.Table.from_batches(held, schema=rows.schema)


def target_of(
    *, csv: bool, json: bool, parquet: str | None, out: str | None, overwrite: bool, store: str
) -> tuple[str | None, Path | None]:
    """Return the format asked for (None: a table for people) and the file it goes to (None: standard output).

    Raises
    ------
    Invalid
        If two formats are asked for, or the file's ending names none.
    Conflict
        If the file is there and must not be replaced.
    NotFound
        If its folder is not there.
    """
    asked = [form for form, is_asked in ((CSV, csv), (JSON, json), (PARQUET, parquet is not None)) if is_asked]
    if len(asked) > 1:
        raise Invalid(f"--{' and --'.join(asked)}: one format at a time")
    if parquet is not None and out is not None:
        raise Invalid("--parquet FILE names the file: leave --out away")
    named = parquet if parquet is not None else out
    if named is None:
        return (asked[0] if asked else None), None
    ending = Path(named).suffix.lower().lstrip(".")
    if not asked and ending not in FORMATS:
        raise Invalid(f"--out {named}: the ending says the format, and must be .csv, .json or .parquet")
    require_free(Path(named), overwrite=overwrite, folder=False, store=store)
    return (asked[0] if asked else ending), Path(named)


def write_file(rows: Rows, form: str, target: Path, about: dict[str, Any]) -> int:
    """Write rows to a file, whole or not at all. Returns how many.

    Parameters
    ----------
    rows : Rows
    form : str
        One of ``FORMATS``.
    target : Path
        Replaced if it is there; see :func:`target_of`.
    about : dict
        Goes before the rows of a JSON document.

    Raises
    ------
    Unavailable
        If the disk is full or cannot be written to.
    """
    if form == PARQUET:
        return write_parquet(rows, target)
    with whole_files(target, overwrite=True) as (path,), path.open("wb") as handle:
        if form == CSV:
            return write_csv(rows, handle)
        value = json_document(rows)
        handle.write(json.dumps({**about, **value}, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        return len(value["rows"])


def numeric_columns(schema: pa.Schema) -> list[int]:
    """Return the places of the columns that hold numbers."""
    kinds = pa.types
    return [
        i
        for i, field in enumerate(schema)
        if kinds.is_integer(field.type) or kinds.is_floating(field.type) or kinds.is_decimal(field.type)
    ]


def json_document(rows: Rows) -> dict[str, Any]:
    """Return rows as one document: ``columns`` (name, type), ``rows`` (objects), ``truncated``."""
    names, found = rows.schema.names, []
    for block in rows:
        values = [column_values(column) for column in block.columns]
        found += [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    columns = [{"name": f.name, "type": str(f.type)} for f in rows.schema]
    return {"columns": columns, "rows": found, "truncated": rows.truncated}
