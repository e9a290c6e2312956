"""A search on the wire: what may be asked, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from search_api.http.filters import FILTER_PARAMETERS, FilterDep, FilterJson
from search_api.http.settings import Limits
from search_api.http.wire.identify import Identified
from search_api.http.wire.sound import ClipId, SoundRange, SoundWindow, WindowId
from search_api.search import K, SearchOptions
from sonotheque.core.errors import Invalid, Limit

Text = Annotated[str, Field(min_length=1, max_length=1000)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Edge = Annotated[float, Field(ge=-1.01, le=1.01, allow_inf_nan=False)]
Combine = Literal["best", "mean"]
Group = Literal["recording", "site", "day"]
K_TOLD = f"Hits, {K} by default"
OPTIONS = (
    "k",
    "combine",
    "without",
    "best_per",
    "distinct",
    "exact",
    "recall",
    "own_recording",
    "near_score",
    "per_bin",
    "bins",
    "seed",
)


class SearchRequest(SoundRange):
    """What to search for, one of ``clip``, ``window`` and ``vector``, and what may be found."""

    clip: ClipId | None = None
    window: WindowId | None = None
    vector: (
        Annotated[list[Finite], Field(min_length=1)]
        | Annotated[list[Annotated[list[Finite], Field(min_length=1)]], Field(min_length=1)]
        | None
    ) = Field(None, description="One vector of the archive's model, or several")
    k: int | None = Field(None, ge=1, le=100_000, description=K_TOLD)
    filter: FilterJson | None = None
    combine: Combine = Field("best", description="Several query windows: the nearest of them counts, or their mean")
    without: list[Text] = Field(default_factory=list, max_length=1000, description="Paths of recordings to leave out")
    best_per: Group | None = Field(None, description="Only the best hit of each recording, site or day")
    distinct: Share | None = Field(None, description="Leave out hits more similar than this to a better one")
    exact: bool = Field(False, description="Compare every window, without the index")
    recall: Share | None = Field(None, description="Recall to aim at; 1 compares all")
    own_recording: bool = Field(False, description="Do not leave out the recording that the window is of")
    near_score: Edge | None = Field(None, description="The windows nearest to this score instead of the best")
    per_bin: int | None = Field(None, ge=1, le=1000, description="So many random windows of each score bin")
    bins: list[Edge] = Field(default_factory=list, max_length=100, description="Edges of the bins")
    seed: int = Field(0, ge=0, le=2**31 - 1)

    def sources(self) -> list[str]:
        """Return which of the things to search for are given."""
        return [name for name in ("clip", "window", "vector") if getattr(self, name) is not None]

    def require_one(self) -> str:
        """Return what is searched for; raises Invalid unless it is one thing."""
        given = self.sources()
        if len(given) != 1:
            raise Invalid(
                "search for one of clip, window and vector" + (f", not for {' and '.join(given)}" if given else "")
            )
        if given != ["clip"] and (self.from_s is not None or self.to_s is not None):
            raise Invalid(f"from_s and to_s are of a clip; a {given[0]} has no range")
        return given[0]

    def require_once(self, address: Iterable[str]) -> None:
        """Raise Invalid if the address has parameters that this says as well, or that are of a sound in the body."""
        names = set(address)
        if self.filter is not None and (twice := sorted(names & FILTER_PARAMETERS)):
            raise Invalid(
                f"the filter is given twice, as {', '.join(twice)} in the address and as filter in the JSON: give one"
            )
        if twice := sorted(names & self.model_fields_set & set(OPTIONS)):
            raise Invalid(f"{', '.join(twice)}: given in the address and in the JSON; give one of them")
        self.require_no_range(names)


def _options(
    filter: FilterDep,
    k: Annotated[int | None, Query(ge=1, le=100_000, description=K_TOLD)] = None,
    combine: Annotated[Combine, Query(description="Several windows: the nearest counts, or their mean")] = "best",
    without: Annotated[list[Text], Query(max_length=1000, description="Paths of recordings to leave out")] = [],  # noqa: B006
    best_per: Annotated[Group | None, Query(description="Only the best of each recording, site or day")] = None,
    distinct: Annotated[
        Share | None, Query(description="Leave out what is more similar than this to a better hit")
    ] = None,
    exact: Annotated[bool, Query(description="Compare every window, without the index")] = False,
    recall: Annotated[Share | None, Query(description="Recall to aim at; 1 compares all")] = None,
    own_recording: Annotated[bool, Query(description="Do not leave out the window's own recording")] = False,
    near_score: Annotated[Edge | None, Query(description="The windows nearest to this score")] = None,
    per_bin: Annotated[int | None, Query(ge=1, le=1000, description="Random windows of each score bin")] = None,
    bins: Annotated[list[Edge], Query(max_length=100, description="Edges of the bins")] = [],  # noqa: B006
    seed: Annotated[int, Query(ge=0, le=2**31 - 1, description="Of the random windows")] = 0,
) -> dict[str, Any]:
    values = locals()
    return {"where": filter, **{name: values[name] for name in OPTIONS}}


OptionsDep = Annotated[dict[str, Any], Depends(_options)]


def search_options(given: dict[str, Any], asked: SearchRequest | None, limits: Limits) -> SearchOptions:
    """Return what may be found: the address's parameters, and those of a JSON body.

    Raises
    ------
    Invalid
        If values do not go together.
    Limit
        If more hits are wanted than the service returns.
    """
    values = dict(given)
    if asked is not None:
        values |= {name: getattr(asked, name) for name in asked.model_fields_set & set(OPTIONS)}
        if asked.filter is not None:
            values["where"] = asked.filter.filter()
    values["without"], values["bins"] = tuple(values["without"]), tuple(values["bins"])
    options = SearchOptions(**values)
    wanted = options.wanted if options.per_bin is None else options.per_bin * max(1, len(options.bins) - 1)
    if wanted > limits.k_max:
        raise Limit(f"{wanted:,} hits are asked for; this service returns at most {limits.k_max:,}")
    return options


class AnnotationShown(BaseModel):
    """A judgement that overlaps a window."""

    annotation_id: int
    label: str
    judgement: str
    annotator: str | None = None


class Hit(BaseModel):
    """A window that was found."""

    window_id: str
    recording_id: str
    path: str
    site: str
    deployment: str | None
    start_s: float
    end_s: float
    valid_s: float | None
    utc_start: str | None
    local_start: str | None = Field(description="The site's clock, with its offset if that is known")
    date: str | None
    rank: int
    score: float = Field(description="Cosine similarity, higher is closer")
    exact: bool = Field(description="Whether every eligible window of its part of the archive was compared")
    query: int = Field(description="Number of the query's window that it is nearest to, from 0")
    annotations: list[AnnotationShown]


class QueryShown(BaseModel):
    """What was searched for."""

    kind: Literal["clip", "window", "vector"]
    name: str
    about: str = Field(description="What was read, in words")
    clip_id: str | None
    window: str | None
    vectors: int
    windows: list[SoundWindow] = Field(description="The query's windows, in seconds of its sound")
    recording_id: str | None = Field(description="Of the recording that a query window is of")
    options: dict[str, Any] = Field(description="What was asked for, with its filter")


class Plan(BaseModel):
    """How the answer was found."""

    how: str = Field(description="exact, codes, lists, gpu or nothing")
    windows: int = Field(description="Windows of the snapshot")
    eligible: int = Field(description="Those that the filter means")
    compared: int
    coded: int
    fresh: int = Field(description="Eligible windows that the index does not know yet; they were compared too")
    recall: float = Field(description="Measured; 1 where everything was compared")
    index: int
    snapshot: int
    took_ms: float


class SearchFound(BaseModel):
    """An answer."""

    query: QueryShown
    hits: list[Hit]
    plan: Plan
    identified: Identified | None = Field(None, description="What is singing in the sound, if that was asked for")
    logged: str | None = Field(description="Token of the query, if it was kept for review")
