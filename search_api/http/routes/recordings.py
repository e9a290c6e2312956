"""Recordings, sites and effort; what the archive's files are at."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from search_api.browsing import holdings, places, recordings
from search_api.http.asking import asked, sent
from search_api.http.envelope import Answer, CursorParam, LimitParam, Page, answer, failures, page
from search_api.http.filters import FilterDep
from search_api.http.routing import api_router
from search_api.http.service import ServiceDep
from search_api.http.wire.recordings import Effort, IndexState, RecordingDetail, Site, SnapshotInfo
from search_api.http.wire.windows import RECORDING_ID, Recording, Timeline

router = api_router("recordings")
RecordingId = Annotated[str, Path(pattern=RECORDING_ID, description="As the list of recordings has it")]
ScoreMin = Annotated[float, Query(ge=0, le=1, allow_inf_nan=False, description="Least score of predictions that count")]
FromS = Annotated[float, Query(ge=0, le=1e9, allow_inf_nan=False, description="Only windows that end after this")]
ToS = Annotated[
    float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="Only windows that begin before this")
]


@router.get("/recordings", response_model=Page[Recording], responses=failures(404, 409))
async def list_recordings(
    service: ServiceDep, wanted: FilterDep, limit: LimitParam = 50, cursor: CursorParam = None
) -> Any:
    """Recordings by site and time, those that failed too; takes site, deployment, recording, dates, months and hours."""
    found, number = await asked(service, recordings.list_recordings, wanted, limit=limit, cursor=cursor)
    return page(found.rows, found.next, number)


@router.get("/recordings/{recording_id}", response_model=Answer[RecordingDetail], responses=failures(404))
async def get_recording(service: ServiceDep, recording_id: RecordingId, score_min: ScoreMin = 0.25) -> Any:
    """One recording: what the model heard in it best, the judgements on it, its neighbours in time."""
    found, number = await asked(service, recordings.recording_detail, recording_id, score_min=score_min)
    return answer(found, number)


@router.get("/recordings/{recording_id}/timeline", response_model=Answer[Timeline], responses=failures(404))
async def get_timeline(
    service: ServiceDep,
    recording_id: RecordingId,
    from_s: FromS = 0.0,
    to_s: ToS = None,
    top: Annotated[int, Query(ge=0, le=10, description="Classes of each window")] = 3,
) -> Any:
    """A recording's windows along its time, each with its best classes and the judgements on it; at most 10,000."""
    (found, notes), number = await asked(service, recordings.timeline, recording_id, from_s=from_s, to_s=to_s, top=top)
    return sent(found, number, notes)


@router.get("/sites", response_model=Answer[list[Site]])
async def list_sites(service: ServiceDep) -> Any:
    """Sites with their place and effort."""
    return answer(*await asked(service, places.list_sites))


@router.get("/effort", response_model=Answer[Effort], responses=failures(404, 413))
async def get_effort(
    service: ServiceDep,
    wanted: FilterDep,
    per_site: Annotated[bool, Query(description="A cell for each site, not one for all")] = True,
) -> Any:
    """Sound that was analysed in each hour of each local date."""
    return sent(*await asked(service, places.effort, wanted, per_site=per_site))


@router.get("/index", response_model=Answer[IndexState], responses=failures(409))
async def get_index(service: ServiceDep) -> Any:
    """The state of the search index: kind, measured recall, windows that it does not hold yet."""
    return answer(*await asked(service, holdings.index_state))


@router.get("/snapshots", response_model=Answer[list[SnapshotInfo]])
async def list_snapshots(service: ServiceDep) -> Any:
    """The archive's numbered states, oldest first."""
    return answer(*await asked(service, holdings.list_snapshots))
