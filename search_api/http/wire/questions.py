"""Activity, species and labels as they go over the wire."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from search_api.http.wire.windows import Window


class WithoutTime(BaseModel):
    """Windows whose local time is unknown: in no hour."""

    windows: int
    found: int


class Panel(BaseModel):
    """One species, at one site or at all: a grid of local dates and hours; null where nothing was recorded."""

    label: str
    site: str | None
    dates: list[str]
    hours: list[int]
    found: list[list[int | None]] = Field(description="Windows with the species, dates × 24")
    audio_s: list[list[float | None]] = Field(description="Sound that was analysed, dates × 24")


class PanelTotals(BaseModel):
    """Of one panel."""

    label: str
    site: str | None
    windows: int
    audio_h: float
    detections: int
    detections_per_h: float | None
    without_time: WithoutTime


class ActivityRow(BaseModel):
    """An hour of the day, a date or a month of one panel."""

    label: str
    site: str | None
    hour: int | None = None
    date: str | None = None
    month: str | None = None
    windows: int
    audio_h: float
    detections: int
    detections_per_h: float | None


class ActivityAnswer(BaseModel):
    """When species were heard, beside how much was recorded."""

    labels: list[str]
    source: str
    score_min: float | None
    panels: list[Panel]
    rows: list[ActivityRow] | None = Field(description="null for by=cell")
    totals: list[PanelTotals]


class BestWindow(Window):
    """A window that shows a species well."""

    score: float
    rank: int


class SpeciesFound(BaseModel):
    """A species that was found."""

    label: str
    scientific: str | None
    common: str | None
    site: str | None = Field(description="null: all sites")
    windows: int
    sites: int
    days: int = Field(description="Local dates")
    first: str | None = Field(description="On the site's clock, without an offset: sites may have several")
    last: str | None
    per_hour: float | None = Field(description="Windows with it per hour of recording")
    best_score: float
    best: list[BestWindow]


class LabelFound(BaseModel):
    """A label that can be asked for."""

    label: str
    scientific: str | None
    common: str | None
    windows: int | None = Field(
        description="Of the model: windows that it is among the best classes of; of annotations: spans"
    )
    source: Literal["model", "annotation", "probe"]
