"""Tables as people have them: many spellings, encodings and habits; and what is read of each."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sonotheque.core.errors import Invalid
from store.annotations.formats import RawAnnotation, detect, read_table
from store.annotations.formats.named import table_name
from tests.annotations.support import facts, write


def read(folder: Path, name: str, text: str | bytes, **options: Any) -> list[RawAnnotation]:
    return read_table(write(folder, name, text), **options)[1]


def brief(raws: list[RawAnnotation]) -> list[tuple[Any, ...]]:
    return [(raw.recording, raw.start_s, raw.end_s, raw.label) for raw in raws]


RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def test_a_table_of_one_recording_is_named_after_it(tmp_path: Path) -> None:
    text = f"{RAVEN}\tSpecies\n1\tSpectrogram 1\t1\t2.5\t4.25\t300.0\t1200.0\tStrix aluco\n"
    raw = read(tmp_path, "wood/20240501_040000.Table.1.selections.txt", text)[0]
    assert raw.named_after
    assert raw.recording == str(tmp_path / "wood" / "20240501_040000")
    assert facts(raw)[1:] == (2.5, 4.25, "Strix aluco", None, 300, 1200, None, "")
    assert (raw.line, raw.slack_s) == (2, 1.0)


def test_a_selection_seen_in_two_views_is_one(tmp_path: Path) -> None:
    text = (
        f"{RAVEN}\tAnnotation\n"
        "1\tWaveform 1\t1\t2.5\t4.25\t\t\towl\n"
        "1\tSpectrogram 1\t1\t2.5\t4.25\t300\t1200\towl\n"
        "2\tSpectrogram 1\t1\t5\t6\t200\t900\towl\n"
        "2\tWaveform 1\t1\t5\t6\t0\t24000\towl\n"
        "3\tSpectrogram 1\t1\t5\t6\t200\t900\towl\n"  # drawn twice by a person: two selections
        "4\tSpectrogram 1\t1\t8\t9\t200\t900\towl\n"
        "4\tSpectrogram 1\t1\t8\t9\t200\t900\towl\n"  # the same row twice is not the same selection in two views
        "5\tSpectrogram 1\t1\t8\t9\t200\t900\towl\n"
        "5\tWaveform 1\t1\t8\t9\t200\t900\twren\n"  # two labels: two judgements
    )
    raws = read(tmp_path, "x.txt", text)
    assert [(r.start_s, r.low_hz, r.high_hz, r.label) for r in raws] == [
        (2.5, 300, 1200, "owl"),
        (5, 200, 900, "owl"),
        (5, 200, 900, "owl"),
        *[(8, 200, 900, "owl")] * 3,
        (8, 200, 900, "wren"),
    ]


def test_times_in_a_table_over_a_sequence_are_those_inside_the_files(tmp_path: Path) -> None:
    text = (
        "Selection\tBegin Time (s)\tEnd Time (s)\tBegin Path\tFile Offset (s)\tCommon Name\n"
        "1\t10\t12\tC:\\field\\A\\one.wav\t10\tOwl\n"
        "2\t3605.5\t3607\tC:\\field\\A\\two.wav\t5.5\tOwl\n"
    )
    assert brief(read(tmp_path, "all.txt", text)) == [
        ("C:\\field\\A\\one.wav", 10, 12, "Owl"),
        ("C:\\field\\A\\two.wav", 5.5, 7, "Owl"),
    ]


def test_birdnet_s_selection_table(tmp_path: Path) -> None:
    text = (
        f"{RAVEN}\tCommon Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"
        "1\tSpectrogram 1\t1\t0\t3.0\t0\t15000\tTawny Owl\ttawowl1\t0.8731\t/data/wood/a.wav\t0\n"
    )
    raw = read(tmp_path, "a.BirdNET.selection.table.txt", text)[0]
    assert (raw.recording, raw.label, raw.note, raw.slack_s) == (
        "/data/wood/a.wav",
        "Tawny Owl",
        "confidence 0.8731",
        3.0,
    )
    assert read(tmp_path, "a.txt", text, label_column="species code")[0].label == "tawowl1"


def test_a_selection_table_with_commas_and_many_columns(tmp_path: Path) -> None:
    text = (
        "Selection,View,Channel,Begin Time (s),End Time (s),Low Freq (Hz),High Freq (Hz),Begin File,Delta Time (s),Species,CallType,Notes\n"
        '1,Waveform 1,1,2.189500604,2.638238136,2120.896,4936.567,hawaii/example.wav,0.4487,Iiwi,Meme,"far, faint"\n'
    )
    raw = read(tmp_path, "labels.csv", text)[0]
    assert facts(raw) == (
        "hawaii/example.wav",
        2.189500604,
        2.638238136,
        "Iiwi",
        None,
        2120.896,
        4936.567,
        None,
        "far, faint",
    )


def test_quotes_mean_nothing_where_tabs_separate_as_in_raven(tmp_path: Path) -> None:
    text = 'Begin Time (s)\tEnd Time (s)\tAnnotation\n1\t2\t"loud" owl\n3\t4\t"never closed\n'
    assert [r.label for r in read(tmp_path, "x.txt", text)] == ['"loud" owl', '"never closed']


def test_the_first_filled_column_of_those_known_is_the_label(tmp_path: Path) -> None:
    text = "Begin Time (s)\tEnd Time (s)\tAnnotation\tCommon Name\n1\t2\t\tOwl\n3\t4\tduet\tOwl\n"
    assert [r.label for r in read(tmp_path, "x.txt", text)] == ["Owl", "duet"]
    assert [r.label for r in read(tmp_path, "x.txt", text, label_column="COMMON_NAME")] == ["Owl", "Owl"]


def test_rows_without_a_label_can_be_given_one(tmp_path: Path) -> None:
    bare = "Begin Time (s)\tEnd Time (s)\n1\t2\n"
    with pytest.raises(Invalid, match=r"no column for the label; .*--label-column"):
        read(tmp_path, "x.txt", bare)
    assert read(tmp_path, "x.txt", bare, label="owl")[0].label == "owl"


def test_judgements_stand_in_a_column_of_their_own(tmp_path: Path) -> None:
    words = ("positive", "NEG", "Uncertain", "0", "1", "2", "")
    text = "Begin Time (s)\tEnd Time (s)\tLabel\tJudgement\tAnnotator\n" + "".join(
        f"1\t2\towl\t{w}\tAna\n" for w in words
    )
    raws = read(tmp_path, "x.txt", text)
    assert [r.judgement for r in raws] == [
        "positive",
        "negative",
        "uncertain",
        "negative",
        "positive",
        "uncertain",
        None,
    ]
    assert {r.annotator for r in raws} == {"Ana"}


AUDACITY = "1.000000\t2.500000\tStrix aluco\n\\\t300.000000\t1200.000000\n3,5\t4\tRegulus, the king\n\\\t-1.000000\t9000\n\\\t-1\t-1\n"


def test_a_label_track_and_its_frequencies(tmp_path: Path) -> None:
    raws = read(tmp_path, "20240501_040000.txt", AUDACITY)
    assert [facts(r)[1:] for r in raws] == [
        (1, 2.5, "Strix aluco", None, 300, 1200, None, ""),
        (3.5, 4, "Regulus, the king", None, None, None, None, ""),
    ]
    assert [r.line for r in raws] == [1, 3]


def test_birdnet_s_label_track_has_a_score(tmp_path: Path) -> None:
    raws = read(tmp_path, "a.BirdNET.results.txt", "0.0\t3.0\tStrix aluco, Tawny Owl\t0.8731\n")
    assert brief(raws) == [(str(tmp_path / "a"), 0, 3, "Strix aluco_Tawny Owl")]
    assert (raws[0].note, raws[0].slack_s) == ("confidence 0.8731", 3)


ANALYZER = "Start (s),End (s),Scientific name,Common name,Confidence"
OWL, SURE = "Strix aluco_Tawny Owl", "confidence 0.87"


@pytest.mark.parametrize(
    ("header", "row", "recording", "label", "note"),
    [
        (f"{ANALYZER},File", "0.0,3.0,Strix aluco,Tawny Owl,0.87,/d/a.wav", "/d/a.wav", OWL, SURE),
        (f"{ANALYZER},File", "0,3,,background,,a.wav", "a.wav", "background", ""),
        (ANALYZER, "0.0,3.0,Strix aluco,Tawny Owl,0.87", None, OWL, SURE),
        (f"{ANALYZER},File".replace(",", ";"), "0,0;3,0;Strix aluco;Tawny Owl;0,87;a.wav", "a.wav", OWL, SURE),
        (
            "filepath,start,end,scientific_name,common_name,confidence,lat,lon",
            "/d/a.wav,0.0,3.0,Strix aluco,Tawny Owl,0.87,-1,-1",
            "/d/a.wav",
            OWL,
            SURE,
        ),
        (
            "input,start_time,end_time,species_name,confidence",
            "/d/a.wav,00:00:00.00,00:00:03.00,Strix aluco_Tawny Owl,0.87",
            "/d/a.wav",
            OWL,
            SURE,
        ),
    ],
)
def test_birdnet_s_tables(tmp_path: Path, header: str, row: str, recording: str | None, label: str, note: str) -> None:
    raw = read(tmp_path, "a.BirdNET.results.csv", f"{header}\n{row}\n")[0]
    assert raw.recording == (recording or str(tmp_path / "a"))
    assert raw.named_after is (recording is None)
    assert (raw.start_s, raw.end_s, raw.label, raw.note, raw.slack_s) == (0, 3, label, note, 3)


def test_birdnet_s_common_names_if_asked_for(tmp_path: Path) -> None:
    text = "Start (s),End (s),Scientific name,Common name,Confidence,File\n0.0,3.0,Strix aluco,Tawny Owl,0.87,a.wav\n"
    assert read(tmp_path, "a.csv", text, label_column="Common name")[0].label == "Tawny Owl"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("recording,start_offset_s,end_offset_s,label,label_type", "DEP01/rec001.wav,10.0,15.0,MyBird,negative"),
        ("recording,label,start_offset_s,end_offset_s,label_type", "DEP01/rec001.wav,MyBird,10.0,15.0,0"),
        ("filename,start_time_s,end_time_s,label,label_type", "DEP01/rec001.wav,10.000000,15.0,MyBird,NEGATIVE"),
        (
            "Filename,Start Time (s),End Time (s),Low Freq (Hz),High Freq (Hz),Species eBird Code,label_type",
            "DEP01/rec001.wav,10,15,0,2647,MyBird,negative",
        ),
        (
            "idx,project,filename,window_start,window_end,label,logits,label_type",
            "4,p,DEP01/rec001.wav,10,15,MyBird,3.1,negative",
        ),
    ],
)
def test_hoplite_s_tables_and_those_it_ingests(tmp_path: Path, header: str, row: str) -> None:
    raw = read(tmp_path, "hoplite_annotations.csv", f"{header}\n{row}\n")[0]
    assert (raw.recording, raw.start_s, raw.end_s, raw.label, raw.judgement) == (
        "DEP01/rec001.wav",
        10,
        15,
        "MyBird",
        "negative",
    )


MEDIA = "mediaID,deploymentID,timestamp,filePath,fileName\nm1,D1,2024-05-01T04:00:00+02:00,https://x.org/rec/D1/D1_20240501_040000.WAV,D1_20240501_040000.WAV\n"
OBSERVATIONS = "observationID,deploymentID,mediaID,observationLevel,observationType,scientificName"


def test_pamdp_by_boxes_with_media_beside(tmp_path: Path) -> None:
    write(tmp_path, "media.csv", MEDIA)
    text = (
        f"{OBSERVATIONS},bboxTime,bboxFrequency,bboxDuration,bboxBandwidth,classificationMethod,classifiedBy,classificationTimestamp,"
        "classificationProbability,observationComments\n"
        "o1,D1,m1,media,animal,Strix aluco,3.5,1500,10.4,5400,human,Ana,2024-06-01T10:25:19Z,,loud\n"
        "o2,D1,m1,media,rain,,0,,60,,machine,BirdNET v2.3,2024-06-01T10:25:19,0.95,\n"
    )
    one, two = read(tmp_path, "observations.csv", text)
    assert facts(one) == (
        "https://x.org/rec/D1/D1_20240501_040000.WAV",
        3.5,
        13.9,
        "Strix aluco",
        None,
        1500,
        6900,
        "Ana",
        "loud",
    )
    assert one.created_utc == datetime(2024, 6, 1, 10, 25, 19, tzinfo=UTC)
    assert one.provenance is None
    assert facts(two)[1:] == (0, 60, "rain", None, None, None, "BirdNET v2.3", "confidence 0.95")
    assert two.created_utc is None, "a time without a zone is no instant"
    assert two.provenance == "pamdp:observations.csv (machine)"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2024-05-01T04:00:02.5+02:00", "2024-05-01T04:00:04+02:00"),
        ("2024-05-01T02:00:02.5Z", "2024-05-01T02:00:04Z"),
        ("2.5", "4"),
    ],
)
def test_pamdp_by_events_relative_to_the_medium(tmp_path: Path, start: str, end: str) -> None:
    write(tmp_path, "media.csv", MEDIA)
    raw = read(
        tmp_path,
        "observations.csv",
        f"{OBSERVATIONS},eventStart,eventEnd\no1,D1,m1,media,animal,Strix aluco,{start},{end}\n",
    )[0]
    assert (raw.start_s, raw.end_s) == (2.5, 4)


def test_pamdp_without_media_takes_the_id_for_the_name(tmp_path: Path) -> None:
    raw = read(
        tmp_path, "observations.csv", f"{OBSERVATIONS},eventStart,eventEnd\no1,D1,a.WAV,media,animal,Strix aluco,0,3\n"
    )[0]
    assert raw.recording == "a.WAV"


@pytest.mark.parametrize(
    "coded",
    [
        lambda t: t.encode(),
        lambda t: b"\xef\xbb\xbf" + t.encode(),
        lambda t: t.encode("utf-16"),
        lambda t: b"\xfe\xff" + t.encode("utf-16-be"),
        lambda t: t.encode("utf-16-le"),
        lambda t: t.replace("\n", "\r\n").encode(),
        lambda t: t.replace("\n", "\r").encode(),
        lambda t: ("\n\n" + t.replace("\n", "\n\n")).encode(),
        lambda t: t.replace("\n", "\t\n").encode(),
        lambda t: t.replace("2.5", "2,5").encode(),
        lambda t: t.rstrip("\n").encode(),
    ],
    ids=[
        "utf-8",
        "mark",
        "utf-16",
        "big",
        "no-mark",
        "windows",
        "old-mac",
        "blank-lines",
        "more-tabs",
        "decimal-comma",
        "no-end",
    ],
)
def test_encodings_and_line_ends(tmp_path: Path, coded: Any) -> None:
    text = "Begin Time (s)\tEnd Time (s)\tAnnotation\n1\t2.5\tHýr 🦉\n3\t4\towl\n"
    raws = read(tmp_path, "é.txt", coded(text))
    assert [(r.start_s, r.end_s, r.label) for r in raws] == [(1, 2.5, "Hýr 🦉"), (3, 4, "owl")]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.Table.1.selections.txt", "a"),
        ("a.b.Table.12.selections.txt", "a.b"),
        ("a.BirdNET.selection.table.txt", "a"),
        ("a.sonotheque.selection.table.txt", "a"),
        ("a.selections.txt", "a"),
        ("a.BirdNET.results.csv", "a"),
        ("a.BirdNET.results.txt", "a"),
        ("a.sonotheque.audacity.txt", "a"),
        ("a.wav.txt", "a.wav"),
        ("a_labels.txt", "a"),
        ("a.label.txt", "a"),
        ("a.txt", "a"),
        ("a.TXT", "a"),
        ("a.b.csv", "a.b"),
        (".txt", ".txt"),
        ("a", "a"),
    ],
)
def test_a_table_s_name_without_what_its_program_appended(name: str, stem: str) -> None:
    assert table_name(f"x.txt/{name}") == f"x.txt/{stem}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1.0\t2.0\tx\n", ["audacity"]),
        ("Begin Time (s)\tEnd Time (s)\n", ["raven"]),
        ("recording,start_s,end_s,label\n", ["hoplite"]),
        ("name,colour\n", []),
        ("", []),
        ("Begin Time (s),End Time (s),Start (s),End (s),Common name\n", ["raven", "birdnet"]),
    ],
)
def test_what_a_file_can_be(tmp_path: Path, text: str, found: list[str]) -> None:
    assert detect(write(tmp_path, "x.txt", text)) == found


def test_two_formats_that_fit_are_an_error_and_format_decides(tmp_path: Path) -> None:
    text = "Begin Time (s),End Time (s),Start (s),End (s),Common name\n1,2,3,4,Owl\n"
    with pytest.raises(Invalid, match=r"Raven selection table and as BirdNET CSV.*--format raven or birdnet"):
        read(tmp_path, "x.csv", text)
    assert read(tmp_path, "x.csv", text, format="birdnet")[0].start_s == 3
    assert read(tmp_path, "x.csv", text, format="raven")[0].start_s == 1
    with pytest.raises(Invalid, match="did you mean raven"):
        read(tmp_path, "x.csv", text, format="ravn")
