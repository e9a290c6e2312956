"""One shape of all answers: ``data`` and ``meta``; one of all errors: ``error``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

T = TypeVar("T")
BEGAN: ContextVar[float] = ContextVar("sonotheque_began")
LIMIT_MAX: Final = 500
LIMIT: Final = 50


class Meta(BaseModel):
    """What an answer says of itself."""

    snapshot: int | None = Field(None, description="Number of the snapshot that was asked")
    took_ms: float | None = Field(None, description="Milliseconds in the service, from when the request was let in")
    next: str | None = Field(None, description="`cursor` of the next page; null on the last page")
    notes: list[str] = Field(default_factory=list, description="What a user should know of this answer")
    times_ms: dict[str, float] | None = Field(None, description="Where the milliseconds went")


class Answer(BaseModel, Generic[T]):
    """One thing."""

    data: T
    meta: Meta


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    meta: Meta


class FieldFault(BaseModel):
    """What is wrong with one parameter or one part of a body."""

    where: str
    message: str


class Fault(BaseModel):
    """An error."""

    kind: str = Field(description="A stable word; see the table of kinds in the documentation")
    message: str = Field(description="What happened, with the values, and what to do next")
    request_id: str | None = Field(None, description="Also in the header X-Request-Id and in the service's log")
    fields: list[FieldFault] | None = None


class ErrorAnswer(BaseModel):
    """What every error looks like."""

    error: Fault


_TOLD: Final = {
    400: "The request cannot be read",
    401: "No key, or not a valid one",
    403: "The key does not allow this, or the request came from another site",
    404: "Something named is not there",
    408: "The body took too long to arrive",
    409: "Two things that are each fine and do not go together",
    413: "A bound was reached: size of the body, seconds of sound, number of windows",
    415: "Not a sound that can be read, or a wrong content type",
    416: "The range asked for lies outside",
    422: "A value cannot be right",
    429: "Asked more often than allowed; see Retry-After",
    500: "A file of the store is damaged, or the program has an error",
    503: "Not possible now, or too much to do; see Retry-After",
}
EVERYWHERE: Final = (400, 401, 403, 422, 429, 500, 503)


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses=`` entries that declare errors, each in the one shape."""
    return {s: {"model": ErrorAnswer, "description": _TOLD[s]} for s in sorted(set(statuses))}


def meta(
    snapshot: int | None = None,
    *,
    next: str | None = None,
    notes: Sequence[str] = (),
    times_ms: dict[str, float] | None = None,
) -> Meta:
    """Return what an answer says of itself."""
    began = BEGAN.get(0.0)
    took = round(1000 * (time.perf_counter() - began), 3) if began else None
    return Meta(snapshot=snapshot, took_ms=took, next=next, notes=list(notes), times_ms=times_ms)


def answer(
    data: Any,
    snapshot: int | None = None,
    notes: Sequence[str] = (),
    times_ms: dict[str, float] | None = None,
) -> Any:
    """Return one thing in its envelope, for a route whose ``response_model`` is ``Answer[...]``."""
    return {"data": data, "meta": meta(snapshot, notes=notes, times_ms=times_ms)}


def page(rows: Sequence[Any], next: str | None, snapshot: int | None = None, notes: Sequence[str] = ()) -> Any:
    """Return one page in its envelope, for a route whose ``response_model`` is ``Page[...]``."""
    return {"data": list(rows), "meta": meta(snapshot, next=next, notes=notes)}


LimitParam = Annotated[int, Query(ge=1, le=LIMIT_MAX, description=f"Rows of a page, at most {LIMIT_MAX}")]
CursorParam = Annotated[str | None, Query(max_length=2000, description="`meta.next` of the page before")]
