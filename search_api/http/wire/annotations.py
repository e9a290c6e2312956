"""Judgements as they go over the wire, in and out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from search_api.http.wire.windows import RECORDING_ID, WINDOW_ID

PER_CALL = 5_000
Word = Annotated[str, Field(min_length=1, max_length=500)]
Text = Annotated[str, Field(max_length=5_000)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Hertz = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Verdict = Literal["positive", "negative", "uncertain"]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]


class Judged(BaseModel):
    """A judgement on a span that counts now."""

    annotation_id: int
    recording_id: str
    path: str
    start_s: float
    end_s: float
    low_hz: float | None
    high_hz: float | None
    label: str
    judgement: str
    annotator: str
    provenance: str
    note: str
    created_utc: str


class LabelCount(BaseModel):
    """A label that annotators used."""

    label: str
    positive: int
    negative: int
    uncertain: int
    annotators: int
    recordings: int


class NewJudgement(BaseModel):
    """What somebody says of a window, by its id; or of a span, by its recording's id or path and its start and end."""

    model_config = ConfigDict(extra="forbid")

    window_id: str | None = Field(None, pattern=WINDOW_ID)
    recording_id: str | None = Field(None, pattern=RECORDING_ID)
    path: str | None = Field(None, min_length=1, max_length=5_000)
    start_s: Seconds | None = None
    end_s: Seconds | None = None
    label: Word
    judgement: Verdict = "positive"
    low_hz: Hertz | None = None
    high_hz: Hertz | None = None
    note: Text = ""


class NewJudgements(BaseModel):
    """Judgements of one call: all of them are kept, or none."""

    model_config = ConfigDict(extra="forbid")

    annotator: Word | None = Field(None, description="Who judges; the key's name by default")
    provenance: Word | None = Field(None, description="Where the judgements come from, such as `page: review`")
    annotations: list[NewJudgement] = Field(min_length=1, max_length=PER_CALL)


class Kept(BaseModel):
    """One judgement as it is kept."""

    annotation_id: int | None
    window_id: str | None
    recording_id: str
    path: str
    start_s: float
    end_s: float
    label: str
    judgement: str


class KeptJudgements(BaseModel):
    """What was kept; on disk before this was sent."""

    batch: int | None = Field(description="What undo takes; null if nothing was new")
    added: int
    already: int = Field(description="Said before by the same annotator, and not doubled")
    contrary: int = Field(
        description="Of those added: the same annotator says otherwise of the same place, and both count"
    )
    annotations: list[Kept] = Field(description="In the order given")


class Undo(BaseModel):
    """What to undo: one of the three."""

    model_config = ConfigDict(extra="forbid")

    batch: Number | None = None
    annotation_id: Number | None = None
    last: bool = Field(False, description="The newest batch that counts, of this annotator")
    annotator: Word | None = None


class Undone(BaseModel):
    """What was undone."""

    batch: int = Field(description="Of this undo: undoing it brings back what it took")
    undoes: int
    undone: int
    restored: int
    left: int = Field(description="Left as they are, since they were changed or said again meanwhile")


class Source(BaseModel):
    """What made the answer that a listener judges."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["search", "prediction", "probe"]
    name: Word | None = None
    version: Annotated[str, Field(max_length=100)] | int | None = None
    score: float | None = Field(None, allow_inf_nan=False)


class Feedback(BaseModel):
    """A listener says whether an answer was right."""

    model_config = ConfigDict(extra="forbid")

    window_id: str = Field(pattern=WINDOW_ID)
    label: Word
    verdict: Literal["right", "wrong", "unsure"]
    source: Source
    comment: Text = ""
    listener: Word | None = Field(None, description="Who listened; the key's name by default")
