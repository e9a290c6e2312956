"""Calls of use cases that every group of routes needs: an answer with the snapshot it is of, a judgement in the lane of writing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, get_args

from fastapi import Depends
from fastapi.responses import JSONResponse

from search_api.http.envelope import meta
from search_api.http.filters import FilterDep
from search_api.http.service import Service
from sonotheque.core.filters import SearchFilter
from store import Archive

P = ParamSpec("P")
R = TypeVar("R")


async def asked(
    service: Service, func: Callable[Concatenate[Archive, P], R], *args: P.args, **named: P.kwargs
) -> tuple[R, int]:
    """Run ``func(archive, ...)`` in the lane of questions; return its answer and the snapshot that was asked."""

    def numbered(archive: Archive) -> tuple[R, int]:
        return func(archive, *args, **named), archive.snapshot.number

    return await service.read(numbered)


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


_filter_of: Callable[..., SearchFilter] = get_args(FilterDep)[1].dependency


def _unlabelled(**values: Any) -> SearchFilter:
    return _filter_of(label=None, **values)


_SIGNATURE = inspect.signature(_filter_of, eval_str=True)
# FastAPI reads a dependency's parameters from its signature. Two of one name would be one in the OpenAPI document, and the wrong one.
_unlabelled.__signature__ = _SIGNATURE.replace(  # type: ignore[attr-defined]
    parameters=[p for p in _SIGNATURE.parameters.values() if p.name != "label"]
)
UnlabelledFilterDep = Annotated[SearchFilter, Depends(_unlabelled)]
"""The filter without ``label``, for routes where that is something else."""
