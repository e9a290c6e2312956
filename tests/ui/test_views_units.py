"""The views' pure modules, run in the browser beside what Python says."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ui.test_views_static import UI

HOST = "http://page.test"
some = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def call(browser: Any) -> Iterator[Any]:
    """Call a function of a module below views/ with JSON values; ``None`` comes back as None."""
    context = browser.new_context()
    page = context.new_page()

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix(HOST).partition("?")[0]
        if not path.startswith("/ui/"):
            route.fulfill(body="<!doctype html><title>t</title>", content_type="text/html")
        else:
            kind = "text/css" if path.endswith(".css") else "text/javascript"
            route.fulfill(body=(UI / path.removeprefix("/ui/")).read_text(encoding="utf-8"), content_type=kind)

    page.route(f"{HOST}/**", answer)
    page.goto(f"{HOST}/")

    def run(module: str, name: str, *values: Any) -> Any:
        script = "async ([path, name, values]) => { const m = await import(path); return m[name](...values); }"
        return page.evaluate(script, [f"/ui/js/views/{module}.js", name, list(values)])

    run.page = page  # type: ignore[attr-defined]
    yield run
    context.close()


days = st.lists(st.integers(0, 3000), max_size=25).map(lambda ns: [str(date(2019, 1, 1) + timedelta(n)) for n in ns])


@some
@given(days)
def test_columns_are_a_calendar(call, dates: list[str]) -> None:
    columns = call("archive/calendar", "columnsOf", dates)
    known = [c["date"] for c in columns if c and c["known"]]
    assert known == sorted(set(dates))
    if not dates:
        assert columns == []
        return
    span = (date.fromisoformat(known[-1]) - date.fromisoformat(known[0])).days
    if span < 400:
        assert None not in columns and len(columns) == span + 1
    for a, b in itertools.pairwise(columns):
        if a and b:
            assert date.fromisoformat(b["date"]) - date.fromisoformat(a["date"]) == timedelta(1)
    # A break stands only where more than three weeks lie between two dates with recordings.
    gaps = [(date.fromisoformat(b) - date.fromisoformat(a)).days for a, b in itertools.pairwise(known)]
    assert columns.count(None) == (0 if span < 400 else sum(gap > 21 for gap in gaps))


@some
@given(days, st.tuples(*[st.integers(0, 23)] * 2), st.tuples(*[st.floats(0, 1)] * 2), st.booleans(), st.booleans())
def test_a_range_is_what_lies_between_two_cells(
    call, dates: list[str], hours: Any, at: Any, row: bool, low: bool
) -> None:
    columns = call("archive/calendar", "columnsOf", dates)
    if not columns:
        return
    (c0, c1), (h0, h1) = sorted(round(x * (len(columns) - 1)) for x in at), sorted(hours)
    a, b = {"c": c0, "hour": h1, "row": row, "column": low}, {"c": c1, "hour": h0}
    found = call("archive/calendar", "rangeOf", columns, a, b)
    inside = [c["date"] for c in (columns if row else columns[c0 : c1 + 1]) if c]
    if inside:
        assert (found["date_from"], found["date_to"]) == (inside[0], inside[-1])
        assert (found["hour_from"], found["hour_to"]) == ((0, 24) if low else (h0, h1 + 1))
        assert not row or found["all_dates"]
    else:
        assert found["date_from"] == ""


@some
@given(days, st.floats(3, 40))
def test_ticks_do_not_touch(call, dates: list[str], width: float) -> None:
    columns = call("archive/calendar", "columnsOf", dates)
    ticks = call("archive/calendar", "ticksOf", columns, width)
    assert all((b["at"] - a["at"]) * width >= 58 - 1e-6 for a, b in itertools.pairwise(ticks))
    assert bool(ticks) == bool(columns)


@some
@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 23))
def test_an_hour_is_in_a_span_if_a_minute_of_it_is(call, low: int, high: int, hour: int) -> None:
    if low == high:
        return
    told = f"{low // 60:02d}:{low % 60:02d}-{high // 60:02d}:{high % 60:02d}"
    inside = set(range(low, high)) if low < high else {*range(low, 1440), *range(high)}
    assert call("archive/calendar", "inHours", hour, told) == bool(inside & set(range(hour * 60, hour * 60 + 60)))


@pytest.mark.parametrize(("low", "high", "text"), [(0, 24, None), (4, 7, "04:00-07:00"), (22, 24, "22:00-24:00")])
def test_hours_are_written_as_the_filter_reads_them(call, low: int, high: int, text: str | None) -> None:
    from sonotheque.core.filters import HourSpan

    assert call("archive/calendar", "hoursText", low, high) == text
    if text:
        assert str(HourSpan.parse(text)) == text


@some
@given(st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), st.sampled_from([0.0, 60.0])))
def test_silent_days_beside_counting(call, sound: dict[tuple[str, int], float]) -> None:
    start = date(2025, 2, 20)
    cells = [{"site": s, "date": str(start + timedelta(n)), "hour": 3, "audio_s": x} for (s, n), x in sound.items()]
    gaps = call("archive/calendar", "silentDays", cells)
    told = {(g["site"], d) for g in gaps for d in span(g["from"], g["to"])}
    expected = set()
    for site in "ab":
        heard = [n for (s, n), x in sound.items() if s == site and x]
        expected |= {
            (site, start + timedelta(n)) for n in range(min(heard, default=0), max(heard, default=0)) if n not in heard
        }
    assert told == expected
    assert [g["days"] for g in gaps] == sorted((g["days"] for g in gaps), reverse=True)


def span(low: str, high: str) -> list[date]:
    first, last = date.fromisoformat(low), date.fromisoformat(high)
    return [first + timedelta(n) for n in range((last - first).days + 1)]


@some
@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.floats(0, 1))
def test_hits_above_a_threshold(call, counts: list[int], threshold: float) -> None:
    edges = [0, 0.25, 0.5, 0.75, 1]
    found = call("probes/histogram", "above", edges, counts, threshold)
    exact = sum(
        n * min(1.0, max(0.0, (b - threshold) / (b - a))) for a, b, n in zip(edges, edges[1:], counts, strict=False)
    )
    assert abs(found - exact) <= 0.5 + 1e-9
    assert call("probes/histogram", "above", edges, counts, 0) == sum(counts)


@some
@given(st.integers(1, 500), st.data())
def test_the_interval_of_a_share(call, n: int, data: Any) -> None:
    yes = data.draw(st.integers(0, n))
    low, high = call("probes/plots", "wilson", yes, n)
    assert 0 <= low <= yes / n <= high <= 1
    # Its ends are where the share lies 1.96 standard errors away: the definition, not the formula.
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert math.isclose(abs(yes / n - end), 1.959964 * math.sqrt(end * (1 - end) / n), rel_tol=1e-4)


def test_calibration_counts_every_window_once(call) -> None:
    rng = random.Random(3)
    bins = {"edges": [i / 20 for i in range(21)]}
    bins |= {side: [rng.randint(0, 9) for _ in range(20)] for side in ("positive", "negative", "weak")}
    points = call("probes/plots", "calibration", bins)
    assert sum(p["n"] for p in points) == sum(map(sum, (bins["positive"], bins["negative"], bins["weak"])))
    assert math.isclose(sum(p["share"] * p["n"] for p in points), sum(bins["positive"]))
    assert [p["score"] for p in points] == sorted(p["score"] for p in points)


@some
@given(st.floats(0.1, 5e4), st.floats(-1e4, 6e4), st.floats(0.01, 6e4), st.floats(0.1, 10))
def test_a_view_lies_in_its_recording(call, duration: float, start: float, length: float, factor: float) -> None:
    view = call("recording/viewer", "fitted", start, length, duration)
    assert -1e-6 <= view["from"] < view["to"] <= duration + 1e-6
    middle = (view["from"] + view["to"]) / 2
    after = call("recording/viewer", "zoomed", view, factor, middle, duration)
    assert -1e-6 <= after["from"] < after["to"] <= duration + 1e-6
    assert after["from"] - 1e-6 <= middle <= after["to"] + 1e-6


@some
@given(
    st.integers(0, 6), st.lists(st.sampled_from(["positive", "negative", "uncertain", "skipped", "back"]), max_size=14)
)
def test_a_sitting_beside_a_list(call, n: int, steps: list[str]) -> None:
    """The queue does what a list of answers and a stack would."""
    script = """async ([path, n, steps]) => {
      const { makeQueue } = await import(path);
      const queue = makeQueue(Array.from({ length: n }, (_, i) => i));
      for (const step of steps) {
        if (step === "back") queue.back();
        else if (!queue.isOver) queue.say(step);
      }
      return { said: queue.said, at: queue.at, done: queue.done, over: queue.isOver, sums: queue.sums() };
    }"""
    found = call.page.evaluate(script, ["/ui/js/views/review/queue.js", n, steps])
    said: list[str | None] = [None] * n
    stack: list[int] = []
    at = 0
    for step in steps:
        if step == "back":
            if stack:
                at = stack.pop()
                said[at] = None
        elif None in said:
            said[at] = step
            stack.append(at)
            at = next((i % n for i in range(at + 1, at + 1 + n) if said[i % n] is None), at)
    assert found["said"] == said and found["at"] == at
    assert found["over"] == (None not in said) and found["done"] == sum(s is not None for s in said)
    assert sum(found["sums"].values()) == found["done"]


@pytest.mark.parametrize("text", ["", "forest", "2025/forest north", "a.b/c-d_e", "..hidden", "Wald äöü"])
def test_folders_that_are_names(call, text: str) -> None:
    assert call("jobs/start", "isFolder", text)


@pytest.mark.parametrize(
    "text", ["..", "../etc", "a/../b", "a/..", "/etc", "C:\\x", "a//b", ".", "a/", "x\x00y", "a|b", "*"]
)
def test_folders_that_are_not(call, text: str) -> None:
    assert not call("jobs/start", "isFolder", text)


def test_events_change_a_job_in_place(call) -> None:
    job = {"job_id": "j", "state": "running", "progress": {"stage": "a", "done": 1, "total": 9}}
    later = call("jobs/follow", "merged", job, {"type": "progress", "data": {"done": 5}})
    assert later == {**job, "progress": {"stage": "a", "done": 5, "total": 9}}
    assert call("jobs/follow", "merged", job, {"type": "state", "data": {"state": "failed"}})["state"] == "failed"
    assert call("jobs/follow", "merged", job, {"type": "note", "data": {"text": "so"}}) == job
    assert call("jobs/follow", "merged", job, {"type": "progress", "data": "?"}) == job


def test_jobs_in_words(call) -> None:
    job = {"state": "running", "progress": {"stage": "embedding", "done": 2100, "total": 4120, "eta_s": 240}}
    assert call("jobs/words", "progressText", job) == "embedding · 2,100 of 4,120 · 4 min left"
    assert call("jobs/words", "share", job) == pytest.approx(2100 / 4120)
    assert call("jobs/words", "share", {"state": "running", "progress": None}) is None
    assert call("jobs/words", "errorText", {"error": {"kind": "x", "message": "disk full"}}) == "disk full"
    for state in ("failed", "interrupted", "cancelled"):
        assert call("jobs/words", "nextStep", {"state": state, "kind": "embed"})


def test_a_site_stands_where_it_lies(call) -> None:
    """North is up, east is right, and a degree of longitude is as wide as it is at that latitude."""
    sites = [
        {"site": n, "latitude": la, "longitude": lo}
        for n, la, lo in [("a", 60.0, 10.0), ("b", 60.5, 10.0), ("c", 60.0, 11.0)]
    ]
    found = call("archive/sites", "positions", [*sites, {"site": "nowhere", "latitude": None, "longitude": None}])
    at = {one["site"]["site"]: (one["x"], one["y"]) for one in found["placed"]}
    assert set(at) == {"a", "b", "c"} and at["b"][1] < at["a"][1] and at["c"][0] > at["a"][0]
    assert (at["c"][0] - at["a"][0]) / (at["a"][1] - at["b"][1]) == pytest.approx(
        math.cos(math.radians(60.17)) * 2, rel=0.01
    )
    bar = call("archive/sites", "scaleBar", found["metresPerPixel"])
    assert str(int(bar["metres"]))[0] in "125" and 0 < bar["pixels"] <= 90


def test_names_from_labels(call) -> None:
    assert call("probes/train", "nameFrom", ["Strix aluco_Tawny Owl"]) == "tawny-owl"
    assert call("probes/train", "nameFrom", ["Grünspecht"]) == "gru-nspecht"
    assert call("probes/train", "nameFrom", []) == ""


def test_the_words_of_a_report_are_those_of_its_page(call) -> None:
    """The page and the view tell the same of the same report."""
    from search_api.probes.report_words import leak_words, verdict

    report = {
        "classes": ["a", "b"],
        "split": {
            "by": "day",
            "train": {"rows": 9, "recordings": 3},
            "test": {"rows": 4, "recordings": 1},
            "leaks": {"by": "day", "shared_groups": 1, "identical_vectors": 2},
        },
        "test": {"rows": 4, "recordings": 1, "macro": {"map": 0.8123, "map_ci": [0.7, 0.9], "map_chance": 0.25, "classes_counted": 1}},
    }  # fmt: skip
    for one in (report, {**report, "test": None}, {**report, "test": {**report["test"], "macro": {"map": None}}}):
        assert call("probes/words", "verdict", one) == verdict(one)
    assert tuple(call("probes/words", "leakWords", report)) == leak_words(report)
    assert call("probes/words", "forPage", "it stays. --force takes it into use all the same") == "it stays."
