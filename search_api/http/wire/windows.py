"""Windows, predictions and scores as they go over the wire."""

from __future__ import annotations

from pydantic import BaseModel, Field

WINDOW_ID = r"^[0-9]{1,19}:[0-9]{1,19}$"
RECORDING_ID = r"^[0-9]{1,19}$"
_LOCAL = "Clock of the site, with the offset that it had at that moment; without one where the zone is unknown"


class OnWindow(BaseModel):
    """A judgement that overlaps a window."""

    annotation_id: int
    label: str
    judgement: str = Field(description="positive, negative or uncertain")
    annotator: str


class Window(BaseModel):
    """One window of a recording."""

    window_id: str = Field(description="RECORDINGID:STARTSAMPLE", examples=["8936868079776957964:144000"])
    recording_id: str = Field(description="63 bits: text, since it does not fit the numbers of JavaScript")
    path: str = Field(description="Of the recording, relative to the archive")
    site: str
    deployment: str | None
    start_s: float = Field(description="From the recording's start")
    end_s: float = Field(description="Half-open; may lie behind the recording's end")
    valid_s: float | None = Field(description="How much of it is sound and not padding")
    utc_start: str | None = Field(description="ISO 8601 with Z", examples=["2025-05-10T02:12:00Z"])
    local_start: str | None = Field(description=_LOCAL, examples=["2025-05-10T04:12:00+02:00"])
    date: str | None = Field(description="Local date at its start")


class JudgedWindow(Window):
    """One window with the judgements on it."""

    annotations: list[OnWindow]


class Predicted(BaseModel):
    """One of the best classes that the model gave a window."""

    label: str
    score: float = Field(description="0 to 1, by the model's rule; no probability")
    logit: float
    rank: int = Field(description="1 is the window's best class")


class Scored(BaseModel):
    """One class of a probe in a window."""

    probe: str
    version: int
    label: str
    score: float = Field(description="Probability, through the probe's calibration")
    threshold: float | None = Field(description="From which the probe says yes")


class Prediction(Window, Predicted):
    """A window and one of its classes."""


class ProbeScore(Window):
    """A window and what a probe in use said of it."""

    probe: str
    version: int
    label: str
    score: float
    logit: float


class Recording(BaseModel):
    """One audio file, whether it gave windows or not; place and time as corrected."""

    recording_id: str
    path: str
    site: str
    deployment: str | None
    date: str | None
    local_start: str | None = Field(description=_LOCAL)
    utc_start: str | None
    utc_offset_min: int | None = Field(description="Local clock minus UTC at its start")
    zone: str | None
    time_source: str | None
    time_issues: list[str] = Field(description="What a person should look at in its time")
    duration_s: float | None
    sample_rate_hz: int | None
    channels: int | None
    container: str | None
    codec: str | None
    status: str
    outcome: str = Field(description="done, skipped or failed")
    reason: str | None
    windows: int
    latitude: float | None
    longitude: float | None
    recorder: str | None
    device: dict[str, object] = Field(description="All that the file says of its recorder")
    size_bytes: int | None
    clock_offset_s: float | None
    stored_site: str | None
    part_id: str | None


class WindowDetail(JudgedWindow):
    """A window with all that is known of it."""

    predictions: list[Predicted]
    scores: list[Scored]
    previous: str | None = Field(description="Id of the window before it in its recording")
    next: str | None = Field(description="Id of the window after it in its recording")
    recording: Recording


class Top(BaseModel):
    """One class of a window on a timeline."""

    label: str
    score: float


class OnTimeline(BaseModel):
    """One window along a recording."""

    window_id: str
    start_s: float
    end_s: float
    top: list[Top]
    annotations: list[OnWindow]


class Timeline(BaseModel):
    """A recording's windows along its time."""

    hop_s: float
    duration_s: float | None
    windows: list[OnTimeline]
