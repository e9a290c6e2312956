"""What is singing here, embeddings, and what a probe says: on the wire."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from search_api.http.wire.sound import ClipId, SoundRange, SoundWindow, WindowId
from sonotheque.core.errors import Invalid

TopK = Annotated[int, Query(ge=0, le=100, description="Classes of the model for each window")]
ProbeNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100)]],
    Query(min_length=1, max_length=100, description="`all` in use, `none`, or probes by name"),
]


class IdentifyRequest(SoundRange):
    """What to look at: one of ``clip`` and ``window``."""

    clip: ClipId | None = None
    window: WindowId | None = None

    def require_one(self) -> None:
        """Raise Invalid unless there is one thing to look at."""
        if (self.clip is None) == (self.window is None):
            raise Invalid("give one of clip and window")
        if self.window is not None and (self.from_s is not None or self.to_s is not None):
            raise Invalid("from_s and to_s are of a clip; a window has no range")


class ClassifyRequest(SoundRange):
    """What to look at: one of ``clip`` and ``windows``."""

    clip: ClipId | None = None
    windows: list[WindowId] | None = Field(None, min_length=1, max_length=1000, description="Windows of the archive")

    def require_one(self) -> None:
        """Raise Invalid unless there is one thing to look at."""
        if (self.clip is None) == (self.windows is None):
            raise Invalid("give one of clip and windows")
        if self.windows is not None and (self.from_s is not None or self.to_s is not None):
            raise Invalid("from_s and to_s are of a clip; a window has no range")


class Prediction(BaseModel):
    """One of the model's own classes."""

    label: str
    score: float
    rank: int = Field(description="1 is the best")


class ProbeScore(BaseModel):
    """One class of a probe."""

    probe: str
    version: int
    label: str
    score: float = Field(description="Calibrated probability")
    threshold: float
    hit: bool = Field(description="Whether the threshold is reached")


class IdentifiedWindow(SoundWindow):
    """What model and probes say of a window."""

    predictions: list[Prediction]
    probes: list[ProbeScore]


class Summary(BaseModel):
    """What was found over all windows."""

    label: str
    source: str = Field(description="`model`, or `probe:` and its name")
    windows: int
    best_score: float
    best_start_s: float


class Identified(BaseModel):
    """What is singing here."""

    windows: list[IdentifiedWindow]
    summary: list[Summary]


class Embeddings(BaseModel):
    """Vectors of a sound."""

    model: dict[str, Any] = Field(description="Exactly which model")
    windows: list[SoundWindow]
    embeddings: list[list[float]] = Field(description="One a window, as the model gives them: not normalised")


class ClassifiedWindow(BaseModel):
    """What a probe says of a window."""

    window_id: str | None = Field(None, description="Of a window of the archive")
    start_s: float
    end_s: float
    valid_s: float
    scores: dict[str, float] = Field(description="Class -> calibrated probability")
    hits: list[str] = Field(description="Classes whose threshold is reached")


class Classified(BaseModel):
    """What a probe says."""

    probe: str
    version: int
    classes: list[str]
    thresholds: dict[str, float]
    windows: list[ClassifiedWindow]
