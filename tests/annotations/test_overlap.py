"""The overlap rule: the facts it must meet, a twin that compares every pair, and the SQL that says the same."""

from __future__ import annotations

from pathlib import Path
from time import process_time

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid
from sonotheque.core.ids import recording_id
from store.annotations import overlap, overlap_sql, windows_of
from store.annotations.formats import read_table
from store.annotations.resolve import RecordingIndex, resolve
from tests.annotations.support import recordings, write

Span = tuple[int, float, float]


def spans(rows: list[Span]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [[], [], []]
    return pa.table(
        {
            "recording_id": pa.array(columns[0], pa.int64()),
            "start_s": pa.array(columns[1], pa.float64()),
            "end_s": pa.array(columns[2], pa.float64()),
        }
    )


def pairs(annotations: list[Span], windows: list[Span], least_s: float = 0.0) -> set[tuple[int, int]]:
    a, w = windows_of(spans(annotations), spans(windows), least_s)
    assert a.dtype == w.dtype == np.int64
    assert np.all(np.diff(a) >= 0), "in the annotations' order"
    found = set(zip(a.tolist(), w.tolist(), strict=True))
    assert len(found) == len(a), "no pair twice"
    return found


def every_pair(annotations: list[Span], windows: list[Span], least_s: float) -> set[tuple[int, int]]:
    """The rule, word for word, for every pair."""
    found = set()
    for i, (rec_a, s, e) in enumerate(annotations):
        for j, (rec_w, a, b) in enumerate(windows):
            shared = min(b, e) - max(a, s)
            if rec_a == rec_w and shared > 1e-6 and shared >= min(least_s, e - s) - 1e-6:
                found.add((i, j))
    return found


def in_sql(annotations: list[Span], windows: list[Span], least_s: float) -> set[tuple[int, int]]:
    with duckdb.connect() as db:
        for name, rows in (("a", annotations), ("w", windows)):
            numbered = spans(rows).append_column("i", pa.array(range(len(rows)), pa.int64()))
            db.register(f"{name}_rows", numbered)
        sql = f"SELECT a.i, w.i FROM a_rows a JOIN w_rows w ON {overlap_sql('a', 'w', '?')}"
        return set(db.execute(sql, [least_s]).fetchall())


@pytest.mark.parametrize(
    ("start_s", "end_s", "counts"),
    [
        (11, 14, True),
        (9, 11, True),
        (14, 16, True),
        (9, 16, True),
        (10, 15, True),
        (9, 10, False),
        (15, 16, False),
        (0, 1, False),
    ],
)
def test_a_window_has_what_reaches_into_it_and_not_what_touches_it(start_s: float, end_s: float, counts: bool) -> None:
    assert bool(pairs([(1, start_s, end_s)], [(1, 10, 15)])) is counts
    assert bool(in_sql([(1, start_s, end_s)], [(1, 10, 15)], 0.0)) is counts
    assert not pairs([(2, start_s, end_s)], [(1, 10, 15)]), "another recording's window"


def test_nine_annotations_label_nine_windows_and_not_twenty_seven() -> None:
    """A label as long as a window must not leak into its neighbours."""
    windows = [(1, 5.0 * i, 5.0 * i + 5) for i in range(60)]
    labelled = [(1, 5.0 * i, 5.0 * i + 5) for i in range(3, 30, 3)]
    assert {w for _, w in pairs(labelled, windows)} == set(range(3, 30, 3))


def test_float_error_is_no_overlap() -> None:
    """0.1 added a hundred times is not 10: the window after it must not get the label."""
    end_s = sum([0.1] * 100)
    assert end_s != 10
    windows = [(1, 5.0, 10.0), (1, 10.0, 15.0)]
    assert pairs([(1, 9.0, 10.000000000000002)], windows) == {(0, 0)}
    assert pairs([(1, 9.999999999999998, 12.0)], windows) == {(0, 1)}
    assert pairs([(1, 9.0, end_s)], windows) == {(0, 0)}


@pytest.mark.parametrize(
    ("annotation", "least_s", "windows"),
    [
        ((8.0, 11.0), 0.0, {0, 1}),
        ((8.0, 11.0), 1.0, {0, 1}),
        ((8.0, 11.0), 1.0000001, {0, 1}),
        ((8.0, 11.0), 1.1, {0}),
        ((8.0, 11.0), 2.0, {0}),
        ((8.0, 11.0), 2.5, set()),
        ((9.5, 10.5), 3.0, set()),
        ((9.0, 9.5), 3.0, {0}),
        ((5.0, 10.0), 5.0, {0}),
    ],
)
def test_a_least_overlap_or_all_of_a_short_annotation(
    annotation: tuple[float, float], least_s: float, windows: set[int]
) -> None:
    grid = [(1, 5.0, 10.0), (1, 10.0, 15.0)]
    expected = {(0, w) for w in windows}
    assert pairs([(1, *annotation)], grid, least_s) == in_sql([(1, *annotation)], grid, least_s) == expected


@pytest.mark.parametrize("least_s", [-0.1, float("nan"), float("inf")])
def test_a_least_overlap_is_a_length(least_s: float) -> None:
    with pytest.raises(Invalid, match="least overlap"):
        pairs([(1, 0, 1)], [(1, 0, 5)], least_s)


def test_of_nothing_is_nothing() -> None:
    assert pairs([], [(1, 0, 5)]) == pairs([(1, 0, 5)], []) == pairs([], []) == set()


HAWAII = """Filename,Start Time (s),End Time (s),Low Freq (Hz),High Freq (Hz),Species eBird Code
UHH_001_S01_20161121_150000.flac,185.9,187.2,2000,6000,jabwar
UHH_001_S01_20161121_150000.flac,188.1,190.0,2000,6000,jabwar
UHH_001_S01_20161121_150000.flac,275.4,276.3,1500,5200,hawama
UHH_001_S01_20161121_150000.flac,235.0,237.6,1800,4000,ercfra
UHH_001_S01_20161121_150000.flac,180.0,180.4,1800,4000,apapan
"""


def test_a_table_of_labels_on_windows_of_five_seconds(tmp_path: Path) -> None:
    """A label from 235 s is not on the window 230 to 235, and one that ends at 190 s not on the window after it."""
    _, raws = read_table(write(tmp_path, "annotations.csv", HAWAII))
    found = resolve(raws, RecordingIndex(recordings(("hawaii/UHH_001_S01_20161121_150000.flac", 600.0)))).annotations
    mine = recording_id("hawaii/UHH_001_S01_20161121_150000.flac")
    grid = [(mine, float(start), start + 5.0) for start in (175, 185, 190, 275, 230, 235)]
    on = pairs([(a.recording_id, a.start_s, a.end_s) for a in found], grid)
    by_window = {grid[w][1]: sorted(found[i].label for i, j in on if j == w) for w in range(len(grid))}
    assert by_window == {175: [], 185: ["jabwar", "jabwar"], 190: [], 275: ["hawama"], 230: [], 235: ["ercfra"]}


# Numbers that often touch: half seconds, and a little beside them.
near = st.builds(
    lambda half, off: half / 2 + off, st.integers(0, 30), st.sampled_from((0.0, 0.0, 1e-7, 9e-7, 1.1e-6, 1e-3))
)
lengths = st.sampled_from((0.5, 1.0, 1.5, 3.0, 5.0, 20.0, 2e-6))
span = st.builds(lambda rec, start, length: (rec, start, start + length), st.integers(-2, 2), near, lengths)


@given(
    annotations=st.lists(span, max_size=12),
    windows=st.lists(span, max_size=25),
    least_s=st.sampled_from((0.0, 0.5, 1.0, 2.5)),
    block=st.sampled_from((1, 3, 4_000_000)),
)
@example([(0, 0.0, 20.0), (0, 3.0, 3.5)], [(0, 0.0, 20.0), (0, 1.0, 1.5), (0, 3.0, 3.5), (0, 4.0, 5.0)], 0.0, 1)
@settings(max_examples=150, deadline=None)
def test_arrays_agree_with_every_pair(annotations: list[Span], windows: list[Span], least_s: float, block: int) -> None:
    """Windows of any lengths, inside one another, in any order; looked at in blocks of any size."""
    before = overlap._PAIRS_MAX
    overlap._PAIRS_MAX = block
    try:
        assert pairs(annotations, windows, least_s) == every_pair(annotations, windows, least_s)
    finally:
        overlap._PAIRS_MAX = before


@given(
    annotations=st.lists(span, max_size=8),
    windows=st.lists(span, max_size=12),
    least_s=st.sampled_from((0.0, 0.5, 2.5)),
)
@settings(max_examples=40, deadline=None)
def test_sql_agrees_with_every_pair(annotations: list[Span], windows: list[Span], least_s: float) -> None:
    assert in_sql(annotations, windows, least_s) == every_pair(annotations, windows, least_s)


def test_the_parameter_occurs_once() -> None:
    assert overlap_sql("a", "w", "?").count("?") == 1


def test_a_hundred_thousand_on_a_million() -> None:
    """Grows with what overlaps, not with the product: all pairs would be 10^11."""
    rng = np.random.default_rng(0)
    rec = np.repeat(rng.integers(0, 2**62, 5_000), 200)
    starts = np.tile(np.arange(200) * 5.0, 5_000)
    windows = pa.table({"recording_id": rec, "start_s": starts, "end_s": starts + 5})
    chosen, at = rng.choice(rec, 100_000), rng.random(100_000) * 990
    annotations = pa.table({"recording_id": chosen, "start_s": at, "end_s": at + 2.0})
    began = process_time()
    a, w = windows_of(annotations, windows)
    assert process_time() - began < 6
    assert 100_000 <= len(a) <= 200_000
    assert np.all(chosen[a] == rec[w])
    assert np.all((starts[w] < at[a] + 2) & (starts[w] + 5 > at[a]))


def test_an_annotation_of_a_whole_day_is_no_trouble() -> None:
    windows = spans([(1, 5.0 * i, 5.0 * i + 5) for i in range(17_280)])
    days = spans([(1, 0.0, 86_400.0)] * 300)
    a, _ = windows_of(days, windows)
    assert len(a) == 300 * 17_280
