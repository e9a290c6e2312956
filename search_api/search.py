"""Where else does it occur? A query, what it may find, and the answer as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from search_api.clips import ClipsReport, Progress, write_clips
from search_api.locating import Locator
from search_api.queries import Query, recording_ids
from search_api.questions.values import plain
from sonotheque.core.errors import Conflict, Damaged, Invalid
from sonotheque.core.filters import SearchFilter
from sonotheque.core.search import SearchAnswer, SearchHit, SearchQuery
from sonotheque.core.version import VERSION
from store import Archive

if TYPE_CHECKING:
    from store.index import SearchIndex

K: Final = 50
HIT_COLUMNS: Final = pa.schema(
    [
        ("rank", pa.int64()),
        ("score", pa.float32()),
        ("path", pa.string()),
        ("site", pa.string()),
        ("deployment", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("utc_start", pa.timestamp("us", tz="UTC")),
        ("local_start", pa.timestamp("us")),
        ("exact", pa.bool_()),
        ("query", pa.int64()),
        ("recording_id", pa.int64()),
        ("start_sample", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What a search may find, and how much of it.

    Attributes
    ----------
    k : int or None
        Hits; 50 by default.
    where : SearchFilter
    combine, best_per, distinct, exact, recall
        As in :class:`~sonotheque.core.search.SearchQuery`.
    without : tuple of str
        Stored paths of recordings to leave out.
    own_recording : bool
        Do not leave out the recording that a query window is of.
    near_score : float or None
        The ``k`` windows whose scores are nearest to this, instead of the best.
    per_bin : int or None
        So many random windows of each score bin, instead of the best.
    bins : tuple of float
        Edges of the bins.
    seed : int

    Raises
    ------
    Invalid
        If they do not go together.
    """

    k: int | None = None
    where: SearchFilter = field(default_factory=SearchFilter)
    combine: str = "best"
    without: tuple[str, ...] = ()
    best_per: str | None = None
    distinct: float | None = None
    exact: bool = False
    recall: float | None = None
    own_recording: bool = False
    near_score: float | None = None
    per_bin: int | None = None
    bins: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.per_bin is None) != (not self.bins):
            raise Invalid("--per-bin N and --bins 0.2,0.4,... belong together: so many windows of each score bin")
        if self.per_bin is None:
            return
        for flag, given in (
            ("-k", self.k),
            ("--near-score", self.near_score),
            ("--best-per", self.best_per),
            ("--distinct", self.distinct),
        ):
            if given is not None:
                raise Invalid(f"{flag} and --per-bin do not go together: leave one out")

    @property
    def wanted(self) -> int:
        """Hits wanted."""
        return K if self.k is None else self.k

    def to_json(self) -> dict[str, Any]:
        """Return what was asked for."""
        return {
            "k": None if self.per_bin else self.wanted,
            "filter": self.where.to_json(),
            "combine": self.combine,
            "without": list(self.without),
            "best_per": self.best_per,
            "distinct": self.distinct,
            "exact": self.exact,
            "recall": self.recall,
            "own_recording": self.own_recording,
            "near_score": self.near_score,
            "per_bin": self.per_bin,
            "bins": list(self.bins),
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A query, what was asked for, and the answer."""

    query: Query
    options: SearchOptions
    answer: SearchAnswer

    @property
    def notes(self) -> list[str]:
        """What a user should know: of the query, then of the search."""
        return [*self.query.notes, *self.answer.plan.notes]

    def to_json(self) -> dict[str, Any]:
        """Return ``query``, ``hits`` and ``plan`` as one JSON object."""
        plan = self.answer.plan.to_json()
        plan["notes"] = self.notes
        return {
            "query": {**self.query.to_json(), **self.options.to_json()},
            "hits": [hit_json(hit) for hit in self.answer.hits],
            "plan": plan,
        }


def check(archive: Archive, options: SearchOptions) -> None:
    """Look at the names that a search uses, before the query is embedded; raises NotFound with near names."""
    archive.select(options.where)
    recording_ids(archive, options.without)


def search(archive: Archive, query: Query, options: SearchOptions | None = None) -> SearchResult:
    """Return the windows that a query finds.

    Parameters
    ----------
    archive : Archive
    query : Query
        See :mod:`search_api.queries`, :mod:`search_api.clip_queries`, :mod:`search_api.vector_files`.
    options : SearchOptions, optional

    Raises
    ------
    Invalid
        If a value or a vector cannot be right.
    NotFound
        If the filter names what is not in the store.
    Conflict
        If the query, or the index, is of another model than the store.
    Damaged
        If the index, or a part that has to be read, cannot be read.
    """
    from store.index import near_score, score_sample

    options = options or SearchOptions()
    without = recording_ids(archive, options.without)
    if query.recording_id is not None and not options.own_recording:
        without = (*without, query.recording_id)
    asked = SearchQuery(
        query.vectors,
        options.wanted,
        options.where,
        options.combine,
        without,
        options.best_per,
        options.distinct,
        options.exact,
        options.recall,
        query.model,
    )
    index, notes = _index(archive, options)
    if options.per_bin is not None:
        answer = score_sample(index, asked, options.bins, options.per_bin, seed=options.seed)
    elif options.near_score is not None:
        answer = near_score(index, asked, options.near_score)
    else:
        answer = index.search(asked)
    answer.plan.notes[:0] = notes
    return SearchResult(query, options, answer)


def _index(archive: Archive, options: SearchOptions) -> tuple[SearchIndex, list[str]]:
    """Return the index; a search that compares everything does without one that is damaged or foreign, and says so."""
    from store.index import open_index

    try:
        return archive.index, []
    except (Damaged, Conflict) as error:
        if not options.exact:
            raise
        return open_index(archive, ignore=True), [f"the index was not used: {error.message}"]


def hit_json(hit: SearchHit) -> dict[str, Any]:
    """Return a hit as a JSON object."""
    values = {name: plain(getattr(hit, name)) for name in HIT_COLUMNS.names}
    return {**values, "score": float(str(np.float32(hit.score)))}


def hits_table(hits: Sequence[SearchHit]) -> pa.Table:
    """Return hits as a table of ``HIT_COLUMNS``."""
    return pa.table({name: [getattr(hit, name) for hit in hits] for name in HIT_COLUMNS.names}, schema=HIT_COLUMNS)


def export_hits(
    archive: Archive,
    result: SearchResult,
    target: Path,
    locator: Locator,
    *,
    form: str = "wav",
    margin_s: float = 0.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ClipsReport:
    """Cut a clip for each hit; see :func:`search_api.clips.write_clips`."""
    spec = archive.config.model
    about = {
        "what": "clips",
        "store": archive.root,
        "snapshot": archive.snapshot.number,
        "model": spec.name,
        "model_version": spec.version,
        "weights_digest": spec.weights_digest,
        "query": {**result.query.to_json(), **result.options.to_json()},
        "plan": result.answer.plan.to_json(),
        "program": f"sonotheque {VERSION}",
    }
    rows = with_sizes(archive, hits_table(result.answer.hits))
    return write_clips(
        rows, target, locator, form=form, margin_s=margin_s, overwrite=overwrite, about=about, progress=progress
    )


def with_sizes(archive: Archive, rows: pa.Table) -> pa.Table:
    """Return rows with ``size_bytes`` of their recordings, so that a file which was replaced is noticed."""
    query = "SELECT h.*, r.size_bytes FROM hits h LEFT JOIN recordings r USING (recording_id) ORDER BY h.rank"
    return archive.sql_with({"hits": rows}, query)
