"""From ids to pieces of sound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.listening import HeldSound, clip_piece, recording_piece, window_piece
from search_api.listening.lookup import PieceMemo, stretch
from sonotheque.core.errors import Invalid, NotFound
from store import open_archive
from tests.search import kit as archives
from tests.service import listening_kit as kit

PATH = "north/20240501_040000.wav"


@pytest.fixture(scope="module")
def archive(made):
    with open_archive(made.store) as opened:
        yield opened


@pytest.fixture(scope="module")
def ids(made):
    rows = made.rows("SELECT recording_id, start_sample, path FROM windows ORDER BY path, start_sample")
    return [(f"{r['recording_id']}:{r['start_sample']}", r) for r in rows]


def test_every_window_is_found_where_it_is(archive, ids, made):
    for window_id, row in ids:
        piece = window_piece(archive, window_id)
        assert piece.sound.path == row["path"] and piece.start_s == row["start_sample"] / archives.RATE_HZ
        assert piece.end_s - piece.start_s == archives.WINDOW_S and piece.rate_hz == archives.RATE_HZ
        assert piece.sound.size_bytes == (made.recordings / row["path"]).stat().st_size
        assert piece.site == row["path"].split("/")[0]
        assert piece.local_at(0.0) == piece.local_start is not None


@pytest.mark.parametrize(
    "wrong",
    ["", ":", "1", "a:1", "1:a", "1:-1", "-1:1", "1:1:1", " 1:1", "1:1\n", "٣:1", "../x:1", "1" * 20 + ":1", "1:1'"],
)
def test_what_is_no_window_id(archive, wrong):
    with pytest.raises(Invalid, match="window id"):
        window_piece(archive, wrong)


@pytest.mark.parametrize("wrong", ["", "a", "-1", "1:1", "1 OR 1=1", "../x", "1" * 20, "1.0"])
def test_what_is_no_recording_id(archive, wrong):
    with pytest.raises(Invalid, match="recording id"):
        recording_piece(archive, wrong)


def test_ids_that_nothing_has(archive, ids):
    row = ids[0][1]
    for other in (
        "1:0",
        f"{row['recording_id']}:7",
        f"{row['recording_id']}:{10**18}",
        "9" * 19 + ":0",
        "1:" + "9" * 19,
    ):
        with pytest.raises(NotFound, match="search again"):
            window_piece(archive, other)
    for other in ("1", "9" * 19):
        with pytest.raises(NotFound, match="GET /v1/recordings"):
            recording_piece(archive, other)


def test_a_recording_by_its_seconds(archive, ids):
    recording = ids[0][0].split(":")[0]
    whole = recording_piece(archive, recording)
    assert (whole.start_s, whole.end_s) == (0.0, whole.duration_s) == (0.0, 8.0)
    part = recording_piece(archive, recording, 1.5, 99.0)
    assert (part.start_s, part.end_s) == (1.5, 8.0)


@pytest.mark.parametrize(
    ("begin", "end"),
    [(-1.0, None), (8.0, None), (99.0, 100.0), (3.0, 3.0), (3.0, 2.0), (float("nan"), None), (0.0, float("inf"))],
)
def test_seconds_that_cannot_be(begin, end):
    with pytest.raises(Invalid, match="from_s"):
        stretch(8.0, begin, end)


@given(st.floats(0.01, 1e5), st.none() | st.floats(), st.none() | st.floats())
def test_a_stretch_lies_inside(duration, begin, end):
    try:
        start_s, end_s = stretch(duration, begin, end)
    except Invalid:
        return
    assert 0 <= start_s < end_s <= duration


def test_a_clips_piece():
    piece = clip_piece(HeldSound("ab"), "owl.wav", 10.0, 44_100, 2, from_s=2.0)
    assert (piece.start_s, piece.end_s, piece.channels, piece.site) == (2.0, 10.0, 2, None)
    with pytest.raises(Invalid):
        clip_piece(HeldSound("ab"), "owl.wav", 10.0, 44_100, 2, from_s=11.0)


@given(st.floats(0, 30), st.floats(0, 10), st.floats(0, 10))
def test_a_margin_stays_inside(margin, a, b):
    piece = kit.held([0.0] * 160_000, start_s=min(a, b), end_s=max(a, b))
    start_s, end_s = piece.span(margin)
    assert 0 <= start_s <= piece.start_s <= piece.end_s <= end_s <= 10
    assert start_s == 0 or start_s == piece.start_s - margin


def test_pieces_are_remembered_until_the_archive_changes():
    memo, pieces = PieceMemo(size=2), [kit.held([0.0] * n) for n in (10, 20, 30)]
    assert memo.get("one", "a") is None
    for key, piece in zip("abc", pieces, strict=True):
        memo.put("one", key, piece)
        assert memo.get("one", "a") is pieces[0]
    assert memo.get("one", "b") is None and memo.get("one", "c") is pieces[2]
    assert memo.get("two", "a") is None
    memo.put("two", "b", pieces[1])
    assert memo.get("one", "a") is None and memo.get("two", "b") is pieces[1]
