"""When species were heard, which were found, which labels there are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field

from search_api.browsing import answers, labels
from search_api.http.asking import asked, sent
from search_api.http.envelope import Answer, answer, failures
from search_api.http.filters import FilterDep, UnlabelledFilterDep
from search_api.http.routing import api_router
from search_api.http.service import ServiceDep
from search_api.http.wire.questions import ActivityAnswer, LabelFound, SpeciesFound

router = api_router("questions")
Labels = Annotated[
    list[Annotated[str, Field(max_length=500)]],
    Query(max_length=50, description="Species: labels, scientific or common names; with source=probe its classes"),
]
PerSite = Annotated[bool, Query(description="For each site, not for all together")]


@router.get("/activity", response_model=Answer[ActivityAnswer], responses=failures(404, 409))
async def get_activity(
    service: ServiceDep,
    wanted: UnlabelledFilterDep,
    label: Labels = [],  # noqa: B006 - FastAPI copies defaults
    by: Annotated[
        Literal["cell", "hour", "date", "month"], Query(description="cell: grids of dates and hours")
    ] = "cell",
    per_site: PerSite = False,
    source: Annotated[
        Literal["predictions", "annotations", "probe"], Query(description="Who found the species")
    ] = "predictions",
    probe: Annotated[str | None, Query(max_length=200, description="Which one, with source=probe")] = None,
) -> Any:
    """When species were heard, by local date and hour, beside how much was recorded; score_min is 0.5 unless given."""
    (found, notes), number = await asked(
        service, answers.activity_answer, label, wanted, by=by, per_site=per_site, source=source, probe=probe
    )
    return sent(found, number, notes)


@router.get("/species", response_model=Answer[list[SpeciesFound]], responses=failures(404))
async def list_species(
    service: ServiceDep,
    wanted: FilterDep,
    per_site: PerSite = False,
    best: Annotated[int, Query(ge=1, le=20, description="Windows to name that show a species best")] = 1,
    limit: Annotated[int, Query(ge=1, le=answers.SPECIES_MAX, description="Rows at most")] = 500,
) -> Any:
    """Species that were found, most windows first; rank 1 and a score of at least 0.5 unless the filter says otherwise."""
    (found, notes), number = await asked(
        service, answers.species_answer, wanted, per_site=per_site, best=best, limit=limit
    )
    return sent(found, number, notes)


@router.get("/labels", response_model=Answer[list[LabelFound]])
async def list_labels(
    service: ServiceDep,
    q: Annotated[str, Query(max_length=200, description="Part of any name; case and accents make no difference")] = "",
    limit: Annotated[int, Query(ge=1, le=10_000, description="Rows at most")] = 50,
) -> Any:
    """Labels of the model that occur, of annotations and of the probes in use."""
    return answer(*await asked(service, labels.list_labels, q, limit=limit))
