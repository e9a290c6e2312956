"""Windows, predictions and scores."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from search_api.browsing import windows
from search_api.http.asking import asked
from search_api.http.envelope import Answer, CursorParam, LimitParam, Page, answer, failures, page
from search_api.http.filters import FilterDep, UnlabelledFilterDep
from search_api.http.routing import api_router
from search_api.http.service import ServiceDep
from search_api.http.wire.windows import WINDOW_ID, JudgedWindow, Prediction, ProbeScore, WindowDetail

router = api_router("windows")
WindowId = Annotated[str, Path(pattern=WINDOW_ID, description="RECORDINGID:STARTSAMPLE")]
WideLimit = Annotated[int, Query(ge=1, le=1000, description="Rows of a page, at most 1000")]


@router.get("/windows", response_model=Page[JudgedWindow], responses=failures(404, 409))
async def list_windows(
    service: ServiceDep, wanted: FilterDep, limit: LimitParam = 50, cursor: CursorParam = None
) -> Any:
    """Windows that a filter means, with the judgements on them, by site and time."""
    found, number = await asked(service, windows.list_windows, wanted, limit=limit, cursor=cursor)
    return page(found.rows, found.next, number)


@router.get("/windows/{window_id}", response_model=Answer[WindowDetail], responses=failures(404))
async def get_window(service: ServiceDep, window_id: WindowId) -> Any:
    """One window with all that is known of it: predictions, judgements, probes' scores, neighbours, recording."""
    found, number = await asked(service, windows.window_detail, window_id)
    return answer(found, number)


@router.get("/predictions", response_model=Page[Prediction], responses=failures(404, 409))
async def list_predictions(
    service: ServiceDep, wanted: FilterDep, limit: WideLimit = 50, cursor: CursorParam = None
) -> Any:
    """Predictions of the model that a filter means: a window and one of its best classes a row."""
    found, number = await asked(service, windows.list_predictions, wanted, limit=limit, cursor=cursor)
    return page(found.rows, found.next, number)


@router.get("/scores", response_model=Page[ProbeScore], responses=failures(404, 409))
async def list_scores(
    service: ServiceDep,
    wanted: UnlabelledFilterDep,
    probe: Annotated[str | None, Query(max_length=200, description="Only this probe")] = None,
    label: Annotated[str | None, Query(max_length=500, description="Only this class of the probes")] = None,
    least: Annotated[
        float | None, Query(alias="min", ge=0, le=1, allow_inf_nan=False, description="Least score")
    ] = None,
    limit: WideLimit = 50,
    cursor: CursorParam = None,
) -> Any:
    """What the probes in use said of the windows that a filter means; `label` is a class of the probes here."""
    found, number = await asked(
        service, windows.list_scores, wanted, probe=probe, label=label, least=least, limit=limit, cursor=cursor
    )
    return page(found.rows, found.next, number)
