"""What the service answers, as values with names. Fields that a later service adds are in ``more``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any, Self

from sonotheque.client.paging import Rows


@dataclass(frozen=True, slots=True)
class Window:
    """A window of a recording.

    Attributes
    ----------
    window_id, recording_id : str
        Identity; texts, since they do not fit every program's numbers.
    path, site, deployment : str
    start_s, end_s, valid_s : float
        Seconds from the recording's start; how much of it is sound.
    utc_start, local_start : datetime or None
        Aware; the site's clock with its offset, or naive where that is unknown.
    date : date or None
        Local.
    annotations : tuple of dict
        Judgements that overlap it: ``annotation_id, label, judgement, annotator``.
    more : dict
        What else the answer holds.
    """

    window_id: str
    recording_id: str
    path: str
    site: str | None
    deployment: str | None
    start_s: float
    end_s: float
    valid_s: float | None
    utc_start: datetime | None
    local_start: datetime | None
    date: date | None
    annotations: tuple[dict[str, Any], ...] = ()
    more: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """Return it from an answer's JSON."""
        names = {f.name for f in fields(cls)} - {"more"}
        given: dict[str, Any] = {name: value.get(name) for name in names}
        given["annotations"] = tuple(value.get("annotations") or ())
        for name in ("utc_start", "local_start"):
            given[name] = datetime.fromisoformat(given[name]) if given[name] else None
        given["date"] = date.fromisoformat(given["date"]) if given["date"] else None
        return cls(**given, more={k: v for k, v in value.items() if k not in names})

    def row(self) -> dict[str, Any]:
        """Return the fields as one flat row, annotations and times as text."""
        found: dict[str, Any] = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("more", "annotations")
        }
        for name in ("utc_start", "local_start"):
            found[name] = found[name].isoformat() if found[name] else None
        found["annotations"] = "; ".join(f"{a.get('label')}: {a.get('judgement')}" for a in self.annotations)
        return found


@dataclass(frozen=True, slots=True)
class Hit(Window):
    """A window that was found.

    Attributes
    ----------
    rank : int
        1 is the best.
    score : float
        Cosine similarity of a search, probability of a probe; higher is closer.
    exact : bool or None
    query : int or None
        Number of the query's window that it is nearest to.
    label : str or None
        Class of a probe, of hits and reviews of one.
    """

    rank: int | None = None
    score: float | None = None
    exact: bool | None = None
    query: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction(Window):
    """A window and one of the model's own classes, or a probe's.

    Attributes
    ----------
    label : str
    score, logit : float
    rank : int or None
        1 is the window's best class.
    probe, version
        Of a probe's score.
    """

    label: str = ""
    score: float | None = None
    logit: float | None = None
    rank: int | None = None
    probe: str | None = None
    version: int | None = None


class SearchResult(Rows[Hit]):
    """Hits, best first.

    Attributes
    ----------
    query, plan : dict
        What was searched for, and how it was found.
    logged : str or None
        Token of the query, if the service keeps it for review.
    notes : list of str
    """

    def __init__(self, data: dict[str, Any], notes: list[str]) -> None:
        super().__init__([Hit.of(one) for one in data["hits"]])
        self.query: dict[str, Any] = data["query"]
        self.plan: dict[str, Any] = data["plan"]
        self.logged: str | None = data.get("logged")
        self.notes = notes


@dataclass(frozen=True, slots=True)
class Identified:
    """What is singing in a sound.

    Attributes
    ----------
    windows : list of dict
        ``start_s, end_s, predictions, probes`` each.
    summary : Rows of dict
        ``label, source, windows, best_score, best_start_s``, best first.
    notes : list of str
    """

    windows: list[dict[str, Any]]
    summary: Rows[dict[str, Any]]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Job:
    """Long work of the service.

    Attributes
    ----------
    job_id, kind, state, title : str
        State: queued, running, finished, failed, cancelled or interrupted.
    progress, result, error : dict or None
    more : dict
    """

    job_id: str
    kind: str
    state: str
    title: str
    progress: dict[str, Any] | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    more: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """Return it from an answer's JSON."""
        names = {f.name for f in fields(cls)} - {"more"}
        given: dict[str, Any] = {name: value.get(name) for name in names}
        return cls(**given, more={k: v for k, v in value.items() if k not in names})

    @property
    def over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state not in ("queued", "running")


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job: ``state``, ``progress`` or ``note``.

    Attributes
    ----------
    name : str
    data : dict
    event_id : str or None
    """

    name: str
    data: dict[str, Any]
    event_id: str | None = None


class SqlResult(Rows[dict[str, Any]]):
    """Rows of a query, as dicts; of two columns with one name the last counts, and ``lists`` has both.

    Attributes
    ----------
    columns : list of dict
        ``name, type`` each.
    lists : list of list
    truncated : bool
        Whether the service left rows out.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.columns: list[dict[str, Any]] = data["columns"]
        self.lists: list[list[Any]] = data["rows"]
        self.truncated: bool = data["truncated"]
        names = [column["name"] for column in self.columns]
        super().__init__([dict(zip(names, row, strict=True)) for row in self.lists])
