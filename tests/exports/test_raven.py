"""Raven: columns, one table a recording, and a combined table whose times are those of the opened sequence."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid, NotFound
from store.formats import Detections, Facts, write_raven, write_raven_combined
from store.formats.raven import ENDING, HEADER
from tests.exports import kit

several = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def combined(folder: Path, found: Detections) -> tuple[list[dict[str, str]], list[str]]:
    folder.mkdir(exist_ok=True)
    with (folder / "all.txt").open("wb") as table, (folder / "all.files.txt").open("wb") as files:
        write_raven_combined(found, table, files)
    return kit.tabbed(folder / "all.txt"), (folder / "all.files.txt").read_text(encoding="utf-8").split("\n")[:-1]


def test_the_columns_are_those_that_other_tools_read():
    assert "\t".join(HEADER) == (
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tCommon Name\t"
        "Species Code\tConfidence\tBegin Path\tFile Offset (s)"
    )


def test_a_table_a_recording(tmp_path):
    made = [
        kit.recording(0, "A/x.wav"),
        kit.recording(1, "A/y.wav"),
        kit.recording(2, "B/c/z.wav", file="/data/B/c/z.wav"),
    ]
    found = kit.detections([kit.row("A/x.wav", 3), kit.row("B/c/z.wav", 9, score=0.25), kit.row("A/x.wav", 0)], made)
    written = write_raven(found, tmp_path)
    assert (written.rows, written.files) == (3, 2)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.txt")) == [
        f"A/x{ENDING}",
        f"B/c/z{ENDING}",
    ]
    table = kit.tabbed(tmp_path / f"A/x{ENDING}")
    assert [r["Selection"] for r in table] == ["1", "2"]
    assert [(r["Begin Time (s)"], r["End Time (s)"], r["File Offset (s)"]) for r in table] == [
        ("0", "3", "0"),
        ("3", "6", "3"),
    ]
    (last,) = kit.tabbed(tmp_path / f"B/c/z{ENDING}")
    assert last == {
        "Selection": "1",
        "View": "Spectrogram 1",
        "Channel": "1",
        "Begin Time (s)": "9",
        "End Time (s)": "10",  # the sound ends before the window
        "Low Freq (Hz)": "0",
        "High Freq (Hz)": "12000",
        "Common Name": "Tawny Owl",
        "Species Code": "",
        "Confidence": "0.25",
        "Begin Path": "/data/B/c/z.wav",
        "File Offset (s)": "9",
    }


def test_empty_tables_on_request(tmp_path):
    made = [kit.recording(i) for i in range(5)]
    found = kit.detections([kit.row("A/rec1.wav"), kit.row("A/rec3.wav")], made)
    written = write_raven(found, tmp_path, empty=True)
    assert (written.rows, written.files) == (2, 5)
    lengths = [len(kit.tabbed(tmp_path / f"A/rec{i}{ENDING}")) for i in range(5)]
    assert lengths == [0, 1, 0, 1, 0]
    assert (tmp_path / f"A/rec4{ENDING}").read_text() == "\t".join(HEADER) + "\n"


def test_empty_tables_of_recordings_without_any_detection(tmp_path):
    written = write_raven(kit.detections([], [kit.recording(0)]), tmp_path, empty=True)
    assert (written.rows, written.files) == (0, 1)


@several
@given(kit.archives(), st.integers(1, 7))
def test_a_table_a_recording_against_its_twin(tmp_path_factory, archive, block):
    made, found = archive
    folder = tmp_path_factory.mktemp("raven")
    write_raven(kit.detections(found, made, block=block), folder)
    for one in made:
        own = sorted((r for r in found if r["path"] == one["path"]), key=lambda r: (r["start_s"], r["rank"]))
        path = folder / (one["path"].removesuffix(".wav") + ENDING)
        assert path.exists() == bool(own)
        if own:
            table = kit.tabbed(path)
            assert [r["Selection"] for r in table] == [str(i + 1) for i in range(len(own))]
            assert [float(r["Begin Time (s)"]) for r in table] == [r["start_s"] for r in own]
            assert [r["Begin Time (s)"] for r in table] == [r["File Offset (s)"] for r in table]
            ends = [min(r["end_s"], one["duration_s"]) for r in own]
            assert [float(r["End Time (s)"]) for r in table] == pytest.approx(ends, abs=1e-6)


@several
@given(kit.archives(), st.integers(1, 7))
def test_combined_times_against_the_true_durations(tmp_path_factory, archive, block):
    """The dumb twin walks the sequence file by file; files without rows move what comes after them too."""
    made, found = archive
    table, files = combined(tmp_path_factory.mktemp("c") / "out", kit.detections(found, made, block=block))
    assert files == [one["path"] for one in made]
    expected = []
    before = 0.0
    for one in made:
        own = sorted((r for r in found if r["path"] == one["path"]), key=lambda r: (r["start_s"], r["rank"]))
        expected += [
            (before + r["start_s"], before + min(r["end_s"], one["duration_s"]), r["start_s"], r["path"]) for r in own
        ]
        before = math.fsum([before, one["duration_s"]])
    assert [r["Selection"] for r in table] == [str(i + 1) for i in range(len(expected))]
    for row, (begin, end, offset, path) in zip(table, expected, strict=True):
        assert float(row["Begin Time (s)"]) == pytest.approx(begin, abs=2e-6)
        assert float(row["End Time (s)"]) == pytest.approx(end, abs=2e-6)
        assert (float(row["File Offset (s)"]), row["Begin Path"]) == (offset, path)


@several
@given(kit.archives())
def test_begin_time_less_what_lies_before_is_the_file_offset(tmp_path_factory, archive):
    """From the exported files and the durations alone, as Raven does it."""
    made, found = archive
    table, files = combined(tmp_path_factory.mktemp("c") / "out", kit.detections(found, made))
    durations = {one["path"]: one["duration_s"] for one in made}
    for row in table:
        before = math.fsum(durations[f] for f in files[: files.index(row["Begin Path"])])
        assert float(row["Begin Time (s)"]) - before == pytest.approx(float(row["File Offset (s)"]), abs=2e-6)


def test_times_stay_exact_over_a_season(tmp_path):
    made = [kit.recording(i % 24, f"r{i}.wav", 59.999_977) for i in range(100_000)]
    table, _ = combined(tmp_path / "o", kit.detections([kit.row("r99999.wav", 30.0)], made))
    assert float(table[0]["Begin Time (s)"]) == pytest.approx(99_999 * 59.999_977 + 30, abs=2e-6)


def test_the_order_is_that_of_the_recordings_whatever_the_order_of_the_rows(tmp_path):
    made = [kit.recording(1, "b.wav"), kit.recording(0, "a.wav")]
    table, files = combined(tmp_path / "o", kit.detections([kit.row("a.wav"), kit.row("b.wav")], made))
    assert files == ["b.wav", "a.wav"]
    assert [r["Begin Path"] for r in table] == ["b.wav", "a.wav"]


def test_a_recording_of_unknown_length_cannot_be_in_a_sequence(tmp_path):
    made = [kit.recording(0), kit.recording(1, duration_s=None)]
    with pytest.raises(Invalid, match="rec1"):
        write_raven_combined(kit.detections([], made), BytesIO(), BytesIO())


def test_several_sample_rates_are_noted():
    made = [kit.recording(0), kit.recording(1, sample_rate_hz=22_050), kit.recording(2, channels=2)]
    notes = write_raven_combined(kit.detections([], made), BytesIO(), BytesIO()).notes
    assert len(notes) == 2
    assert "22050, 48000" in notes[0]
    assert "1, 2" in notes[1]
    assert not write_raven_combined(kit.detections([], made[:1]), BytesIO(), BytesIO()).notes


@pytest.mark.parametrize(
    ("rate_hz", "facts", "own", "expected"),
    [
        (48_000, Facts(), (None, None), ("0", "24000")),
        (16_000, Facts(high_hz=12_000), (None, None), ("0", "8000")),
        (None, Facts(), (None, None), ("0", "15000")),
        (48_000, Facts(high_hz=12_000), (1500.5, 6000), ("1500.5", "6000")),
    ],
)
def test_frequencies(tmp_path, rate_hz, facts, own, expected):
    import pyarrow as pa

    made = kit.recordings([kit.recording(0, sample_rate_hz=rate_hz)])
    found = kit.rows([kit.row("A/rec0.wav")])
    for name, value in zip(("low_hz", "high_hz"), own, strict=True):
        found = found.append_column(name, pa.array([value], pa.float64()))
    write_raven(Detections.of(found, made, facts), tmp_path)
    (table,) = kit.tabbed(tmp_path / f"A/rec0{ENDING}")
    assert (table["Low Freq (Hz)"], table["High Freq (Hz)"]) == expected


def test_labels_and_paths_cannot_break_a_line_nor_are_they_quoted(tmp_path):
    path = 'A/tab\there "quoted"\nline.wav'
    found = kit.detections(
        [kit.row(path, label='Strix\taluco_"Tawny"\r\nOwl'), kit.row(path, 3, label="=1+1")], [kit.recording(0, path)]
    )
    table, files = combined(tmp_path / "o", found)
    assert table[0]["Common Name"] == '"Tawny"  Owl'
    assert table[1]["Common Name"] == "=1+1"  # no spreadsheet opens these
    assert table[0]["Begin Path"] == files[0] == 'A/tab here "quoted" line.wav'


def test_a_label_without_a_common_name_names_the_selection_itself(tmp_path):
    table, _ = combined(
        tmp_path / "o", kit.detections([kit.row("A/rec0.wav", label="Strix aluco")], [kit.recording(0)])
    )
    assert table[0]["Common Name"] == "Strix aluco"


def test_rows_of_a_recording_that_is_not_listed_are_an_error(tmp_path):
    with pytest.raises(NotFound, match=r"elsewhere\.wav"):
        write_raven(kit.detections([kit.row("elsewhere.wav")], [kit.recording(0)]), tmp_path)


def test_rows_out_of_order_are_an_error_and_not_a_wrong_table(tmp_path):
    found = kit.rows([kit.row("A/rec1.wav"), kit.row("A/rec0.wav")])
    wrong = Detections(kit.recordings([kit.recording(0), kit.recording(1)]), found.to_batches(max_chunksize=1))
    with pytest.raises(Invalid, match="order"):
        write_raven(wrong, tmp_path)


def test_a_recording_listed_twice_is_an_error():
    with pytest.raises(Invalid, match=r"A/rec0\.wav is there 2 times"):
        kit.detections([], [kit.recording(0), kit.recording(0)])


def test_a_needed_column_that_is_not_there_is_named():
    with pytest.raises(Invalid, match="score"):
        Detections.of(kit.rows([]).drop_columns(["score"]), kit.recordings([]))
