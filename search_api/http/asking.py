"""Calls of use cases that every group of routes needs: an answer with the snapshot it is of, a judgement in the lane of writing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from fastapi.responses import JSONResponse

from search_api.http.envelope import meta
from search_api.http.service import Service
from store import Archive

P = ParamSpec("P")
R = TypeVar("R")


async def asked(
    service: Service, func: Callable[Concatenate[Archive, P], R], *args: P.args, **named: P.kwargs
) -> tuple[R, int]:
    """Run ``func(archive, ...)`` in the lane of questions; return its answer and the snapshot that was asked."""
    return await service.read(_numbered, func, args, named)


async def searched(
    service: Service, func: Callable[Concatenate[Archive, P], R], *args: P.args, **named: P.kwargs
) -> tuple[R, int]:
    """Run ``func(archive, ...)`` in the lane of searches, as :func:`asked`: for what reads vectors."""
    return await service.search(_numbered, func, args, named)


def _numbered(archive: Archive, func: Callable[..., R], args: tuple[Any, ...], named: dict[str, Any]) -> tuple[R, int]:
    return func(archive, *args, **named), archive.snapshot.number


async def written(service: Service, func: Callable[Concatenate[Archive, P], R], *args: P.args, **named: P.kwargs) -> R:
    """Run ``func(archive, ...)`` in the lane of writing: one at a time, whatever else is asked."""

    def leased() -> Any:
        with service.readers.lease() as archive:
            return func(archive, *args, **named)

    found: R = await service.run("write", leased)
    return found


def sent(data: Any, snapshot: int | None = None, notes: Sequence[str] = ()) -> JSONResponse:
    """Return one thing in its envelope as it is: for large answers, of which checking each number against the model takes longest."""
    return JSONResponse({"data": data, "meta": meta(snapshot, notes=notes).model_dump()})
