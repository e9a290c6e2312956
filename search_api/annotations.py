"""Use cases of annotations: single judgements, what there is, undo. Tables are in ``annotation_tables``."""

from __future__ import annotations

import getpass
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import JUDGEMENTS
from sonotheque.core.suggest import did_you_mean
from store import open_archive, read_config
from store.annotations import Annotation, AnnotationLog
from store.annotations.resolve import RecordingIndex

RECORDINGS = "SELECT recording_id, path, duration_s FROM recordings"


def default_annotator() -> str:
    """Return who judges if nobody is named: the login name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without users
        return "unknown"


def add_annotation(
    root: str,
    recording: str,
    start_s: float,
    end_s: float,
    label: str,
    *,
    annotator: str,
    judgement: str = "positive",
    low_hz: float | None = None,
    high_hz: float | None = None,
    note: str = "",
    provenance: str = "by hand",
) -> dict[str, Any]:
    """Add one judgement. A span that reaches into a window's padding is cut at the recording's end.

    Raises
    ------
    NotFound
        (``unknown_recording``) If the store has no such recording.
    Invalid
        If a value cannot be right, or the span lies outside the recording.
    """
    with open_archive(root) as archive:
        index = RecordingIndex(archive.sql(RECORDINGS))
        window_s = archive.config.model.window_s
    found = index.find(recording)
    if found is None:
        raise NotFound(f"{recording!r} is no recording of {root}; {index.near(recording)}", kind="unknown_recording")
    place, _ = found
    end_s = cut_at_end(start_s, end_s, place.duration_s, window_s)
    made = Annotation(place.recording_id, place.path, start_s, end_s, label.strip(), judgement, low_hz, high_hz, note)
    require_inside(start_s, end_s, place.path, place.duration_s)
    added = AnnotationLog(root).add([made], annotator=annotator, provenance=provenance)
    return {**added.to_json(), "path": place.path, "start_s": made.start_s, "end_s": made.end_s, "label": made.label}


def cut_at_end(start_s: float, end_s: float, duration_s: float | None, window_s: float) -> float:
    """Return where a span ends: with its recording, if it begins in it and reaches no further than the last window's padding can."""
    if duration_s and start_s < duration_s < end_s <= duration_s + window_s:
        return duration_s
    return end_s


def require_inside(start_s: float, end_s: float, path: str, duration_s: float | None) -> None:
    """Raise Invalid if a span ends after its recording; one whose length is not known takes any."""
    if duration_s and end_s > duration_s:
        raise Invalid(
            f"the span {start_s:g} to {end_s:g} s ends after the recording {path}, which lasts {duration_s:.3f} s"
        )


def list_annotations(
    root: str,
    *,
    label: str | None = None,
    annotator: str | None = None,
    recording: str | None = None,
    judgement: str | None = None,
) -> pa.Table:
    """Return the annotations that count, as ``ANNOTATION_SCHEMA``, by recording and time.

    Parameters
    ----------
    root : str
    label, annotator, judgement : str, optional
        Only these.
    recording : str, optional
        Only of recordings with this path; ``*`` and ``?`` stand for any characters and any one.

    Raises
    ------
    NotFound
        If a name given is no annotation's; near ones are named.
    """
    read_config(root)
    table = AnnotationLog(root).current()
    for column, wanted in (("label", label), ("annotator", annotator), ("judgement", judgement), ("path", recording)):
        if wanted is None:
            continue
        names = set(table[column].unique().to_pylist())
        kept = matching(names, wanted) if column == "path" else names & {wanted}
        if not kept and column != "judgement":
            what = "recording" if column == "path" else column
            raise NotFound(f"no annotation of {root} has the {what} {wanted!r}; {did_you_mean(wanted, names)}")
        table = table.filter(pc.is_in(table[column], value_set=pa.array(sorted(kept), pa.string())))
    return table.sort_by([("path", "ascending"), ("start_s", "ascending"), ("annotation_id", "ascending")])


def annotation_events(root: str) -> pa.Table:
    """Return everything that ever happened to the annotations, in order, as ``EVENT_SCHEMA``."""
    read_config(root)
    return AnnotationLog(root).events()


def undo_annotations(
    root: str,
    *,
    batch: int | None = None,
    annotation_id: int | None = None,
    last: bool = False,
    annotator: str,
    of_annotator: str | None = None,
) -> dict[str, Any]:
    """Undo a batch, an annotation, or the newest batch that counts; see :meth:`store.annotations.AnnotationLog.undo`."""
    read_config(root)
    log = AnnotationLog(root)
    done = log.undo(batch=batch, annotation_id=annotation_id, last=last, annotator=annotator, of_annotator=of_annotator)
    return done.to_json()


def annotation_labels(root: str) -> list[dict[str, Any]]:
    """Return, by label: how many annotations of each judgement, by how many annotators, of how many recordings."""
    rows = list_annotations(root).select(["label", "judgement", "annotator", "recording_id"]).to_pylist()
    by_label: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(row)
    return [
        {
            "label": label,
            **{judgement: sum(row["judgement"] == judgement for row in own) for judgement in JUDGEMENTS},
            "annotators": len({row["annotator"] for row in own}),
            "recordings": len({row["recording_id"] for row in own}),
        }
        for label, own in sorted(by_label.items())
    ]


def matching(paths: set[str], wanted: str) -> set[str]:
    """Return the paths that a pattern means; ``*`` and ``?`` stand for any characters and any one."""
    pattern = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in wanted), re.DOTALL)
    return {path for path in paths if pattern.fullmatch(path)}
