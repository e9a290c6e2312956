"""The compiled filter against a twin that looks at one row at a time, on tables in memory."""

from __future__ import annotations

import fnmatch
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import NotFound
from sonotheque.core.filters import HourSpan, SearchFilter, SunSpan
from store.filtering import PREDICTIONS, WINDOWS, Names, compile_filter

SITES, DEPLOYMENTS, LABELS = (
    ("A", "B b", "Č%"),
    ("d1", "d2"),
    ("Strix aluco_Tawny Owl", "Parus major_Great Tit", "rain"),
)
PATHS = ("A/1.wav", "A/2.wav", "B b/x_1.wav", "Č%/[q]?.wav")
START = datetime(2025, 5, 1, tzinfo=UTC)
NAMES = Names(lambda: SITES, lambda: DEPLOYMENTS, lambda: LABELS, lambda path: path in PATHS)
Row = dict[str, Any]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Row], list[Row], list[Row]]:
    """Windows, predictions, annotations."""
    windows, predictions, annotations = [], [], []
    for path in draw(st.lists(st.sampled_from(PATHS), min_size=1, unique=True)):
        site = draw(st.sampled_from(SITES))
        deployment = draw(st.sampled_from([None, *DEPLOYMENTS]))
        start = draw(st.none() | st.integers(0, 60 * 24 * 40).map(lambda m: START + timedelta(minutes=m)))
        sun = draw(st.none() | st.tuples(st.floats(-719, 720, width=32), st.floats(-719, 720, width=32)))
        for n in range(draw(st.integers(0, 4))):
            local = None if start is None else (start + timedelta(seconds=5 * n)).replace(tzinfo=None)
            windows.append(
                {
                    "recording_id": PATHS.index(path),
                    "start_sample": n * 5,
                    "path": path,
                    "site": site,
                    "deployment": deployment,
                    "date": local and local.date(),
                    "start_s": 5.0 * n,
                    "end_s": 5.0 * n + 5,
                    "valid_s": draw(st.sampled_from([1.0, 3.0, 5.0])),
                    "local_start": local,
                    "minutes_since_sunrise": sun and sun[0],
                    "minutes_since_sunset": sun and sun[1],
                }
            )
            for rank in range(1, 1 + draw(st.integers(0, 2))):
                predictions.append(
                    {
                        **windows[-1],
                        "rank": rank,
                        "label": draw(st.sampled_from(LABELS)),
                        "score": draw(st.sampled_from([0.25, 0.5, 0.75])),
                    }
                )
        for _ in range(draw(st.integers(0, 2))):
            low, length = (
                draw(st.sampled_from([0.0, 2.0, 4.75, 5.0, 9.9])),
                draw(st.sampled_from([0.1, 0.25, 5.0, 12.0])),
            )
            annotations.append(
                {
                    "recording_id": PATHS.index(path),
                    "start_s": low,
                    "end_s": low + length,
                    "label": draw(st.sampled_from(["owl", "tit"])),
                    "judgement": draw(st.sampled_from(["positive", "negative", "uncertain"])),
                }
            )
    return windows, predictions, annotations


@st.composite
def filters(draw: st.DrawFn) -> SearchFilter:
    def some(strategy: st.SearchStrategy[Any], none: Any = None) -> Any:
        return draw(strategy) if draw(st.integers(0, 3)) == 0 else none

    hours = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda t: t[0] != t[1])
    events = st.sampled_from(["sunrise", "sunset"])
    suns = st.tuples(events, st.integers(-300, 300), events, st.integers(-300, 300))
    low = some(st.sampled_from([0.25, 0.5, 0.6]))
    return SearchFilter(
        sites=some(st.lists(st.sampled_from(SITES), min_size=1, max_size=2).map(tuple), ()),
        deployments=some(st.lists(st.sampled_from(DEPLOYMENTS), min_size=1, max_size=2).map(tuple), ()),
        recordings=some(
            st.lists(st.sampled_from([*PATHS, "A/*", "*_1.wav", "?/1.wav", "Č%*", "*[q]*", "a%*"]), min_size=1).map(
                tuple
            ),
            (),
        ),
        date_from=some(st.dates(date(2025, 5, 1), date(2025, 5, 15))),
        date_to=some(st.dates(date(2025, 5, 15), date(2025, 6, 11))),
        months=some(st.lists(st.sampled_from([4, 5, 6]), min_size=1).map(tuple), ()),
        hours=some(hours.map(lambda t: HourSpan(*t))),
        sun=some(suns.filter(lambda t: t[0] != t[2] or t[1] < t[3]).map(lambda t: SunSpan(*t))),
        label=some(st.sampled_from([*LABELS, "Tawny Owl", "parus major"])),
        score_min=low,
        score_max=some(st.sampled_from([0.6, 0.75])),
        rank_max=some(st.integers(1, 2)),
        annotated=some(st.booleans()),
        annotation_label=some(st.sampled_from(["owl", "tit", "none of them"])),
        judgement=some(st.sampled_from(["positive", "negative"])),
        overlap_min_s=draw(st.sampled_from([0.0, 0.0, 0.2, 1.0])),
        valid_min_s=some(st.sampled_from([2.0, 5.0])),
    )


def day_minutes(value: float) -> float:
    return value % 1440


def at_place_and_time(wanted: SearchFilter, w: Row) -> bool:
    if wanted.sites and w["site"] not in wanted.sites:
        return False
    if wanted.deployments and w["deployment"] not in wanted.deployments:
        return False
    if wanted.recordings and not any(matches(g, w["path"]) for g in wanted.recordings):
        return False
    day, clock = w["date"], w["local_start"]
    if (wanted.date_from or wanted.date_to or wanted.months or wanted.hours) and day is None:
        return False
    if wanted.date_from and day < wanted.date_from:
        return False
    if wanted.date_to and day > wanted.date_to:
        return False
    if wanted.months and day.month not in wanted.months:
        return False
    if wanted.hours:
        minute, low, high = clock.hour * 60 + clock.minute, wanted.hours.from_min, wanted.hours.to_min
        inside = low <= minute < high if low < high else (minute >= low or minute < high)
        if not inside:
            return False
    return True


def matches(glob: str, path: str) -> bool:
    plain = "".join(c if c in "*?" else re.escape(c) if c == "\\" else f"[{c}]" if c in "[]" else c for c in glob)
    return fnmatch.fnmatchcase(path, plain)


def under_sun(span: SunSpan, w: Row) -> bool:
    if w["minutes_since_sunrise"] is None:
        return False
    begun = w[f"minutes_since_{span.from_event}"] - span.from_min
    left = w[f"minutes_since_{span.to_event}"] - span.to_min
    if span.from_event == span.to_event:
        return day_minutes(begun) < span.to_min - span.from_min
    return day_minutes(begun) < day_minutes(begun - left)


def predicted(wanted: SearchFilter, p: Row) -> bool:
    label = {"Tawny Owl": LABELS[0], "parus major": LABELS[1]}.get(wanted.label or "", wanted.label)
    return (
        (label is None or p["label"] == label)
        and (wanted.score_min is None or p["score"] >= wanted.score_min)
        and (wanted.score_max is None or p["score"] <= wanted.score_max)
        and (wanted.rank_max is None or p["rank"] <= wanted.rank_max)
    )


def annotated(wanted: SearchFilter, w: Row, annotations: list[Row]) -> bool:
    for a in annotations:
        overlap = min(a["end_s"], w["end_s"]) - max(a["start_s"], w["start_s"])
        least = min(wanted.overlap_min_s, a["end_s"] - a["start_s"])
        if (
            a["recording_id"] == w["recording_id"]
            and overlap > 1e-6
            and overlap >= least - 1e-6
            and wanted.annotation_label in (None, a["label"])
            and wanted.judgement in (None, a["judgement"])
        ):
            return True
    return False


def window_matches(wanted: SearchFilter, w: Row, annotations: list[Row]) -> bool:
    return (
        at_place_and_time(wanted, w)
        and (wanted.sun is None or under_sun(wanted.sun, w))
        and (wanted.valid_min_s is None or w["valid_s"] >= wanted.valid_min_s)
        and (wanted.annotated is None or annotated(wanted, w, annotations) == wanted.annotated)
    )


TYPES = {
    "recording_id": pa.int64(), "start_sample": pa.int64(), "path": pa.string(), "site": pa.string(), "deployment": pa.string(),
    "date": pa.date32(), "start_s": pa.float64(), "end_s": pa.float64(), "valid_s": pa.float64(), "local_start": pa.timestamp("us"),
    "minutes_since_sunrise": pa.float32(), "minutes_since_sunset": pa.float32(),
}  # fmt: skip
PREDICTION_TYPES = {**TYPES, "rank": pa.int16(), "label": pa.string(), "score": pa.float32()}
ANNOTATION_TYPES = {
    "recording_id": pa.int64(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "label": pa.string(),
    "judgement": pa.string(),
}


@settings(max_examples=150, deadline=None)
@given(worlds(), filters())
def test_same_rows_as_the_twin(world, wanted):
    windows, predictions, annotations = world
    with duckdb.connect() as db:
        for name, rows, types in (
            ("windows", windows, TYPES),
            ("predictions", predictions, PREDICTION_TYPES),
            ("annotations", annotations, ANNOTATION_TYPES),
        ):
            db.register(name, pa.Table.from_pylist(rows, schema=pa.schema(list(types.items()))))
        condition = compile_filter(wanted, NAMES, relation=WINDOWS)
        found = db.execute(
            f"SELECT recording_id, start_sample FROM windows w WHERE {condition.sql}", condition.parameters
        ).fetchall()
        expected = [
            (w["recording_id"], w["start_sample"])
            for w in windows
            if window_matches(wanted, w, annotations)
            and (
                not wanted.asks_predictions
                or any(
                    predicted(wanted, p)
                    for p in predictions
                    if (p["recording_id"], p["start_sample"]) == (w["recording_id"], w["start_sample"])
                )
            )
        ]
        assert sorted(found) == sorted(expected)

        condition = compile_filter(wanted, NAMES, relation=PREDICTIONS)
        found = db.execute(
            f"SELECT recording_id, start_sample, rank FROM predictions w WHERE {condition.sql}", condition.parameters
        ).fetchall()
        expected = [
            (p["recording_id"], p["start_sample"], p["rank"])
            for p in predictions
            if predicted(wanted, p) and window_matches(wanted, p, annotations)
        ]
        assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sites": ("B",)}, r"no site 'B' in the store; did you mean B b\?"),
        ({"deployments": ("d3",)}, r"no deployment 'd3' in the store; there is d1 and d2"),
        ({"recordings": ("A/3.wav",)}, r"no recording 'A/3.wav'"),
        ({"label": "Tawny Ovl"}, "Tawny Owl"),
    ],
)
def test_unknown_names_are_errors(changes, told):
    with pytest.raises(NotFound, match=told):
        compile_filter(SearchFilter(**changes), NAMES)


def test_nothing_a_user_gives_stands_in_the_sql():
    nasty = "x'); DROP TABLE windows; --"
    names = Names(lambda: [nasty], lambda: [nasty], lambda: [nasty], lambda path: True)
    wanted = SearchFilter(
        sites=(nasty,), deployments=(nasty,), recordings=(nasty, f"{nasty}*"), label=nasty, annotation_label=nasty
    )
    for relation in (WINDOWS, PREDICTIONS):
        condition = compile_filter(wanted, names, relation=relation)
        assert "DROP" not in condition.sql
        assert condition.sql.count("?") == len(condition.parameters)
        assert condition.parameters.count(nasty) >= 5
