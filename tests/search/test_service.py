"""The use case in Python: the same answer as comparing everything."""

from __future__ import annotations

import pytest

from search_api.queries import found_window, window_query
from search_api.search import SearchOptions, hits_table, search, with_sizes
from search_api.service import nearest_to_window
from sonotheque.core.errors import NotFound
from store import exact_search, open_archive
from tests.search import kit

PATH, START_S = "north/20240501_040000.wav", 2.0


@pytest.mark.parametrize("others", [True, False])
def test_nearest_to_a_window_is_what_comparing_everything_gives(made, others):
    with open_archive(made.store) as archive:
        query = found_window(archive, PATH, START_S)
        own = query.recording_id if others else None
        hits = nearest_to_window(archive, PATH, START_S, k=7, other_recordings=others)
        twin = exact_search(archive, query.vectors[0], 7, without_recording=own)
    assert [(h.path, h.start_s, h.score, h.site) for h in hits] == [(h.path, h.start_s, h.score, h.site) for h in twin]
    assert (hits[0].path == PATH) is not others


def test_near_misses_name_the_nearest(made):
    with open_archive(made.store) as archive:
        with pytest.raises(NotFound, match=r"starts at 7\.2 s; the nearest starts at 6 s"):
            nearest_to_window(archive, PATH, 7.2)
        with pytest.raises(NotFound, match="has no recording nowhere") as missing:
            nearest_to_window(archive, "nowhere.wav", 0.0)
    assert missing.value.kind == "unknown_recording"


def test_a_start_as_it_is_shown_is_found(made):
    with open_archive(made.store) as archive:
        assert window_query(archive, f"{PATH}@2.0004").name == f"{PATH}@2"
        with pytest.raises(NotFound):
            window_query(archive, f"{PATH}@2.001")


def test_a_path_with_an_at_sign(tmp_path):
    kit.write(tmp_path / "recordings" / "a@b" / "x@1.wav", kit.tone(500.0, 4.0))
    kit.run(tmp_path / "recordings", tmp_path / "store")
    with open_archive(tmp_path / "store") as archive:
        query = window_query(archive, "a@b/x@1.wav@2")
    assert (query.path, query.windows[0].start_s) == ("a@b/x@1.wav", 2.0)


def test_hits_as_a_table_carry_the_size_of_their_recordings(made):
    with open_archive(made.store) as archive:
        hits = search(archive, found_window(archive, PATH, START_S), SearchOptions(k=5)).answer.hits
        table = with_sizes(archive, hits_table(hits))
    assert table["rank"].to_pylist() == [1, 2, 3, 4, 5]
    for row, hit in zip(table.to_pylist(), hits, strict=True):
        assert row["size_bytes"] == (made.recordings / hit.path).stat().st_size
        assert (row["path"], row["start_s"], row["recording_id"]) == (hit.path, hit.start_s, hit.recording_id)
