"""A search whose hits are shown: found, described, and judged as they are now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from search_api.browsing.wire import window_rows, with_annotations
from search_api.queries import WINDOWS_MAX, Query
from search_api.search import SearchOptions, SearchResult, check, hits_table, search
from search_api.vector_files import checked_vectors
from sonotheque.core.errors import Invalid, Limit
from store import Archive


@dataclass(frozen=True, slots=True)
class Found:
    """A search's answer as JSON values.

    Attributes
    ----------
    about : str
        What was searched for, in words.
    query, plan : dict
    options : dict
        What was asked for.
    hits : list of dict
        Windows with ``rank, score, exact, query, annotations``.
    notes : list of str
    snapshot : int
    search_ms, show_ms : float
        Milliseconds of the search itself, and of describing its hits.
    """

    about: str
    query: dict[str, Any]
    options: dict[str, Any]
    plan: dict[str, Any]
    hits: list[dict[str, Any]]
    notes: list[str]
    snapshot: int
    search_ms: float
    show_ms: float


def find(archive: Archive, make: Callable[[Archive], Query], options: SearchOptions) -> Found:
    """Search, and describe the hits.

    Parameters
    ----------
    archive : Archive
    make : callable
        Returns the query.
    options : SearchOptions

    Raises
    ------
    NotFound, Invalid, Conflict, Damaged
        See :func:`search_api.search.search`.
    """
    began = time.perf_counter()
    result = search(archive, make(archive), options)
    between = time.perf_counter()
    hits = _shown(archive, result)
    plan = result.answer.plan.to_json()
    plan.pop("notes", None)
    return Found(
        result.query.about,
        result.query.to_json(),
        options.to_json(),
        plan,
        hits,
        result.notes,
        archive.snapshot.number,
        1000 * (between - began),
        1000 * (time.perf_counter() - between),
    )


def require_names(archive: Archive, options: SearchOptions) -> None:
    """Look at the names that a search uses, before a sound is embedded for it; see :func:`search_api.search.check`."""
    check(archive, options)


def names_used(options: SearchOptions) -> bool:
    """Return whether a search names anything that may not be there."""
    return not options.where.is_empty or bool(options.without)


def query_of_vectors(archive: Archive, values: Sequence[Any]) -> Query:
    """Return numbers as what is searched for.

    Parameters
    ----------
    archive : Archive
    values : list of float, or list of such lists
        One vector, or one a row.

    Raises
    ------
    Invalid
        If they are not of the store's length, not finite, or zero.
    Limit
        If there are more than 1,000.
    """
    if len(values) > WINDOWS_MAX and isinstance(values[0], list):
        raise Limit(f"vector: {len(values):,} vectors; a search takes at most {WINDOWS_MAX:,}")
    if isinstance(values[0] if values else None, list) and len({len(row) for row in values}) > 1:
        raise Invalid("vector: the vectors have different lengths")
    vectors = checked_vectors(archive, "vector", np.array(values, np.float64))
    what = "1 vector" if len(vectors) == 1 else f"{len(vectors):,} vectors"
    return Query("vector", "vector", vectors, about=what)


def _shown(archive: Archive, result: SearchResult) -> list[dict[str, Any]]:
    found = result.answer.hits
    if not found:
        return []
    table = hits_table(found)
    if all(hit.valid_s is not None for hit in found):
        table = table.append_column("valid_s", pa.array([hit.valid_s for hit in found], pa.float64()))
    rows = with_annotations(archive, window_rows(archive, table))
    return [
        {**row, "rank": hit.rank, "score": float(str(np.float32(hit.score))), "exact": hit.exact, "query": hit.query}
        for row, hit in zip(rows, found, strict=True)
    ]
