"""SQL from a terminal: one query, and its rows in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from search_api.questions.parameters import check_parameters
from sonotheque.core.errors import Invalid
from store import Archive


class Rows:
    """The rows of a query's result, in blocks; each is read once.

    Attributes
    ----------
    schema : pyarrow.Schema
        No name twice: a second ``a`` is ``a_2``.
    truncated : bool
        After the last block: whether ``limit`` left rows out.
    """

    def __init__(self, schema: pa.Schema, blocks: Iterator[pa.RecordBatch], limit: int | None) -> None:
        self.schema = _named_once(schema)
        self.truncated = False
        self._blocks = blocks
        self._left = limit

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for block in self._blocks:
            kept = block if self._left is None else block.slice(0, self._left)
            self.truncated = kept.num_rows < block.num_rows
            if self._left is not None:
                self._left -= kept.num_rows
            if kept.num_rows:
                yield pa.RecordBatch.from_arrays(kept.columns, schema=self.schema)
            if self.truncated:
                return


def run_query(
    archive: Archive, query: str, parameters: list[Any] | dict[str, Any] | None = None, *, limit: int | None = None
) -> Rows:
    """Run a query.

    Parameters
    ----------
    archive : Archive
    query : str
    parameters : list or dict, optional
        See :func:`search_api.questions.parameters.query_parameters`.
    limit : int, optional
        At most so many rows; the query itself is left as it is.

    Raises
    ------
    Invalid
        If the query cannot be run, with near names for a column or view that is not there, or a parameter is missing.
    Damaged
        If a file it needs cannot be read.
    """
    check_parameters(query, parameters)
    try:
        return Rows(*_begun(archive, query, parameters), limit)
    except Invalid as error:
        texts = parameters.values() if isinstance(parameters, dict) else parameters or ()
        if "Could not convert string" in error.message and any(isinstance(v, int | float) for v in texts):
            said = f"{error.message}. A value that reads as a number is one; in single quotes it is text: \"site='12'\""
            raise Invalid(said, kind=error.kind) from error
        raise


def _begun(
    archive: Archive, query: str, parameters: list[Any] | dict[str, Any] | None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    if _gives_rows(query):
        blocks = archive.batches(query, parameters)
        first = next(blocks, None)  # what is wrong with a query is found here
        if first is not None:
            return first.schema, _chained(first, blocks)
    table = archive.sql(query, parameters)
    return table.schema, iter(table.to_batches())


def _chained(first: pa.RecordBatch, others: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from others


def _gives_rows(query: str) -> bool:
    """Whether the query's last statement is one to read from: SET and COPY are run, and not read in blocks."""
    import duckdb

    try:
        expected = duckdb.extract_statements(query)[-1].expected_result_type
    except (duckdb.Error, IndexError):
        return True
    return [str(kind) for kind in expected] == [str(duckdb.ExpectedResultType.QUERY_RESULT)]


def _named_once(schema: pa.Schema) -> pa.Schema:
    seen: set[str] = set()
    fields = []
    for field in schema:
        name, n = field.name, 1
        while name in seen:
            n += 1
            name = f"{field.name}_{n}"
        seen.add(name)
        fields.append(field.with_name(name))
    return pa.schema(fields)
