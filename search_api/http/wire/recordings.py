"""A recording with what was heard in it, sites, effort, index and snapshots as they go over the wire."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from search_api.http.wire.annotations import Judged
from search_api.http.wire.windows import Recording


class TopOfRecording(BaseModel):
    """A class that the model found in a recording."""

    label: str
    windows: int = Field(description="With a score of at least score_min")
    best_score: float
    best_start_s: float
    best_window_id: str


class RecordingDetail(Recording):
    """A recording with what was heard in it."""

    predictions_top: list[TopOfRecording]
    annotations: list[Judged]
    previous: str | None = Field(description="Id of the recording before it at its site, by time")
    next: str | None


class Site(BaseModel):
    """One site with its effort."""

    site: str
    latitude: float | None
    longitude: float | None
    zone: str | None
    recordings: int
    windows: int
    audio_s: float = Field(description="Sound of the recordings that were embedded")
    first: str | None = Field(description="Local date of the first recording")
    last: str | None
    days: int = Field(description="Local dates on which a recording with sound begins")
    deployments: int


class EffortCell(BaseModel):
    """An hour of a local date."""

    site: str | None = Field(description="null: all sites")
    date: str
    hour: int
    audio_s: float


class EffortTotals(BaseModel):
    """Of all that was asked for."""

    windows: int
    audio_s: float
    without_time_s: float = Field(description="Sound whose local time is unknown: in no cell")


class Effort(BaseModel):
    """How much sound was analysed in each hour; hours without recording have no cell."""

    dates: list[str]
    hours: list[int]
    cells: list[EffortCell]
    totals: EffortTotals


class IndexState(BaseModel):
    """The state of the search index; only `built` and `notes` if there is none."""

    model_config = ConfigDict(extra="allow")

    built: bool
    notes: list[str]


class SnapshotInfo(BaseModel):
    """One numbered state of the archive."""

    snapshot: int
    newest: bool
    asked: bool = Field(description="Whether this answer was asked of it")
    parts: int | None
    windows: int | None
    bytes: int | None
    problem: str | None
