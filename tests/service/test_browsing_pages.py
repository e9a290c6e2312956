"""Pages of a list, joined, are the list; and a cursor is of one list, one filter and one state of the archive."""

from __future__ import annotations

import base64
import json
import shutil
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_api.browsing.cursors import Cursor, decode, list_digest
from search_api.browsing.pages import after
from search_api.browsing.recordings import list_recordings
from search_api.browsing.windows import list_predictions, list_scores, list_windows
from sonotheque.core.errors import Conflict, Invalid, NotFound, SonothequeError
from sonotheque.core.filters import HourSpan, SearchFilter
from store import load_ledger, open_archive, read_config, write_snapshot
from store.annotations import Annotation, AnnotationLog
from tests.ask import worlds
from tests.store import kit

EVERYTHING = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root, _, items = worlds.new_world(tmp_path_factory.mktemp("world"), months=(3, 10))
    rec = items[0][0]
    AnnotationLog(root).add(
        [Annotation(rec.recording_id, rec.source.path, 1.0, 4.0, "owl")], annotator="Ana", provenance="by hand"
    )
    with open_archive(root) as archive:
        yield archive


filters = st.builds(
    SearchFilter,
    sites=st.sampled_from([(), ("Oak wood",), ("%", "é/日"), worlds.SITES]),
    recordings=st.sampled_from([(), ("*0.wav",), ("Oak wood/no time.wav",), ("%/3-?.wav",)]),
    date_from=st.sampled_from([None, date(2025, 3, 5), date(2025, 10, 26)]),
    months=st.sampled_from([(), (3,), (10, 12)]),
    hours=st.sampled_from([None, HourSpan(0, 180), HourSpan(1320, 240)]),
)
of_windows = st.builds(
    lambda base, **more: base.merged(**more),
    filters,
    label=st.sampled_from([None, "Strix aluco", "rain"]),
    score_min=st.sampled_from([None, 0.4]),
    annotated=st.sampled_from([None, True, False]),
)


def joined(archive, list_of, wanted, limit):
    """All pages, one after another; a cursor that leads in a circle ends in a failure."""
    rows, cursor = [], None
    for _ in range(2_000):
        page = list_of(archive, wanted, limit=limit, cursor=cursor)
        assert len(page.rows) <= limit
        rows += page.rows
        if page.next is None:
            return rows
        assert len(page.rows) == limit
        cursor = page.next
    raise AssertionError("the pages do not end")


@EVERYTHING
@given(of_windows, st.integers(2, 40))
def test_pages_of_windows_are_all_windows_in_the_archives_order(world, wanted, limit) -> None:
    rows = joined(world, list_windows, wanted, limit)
    plain = world.windows(wanted).to_pylist()
    assert [r["window_id"] for r in rows] == [f"{p['recording_id']}:{p['start_sample']}" for p in plain]


@EVERYTHING
@given(of_windows, st.integers(3, 60))
def test_pages_of_predictions_are_all_predictions(world, wanted, limit) -> None:
    rows = joined(world, list_predictions, wanted, limit)
    plain = world.predictions(wanted).to_pylist()
    own = [(f"{p['recording_id']}:{p['start_sample']}", p["label"], p["rank"]) for p in plain]
    assert [(r["window_id"], r["label"], r["rank"]) for r in rows] == own


@EVERYTHING
@given(filters, st.integers(1, 9))
def test_pages_of_recordings_are_all_recordings_those_that_failed_too(world, wanted, limit) -> None:
    rows = joined(world, list_recordings, wanted, limit)
    query, parameters = world.select(wanted, relation="recordings", columns="path, site, local_start, utc_start")
    plain = world.sql(
        f"{query} ORDER BY site, local_start NULLS LAST, utc_start NULLS LAST, path", parameters
    ).to_pylist()
    assert [r["path"] for r in rows] == [p["path"] for p in plain]


def test_a_page_goes_on_after_rows_without_a_time(world) -> None:
    rows = joined(world, list_windows, SearchFilter(sites=("Oak wood",)), 1)
    assert [r["local_start"] for r in rows[-3:]] == [None] * 3
    assert [r["start_s"] for r in rows[-3:]] == [0.0, 3.0, 6.0]


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**9])
def test_a_page_has_a_bounded_number_of_rows(world, limit) -> None:
    with pytest.raises(Invalid, match="expected 1 to 1,000"):
        list_windows(world, SearchFilter(), limit=limit)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_cursor_that_was_changed_is_refused(world, data) -> None:
    cursor = list_windows(world, SearchFilter(), limit=2).next
    at = data.draw(st.integers(0, len(cursor) - 1))
    what = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    other = data.draw(st.sampled_from([c for c in "Az09-_=é\0" if c != cursor[at]]))
    changed = {
        "flip": cursor[:at] + other + cursor[at + 1 :],
        "cut": cursor[:at],
        "insert": cursor[:at] + other + cursor[at:],
    }[what]
    try:
        same = base64.b64decode(changed + "=" * (-len(changed) % 4), altchars=b"-_", validate=True)
        same = same == base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_")
    except ValueError:
        same = False
    if same:  # the last letter has bits that mean nothing
        return
    with pytest.raises(Invalid, match="cursor"):
        list_windows(world, SearchFilter(), limit=2, cursor=changed)


@pytest.mark.parametrize("text", ["", "x", "=" * 9, "null", "A" * 9_000, "W10", "é", "[" * 6_000, "bnVsbA"])
def test_what_is_no_cursor_is_refused(world, text) -> None:
    with pytest.raises(Invalid, match="cursor"):
        list_windows(world, SearchFilter(), limit=2, cursor=text)


def forged(world, key, state=None) -> str:
    """A cursor with a right digest and another key: somebody may work one out, since there is no secret."""
    return Cursor(list_digest("windows", {}), state or "1.0", key).encode()


@pytest.mark.parametrize(
    "key",
    [
        (),
        ("Oak wood",),
        ("Oak wood", "2025", "2025", "x", 0, 0),
        ("Oak wood", "no time", None, "x", 0),
        ("Oak wood", None, "'; DROP TABLE windows --", "x", 0),
        (1, None, None, "x", 0),
        ("Oak wood", None, None, "x", 2**70),
        ("Oak wood", None, None, "x", 1.5),
        ("Oak wood", None, None, ["x"], 0),
        ("Oak wood", None, None, "x", True),
    ],
)
def test_a_cursor_with_a_wrong_key_is_refused_and_never_an_error_of_the_program(world, key) -> None:
    state = f"{world.snapshot.number}.0"
    with pytest.raises(Invalid):
        list_windows(world, SearchFilter(), limit=2, cursor=forged(world, key, state))


def test_a_cursor_is_of_one_list_and_one_filter(world) -> None:
    cursor = list_windows(world, SearchFilter(), limit=2).next
    with pytest.raises(Invalid, match="another list or of another filter"):
        list_windows(world, SearchFilter(months=(3,)), limit=2, cursor=cursor)
    with pytest.raises(Invalid, match="another list or of another filter"):
        list_recordings(world, SearchFilter(), limit=2, cursor=cursor)
    assert list_windows(world, SearchFilter(), limit=7, cursor=cursor).rows  # another size of page is fine


def test_a_newer_snapshot_in_between_is_told_and_an_older_cursor_never_leaves_rows_out(world, tmp_path) -> None:
    root = str(shutil.copytree(world.root, tmp_path / "store"))
    with open_archive(root) as archive:
        cursor = list_windows(archive, SearchFilter(), limit=2).next
    config = read_config(root)
    kit.write_part(root, config, [(kit.recording("!new/1.wav", site="!new"), 2)])
    write_snapshot(root, config, load_ledger(root))
    with open_archive(root) as archive:
        with pytest.raises(Conflict, match="newer snapshot"):
            list_windows(archive, SearchFilter(), limit=2, cursor=cursor)
        assert list_windows(archive, SearchFilter(), limit=2).rows[0]["site"] == "!new"


def test_annotations_come_and_go_between_pages_without_a_new_snapshot(world, tmp_path) -> None:
    root = str(shutil.copytree(world.root, tmp_path / "store"))
    with open_archive(root) as archive:
        first = list_windows(archive, SearchFilter(), limit=1)
        again = archive.windows(limit=2).to_pylist()[1]
        AnnotationLog(root).add(
            [Annotation(again["recording_id"], again["path"], again["start_s"], again["end_s"], "tit")],
            annotator="Ben",
            provenance="by hand",
        )
        second = list_windows(archive, SearchFilter(), limit=1, cursor=first.next)
        assert [a["label"] for a in second.rows[0]["annotations"]][-1:] == ["tit"]


def test_names_are_told_where_a_filter_is_misspelt(world) -> None:
    with pytest.raises(NotFound, match="Oak wood"):
        list_windows(world, SearchFilter(sites=("Oak wod",)), limit=2)
    with pytest.raises(NotFound, match="no site"):
        list_windows(world, SearchFilter(sites=tuple(f"'; DROP TABLE x{i}; --" for i in range(10_000))), limit=2)


@pytest.mark.parametrize(
    "wanted",
    [
        SearchFilter(label="rain"),
        SearchFilter(annotated=False),
        SearchFilter(valid_min_s=1.0),
        SearchFilter(rank_max=1),
    ],
)
def test_recordings_cannot_be_chosen_by_what_windows_have(world, wanted) -> None:
    with pytest.raises(Invalid, match="chooses windows"):
        list_recordings(world, wanted, limit=2)


def test_scores_without_a_probe_are_an_empty_list_and_an_unknown_probe_is_told(world) -> None:
    assert list_scores(world, SearchFilter(months=(3,)), limit=2).rows == []
    with pytest.raises(SonothequeError):
        list_scores(world, SearchFilter(), probe="owls", limit=2)
    with pytest.raises(NotFound, match="class"):
        list_scores(world, SearchFilter(), label="owl", limit=2)
    with pytest.raises(Invalid, match="0 to 1"):
        list_scores(world, SearchFilter(), least=1.5, limit=2)


def test_a_key_of_nothing_but_missing_values_has_nothing_after_it() -> None:
    from search_api.browsing.pages import Key

    assert after([Key("a", str, nullable=True)], [None]) == ("false", [])


def test_a_cursor_reads_back_what_was_put_into_it() -> None:
    made = Cursor("of", "1.0", ("é\n", None, 3))
    assert decode(made.encode(), "of", "1.0", [str, str, int]) == made.key
    assert set(made.encode()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    body = json.loads(base64.urlsafe_b64decode(made.encode() + "=="))
    assert body[1:] == ["of", "1.0", ["é\n", None, 3]]
