"""RawAnnotation: one judgement as a table says it, before its recording is looked up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

SLACK_S = 1.0  # how far a span may reach past the end of its recording: rounding, and headers that are a little off


@dataclass(frozen=True, slots=True)
class RawAnnotation:
    """A row of a table.

    Attributes
    ----------
    file : str
    line : int
        Where it stands, for messages; the row's number in a Parquet file.
    recording : str
        The recording as the table names it: any path, or a name.
    named_after : bool
        ``recording`` is the table's own name without its endings: the recording's ending is not known.
    start_s, end_s : float
        Seconds from the recording's start.
    label : str
    judgement : str or None
        None: the table does not say.
    low_hz, high_hz : float or None
    note : str
    annotator, provenance : str or None
        None: the table does not say.
    created_utc : datetime or None
        When the judgement was made, aware.
    slack_s : float
        How far the span may reach past the recording's end; it is cut there. As long as a window for tables made of windows,
        whose last one may be padded.
    is_open : bool
        Handed out for review, and not judged yet: says nothing.
    """

    file: str
    line: int
    recording: str
    start_s: float
    end_s: float
    label: str
    named_after: bool = False
    judgement: str | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    note: str = ""
    annotator: str | None = None
    provenance: str | None = None
    created_utc: datetime | None = None
    slack_s: float = SLACK_S
    is_open: bool = False
