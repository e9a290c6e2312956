"""Annotations for tests: rows that follow from few numbers, recordings as a table, and what Hypothesis draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from sonotheque.core.filters import JUDGEMENTS
from sonotheque.core.ids import recording_id
from store.annotations import ANNOTATION_SCHEMA, Annotation, AnnotationLog
from store.annotations.formats import RawAnnotation
from tests.store.kit import new_store

DAWN = "wood/20240501_040000.wav"


def log_in(folder: Path) -> AnnotationLog:
    """The log of an empty store."""
    return AnnotationLog(new_store(folder)[0])


def judged(
    start_s: float = 1.0, end_s: float = 2.0, label: str = "Strix aluco", *, path: str = DAWN, **more: Any
) -> Annotation:
    return Annotation(recording_id(path), path, start_s, end_s, label, **more)


def recordings(*rows: tuple[str, float | None]) -> pa.Table:
    """Recordings of ``(path, duration_s)``, as the view has them."""
    return pa.table(
        {
            "recording_id": pa.array([recording_id(path) for path, _ in rows], pa.int64()),
            "path": pa.array([path for path, _ in rows], pa.string()),
            "duration_s": pa.array([length for _, length in rows], pa.float64()),
            "sample_rate_hz": pa.array([48_000] * len(rows), pa.int64()),
        }
    )


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as current annotations."""
    return pa.Table.from_pylist(rows, schema=ANNOTATION_SCHEMA)


def facts(raw: RawAnnotation) -> tuple[Any, ...]:
    """What a text format may hold of a row."""
    return (
        raw.recording,
        raw.start_s,
        raw.end_s,
        raw.label,
        raw.judgement,
        raw.low_hz,
        raw.high_hz,
        raw.annotator,
        raw.note,
    )


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


HOSTILE = (
    *(
        "=1+1",
        "a\tb",
        "line\nend",
        "carriage\rreturn",
        '"quoted"',
        "'=cmd",
        "comma, semicolon;",
        "🦉",
        "-",
        "\\",
        "a_b",
        "_",
    ),
    *("é", " padded ", "\u2028", "+1", "@x", "1,5", "nan", "'"),
)

seconds = st.floats(0, 100_000, allow_nan=False, allow_infinity=False).map(lambda x: round(x, 6))
lengths = st.floats(1e-3, 1_000, allow_nan=False).map(lambda x: round(x, 6) or 1e-3)
edges = st.one_of(st.none(), st.floats(0, 96_000, allow_nan=False))
texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12),
).filter(lambda text: any(c.isprintable() and not c.isspace() for c in text))
notes = st.one_of(st.just(""), st.just("confidence 0.853"), texts)


@st.composite
def rows(
    draw: st.DrawFn, *, judgements: tuple[str, ...] = JUDGEMENTS, paths: tuple[str, ...] = (DAWN, "b/é 1.flac")
) -> dict[str, Any]:
    """A current annotation, as a dict."""
    from datetime import UTC, datetime

    path = draw(st.sampled_from(paths))
    start_s = draw(seconds)
    low, high = draw(edges), draw(edges)
    if low is not None and high is not None:
        low, high = sorted((low, high))
    return {
        "annotation_id": draw(st.integers(1, 2**40)),
        "recording_id": recording_id(path),
        "path": path,
        "start_s": start_s,
        "end_s": start_s + draw(lengths),
        "low_hz": low,
        "high_hz": high,
        "label": draw(texts),
        "judgement": draw(st.sampled_from(judgements)),
        "annotator": draw(texts),
        "provenance": draw(st.sampled_from(("by hand", "raven:x.txt", "pamdp:o.csv (machine)"))),
        "note": draw(notes),
        "created_utc": draw(st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))),
    }
