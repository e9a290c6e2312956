"""The one filter object as query parameters and as JSON."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from sonotheque.core.filters import SearchFilter

Name = Annotated[str, Field(max_length=500)]


class FilterJson(BaseModel):
    """A choice of windows; every field narrows it, and an empty one means all."""

    model_config = ConfigDict(extra="forbid")

    sites: list[Name] = Field(default_factory=list, max_length=1000, description="Any of these sites")
    deployments: list[Name] = Field(default_factory=list, max_length=1000, description="Any of these deployments")
    recordings: list[Name] = Field(
        default_factory=list,
        max_length=1000,
        description="Stored paths; `*` and `?` stand for any characters and any one",
    )
    date_from: str | None = Field(None, max_length=40, description="First local date, as 2025-05-03")
    date_to: str | None = Field(None, max_length=40, description="Last local date, included")
    months: list[Annotated[int, Field(ge=1, le=12)]] = Field(default_factory=list, max_length=12)
    hours: str | None = Field(None, max_length=40, description="Time of day on the site's clock, as 22:00-04:00")
    sun: str | None = Field(None, max_length=80, description="Around sunrise or sunset, as sunrise-60..sunrise+120")
    label: Name | None = Field(None, description="A species among the model's predictions")
    score_min: float | None = Field(None, allow_inf_nan=False)
    score_max: float | None = Field(None, allow_inf_nan=False)
    rank_max: int | None = Field(None, ge=1, le=100_000)
    annotated: bool | None = Field(None, description="Only windows with an annotation, or only others")
    annotation_label: Name | None = None
    judgement: str | None = Field(None, max_length=40, description="positive, negative or uncertain")
    overlap_min_s: float | None = Field(None, ge=0, le=86_400, allow_inf_nan=False)
    valid_min_s: float | None = Field(None, allow_inf_nan=False)

    def filter(self) -> SearchFilter:
        """Return the filter; raises Invalid."""
        return SearchFilter.from_texts(self.model_dump(exclude_none=True))


def _unlabelled(
    site: Annotated[list[Name], Query(max_length=1000, description="Any of these sites")] = [],  # noqa: B006 - FastAPI copies defaults
    deployment: Annotated[list[Name], Query(max_length=1000, description="Any of these deployments")] = [],  # noqa: B006
    recording: Annotated[
        list[Name], Query(max_length=1000, description="Any of these stored paths; `*` and `?` stand for others")
    ] = [],  # noqa: B006
    date_from: Annotated[str | None, Query(max_length=40, description="First local date, as 2025-05-03")] = None,
    date_to: Annotated[str | None, Query(max_length=40, description="Last local date, included")] = None,
    month: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Query(max_length=12, description="Of any year")] = [],  # noqa: B006
    hours: Annotated[str | None, Query(max_length=40, description="As 22:00-04:00, on the site's clock")] = None,
    sun: Annotated[str | None, Query(max_length=80, description="As sunrise-60..sunrise+120")] = None,
    score_min: Annotated[float | None, Query(allow_inf_nan=False, description="Least score of the prediction")] = None,
    score_max: Annotated[
        float | None, Query(allow_inf_nan=False, description="Highest score of the prediction")
    ] = None,
    rank_max: Annotated[
        int | None, Query(ge=1, le=100_000, description="Last rank of the prediction; 1 is best")
    ] = None,
    annotated: Annotated[bool | None, Query(description="Only annotated windows, or only others")] = None,
    annotation_label: Annotated[
        str | None, Query(max_length=500, description="Annotations of this label alone")
    ] = None,
    judgement: Annotated[str | None, Query(max_length=40, description="positive, negative or uncertain")] = None,
    overlap_min_s: Annotated[
        float | None,
        Query(ge=0, le=86_400, allow_inf_nan=False, description="Least overlap of annotation and window, seconds"),
    ] = None,
    valid_min_s: Annotated[
        float | None, Query(allow_inf_nan=False, description="Least sound in a window, seconds")
    ] = None,
) -> SearchFilter:
    values: dict[str, Any] = {
        "sites": site,
        "deployments": deployment,
        "recordings": recording,
        "date_from": date_from,
        "date_to": date_to,
        "months": month,
        "hours": hours,
        "sun": sun,
        "score_min": score_min,
        "score_max": score_max,
        "rank_max": rank_max,
        "annotated": annotated,
        "annotation_label": annotation_label,
        "judgement": judgement,
        "overlap_min_s": overlap_min_s,
        "valid_min_s": valid_min_s,
    }
    return SearchFilter.from_texts({k: v for k, v in values.items() if v is not None})


UnlabelledFilterDep = Annotated[SearchFilter, Depends(_unlabelled)]
"""The filter without ``label``, for routes where that is something else."""


def _filter(
    unlabelled: UnlabelledFilterDep,
    label: Annotated[str | None, Query(max_length=500, description="A species among the predictions")] = None,
) -> SearchFilter:
    return unlabelled.merged(label=label)


FILTER_PARAMETERS: Final = frozenset({"label", *inspect.signature(_unlabelled).parameters})
"""Names of the filter's parameters in an address."""
FilterDep = Annotated[SearchFilter, Depends(_filter)]
