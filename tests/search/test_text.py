"""Lines for people, of answers that a small store cannot give."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from search_api.queries import Query, seconds_text
from search_api.search import SearchOptions, SearchResult
from sonotheque.cli.search_text import answer_lines, closing_notes, plan_line
from sonotheque.core.search import SearchAnswer, SearchHit, SearchPlan


def result(hits, **plan):
    query = Query("vector", "v.npy", np.ones((1, 4), np.float32), about="1 vector of v.npy")
    return SearchResult(query, SearchOptions(), SearchAnswer(hits, SearchPlan(**plan)))


def test_hits_that_codes_chose_are_marked():
    moment = datetime(2025, 5, 10, 4, 30, 12, 500_000)
    hits = [
        SearchHit(1, 0.91234, "a/b.wav", "a", 2.5, 5.5, None, moment, exact=False),
        SearchHit(2, 0.8, "c.wav", "", 1 / 3, 3 + 1 / 3, None, None, exact=True),
    ]
    one, head, _, first, second, last = "\n".join(
        answer_lines(
            result(
                hits,
                how="lists",
                windows=10**6,
                eligible=10**6,
                compared=812,
                coded=31_250,
                recall=0.99712,
                index=4,
                took_ms=2.34,
            )
        )
    ).splitlines()
    assert one == "1 vector of v.npy"
    assert head.split() == ["rank", "score", "site", "local", "time", "path", "start_s"]
    assert first.split() == ["1", "~0.9123", "a", "2025-05-10", "04:30:12", "a/b.wav", "2.5"]
    assert second.split() == ["2", "0.8000", "c.wav", "0.333"]
    assert last == (
        "lists: 1,000,000 of 1,000,000 windows eligible, codes of the likeliest clusters (31,250 windows), 812 compared, "
        "recall 0.9971 as measured, 2.3 ms, index 4"
    )


def test_every_way_of_searching_has_a_line():
    for how in ("exact", "codes", "lists", "gpu", "nothing"):
        line = plan_line(result([], how=how, windows=10, eligible=5))
        assert line.startswith(f"{how}: 5 of 10 windows eligible, ")
        assert line.endswith("ms, no index")


def test_failed_clips_are_listed_up_to_five():
    failures = [{"path": "a.wav", "window_start_s": float(i), "reason": "gone"} for i in range(7)]
    cut = {"clips": 3, "out": "x.zip", "failures": failures}
    lines = list(closing_notes(result([], how="exact", notes=["look"]), None, cut))
    assert lines[:3] == [
        "note: look",
        "3 clips written to x.zip",
        "7 clips could not be cut; failures.csv lists them all:",
    ]
    assert lines[3:] == [f"  a.wav at {i} s: gone" for i in range(5)]


def test_seconds_are_as_typed():
    assert [seconds_text(v) for v in (0.0, 2.0, 2.5, 1 / 3, 1e5, 10.0)] == ["0", "2", "2.5", "0.333", "100000", "10"]
