"""What the service tells of itself, on the wire."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ModelFacts(BaseModel):
    """What the archive's vectors are."""

    name: str
    version: str
    dim: int
    window_s: float = Field(description="Length of a window, seconds of the model's own time")
    sample_rate_hz: int
    licence_note: str = Field(description="What users of the weights should know; empty if nothing")


class StoreFacts(BaseModel):
    """What the archive holds."""

    name: str
    model: ModelFacts
    windows: int
    recordings: int
    sites: int
    audio_s: float
    first: str | None = Field(description="Local date of the first recording")
    last: str | None = Field(description="Local date of the last recording")


class Features(BaseModel):
    """What this service offers; some need a scope besides."""

    sql: bool
    annotate: bool
    jobs: bool
    embed: bool = Field(description="Whether uploads can be embedded")
    query_log: bool
    recordings_here: bool = Field(description="Whether the recordings' folders are there: else nothing can be heard")


class You(BaseModel):
    """Who asks."""

    name: str
    scopes: list[str]
    annotator: str = Field(description="Whose judgements yours will be, unless you say otherwise")


class Bounds(BaseModel):
    """Bounds that requests must keep to."""

    body_bytes: int
    decoded_s: float
    k_max: int
    clip_s: float


class Info(BaseModel):
    """The service."""

    name: str
    version: str
    store: StoreFacts
    features: Features
    you: You
    limits: Bounds


class Health(BaseModel):
    """Whether the process is alive."""

    status: str


class Ready(BaseModel):
    """Whether everything can be asked."""

    ready: bool
    reasons: list[str] = Field(description="Why not; empty when ready")


class SignIn(BaseModel):
    """A key, to begin a session of the page with."""

    key: str = Field(min_length=1, max_length=200, description="As `sonotheque keys create` showed it")


class Session(BaseModel):
    """A session of the page."""

    name: str
    scopes: list[str]


class SessionEnd(BaseModel):
    """Whether there was a session to end."""

    ended: bool
