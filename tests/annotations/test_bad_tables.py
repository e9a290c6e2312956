"""Bad tables: each is refused with file, line, column, value and what was expected."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid, SonothequeError
from store.annotations.formats import FORMATS, read_table
from tests.annotations.support import write

RAVEN = "Selection\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\tFile Offset (s)\tJudgement\n"
BIRDNET = "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
HOPLITE = "recording,start_offset_s,end_offset_s,label,label_type\n"
PAMDP = "observationID,mediaID,observationType,scientificName,bboxTime,bboxDuration,bboxFrequency,bboxBandwidth,eventStart,eventEnd\n"

# table, line, column, what was expected
BAD = [
    (f"{RAVEN}1\t1\t2\t\t\towl\t\t\n2\tone\t2\t\t\towl\t\t\n", 3, "'Begin Time (s)': 'one'", "seconds"),
    (f"{RAVEN}1\t-1\t2\t\t\towl\t\t\n", 2, "'Begin Time (s)': '-1'", "0 or more"),
    (f"{RAVEN}1\tnan\t2\t\t\towl\t\t\n", 2, "'Begin Time (s)': 'nan'", "seconds"),
    (f"{RAVEN}1\t1\tinf\t\t\towl\t\t\n", 2, "'End Time (s)': 'inf'", "seconds"),
    (f"{RAVEN}1\t1\t1e999\t\t\towl\t\t\n", 2, "'End Time (s)': '1e999'", "seconds"),
    (f"{RAVEN}1\t1_0\t12\t\t\towl\t\t\n", 2, "'Begin Time (s)': '1_0'", "seconds"),
    (f"{RAVEN}1\t\t2\t\t\towl\t\t\n", 2, "'Begin Time (s)': ''", "seconds"),
    (f"{RAVEN}1\t2\t2\t\t\towl\t\t\n", 2, "'End Time (s)': '2'", "after the start"),
    (f"{RAVEN}1\t3\t2\t\t\towl\t\t\n", 2, "'End Time (s)': '2'", "after the start"),
    (f"{RAVEN}1\t1\t2\tlow\t\towl\t\t\n", 2, "'Low Freq (Hz)': 'low'", "hertz"),
    (f"{RAVEN}1\t1\t2\t-5\t\towl\t\t\n", 2, "'Low Freq (Hz)': '-5'", "hertz, 0 or more"),
    (f"{RAVEN}1\t1\t2\t900\t300\towl\t\t\n", 2, "'High Freq (Hz)': '300'", "above the low one"),
    (f"{RAVEN}1\t1\t2\t\t\t\t\t\n", 2, "'Species': ''", "a label"),
    (f"{RAVEN}1\t1\t2\t\t\towl\t-3\t\n", 2, "'File Offset (s)': '-3'", "inside the file"),
    (f"{RAVEN}1\t1\t2\t\t\towl\t\tmaybe\n", 2, "'Judgement': 'maybe'", "positive, negative or uncertain"),
    (f"{RAVEN}1\t1\t2\t\t\towl\t\t\textra\n", 2, "9 cells", "expected 8"),
    ("Begin Time (s)\tEnd Time (s)\tSpecies\tspecies\n1\t2\ta\tb\n", 1, "'species'", "there twice"),
    (f"{BIRDNET}0:00,3,a,b,0.5,x.wav\n", 2, "'Start (s)': '0:00'", "seconds"),
    (f"{BIRDNET}0:61:00,1:02:00,a,b,0.5,x.wav\n", 2, "'Start (s)': '0:61:00'", "HH:MM:SS"),
    (f"{BIRDNET}0,3,a,b,high,x.wav\n", 2, "'Confidence': 'high'", "a number"),
    (f"{BIRDNET}0,3,,,0.5,x.wav\n", 2, "'label': ''", "a label"),
    (f'{BIRDNET}0,3,"a,b,0.5,x.wav\n', 2, "not CSV", "unexpected end"),
    (f"{HOPLITE}a.wav,0,5,owl,3\n", 2, "'label_type': '3'", "positive, negative or uncertain"),
    (f"{HOPLITE},0,5,owl,positive\n", 2, "'recording': ''", "the recording's path"),
    (
        f'{HOPLITE}a.wav,0,5,"multi\nline",positive\nb.wav,5,0,owl,positive\n',
        4,
        "'end_offset_s': '0'",
        "after the start",
    ),
    (f"{PAMDP}o1,,animal,x,0,1,,,,\n", 2, "'mediaID': ''", "mediaID"),
    (f"{PAMDP}o1,m1,animal,x,-1,1,,,,\n", 2, "'bboxTime': '-1'", "at or after its start"),
    (f"{PAMDP}o1,m1,animal,x,0,0,,,,\n", 2, "'bboxDuration': '0'", "more than 0"),
    (f"{PAMDP}o1,m1,animal,x,0,1,-5,,,\n", 2, "'bboxFrequency': '-5'", "0 or more"),
    (f"{PAMDP}o1,m1,animal,x,,,,,5,4\n", 2, "'eventEnd': '4'", "after the start"),
    (f"{PAMDP}o1,m1,animal,x,,,,,2024-05-01T04:00:00Z,2024-05-01T04:00:03Z\n", 2, "'eventStart'", "media.csv"),
    (f"{PAMDP}o1,m1,,,0,1,,,,\n", 2, "'scientificName': ''", "a label"),
    ("1.0\t2.0\towl\n2.0\t2.0\towl\n", 2, "'end': '2.0'", "without length"),
    ("1.0\t2.0\towl\n2.0\tx\towl\n", 2, "'end': 'x'", "seconds"),
    ("1.0\t2.0\towl\n3.0\t4.0\t\n", 2, "'label': ''", "a label"),
    ("1.0\t2.0\towl\n\\\t300\tx\n", 2, "'high frequency': 'x'", "hertz, or -1"),
    ("1.0\t2.0\towl\n\\\t-7\t300\n", 2, "'low frequency': '-7'", "hertz, or -1"),
    ("1.0\t2.0\towl\n\\\t900\t300\n", 2, "'high frequency': '300'", "above the low one"),
    ("1.0\t2.0\towl\tloud\n", 1, "'confidence': 'loud'", "a number"),
]


@pytest.mark.parametrize(("text", "line", "cell", "expected"), BAD)
def test_a_bad_cell_is_named(tmp_path: Path, text: str, line: int, cell: str, expected: str) -> None:
    path = write(tmp_path, "table.txt", text)
    with pytest.raises(Invalid) as caught:
        read_table(path)
    message = caught.value.message
    assert caught.value.kind == "invalid_table"
    assert message.startswith(f"{path}, line {line}")
    assert cell in message
    assert expected in message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no table of annotations that is known: its first line has nothing"),
        (b"\n \n", "no table of annotations"),
        (b"just words\nin lines\n", "its first line has just words"),
        (b"Begin Time (s)\tEnd Time (s)\tSpecies\n1\t2\tcaf\xe9\n", "line 2: byte 0xe9 is not UTF-8"),
        (b"\xff\xfeB\x00e\x00\x00", "not UTF-16"),
        (b"PAR1 and then nothing of Parquet", "not a Parquet file"),
        (b"\\\t300\t400\n", "no table of annotations"),
    ],
)
def test_a_file_that_is_no_table_says_so(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(Invalid, match="table") as caught:
        read_table(write(tmp_path, "table.txt", data))
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("format_", "text", "words"),
    [
        ("raven", "Start\tEnd\n", "no column for the"),
        ("birdnet", "name\n", "no column for the start; the header has name"),
        ("hoplite", "recording,label\n", "no column for the start"),
        ("hoplite", "recording,start_s,end_s,name\na,1,2,b\n", "no column for the label"),
        ("pamdp", "observationID\n", "no column for the mediaID"),
        ("audacity", "\\\t300\t400\n", "before any label"),
        ("parquet", "x", "not a Parquet file"),
        ("raven", "", "no column for the"),
    ],
)
def test_the_wrong_format_asked_for_says_what_is_missing(tmp_path: Path, format_: str, text: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_table(write(tmp_path, "table.txt", text), format=format_)
    assert words in caught.value.message


def test_an_unknown_label_column_names_near_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "x.txt", "Begin Time (s)\tEnd Time (s)\tSpecies\n1\t2\towl\n")
    with pytest.raises(Invalid, match="did you mean Species") as caught:
        read_table(path, label_column="Specis")
    assert caught.value.kind == "unknown_column"
    with pytest.raises(Invalid, match="no columns to choose from"):
        read_table(write(tmp_path, "a.txt", "1\t2\towl\n"), label_column="label")


def test_pamdp_s_media_must_fit(tmp_path: Path) -> None:
    path = write(tmp_path, "observations.csv", f"{PAMDP}o1,m2,animal,x,0,1,,,,\n")
    write(tmp_path, "media.csv", "mediaID,filePath,timestamp\nm1,a.wav,\n")
    with pytest.raises(Invalid, match=r"line 2, column 'mediaID': 'm2'; expected a mediaID of the media\.csv"):
        read_table(path)
    write(tmp_path, "media.csv", "mediaID,filePath,timestamp\nm2,a.wav,\nm2,b.wav,\n")
    with pytest.raises(Invalid, match=r"media\.csv, line 3, column 'mediaID': 'm2'"):
        read_table(path)
    write(tmp_path, "media.csv", "mediaID,filePath,timestamp\nm2,,\n")
    with pytest.raises(Invalid, match=r"media\.csv, line 2, column 'filePath'"):
        read_table(path)
    write(tmp_path, "media.csv", "mediaID,filePath,timestamp\nm2,a.wav,2024-05-01T04:00:00\n")
    write(tmp_path, "observations.csv", f"{PAMDP}o1,m2,animal,x,,,,,2024-05-01T04:00:01Z,2024-05-01T04:00:03Z\n")
    with pytest.raises(Invalid, match=r"'eventStart'.*exactly if the medium's timestamp"):
        read_table(path)
    write(tmp_path, "media.csv", "mediaID,filePath,timestamp\nm2,a.wav,2024-05-01T04:00:02Z\n")
    with pytest.raises(Invalid, match=r"'eventStart'.*at or after its start"):
        read_table(path)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"path": ["a"], "start_s": [0.0], "end_s": [1.0]}, "no column 'label'"),
        (
            {"path": ["a"], "start_s": ["x"], "end_s": [1.0], "label": ["x"]},
            "column 'start_s': string; expected double",
        ),
        (
            {"path": ["a", None], "start_s": [0.0] * 2, "end_s": [1.0] * 2, "label": ["x"] * 2},
            "row 2, column 'path': None",
        ),
        ({"path": ["a"], "start_s": [None], "end_s": [1.0], "label": ["x"]}, "row 1, column 'start_s': None"),
        ({"path": ["a"], "start_s": [2.0], "end_s": [1.0], "label": ["x"]}, "row 1: span 2 to 1 s"),
        ({"path": ["a"], "start_s": [float("nan")], "end_s": [1.0], "label": ["x"]}, "row 1: span nan"),
        ({"path": ["a"], "start_s": [0.0], "end_s": [1.0], "label": [""]}, "row 1, column 'label': ''"),
        (
            {"path": ["a"], "start_s": [0.0], "end_s": [1.0], "label": ["x"], "judgement": ["?"]},
            "column 'judgement': '?'",
        ),
        ({"path": ["a"], "start_s": [0.0], "end_s": [1.0], "label": ["x"], "low_hz": [-1.0]}, "row 1: frequency -1 Hz"),
    ],
)
def test_a_bad_parquet_cell_is_named(tmp_path: Path, columns: dict[str, list[object]], words: str) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(Invalid) as caught:
        read_table(path)
    assert words in caught.value.message
    assert str(path) in caught.value.message


def test_parquet_labels_can_stand_in_another_column(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"path": ["a"], "start_s": [0], "end_s": [1], "label": ["x"], "species": ["y"]}), path)
    assert read_table(path)[1][0].label == "x"
    assert read_table(path, label_column="species")[1][0].label == "y"


good = [text for text, *_ in BAD] + [
    f"{RAVEN}1\t1\t2\t100\t900\towl\t\t\n",
    f"{BIRDNET}0,3,a,b,0.5,x.wav\n",
    f"{HOPLITE}a.wav,0,5,owl,positive\n",
    "1.0\t2.0\towl\n\\\t300\t400\n",
]


@given(
    text=st.sampled_from(good),
    at=st.floats(0, 1),
    with_=st.sampled_from(["", "\t", "\n", '"', ",", "\0", "-", "e", "\ufeff", "\r", "9" * 400, "\\"]),
    cut=st.integers(0, 30),
    format_=st.sampled_from([None, *FORMATS]),
)
@settings(max_examples=200, deadline=None)
def test_a_damaged_table_is_read_or_refused_and_nothing_else(
    text: str, at: float, with_: str, cut: int, format_: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    where = round(at * len(text))
    path = write(tmp_path_factory.getbasetemp(), "damaged.txt", text[:where] + with_ + text[where + cut :])
    try:
        _, raws = read_table(path, format=format_)
    except SonothequeError as error:
        assert str(path) in error.message or "line" in error.message
    else:
        assert all(0 <= raw.start_s < raw.end_s for raw in raws)
        assert all(raw.label for raw in raws)
