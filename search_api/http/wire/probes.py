"""Probes, on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from search_api.http.wire.windows import JudgedWindow


class ProbeClass(BaseModel):
    """A class of a probe."""

    label: str
    threshold: float


class ProbeRow(BaseModel):
    """A probe, by its version in use."""

    name: str
    in_use: int | None = Field(description="Version; null if none is")
    versions: list[int]
    kind: str | None = Field(description="multilabel, or multiclass: classes exclude each other")
    classes: list[ProbeClass]
    macro: dict[str, float | None] = Field(description="map, cmap, roc_auc on windows that were held out")
    digest: str | None
    problem: str | None = Field(description="Why it cannot be used")


class Run(BaseModel):
    """How a version came about."""

    name: str
    version: int
    created_utc: str | None
    in_use: bool
    imported: bool
    train_rows: int | None
    test_rows: int | None
    macro: dict[str, float | None]
    l2: Any = None
    seconds: float | None
    code_version: str | None
    data_digest: str | None
    experiment_digest: str | None
    problem: str | None


class Applied(BaseModel):
    """How far the version in use was applied."""

    windows: int = Field(description="Of the archive")
    scored: int = Field(description="Windows among them in parts that it was applied to")
    floor: float = Field(description="Least score that was kept")


class ProbeDetail(BaseModel):
    """A probe with all its versions."""

    name: str
    in_use: int | None
    versions: list[int]
    kind: str | None
    classes: list[ProbeClass]
    model: dict[str, Any] | None
    fits: bool | None = Field(description="Whether it is of the archive's model")
    runs: list[Run]
    promotions: list[dict[str, Any]] = Field(description="Which version was taken into use when, by whom and why")
    applied: Applied | None
    problem: str | None


class ProbeVersion(BaseModel):
    """One version, with the report of its training."""

    name: str
    version: int
    in_use: int | None
    versions: list[int]
    kind: str
    classes: list[ProbeClass]
    model: dict[str, Any]
    fits: bool
    digest: str
    about: dict[str, Any]
    experiment_yaml: str
    report: dict[str, Any] | None = Field(description="null for a version that was brought from elsewhere")


class Comparison(BaseModel):
    """Two versions, judged by the same windows, which neither has learnt from."""

    model_config = ConfigDict(extra="allow")

    name: str
    a: dict[str, Any]
    b: dict[str, Any]
    difference: dict[str, Any] = Field(description="b less a: value, and ci: a 95 % interval")
    metric: str = Field(description="The one that decides")
    better: str | None = Field(description="a, b or same; null where it cannot be told")
    classes: dict[str, Any]
    held_out: dict[str, Any]
    notes: list[str]


class PromoteAsk(BaseModel):
    """Take a version into use."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=2**31)
    why: str = Field("", max_length=2000, description="Put into the record")
    force: bool = Field(False, description="Also if it is not better, or that cannot be told")


class RollbackAsk(BaseModel):
    """Take the version into use again that was before."""

    model_config = ConfigDict(extra="forbid")

    why: str = Field("", max_length=2000, description="Put into the record")


class Promoted(BaseModel):
    """Which version is in use now."""

    name: str
    version: int
    before: int | None
    changed: bool = True
    forced: bool = False
    why: str
    comparison: dict[str, Any] | None = None
    notes: list[str] = Field(default_factory=list)


class Histogram(BaseModel):
    """How a probe's scores of one class are spread."""

    label: str
    version: int
    threshold: float
    edges: list[float] = Field(description="One more than there are bins")
    counts: list[int] = Field(description="Windows per bin")
    positive: list[int] = Field(description="Windows judged positive, per bin")
    negative: list[int] = Field(description="Windows judged negative, per bin")
    floor: float = Field(description="Scores below it were not kept, and are in no bin")
    below: int = Field(description="Windows with a score below the floor")
    positive_below: int
    negative_below: int
    scored: int
    windows: int
    source: str = Field(description="`scores`: kept when it was applied; `vectors`: scored for this answer")


class ProbeWindow(JudgedWindow):
    """A window with a probe's score."""

    label: str = Field(description="Class of the probe")
    score: float = Field(description="Probability, through the probe's calibration")


class ReviewWindow(ProbeWindow):
    """A window to judge."""

    rank: int
    stratum: int | None = Field(description="Number of its score bin, of a review by bins")


class ProbeHit(ProbeWindow):
    """A window with a score from the threshold on."""

    logit: float
    threshold: float


class ReviewQueue(BaseModel):
    """Windows to judge; send the judgements to `POST /v1/annotations` with `review` as their provenance."""

    probe: str
    version: int
    how: str
    labels: list[str]
    review: str = Field(description="Provenance of the judgements")
    number: int | None = Field(description="Of the record of a draw by bins, which calls are counted with")
    windows: int = Field(description="That the filter means")
    judged: dict[str, int] = Field(description="Label -> windows that were judged before, and are left out")
    scores_from: str
    floor: float
    bins: list[dict[str, Any]]
    to_judge: list[ReviewWindow]
    notes: list[str]
