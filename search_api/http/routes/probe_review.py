"""What a probe says of the archive: how its scores are spread, what it found, and which windows to judge next."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query

from search_api.browsing.wire import window_rows, with_annotations
from search_api.http.asking import asked, searched
from search_api.http.envelope import Answer, CursorParam, LimitParam, Page, answer, failures, page
from search_api.http.filters import UnlabelledFilterDep
from search_api.http.routing import api_router, needs
from search_api.http.service import ServiceDep
from search_api.http.wire.probes import Histogram, ProbeHit, ReviewQueue
from search_api.probes.hit_pages import HitPage, hit_page
from search_api.probes.hits import HitOptions
from search_api.probes.review import ReviewOptions
from search_api.probes.reviewing import review
from search_api.probes.score_histogram import BINS, BINS_MAX, score_histogram
from search_api.probes.stored import load_probe
from search_api.questions.values import column_values
from sonotheque.core.filters import SearchFilter
from store import Archive

router = api_router("probes")
ProbeParam = Annotated[str, Path(max_length=200, description="The probe's name")]
VersionParam = Annotated[int | None, Query(ge=1, le=2**31, description="Of the probe [default: the one in use]")]
# `label` is a class of the probe here, so the filter's has another name.
LabelParam = Annotated[str | None, Query(max_length=500, description="A class of the probe")]
SpeciesParam = Annotated[str | None, Query(max_length=500, description="A species among the model's predictions")]
_K_MAX = 500


@router.get("/probes/{name}/histogram", response_model=Answer[Histogram], responses=failures(404, 409))
async def probe_histogram(
    service: ServiceDep,
    name: ProbeParam,
    where: UnlabelledFilterDep,
    label: LabelParam = None,
    species: SpeciesParam = None,
    version: VersionParam = None,
    bins: Annotated[int, Query(ge=1, le=BINS_MAX, description="From 0 to 1")] = BINS,
) -> object:
    """Return how the scores of one class are spread, with the judged windows and the threshold; of a sample if it was not applied yet."""
    told, snapshot = await searched(service, _histogram, name, version, label, where.merged(label=species), bins)
    return answer(told, snapshot, told["notes"])


@router.get(
    "/probes/{name}/review",
    response_model=Answer[ReviewQueue],
    responses=failures(404, 409),
    dependencies=[needs("annotate")],  # a draw by bins is recorded in the archive
)
async def probe_review(
    service: ServiceDep,
    name: ProbeParam,
    where: UnlabelledFilterDep,
    how: Annotated[
        Literal["uncertain", "top", "margin", "bins"],
        Query(description="`uncertain` to get better, `top` and `margin` to check, `bins` to count calls"),
    ] = "uncertain",
    k: Annotated[int | None, Query(ge=1, le=_K_MAX, description="Windows of each class [default: 10]")] = None,
    label: LabelParam = None,
    species: SpeciesParam = None,
    version: VersionParam = None,
    bins: Annotated[int, Query(ge=1, le=50, description="Score bins")] = 6,
    seed: Annotated[int, Query(ge=0, le=2**31 - 1, description="Of the random choice")] = 0,
) -> object:
    """Choose windows to judge next; those that were judged are left out."""
    options = ReviewOptions(how, k, label, where.merged(label=species), bins, seed)
    told, snapshot = await searched(service, _review, name, version, options)
    return answer(told, snapshot, told["notes"])


@router.get("/probes/{name}/hits", response_model=Page[ProbeHit], responses=failures(404, 409))
async def probe_hits(
    service: ServiceDep,
    name: ProbeParam,
    where: UnlabelledFilterDep,
    label: LabelParam = None,
    species: SpeciesParam = None,
    version: VersionParam = None,
    threshold: Annotated[
        float | None, Query(ge=0, le=1, description="Least score, for every class [default: each class's own]")
    ] = None,
    best_per: Annotated[
        Literal["recording", "site", "day"] | None, Query(description="At most the best of each class of each")
    ] = None,
    limit: LimitParam = 50,
    cursor: CursorParam = None,
) -> object:
    """List what a probe found, best first; it must have been applied."""
    options = HitOptions(where.merged(label=species), label, threshold, None, best_per)
    found, snapshot = await asked(service, _hits, name, version, options, limit, cursor)
    return page(found.rows, found.next, snapshot, found.notes)


def _histogram(
    archive: Archive, name: str, version: int | None, label: str | None, where: SearchFilter, bins: int
) -> dict[str, Any]:
    return score_histogram(archive, load_probe(archive.root, name, version), label, where, bins=bins).to_json()


def _review(archive: Archive, name: str, version: int | None, options: ReviewOptions) -> dict[str, Any]:
    found = review(archive, load_probe(archive.root, name, version), options)
    own = [column_values(found.table[column]) for column in ("rank", "score", "label", "stratum")]
    windows = with_annotations(archive, window_rows(archive, found.table))
    told = found.to_json()
    told["to_judge"] = [
        {**window, "rank": rank, "score": score, "label": label, "stratum": stratum}
        for window, rank, score, label, stratum in zip(windows, *own, strict=True)
    ]
    return told


def _hits(
    archive: Archive, name: str, version: int | None, options: HitOptions, limit: int, cursor: str | None
) -> HitPage:
    return hit_page(archive, load_probe(archive.root, name, version), options, limit=limit, cursor=cursor)
