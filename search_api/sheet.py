"""A query and its hits as spectrograms on one sheet: search by eye."""

from __future__ import annotations

from typing import Any, Final

from search_api.locating import Locator
from search_api.panels import PICTURES_MAX, Panel, SheetReport, draw_panels
from search_api.plots.style import shortened
from search_api.queries import seconds_text
from search_api.search import SearchResult
from store import Archive

QUERY_PICTURES_MAX: Final = 4


def draw_sheet(
    archive: Archive,
    result: SearchResult,
    target: str,
    locator: Locator,
    *,
    top_khz: float | None = None,
    most: int = PICTURES_MAX,
) -> SheetReport:
    """Draw a query and its hits, best first.

    Parameters
    ----------
    archive : Archive
    result : SearchResult
    target : str
        A PNG, SVG or PDF file.
    locator : Locator
    top_khz : float, optional
        Highest frequency drawn; 12 kHz by default, or what the model hears if that is less.
    most : int
        Pictures at most.

    Returns
    -------
    SheetReport
        A hit whose recording is missing or damaged is named there; the others are drawn.

    Raises
    ------
    Invalid
        If ``top_khz`` cannot be.
    Unavailable
        If the picture cannot be written.
    """
    queries = _queries(result)[: min(QUERY_PICTURES_MAX, most)]
    hits = _hits(archive, result)
    return draw_panels(archive, [*queries, *hits], lambda n: _words(result, n), target, locator, top_khz, most)


def _queries(result: SearchResult) -> list[Panel]:
    """Return the query's windows, those first that hits are nearest to."""
    query = result.query
    if query.path is None:
        return []
    order = dict.fromkeys([*(hit.query for hit in result.answer.hits), *range(len(query.windows))])
    name = shortened(query.path.rsplit("/", 1)[-1], 24)
    return [
        Panel(
            0,
            query.path,
            (query.windows[i].start_s, query.windows[i].end_s),
            f"query{f' {i + 1}' if len(query.windows) > 1 else ''}   {name}   {seconds_text(query.windows[i].start_s)} s",
            is_file=query.kind == "clip",
        )
        for i in order
    ]


def _hits(archive: Archive, result: SearchResult) -> list[Panel]:
    sizes = dict(
        archive.sql_with(
            {"hits": _ids(result)},
            "SELECT DISTINCT recording_id, size_bytes FROM recordings JOIN hits USING (recording_id)",
        )
        .to_pandas()
        .itertuples(index=False)
    )
    several = len(result.query.windows) > 1
    return [
        Panel(
            hit.rank,
            hit.path,
            (hit.start_s, hit.end_s),
            "   ".join(
                [
                    f"{hit.rank}",
                    f"{'' if hit.exact else '~'}{hit.score:.3f}",
                    shortened(hit.site, 18),
                    f"{hit.local_start:%Y-%m-%d %H:%M:%S}" if hit.local_start else f"{seconds_text(hit.start_s)} s",
                    *([f"q{hit.query + 1}"] if several else []),
                ]
            ),
            sizes.get(hit.recording_id),
        )
        for hit in result.answer.hits
    ]


def _ids(result: SearchResult) -> Any:
    import pyarrow as pa

    return pa.table({"recording_id": pa.array([hit.recording_id for hit in result.answer.hits], pa.int64())})


def _words(result: SearchResult, hits: int) -> tuple[str, str, str]:
    plan = result.answer.plan
    title = (
        f"Nearest to {result.query.name}"
        if result.options.near_score is None and not result.options.per_bin
        else result.query.name
    )
    subtitle = (
        f"{result.query.about}; {hits} of {len(result.answer.hits)} hits among {plan.eligible:,} windows: rank, cosine similarity, site, "
        "local time"
    )
    return title, subtitle, f"{plan.how}, index {plan.index}, snapshot {plan.snapshot}"


__all__ = ["PICTURES_MAX", "QUERY_PICTURES_MAX", "SheetReport", "draw_sheet"]
