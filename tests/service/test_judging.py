"""Many judgements in one call: all of them or none, by window or by span, never doubled; and feedback, which is one of them."""

from __future__ import annotations

import math
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_api.annotations import add_annotation, list_annotations, undo_annotations
from search_api.feedback import FeedbackSource, give_feedback
from search_api.judging import JUDGEMENTS_MAX, Judgement, add_judgements
from sonotheque.core.errors import Invalid, Limit, NotFound
from sonotheque.core.filters import JUDGEMENTS
from store import open_archive
from store.annotations import AnnotationLog
from store.annotations.asking import ids_of, label_counts, of_recordings, page_of

A = "north/20240501_040000.wav"
OF = {"annotator": "Ana", "provenance": "page"}


@pytest.fixture
def archive(own):
    with open_archive(own.store) as opened:
        yield opened


def windows(archive):
    rows = archive.windows().to_pylist()
    return [f"{row['recording_id']}:{row['start_sample']}" for row in rows], rows


def test_judgements_on_windows_come_back_with_ids_and_are_undone_one_by_one(archive) -> None:
    ids, rows = windows(archive)
    said = [Judgement("owl", window_id=ids[n], judgement=how) for n, how in enumerate(JUDGEMENTS)]
    done = add_judgements(archive, said, **OF)
    assert (done["batch"], done["added"], done["already"], done["contrary"]) == (1, 3, 0, 0)
    assert [a["annotation_id"] for a in done["annotations"]] == [1, 2, 3]
    assert [(a["window_id"], a["judgement"]) for a in done["annotations"]] == list(
        zip(ids[:3], JUDGEMENTS, strict=True)
    )
    assert [(a["start_s"], a["end_s"], a["path"]) for a in done["annotations"]] == [
        (row["start_s"], row["end_s"], row["path"]) for row in rows[:3]
    ]
    undo_annotations(archive.root, annotation_id=2, annotator="Ana")
    assert set(list_annotations(archive.root)["annotation_id"].to_pylist()) == {1, 3}


def test_what_was_said_before_is_not_doubled_and_its_id_is_told(archive) -> None:
    ids, _ = windows(archive)
    first = add_judgements(archive, [Judgement("owl", window_id=ids[0])], **OF)
    again = add_judgements(archive, [Judgement(" owl ", window_id=i) for i in (ids[1], ids[0], ids[1])], **OF)
    assert (again["added"], again["already"]) == (1, 2)
    assert [a["annotation_id"] for a in again["annotations"]] == [2, first["annotations"][0]["annotation_id"], 2]
    whole = add_judgements(archive, [Judgement("owl", window_id=ids[0])], **OF)
    assert (whole["batch"], whole["added"], whole["already"]) == (None, 0, 1)
    other = add_judgements(archive, [Judgement("owl", window_id=ids[0])], annotator="Ben", provenance="page")
    assert (other["added"], other["annotations"][0]["annotation_id"]) == (1, 3)


def test_a_judgement_that_was_undone_and_said_again_has_a_new_id(archive) -> None:
    ids, _ = windows(archive)
    said = [Judgement("owl", window_id=ids[0])]
    first = add_judgements(archive, said, **OF)["annotations"][0]["annotation_id"]
    undo_annotations(archive.root, annotation_id=first, annotator="Ana")
    assert add_judgements(archive, said, **OF)["annotations"][0]["annotation_id"] == first + 1
    assert add_judgements(archive, said, **OF)["annotations"][0]["annotation_id"] == first + 1


def test_the_contrary_is_kept_and_counted(archive) -> None:
    ids, _ = windows(archive)
    add_judgements(archive, [Judgement("owl", window_id=ids[0])], **OF)
    done = add_judgements(archive, [Judgement("owl", window_id=ids[0], judgement="negative")], **OF)
    assert (done["added"], done["contrary"]) == (1, 1)


def test_spans_by_path_and_by_id_with_a_band_and_a_note(archive) -> None:
    recording = archive.sql("SELECT recording_id FROM recordings WHERE path = ?", [A])[0][0].as_py()
    said = [
        Judgement("wren", path=A, start_s=0.25, end_s=1.5, low_hz=2000, high_hz=7000.5, note="faint, „leise“\n🦉"),
        Judgement("wren", recording_id=str(recording), start_s=0, end_s=8),
    ]
    done = add_judgements(archive, said, **OF)
    row = list_annotations(archive.root).to_pylist()[1]
    assert (row["low_hz"], row["high_hz"], row["note"], row["end_s"]) == (2000, 7000.5, "faint, „leise“\n🦉", 1.5)
    assert [(a["recording_id"], a["end_s"]) for a in done["annotations"]] == [
        (str(recording), 1.5),
        (str(recording), 8.0),
    ]


def test_a_padded_windows_judgement_ends_with_the_recording(tmp_path) -> None:
    from tests.cluster.support import run
    from tests.search import kit

    kit.write(tmp_path / "recordings" / "a" / "20240501_040000.wav", kit.tone(300.0, 5.3))
    run(tmp_path / "recordings", tmp_path / "store", timezone="Europe/Paris")
    with open_archive(tmp_path / "store") as archive:
        ids, rows = windows(archive)
        done = add_judgements(archive, [Judgement("x", window_id=ids[-1])], **OF)["annotations"][0]
        assert rows[-1]["end_s"] == 6.0
        assert (done["start_s"], done["end_s"]) == (4.0, pytest.approx(5.3))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start_s=st.sampled_from([0.0, 6.0, 7.5, 7.9999, 8.0, 8.5, 9.0]),
    end_s=st.sampled_from([5.0, 7.9999, 8.0, 8.0000005, 8.1, 9.5, 10.0, 10.0001, 11.0, 400.0]),
)
def test_a_span_ends_where_the_command_line_lets_it_end(own, start_s, end_s) -> None:
    """Windows of 2 s, a recording of 8: what reaches into the padding is cut, what lies beyond is refused, on both ways."""

    def by_hand():
        return add_annotation(own.store, A, start_s, end_s, "x", annotator="Ana")

    said = [Judgement("x", path=A, start_s=start_s, end_s=end_s)]

    def by_call():
        with open_archive(own.store) as archive:
            return add_judgements(archive, said, **OF)["annotations"][0]

    told = []
    for way in (by_hand, by_call):
        try:
            told.append(way()["end_s"])
        except Invalid as error:
            told.append(error.message)
    assert told[0] == told[1]
    if start_s < 8.0 and start_s < end_s:
        assert told[0] == min(end_s, 8.0) if end_s <= 10.0 else "lasts 8.000 s" in told[0]
    else:
        assert isinstance(told[0], str)


BAD = [
    ({"label": "x", "window_id": "12:0"}, NotFound, "no window 12:0"),
    ({"label": "x", "window_id": "nonsense"}, Invalid, "RECORDINGID:STARTSAMPLE"),
    ({"label": "x", "recording_id": "12", "start_s": 0, "end_s": 1}, NotFound, "no recording with the id 12"),
    ({"label": "x", "recording_id": "-1", "start_s": 0, "end_s": 1}, Invalid, "whole number"),
    ({"label": "x", "path": "no.wav", "start_s": 0, "end_s": 1}, NotFound, "no recording 'no.wav'"),
    ({"label": "x", "path": "'; DROP TABLE recordings; --", "start_s": 0, "end_s": 1}, NotFound, "no recording"),
    ({"label": "", "path": A, "start_s": 0, "end_s": 1}, Invalid, "label is empty"),
    ({"label": " \u200b ", "path": A, "start_s": 0, "end_s": 1}, Invalid, "label"),
    ({"label": "a\0b", "path": A, "start_s": 0, "end_s": 1}, Invalid, "NUL"),
    ({"label": "x", "path": A, "start_s": 1, "end_s": 1}, Invalid, "end after the start"),
    ({"label": "x", "path": A, "start_s": 2, "end_s": 1}, Invalid, "end after the start"),
    ({"label": "x", "path": A, "start_s": -1, "end_s": 1}, Invalid, "before the recording"),
    ({"label": "x", "path": A, "start_s": 0, "end_s": 10.5}, Invalid, "lasts 8.000 s"),
    ({"label": "x", "path": A, "start_s": 8, "end_s": 9}, Invalid, "lasts 8.000 s"),
    ({"label": "x", "path": A, "start_s": math.nan, "end_s": 1}, Invalid, "finite"),
    ({"label": "x", "path": A, "start_s": 0, "end_s": math.inf}, Invalid, "finite"),
    ({"label": "x", "path": A, "start_s": 0, "end_s": 1, "low_hz": 9, "high_hz": 1}, Invalid, "above the high"),
    ({"label": "x", "path": A, "start_s": 0, "end_s": 1, "judgement": "maybe"}, Invalid, "judgement 'maybe'"),
]


@pytest.mark.parametrize(("wrong", "error", "said"), BAD)
def test_one_wrong_judgement_and_none_is_kept(archive, wrong, error, said) -> None:
    ids, _ = windows(archive)
    good = [Judgement("owl", window_id=i) for i in ids[:2]]
    with pytest.raises(error, match=said) as told:
        add_judgements(archive, [*good, Judgement(**wrong)], **OF)
    if "nonsense" not in str(wrong) and "-1" not in str(wrong.get("recording_id")):
        assert told.value.message.startswith("judgement 3 of 3: ")
    assert list_annotations(archive.root).num_rows == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"label": "x"}, "expected one of"),
        ({"label": "x", "window_id": "1:0", "path": "a"}, "expected one of"),
        ({"label": "x", "recording_id": "1", "path": "a", "start_s": 0, "end_s": 1}, "expected one of"),
        ({"label": "x", "window_id": "1:0", "start_s": 0.0}, "its own start"),
        ({"label": "x", "path": "a", "start_s": 0.0}, "needs start_s and end_s"),
    ],
)
def test_a_judgement_names_one_place(wrong, said) -> None:
    with pytest.raises(Invalid, match=said):
        Judgement(**wrong)


def test_too_many_judgements_are_refused_before_anything_is_looked_up(archive) -> None:
    with pytest.raises(Limit, match="in several"):
        add_judgements(archive, [Judgement("x", window_id="1:0")] * (JUDGEMENTS_MAX + 1), **OF)


def test_nothing_to_judge_is_nothing(archive) -> None:
    assert add_judgements(archive, [], **OF) == {
        "batch": None,
        "added": 0,
        "already": 0,
        "contrary": 0,
        "annotations": [],
    }


labels = st.sampled_from(["owl", "Ñandú", "'; DROP TABLE annotations; --", '"', "%", "日本", "a_b"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_said_and_undone_the_log_counts_as_a_dictionary_does(made, tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("said")
    root = str(folder / "store")
    shutil.copytree(made.store, root)
    with open_archive(root) as archive:
        ids, rows = windows(archive)
        counting: dict[tuple[str, str, str], int] = {}
        for _ in range(data.draw(st.integers(1, 4))):
            said = data.draw(
                st.lists(
                    st.tuples(st.sampled_from(ids[:5]), labels, st.sampled_from(JUDGEMENTS)), min_size=1, max_size=6
                )
            )
            done = add_judgements(archive, [Judgement(lab, window_id=i, judgement=j) for i, lab, j in said], **OF)
            assert done["added"] == len(set(said) - set(counting))
            for key, one in zip(said, done["annotations"], strict=True):
                assert counting.setdefault(key, one["annotation_id"]) == one["annotation_id"]
            if counting and data.draw(st.booleans()):
                gone = data.draw(st.sampled_from(sorted(counting)))
                undo_annotations(root, annotation_id=counting.pop(gone), annotator="Ana")
        expected = sorted(counting.values())
        assert sorted(list_annotations(root)["annotation_id"].to_pylist()) == expected
        assert of_recordings(root, {r["recording_id"] for r in rows})["annotation_id"].to_pylist() == expected
        assert page_of(root, limit=100)["annotation_id"].to_pylist() == expected[::-1]
        assert dict(label_counts(root)) == {
            label: n for label in {k[1] for k in counting} if (n := sum(k[1] == label for k in counting))
        }


def test_pages_of_annotations_filter_as_they_say(archive) -> None:
    ids, _ = windows(archive)
    for who in ("Ana", "Ben"):
        add_judgements(
            archive, [Judgement(f"l{n % 2}", window_id=i) for n, i in enumerate(ids)], annotator=who, provenance="p"
        )
    root = archive.root
    assert page_of(root, limit=3)["annotation_id"].to_pylist() == [36, 35, 34]
    assert page_of(root, limit=3, before_id=35)["annotation_id"].to_pylist() == [34, 33, 32]
    assert set(page_of(root, limit=99, annotator="Ben", label="l1")["annotator"].to_pylist()) == {"Ben"}
    assert set(page_of(root, limit=99, path_glob="south/*")["path"].to_pylist()) == {
        "south/20240501_040000.wav",
        "south/20240502_050000.wav",
    }
    for odd in ("[ns]*", "*'; --", "south"):
        assert page_of(root, limit=9, path_glob=odd).num_rows == 0
    assert page_of(root, limit=9, judgement="negative").num_rows == 0


def test_a_store_without_annotations_has_none(archive) -> None:
    assert of_recordings(archive.root, {1, 2}).num_rows == page_of(archive.root, limit=2).num_rows == 0
    assert label_counts(archive.root) == []
    assert ids_of(archive.root, [], "Ana") == []


@pytest.mark.parametrize(
    ("verdict", "judgement"), [("right", "positive"), ("wrong", "negative"), ("unsure", "uncertain")]
)
def test_feedback_is_a_judgement_that_says_what_it_was_about(archive, verdict, judgement) -> None:
    ids, rows = windows(archive)
    source = FeedbackSource("probe", "owls", "3", 0.8312345)
    give_feedback(archive, ids[0], "owl", verdict, source, listener="Cleo", comment=" far away ")
    row = list_annotations(archive.root).to_pylist()[0]
    assert (row["judgement"], row["annotator"], row["note"]) == (judgement, "Cleo", "far away")
    assert row["provenance"] == "feedback: probe owls, version 3, score 0.831234"
    assert row["recording_id"] == rows[0]["recording_id"]


def test_feedback_that_cannot_be_is_refused(archive) -> None:
    ids, _ = windows(archive)
    source = FeedbackSource("search")
    assert source.provenance == "feedback: search"
    with pytest.raises(Invalid, match="verdict 'rihgt': did you mean"):
        give_feedback(archive, ids[0], "owl", "rihgt", source, listener="Cleo")
    with pytest.raises(Invalid, match="source 'guess'"):
        FeedbackSource("guess")
    with pytest.raises(NotFound):
        give_feedback(archive, "1:0", "owl", "right", source, listener="Cleo")
    assert AnnotationLog(archive.root).current().num_rows == 0
