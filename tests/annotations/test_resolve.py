"""Which recording a table means: exact, by its last parts, by its name; never one of two."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.ids import recording_id
from store.annotations.formats import RawAnnotation
from store.annotations.resolve import BY_NAME, BY_PARTS, EXACT, FOLDED, RecordingIndex, resolve
from tests.annotations.support import recordings

PATHS = (
    "A/20240501/040000.wav",
    "A/20240501/050000.wav",
    "B/20240501/040000.wav",
    "B/night/hour 1.flac",
    "C/Å.wav",
    "C/dawn.wav",
    "C/dawn.flac",
    "C/od\\d.wav",
    "C/caf\\udce9.wav",
    "top.wav",
)


@pytest.fixture
def index() -> RecordingIndex:
    return RecordingIndex(recordings(*((path, 60.0) for path in PATHS)))


def found(index: RecordingIndex, text: str, *, named_after: bool = False) -> tuple[str, str] | None:
    hit = index.find(text, named_after=named_after)
    return hit and (hit[0].path, hit[1])


@pytest.mark.parametrize("path", PATHS)
def test_a_stored_path_is_itself(index: RecordingIndex, path: str) -> None:
    assert found(index, path) == (path, EXACT)
    hit = index.find(path)
    assert hit
    assert hit[0].recording_id == recording_id(path)


@pytest.mark.parametrize(
    ("text", "path", "how"),
    [
        ("/mnt/disk/A/20240501/040000.wav", "A/20240501/040000.wav", BY_PARTS),
        ("D:\\field\\B\\20240501\\040000.wav", "B/20240501/040000.wav", BY_PARTS),
        ("\\\\server\\share\\B\\night\\hour 1.flac", "B/night/hour 1.flac", BY_PARTS),
        ("./A/20240501/050000.wav", "A/20240501/050000.wav", BY_PARTS),
        ("https://x.org/rec/C/dawn.flac", "C/dawn.flac", BY_PARTS),
        ("night/hour 1.flac", "B/night/hour 1.flac", BY_PARTS),
        ("050000.wav", "A/20240501/050000.wav", BY_NAME),
        ("elsewhere/050000.wav", "A/20240501/050000.wav", BY_NAME),
        ("D:\\top.wav", "top.wav", BY_NAME),
        ("/x/C/od\\d.wav", "C/od\\d.wav", BY_PARTS),
        ("/x/C/caf\\udce9.wav", "C/caf\\udce9.wav", BY_PARTS),
        ("a/20240501/050000.WAV", "A/20240501/050000.wav", FOLDED),
        ("HOUR 1.FLAC", "B/night/hour 1.flac", FOLDED),
        (unicodedata.normalize("NFD", "C/Å.wav"), "C/Å.wav", FOLDED),
    ],
)
def test_paths_of_other_machines(index: RecordingIndex, text: str, path: str, how: str) -> None:
    assert found(index, text) == (path, how)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("out/B/20240501/040000", "B/20240501/040000.wav"),
        ("out/050000", "A/20240501/050000.wav"),
        ("out/dawn.wav", "C/dawn.wav"),
        ("TOP", "top.wav"),
    ],
)
def test_a_table_named_after_its_recording_lacks_the_ending(index: RecordingIndex, text: str, path: str) -> None:
    hit = found(index, text, named_after=True)
    assert hit
    assert hit[0] == path
    if "." not in text:
        assert found(index, text) is None, "a path in a table has its ending"


@pytest.mark.parametrize(
    ("text", "named_after", "candidates"),
    [
        ("040000.wav", False, ("A/20240501/040000.wav", "B/20240501/040000.wav")),
        ("/x/20240501/040000.wav", False, ("A/20240501/040000.wav", "B/20240501/040000.wav")),
        ("C/dawn", True, ("C/dawn.flac", "C/dawn.wav")),
        ("040000.WAV", False, ("A/20240501/040000.wav", "B/20240501/040000.wav")),
    ],
)
def test_what_could_mean_two_is_refused_with_both(
    index: RecordingIndex, text: str, named_after: bool, candidates: tuple[str, ...]
) -> None:
    with pytest.raises(Invalid, match="could mean 2 recordings") as caught:
        index.find(text, named_after=named_after)
    assert caught.value.kind == "ambiguous_recording"
    assert all(path in caught.value.message for path in candidates)


@pytest.mark.parametrize("text", ["", "/", "nothing.wav", "A", "A/20240501", "40000.wav", "wav", "0.wav"])
def test_what_is_not_there_is_not_found(index: RecordingIndex, text: str) -> None:
    assert found(index, text) is None


names = st.sampled_from(["a.wav", "b.wav", "A.wav", "x", "y", "Y"])
some_paths = st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), min_size=1, max_size=6, unique=True)


@given(some_paths, st.lists(names, min_size=1, max_size=4).map("/".join))
@settings(max_examples=200, deadline=None)
def test_the_longest_match_wins_as_a_dumb_search_says(paths: list[str], asked: str) -> None:
    def suffix(path: str, fold: bool) -> int:
        mine, theirs = ([p.casefold() if fold else p for p in text.split("/")][::-1] for text in (path, asked))
        n = 0
        while n < min(len(mine), len(theirs)) and mine[n] == theirs[n]:
            n += 1
        return n

    index = RecordingIndex(recordings(*((path, 1.0) for path in paths)))
    expected: str | None = asked if asked in paths else None
    for fold in (False, True):
        best = max(suffix(path, fold) for path in paths)
        winners = [path for path in paths if suffix(path, fold) == best]
        if expected is None and best:
            if len(winners) > 1:
                with pytest.raises(Invalid):
                    index.find(asked)
                return
            expected = winners[0]
    hit = index.find(asked)
    assert (hit and hit[0].path) == expected


def raw(start_s: float = 1.0, end_s: float = 2.0, path: str = PATHS[0], line: int = 2, **more: object) -> RawAnnotation:
    return replace(RawAnnotation("t.csv", line, path, start_s, end_s, "owl"), **more)


def test_rows_become_annotations(index: RecordingIndex) -> None:
    rows = [
        raw(),
        raw(path="050000.wav", judgement="negative", low_hz=5.0, note="n"),
        raw(path="/x/" + PATHS[0], line=4),
    ]
    out = resolve(rows, index, judgement="uncertain")
    assert [(a.path, a.judgement, a.low_hz, a.note) for a in out.annotations] == [
        (PATHS[0], "uncertain", None, ""),
        (PATHS[1], "negative", 5.0, "n"),
        (PATHS[0], "uncertain", None, ""),
    ]
    assert out.raws == rows
    assert dict(out.how) == {EXACT: 1, BY_NAME: 1, BY_PARTS: 1}
    assert out.cut == 0


@pytest.mark.parametrize(
    ("start_s", "end_s", "slack_s", "end"),
    [
        (58, 60, 1, 60),
        (58, 60.4, 1, 60),
        (58, 61, 1, 60),
        (59.5, 61, 1, 60),
        (57, 63, 3, 60),
        (60, 60.5, 1, None),
        (58, 61.1, 1, None),
        (70, 75, 9, None),
    ],
)
def test_a_span_past_the_end_is_cut_a_little_and_refused_beyond(
    index: RecordingIndex, start_s: float, end_s: float, slack_s: float, end: float | None
) -> None:
    one = raw(start_s, end_s, slack_s=slack_s)
    if end is None:
        with pytest.raises(
            Invalid, match=rf"t\.csv, line 2: the span {start_s:g} to {end_s:g} s .*lasts 60\.000 s.*File Offset"
        ) as caught:
            resolve([one], index)
        assert caught.value.kind == "invalid_table"
    else:
        out = resolve([one], index)
        assert (out.annotations[0].end_s, out.cut) == (end, int(end_s != end))


@pytest.mark.parametrize("length", [None, 0.0])
def test_a_recording_of_unknown_length_takes_any_span(length: float | None) -> None:
    out = resolve([raw(1e4, 1e5)], RecordingIndex(recordings((PATHS[0], length))))
    assert out.annotations[0].end_s == 1e5


def test_unknown_recordings_refuse_everything_or_are_left_out_and_counted(index: RecordingIndex) -> None:
    rows = [
        raw(),
        *(raw(path=f"Z/no{i % 7}.wav", line=i) for i in range(20)),
        raw(path="A/20240501/040001.wav", line=30),
    ]
    with pytest.raises(NotFound) as caught:
        resolve(rows, index)
    message = caught.value.message
    assert caught.value.kind == "unknown_recording"
    assert "t.csv, line 0: 'Z/no0.wav' is no recording of the store" in message
    assert "and 3 more" in message
    assert "these 21 rows of 8 recordings" in message
    out = resolve(rows, index, skip_unknown=True)
    assert len(out.annotations) == 1
    assert sum(out.unknown.values()) == 21
    assert out.unknown["Z/no0.wav"] == 3


def test_near_names_are_offered(index: RecordingIndex) -> None:
    with pytest.raises(NotFound, match=r"did you mean .*A/20240501/040000\.wav"):
        resolve([raw(path="A/20240501/040001.wav")], index)
    with pytest.raises(NotFound, match="named after no recording"):
        resolve([raw(path="zzz", named_after=True)], index)


def test_near_names_do_not_take_long_among_many(index: RecordingIndex) -> None:
    many = RecordingIndex(recordings(*((f"site{i % 50}/2024{i:07d}.wav", 60.0) for i in range(60_000))))
    assert "did you mean" in many.near("/x/20240000061.way")
    assert many.near("quite else.wav") == "no recording has a name like it"


def test_ambiguity_is_refused_even_when_unknown_ones_are_left_out(index: RecordingIndex) -> None:
    with pytest.raises(Invalid, match=r"t\.csv, line 9: '040000\.wav' could mean 2"):
        resolve([raw(path="040000.wav", line=9)], index, skip_unknown=True)


def test_what_no_annotation_can_be_names_its_line(index: RecordingIndex) -> None:
    with pytest.raises(Invalid, match=r"t\.csv, line 5: label 'a\\x00b' holds a NUL") as caught:
        resolve([raw(line=5, label="a\0b")], index)
    assert caught.value.kind == "invalid_table"
