"""Bounds of SQL over HTTP; the defaults are Datasette's in spirit, measured on two cores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """Bounds that protect the service from a query.

    Attributes
    ----------
    query_bytes, parameters_bytes : int
        Of the text, and of its parameters as JSON.
    rows : int
        Of a result; more are left out, and ``truncated`` says so.
    answer_bytes : int
        Of a result as JSON; the same.
    deadline_s : float
        From when a query begins; then its process is killed.
    memory_bytes : int
        Address space of a process. DuckDB, pyarrow and the views take about 0.7 GB of it before a query begins.
    workers : int
        Queries at once.
    queue : int
        Queries that may wait; one more is told to come again.
    threads : int
        Of one query.
    start_s : float
        A new process must be ready within it.
    """

    query_bytes: int = 16 << 10
    parameters_bytes: int = 64 << 10
    rows: int = 10_000
    answer_bytes: int = 8 << 20
    deadline_s: float = 10.0
    memory_bytes: int = 2 << 30
    workers: int = 2
    queue: int = 8
    threads: int = 2
    start_s: float = 30.0
