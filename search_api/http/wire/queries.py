"""Kept queries and their review as they go over the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Review(BaseModel):
    """What somebody says of a kept query's answer."""

    verdict: str
    note: str
    reviewer: str
    at_utc: str


class KeptQuery(BaseModel):
    """A search that was kept for review: what was asked and how it was answered, without sound or address."""

    token: str
    asked_utc: str
    found: int = Field(description="Hits")
    review: Review | None = Field(description="The newest one")
    query: dict[str, Any]
    options: dict[str, Any]
    plan: dict[str, Any]


class KeptHit(BaseModel):
    """A window that was found."""

    window_id: str | None
    score: float | None
    rank: int | None


class KeptQueryDetail(KeptQuery):
    """A kept search with its hits and all reviews of it."""

    hits: list[KeptHit]
    reviews: list[Review]


class NewReview(BaseModel):
    """A verdict on a kept search."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["good", "poor", "unsure"]
    note: str = Field("", max_length=5_000)
    reviewer: str | None = Field(None, min_length=1, max_length=500, description="The key's name by default")
