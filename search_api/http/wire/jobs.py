"""Jobs, on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from search_api.boards.requests import WORKERS_MAX

State = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]
Kind = Literal["embed", "train", "apply", "index"]
ProbeName = Annotated[str, Field(min_length=1, max_length=100)]


class Progress(BaseModel):
    """How far a job is."""

    stage: str | None = Field(None, description="What it does now, such as `embedding` or `training`")
    done: int | None = None
    total: int | None = None
    eta_s: float | None = Field(None, description="Seconds left of this stage, as far as its speed tells")
    windows: int | None = None
    audio_s: float | None = Field(None, description="Seconds of sound that are done")
    audio_total_s: float | None = None
    x_realtime: float | None = Field(None, description="Seconds of sound a second")
    at: str | None = Field(None, description="When this was told, UTC")


class JobFault(BaseModel):
    """Why a job did not finish."""

    kind: str
    message: str


class JobJson(BaseModel):
    """A job."""

    job_id: str = Field(description="`run-N` for a run that the command line started")
    kind: Kind
    state: State = Field(description="`interrupted`: its process has gone without a word")
    title: str
    created: str
    started: str | None
    ended: str | None
    attempt: int = Field(description="How often it was begun")
    by: str | None = Field(description="Who asked for it")
    stopping: bool = Field(description="Asked to end, and has not ended yet")
    progress: Progress | None
    result: dict[str, Any] | None = Field(
        description="What came of it: counts of an embedding or an application, version of a training, state of an index"
    )
    error: JobFault | None
    run: int | None = Field(description="Number of the store's own job folder, of an embedding")
    can_cancel: bool
    can_resume: bool
    has_report: bool


class EmbedAsk(BaseModel):
    """Embed recordings below a folder that the service was given; what is in the archive already is left alone."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["embed"]
    source: str = Field(
        min_length=1, max_length=200, description="Name of a folder of recordings, as `GET /v1/jobs/sources` lists"
    )
    folder: str = Field("", max_length=1000, description="Below it, as 2025/forest; all of it by default")
    site: str | None = Field(None, max_length=200, description="Put all of it under this site")
    timezone: str | None = Field(None, max_length=100, description="IANA zone of the sites, as Europe/Paris")
    workers: int | None = Field(
        None, ge=0, le=WORKERS_MAX, description="Processes; as many as the machine holds by default"
    )


class TrainAsk(BaseModel):
    """Train a probe from what was judged."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["train"]
    probe: ProbeName
    classes: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        default_factory=list, max_length=1000, description="Labels to learn; all that were judged by default"
    )
    experiment: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings, with the keys of an experiment's YAML; defaults as `sonotheque probe train`",
    )


class ApplyAsk(BaseModel):
    """Score every window by probes; only what is not scored yet is read."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["apply"]
    probes: Literal["all"] | Annotated[list[ProbeName], Field(min_length=1, max_length=1000)] = Field(
        description='Their names, or "all": every probe with a version in use'
    )
    floor: float | None = Field(None, ge=0, le=1, description="Scores below it are not kept [default: 0.01]")


class IndexAsk(BaseModel):
    """Build the search index, or bring it up to date."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["index"]
    action: Literal["build", "update"]


JobAsk = Annotated[EmbedAsk | TrainAsk | ApplyAsk | IndexAsk, Field(discriminator="kind")]


class SourceJson(BaseModel):
    """A folder of recordings that may be embedded."""

    source: str
    folders: list[str] = Field(description="The folders in it, the first 500")


class ReportRow(BaseModel):
    """What became of one recording."""

    path: str
    outcome: str = Field(description="done, skipped or failed")
    status: str
    reason: str
    site: str
    start: str
    time_source: str
    time_issues: str
    duration_s: float
    windows: int
    seconds: float
    top_label: str
    top_score: float | str = Field(description="Empty where there is none")


class JobReport(BaseModel):
    """What became of every recording of an embedding."""

    job_id: str
    summary: dict[str, Any]
    rows: list[ReportRow]
    truncated: bool = Field(description="Whether there are more rows; CSV and XLSX hold all")
