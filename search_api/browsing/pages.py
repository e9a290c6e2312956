"""Keyset pages over the views: each page begins after the last row of the one before, in the catalog's own order.

No page counts rows or skips them: the condition on the first key leaves other sites' files alone, and what is left is a search for the
first few rows in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from search_api.browsing.cursors import Cursor, decode, list_digest
from sonotheque.core.errors import Invalid
from store import Archive

LIMIT_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Key:
    """A column that rows are ordered by.

    Attributes
    ----------
    column : str
    kind : type
        Of its values in a cursor.
    cast : str
        SQL type that the cursor's value becomes; empty where it is one already.
    nullable : bool
        Missing values come last.
    """

    column: str
    kind: type
    cast: str = ""
    nullable: bool = False

    @property
    def mark(self) -> str:
        """The parameter's place in SQL."""
        return f"CAST(? AS {self.cast})" if self.cast else "?"


PLACE: Final = (
    Key("site", str),
    Key("local_start", datetime, "TIMESTAMP", nullable=True),
    Key("utc_start", datetime, "TIMESTAMPTZ", nullable=True),
    Key("path", str),
)
"""The catalog's order: by site, then by time, and by path where times are equal."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One page.

    Attributes
    ----------
    table : pyarrow.Table
        At most ``limit`` rows, in order.
    next : str or None
        Cursor of the next page; None if this is the last one.
    """

    table: pa.Table
    next: str | None


def state_of(archive: Archive) -> str:
    """Return what the pages of an archive follow from: its snapshot and the version of its metadata."""
    return f"{archive.snapshot.number}.{archive.catalog.manifest.metadata}"


def page_of(
    archive: Archive,
    select: tuple[str, Sequence[Any]],
    keys: Sequence[Key],
    of: Sequence[Any],
    *,
    limit: int,
    cursor: str | None,
    alias: str = "w",
) -> Rows:
    """Return one page of a query.

    Parameters
    ----------
    archive : Archive
    select : (str, sequence)
        A SELECT that ends with its condition, and its parameters; it names the columns of ``keys``.
    keys : sequence of Key
        Together they tell rows apart.
    of : sequence
        What tells this list from others: a name and what was asked, as JSON values.
    limit : int
        1 to 1000.
    cursor : str, optional
        Of the page before.
    alias : str
        Of the relation in the query.

    Raises
    ------
    Invalid
        If the limit is out of range, or the cursor is none of this list.
    Conflict
        If the archive changed since the cursor was made.
    """
    if not 1 <= limit <= LIMIT_MAX:
        raise Invalid(f"limit {limit}: expected 1 to {LIMIT_MAX:,} rows of a page")
    digest, state = list_digest(*of), state_of(archive)
    query, parameters = select[0], list(select[1])
    if cursor is not None:
        term, values = after(keys, decode(cursor, digest, state, [key.kind for key in keys]), alias)
        query, parameters = f"{query} AND {term}", [*parameters, *values]
    order = ", ".join(f"{alias}.{key.column}{' NULLS LAST' if key.nullable else ''}" for key in keys)
    table = archive.sql(f"{query} ORDER BY {order} LIMIT {limit + 1}", parameters)
    if table.num_rows <= limit:
        return Rows(table, None)
    table = table.slice(0, limit)
    last = [_plain(table[key.column][limit - 1].as_py()) for key in keys]
    return Rows(table, Cursor(digest, state, tuple(last)).encode())


def after(keys: Sequence[Key], values: Sequence[Any], alias: str = "w") -> tuple[str, list[Any]]:
    """Return the SQL condition of rows that come after a key, and its parameters.

    Parameters
    ----------
    keys : sequence of Key
    values : sequence
        One a key; None is after every value.
    alias : str
    """
    terms: list[str] = []
    parameters: list[Any] = []
    same: list[str] = []
    same_values: list[Any] = []
    for key, value in zip(keys, values, strict=True):
        column = f"{alias}.{key.column}"
        if value is not None:  # nothing comes after a missing value
            later = f"{column} > {key.mark}" + (f" OR {column} IS NULL" if key.nullable else "")
            terms.append(" AND ".join([*same, f"({later})"]))
            parameters += [*same_values, value]
        same.append(f"{column} IS NULL" if value is None else f"{column} = {key.mark}")
        same_values += [] if value is None else [value]
    lead = keys[0]
    if not terms:
        return "false", []
    if values[0] is None or lead.nullable:
        return f"({' OR '.join(terms)})", parameters
    # Said once more of the first key alone: by it, files are left out unread.
    return f"({alias}.{lead.column} >= {lead.mark} AND ({' OR '.join(terms)}))", [values[0], *parameters]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z") if value.tzinfo else value.isoformat()
    return value
