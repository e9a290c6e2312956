"""Many judgements in one call: on windows by their ids or on spans of recordings; all of them are kept, or none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from search_api.annotations import cut_at_end, require_inside
from search_api.browsing.identity import parse_recording_id, parse_window_id, window_id
from sonotheque.core.errors import Invalid, Limit, NotFound
from sonotheque.core.suggest import did_you_mean
from store import Archive
from store.annotations import Annotation, AnnotationLog
from store.annotations.asking import ids_of

JUDGEMENTS_MAX: Final = 10_000  # of one call
_PLACES: Final = "SELECT r.recording_id, r.path, r.duration_s FROM recordings r SEMI JOIN _wanted USING ({key})"
_WINDOWS: Final = (
    "SELECT w.recording_id, w.start_sample, w.start_s, w.end_s FROM windows w JOIN _wanted USING (recording_id, start_sample) "
    "WHERE w.site IN (SELECT DISTINCT site FROM recordings SEMI JOIN _wanted USING (recording_id))"
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What somebody says of a window, or of a span.

    Attributes
    ----------
    label : str
    window_id : str or None
        ``RECORDINGID:STARTSAMPLE``; the span is the window's, cut at the recording's end.
    recording_id, path : str or None
        Of the span, if it is no window; one of the two.
    start_s, end_s : float or None
        The span, in seconds from the recording's start. One that ends in the padding of the last window is cut at the recording's end.
    judgement : str
        ``positive``, ``negative`` or ``uncertain``.
    low_hz, high_hz : float or None
    note : str

    Raises
    ------
    Invalid
        Unless it names one place.
    """

    label: str
    window_id: str | None = None
    recording_id: str | None = None
    path: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    judgement: str = "positive"
    low_hz: float | None = None
    high_hz: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        span = (self.start_s, self.end_s)
        if [self.window_id, self.recording_id, self.path].count(None) != 2:
            raise Invalid("expected one of window_id, recording_id and path: what is judged")
        if self.window_id is not None and span != (None, None):
            raise Invalid(
                "a window has its own start and end: leave out start_s and end_s, or give recording_id instead"
            )
        if self.window_id is None and None in span:
            raise Invalid("a span of a recording needs start_s and end_s, in seconds from the recording's start")


@dataclass(frozen=True, slots=True)
class _Place:
    recording_id: int
    path: str
    duration_s: float


def add_judgements(
    archive: Archive, judgements: Sequence[Judgement], *, annotator: str, provenance: str
) -> dict[str, Any]:
    """Add judgements in one transaction, which is on disk when this returns. What was said before is not doubled.

    Parameters
    ----------
    archive : Archive
    judgements : sequence of Judgement
    annotator, provenance : str
        Of all of them.

    Returns
    -------
    dict
        ``batch`` (None if nothing was new), ``added``, ``already``, ``contrary`` (of those added: the same annotator says otherwise of the
        same place), ``annotations`` (in the order given: ``annotation_id, recording_id, path, start_s, end_s, label, judgement``, and
        ``window_id`` if one was given).

    Raises
    ------
    NotFound
        If a window or a recording is not in the archive.
    Invalid
        If a value cannot be right; the number of the judgement is named.
    Limit
        If there are too many.
    """
    if len(judgements) > JUDGEMENTS_MAX:
        raise Limit(f"{len(judgements):,} judgements, at most {JUDGEMENTS_MAX:,} in one call: send them in several")
    windows = _windows(archive, [j.window_id for j in judgements if j.window_id is not None])
    places = _places(archive, judgements)
    window_s = archive.config.model.window_s
    made = []
    for number, judgement in enumerate(judgements, 1):
        try:
            made.append(_annotation(judgement, windows, places, window_s))
        except (Invalid, NotFound) as error:
            where = f"judgement {number} of {len(judgements)}: " if len(judgements) > 1 else ""
            raise type(error)(f"{where}{error.message}", kind=error.kind) from None
    added = AnnotationLog(archive.root).add(made, annotator=annotator, provenance=provenance)
    numbers = ids_of(archive.root, made, annotator)
    return {
        "batch": added.batch,
        "added": added.added,
        "already": added.already_there,
        "contrary": added.contrary,
        "annotations": [
            {
                "annotation_id": number,
                "window_id": judgement.window_id,
                "recording_id": str(one.recording_id),
                **{name: getattr(one, name) for name in ("path", "start_s", "end_s", "label", "judgement")},
            }
            for number, judgement, one in zip(numbers, judgements, made, strict=True)
        ],
    }


def _annotation(
    judgement: Judgement,
    windows: Mapping[tuple[int, int], tuple[float, float]],
    places: Mapping[Any, _Place],
    window_s: float,
) -> Annotation:
    if judgement.window_id is not None:
        identity = parse_window_id(judgement.window_id)
        if identity not in windows:
            raise NotFound(f"the archive has no window {window_id(*identity)}")
        place = places[identity[0]]
        start_s, end_s = windows[identity]
    else:
        place = _place_of(judgement, places)
        start_s, end_s = float(judgement.start_s or 0.0), float(judgement.end_s or 0.0)
        if not (math.isfinite(start_s) and math.isfinite(end_s)):
            raise Invalid(f"span {start_s:g} to {end_s:g} s: expected finite seconds")
    end_s = cut_at_end(start_s, end_s, place.duration_s, window_s)
    band = (judgement.low_hz, judgement.high_hz)
    label = judgement.label.strip()
    made = Annotation(place.recording_id, place.path, start_s, end_s, label, judgement.judgement, *band, judgement.note)
    if judgement.window_id is None:
        require_inside(start_s, end_s, place.path, place.duration_s)
    return made


def _place_of(judgement: Judgement, places: Mapping[Any, _Place]) -> _Place:
    if judgement.recording_id is not None:
        number = parse_recording_id(judgement.recording_id)
        if number not in places:
            raise NotFound(f"the archive has no recording with the id {number}", kind="unknown_recording")
        return places[number]
    if judgement.path not in places:
        near = did_you_mean(str(judgement.path), [key for key in places if isinstance(key, str)])
        raise NotFound(f"the archive has no recording {judgement.path!r}; {near}", kind="unknown_recording")
    return places[judgement.path]


def _windows(archive: Archive, texts: Iterable[str]) -> dict[tuple[int, int], tuple[float, float]]:
    identities = sorted({parse_window_id(text) for text in texts})
    if not identities:
        return {}
    wanted = pa.table(
        {
            "recording_id": pa.array([one[0] for one in identities], pa.int64()),
            "start_sample": pa.array([one[1] for one in identities], pa.int64()),
        }
    )
    rows = archive.sql_with({"_wanted": wanted}, _WINDOWS).to_pylist()
    return {(row["recording_id"], row["start_sample"]): (row["start_s"], row["end_s"]) for row in rows}


def _places(archive: Archive, judgements: Sequence[Judgement]) -> dict[Any, _Place]:
    """Return the recordings that judgements name, by id and by path."""
    numbers = {parse_window_id(j.window_id)[0] for j in judgements if j.window_id is not None}
    numbers |= {parse_recording_id(j.recording_id) for j in judgements if j.recording_id is not None}
    paths = {j.path for j in judgements if j.path is not None}
    found: dict[Any, _Place] = {}
    for key, values, kind in (("recording_id", numbers, pa.int64()), ("path", paths, pa.string())):
        if not values:
            continue
        wanted = pa.table({key: pa.array(sorted(values), kind)})
        for row in archive.sql_with({"_wanted": wanted}, _PLACES.format(key=key)).to_pylist():
            place = _Place(**row)
            found[row[key]] = place
    return found
