"""Archives made by Hypothesis, and what a person counting by hand finds in them."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import strategies as st

from sonotheque.core.filters import HourSpan, SearchFilter
from tests.questions.kit import CHIFFCHAFF, OWL, TIT, Recording

DAY = datetime(2025, 5, 1)
SCORES = st.sampled_from([0.25, 0.5, 0.625, 0.75, 1.0])
PREDICTED = st.lists(st.tuples(st.sampled_from([OWL, TIT, CHIFFCHAFF]), SCORES), max_size=3, unique_by=lambda p: p[0])


@st.composite
def recordings(draw: st.DrawFn) -> list[Recording]:
    """A few files of a few windows; every label and site occurs somewhere, so that it can be asked for."""
    out = [
        Recording("all.wav", "z", DAY, 3.0, found=[[(OWL, 0.25), (TIT, 0.25), (CHIFFCHAFF, 0.25)]]),
        Recording("bad.wav", "a", DAY, outcome="failed", status="empty"),
    ]
    for i in range(draw(st.integers(0, 8))):
        minutes = draw(st.none() | st.integers(0, 40 * 1440))
        n = draw(st.integers(1, 4))
        sun = draw(st.none() | st.tuples(st.integers(-700, 700), st.integers(-700, 700)))
        out.append(
            Recording(
                f"f{i}.wav",
                site=draw(st.sampled_from(["a", "b b"])),
                local_start=None
                if minutes is None
                else DAY + timedelta(minutes=minutes, seconds=draw(st.sampled_from([0, 57]))),
                duration_s=3.0 * n - draw(st.sampled_from([0.0, 1.5])),
                zone=draw(st.sampled_from([None, "UTC"])),
                found=[draw(PREDICTED) for _ in range(n)],
                sun=None if sun is None else (float(sun[0]), float(sun[1])),
            )
        )
    return out


@st.composite
def filters(draw: st.DrawFn) -> SearchFilter:
    """Choices of place and time."""

    def some(strategy, none=None):
        return draw(strategy) if draw(st.integers(0, 2)) == 0 else none

    return SearchFilter(
        sites=some(st.sampled_from([("a",), ("a", "z")]), ()),
        date_from=some(st.just((DAY + timedelta(days=10)).date())),
        hours=some(st.sampled_from([HourSpan(240, 720), HourSpan(1200, 300)])),
        rank_max=some(st.integers(1, 2)),
        score_min=some(SCORES),
    )


def chosen(window: dict, wanted: SearchFilter) -> bool:
    """Whether the filter of place and time means a window."""
    if wanted.sites and window["site"] not in wanted.sites:
        return False
    at = window["local_start"]
    if (wanted.date_from or wanted.hours) and at is None:
        return False
    if wanted.date_from and at.date() < wanted.date_from:
        return False
    if wanted.hours:
        minute, low, high = at.hour * 60 + at.minute, wanted.hours.from_min, wanted.hours.to_min
        return low <= minute < high if low < high else minute >= low or minute < high
    return True
