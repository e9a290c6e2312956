"""SearchFilter: what it reads, what it refuses, and that its text form loses nothing."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid
from sonotheque.core.filters import JUDGEMENTS, HourSpan, SearchFilter, SunSpan

hours = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda t: t[0] != t[1]).map(lambda t: HourSpan(*t))
events = st.sampled_from(["sunrise", "sunset"])
suns = (
    st.tuples(events, st.integers(-700, 700), events, st.integers(-700, 700))
    .filter(lambda t: t[0] != t[2] or t[1] < t[3])
    .map(lambda t: SunSpan(*t))
)
names = st.lists(st.text(min_size=1, max_size=8), max_size=3).map(tuple)


@st.composite
def filters(draw: st.DrawFn) -> SearchFilter:
    days = sorted(draw(st.lists(st.dates(), min_size=2, max_size=2)))
    scores = sorted(draw(st.lists(st.floats(-50, 50), min_size=2, max_size=2)))
    values = {
        "sites": draw(names),
        "deployments": draw(names),
        "recordings": draw(names),
        "date_from": draw(st.sampled_from([None, days[0]])),
        "date_to": draw(st.sampled_from([None, days[1]])),
        "months": tuple(draw(st.lists(st.integers(1, 12), max_size=3))),
        "hours": draw(st.none() | hours),
        "sun": draw(st.none() | suns),
        "label": draw(st.none() | st.text(min_size=1, max_size=8)),
        "score_min": draw(st.sampled_from([None, scores[0]])),
        "score_max": draw(st.sampled_from([None, scores[1]])),
        "rank_max": draw(st.none() | st.integers(1, 20)),
        "annotated": draw(st.sampled_from([None, True, False])),
        "annotation_label": draw(st.none() | st.text(min_size=1, max_size=8)),
        "judgement": draw(st.sampled_from([None, *JUDGEMENTS])),
        "overlap_min_s": draw(st.floats(0, 10)),
        "valid_min_s": draw(st.none() | st.floats(0, 10)),
    }
    return SearchFilter(**values)


@given(filters())
def test_text_form_loses_nothing(wanted):
    assert SearchFilter.from_texts(wanted.to_json()) == wanted


@given(hours)
def test_hours_as_text(span):
    assert HourSpan.parse(str(span)) == span


@given(suns)
def test_sun_spans_as_text(span):
    assert SunSpan.parse(str(span)) == span


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("04:00-06:30", 240, 390), ("22:00-04:00", 1320, 240), ("0:00 - 24:00", 0, 1440), ("23:59-24:00", 1439, 1440)],
)
def test_hours(text, low, high):
    assert HourSpan.parse(text) == HourSpan(low, high)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4-6",
        "04:00",
        "04:00-04:00",
        "24:00-01:00",
        "04:60-05:00",
        "04:00-25:00",
        "a-b",
        "04:00-06:00-08:00",
        "-04:00",
        "4:0-5:0",
    ],
)
def test_hours_refused(text):
    with pytest.raises(Invalid, match="04:00-06:30"):
        HourSpan.parse(text)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("sunrise-60..sunrise+120", SunSpan("sunrise", -60, "sunrise", 120)),
        ("sunset..sunrise", SunSpan("sunset", 0, "sunrise", 0)),
        ("sunset+30min..sunset+90min", SunSpan("sunset", 30, "sunset", 90)),
        ("sunset-30 .. sunset", SunSpan("sunset", -30, "sunset", 0)),
    ],
)
def test_sun_spans(text, span):
    assert SunSpan.parse(text) == span


@pytest.mark.parametrize(
    "text", ["", "dawn", "sunrise", "sunrise..sunrise", "sunrise+60..sunrise-60", "sunrise60..sunset", "noon..sunset"]
)
def test_sun_spans_refused(text):
    with pytest.raises(Invalid, match="sunrise"):
        SunSpan.parse(text)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"site": ["a"]}, "did you mean sites"),
        ({"date_from": "May"}, "2025-05-03"),
        ({"date_from": "2025-05-03", "date_to": "2025-05-01"}, "after the last"),
        ({"months": [13]}, "1 to 12"),
        ({"months": ["x"]}, "1 to 12"),
        ({"score_min": "high"}, "a number"),
        ({"score_min": 2, "score_max": 1}, "above the last"),
        ({"rank_max": 0}, "1 is the best"),
        ({"judgement": "maybe"}, "positive"),
        ({"annotated": "perhaps"}, "true or false"),
        ({"overlap_min_s": -1}, "0 or more"),
        ({"overlap_min_s": float("nan")}, "0 or more"),
    ],
)
def test_refused(values, told):
    with pytest.raises(Invalid, match=told):
        SearchFilter.from_texts(values)


def test_texts_of_flags():
    wanted = SearchFilter.from_texts(
        {
            "sites": "A",
            "months": "5",
            "date_from": "2025-05-03",
            "annotated": "no",
            "score_min": "0.5",
            "label": None,
            "recordings": [],
        }
    )
    assert wanted == SearchFilter(sites=("A",), months=(5,), date_from=date(2025, 5, 3), annotated=False, score_min=0.5)


def test_a_label_of_annotations_asks_for_annotated_windows():
    assert SearchFilter(annotation_label="owl").annotated is True
    assert SearchFilter(annotation_label="owl", annotated=False).annotated is False


def test_empty():
    assert SearchFilter().is_empty
    assert SearchFilter(overlap_min_s=1.0).is_empty
    assert not SearchFilter(sites=("A",)).is_empty
    assert SearchFilter().merged(rank_max=1).asks_predictions
