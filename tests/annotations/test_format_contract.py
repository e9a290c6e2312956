"""What every format owes: one suite, all formats. And Raven's reader against pandas."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid
from store.annotations import ANNOTATION_SCHEMA
from store.annotations.formats import FORMATS, detect, format_named, read_table
from store.annotations.formats.audacity import write_audacity
from store.annotations.formats.birdnet import write_birdnet
from store.annotations.formats.hoplite import write_hoplite
from store.annotations.formats.pamdp import write_pamdp
from store.annotations.formats.parquet import write_parquet
from store.annotations.formats.raven import write_raven
from tests.annotations.support import facts, table_of

Row = dict[str, Any]
WRITERS: dict[str, Callable[[list[Row]], bytes]] = {
    "raven": write_raven,
    "audacity": write_audacity,
    "birdnet": write_birdnet,
    "hoplite": write_hoplite,
    "pamdp": lambda rows: write_pamdp(rows, {})["observations.csv"],
    "parquet": lambda rows: write_parquet(table_of(rows)),
}
TEXT = [name for name in WRITERS if name != "parquet"]
each = pytest.mark.parametrize("name", WRITERS)
each_text = pytest.mark.parametrize("name", TEXT)


def row(number: int = 1, **changes: Any) -> Row:
    base = {
        "annotation_id": number,
        "recording_id": 7,
        "path": "wood/dawn.wav",
        "start_s": float(number),
        "end_s": number + 0.5,
        "low_hz": 300.0,
        "high_hz": 1200.0,
        "label": f"label {number}",
        "judgement": "positive",
        "annotator": "Ana",
        "provenance": "by ear",
        "note": "far",
        "created_utc": datetime(2024, 5, 1, tzinfo=UTC),
    }
    return {**base, **changes}


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def make(name: str, data: bytes) -> Path:
        path = tmp_path / {"pamdp": "observations.csv", "parquet": "dawn.parquet"}.get(name, "dawn.txt")
        path.write_bytes(data)
        return path

    return make


Make = Callable[[str, bytes], Path]


def test_every_format_is_here() -> None:
    assert set(WRITERS) == set(FORMATS)
    for name, known in FORMATS.items():
        assert known.name == name
        assert format_named(name) is known


@each
def test_what_it_writes_is_known_by_its_content_whatever_its_name(name: str, table: Make) -> None:
    path = table(name, WRITERS[name]([row()]))
    other = path.rename(path.with_name("something.else"))
    assert detect(other) == [name]


@each
def test_nothing_is_written_and_read_as_nothing(name: str, table: Make) -> None:
    path = table(name, WRITERS[name]([]))
    assert read_table(path, format=name)[1] == []


@each
def test_rows_keep_their_order_and_know_their_line(name: str, table: Make) -> None:
    _, raws = read_table(table(name, WRITERS[name]([row(3), row(1), row(2)])))
    assert [raw.start_s for raw in raws] == [3, 1, 2]
    lines = [raw.line for raw in raws]
    assert lines == sorted(lines)
    assert lines[0] == {"audacity": 1, "parquet": 1}.get(name, 2)
    assert len({raw.file for raw in raws}) == 1


@each
def test_writing_is_the_same_every_time(name: str) -> None:
    assert WRITERS[name]([row(1), row(2)]) == WRITERS[name]([row(1), row(2)])


@each
def test_the_recording_is_named_in_the_table_or_by_it(name: str, table: Make) -> None:
    raw = read_table(table(name, WRITERS[name]([row()])))[1][0]
    assert raw.named_after is (name == "audacity")
    assert Path(raw.recording).stem == ("7" if name == "pamdp" else "dawn"), "pamDP's media stand in another file"


@each_text
@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_windows_ways_of_saving_change_nothing(name: str, coding: str, line_end: str, table: Make) -> None:
    data = WRITERS[name]([row(label="Hýr 🦉"), row(2)])
    plain = [facts(raw) for raw in read_table(table(name, data))[1]]
    saved = data.decode().replace("\n", line_end).encode(coding)
    assert [facts(raw) for raw in read_table(table(name, saved))[1]] == plain


@each_text
def test_a_spreadsheet_s_semicolons_and_commas_change_nothing(name: str, table: Make) -> None:
    """Saved where a comma is the decimal point: cells part at semicolons, and 1.5 is 1,5."""
    rows = [row(1), row(2)]
    data = WRITERS[name](rows)
    plain = [facts(raw)[1:7] for raw in read_table(table(name, data))[1]]
    if name in ("raven", "audacity"):
        text = data.decode().replace(".5", ",5")
    else:
        frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
        numbers = [c for c in frame.columns if c.lower().startswith(("start", "end", "bbox", "low", "high"))]
        frame[numbers] = frame[numbers].map(lambda cell: cell.replace(".", ","))
        text = frame.to_csv(sep=";", index=False)
    assert [facts(raw)[1:7] for raw in read_table(table(name, text.encode()))[1]] == plain


@each
@pytest.mark.parametrize(
    "span", [(0.0, 1e-5), (1e-7, 0.1), (0.1 + 0.2, 1 / 3), (86_399.999, 86_400.0), (1e6, 1e6 + 1)], ids=str
)
def test_seconds_come_back_exactly(name: str, span: tuple[float, float], table: Make) -> None:
    raw = read_table(table(name, WRITERS[name]([row(start_s=span[0], end_s=span[1])])))[1][0]
    assert raw.start_s == span[0]
    assert raw.end_s == span[1] or (name == "pamdp" and math.isclose(raw.end_s, span[1], abs_tol=1e-9))


@each
def test_an_unknown_option_of_columns_is_refused(name: str, table: Make) -> None:
    with pytest.raises(Invalid):
        read_table(table(name, WRITERS[name]([row()])), label_column="no such column")


@each
def test_a_cut_file_is_read_or_refused_by_name(name: str, table: Make) -> None:
    """Wherever a copy stopped: the rows that are there are right, or the file is refused."""
    data = WRITERS[name]([row(1), row(2, label='a "quoted", label')])
    whole = [facts(raw) for raw in read_table(table(name, data))[1]]
    for length in range(0, len(data), 7 if name != "parquet" else 97):
        path = table(name, data[:length])
        try:
            _, raws = read_table(path, format=name)
        except Invalid as error:
            assert path.name in error.message
        else:
            for raw, full in zip(raws, whole, strict=False):
                assert raw.start_s == full[1] or raw is raws[-1], "only the last row may be cut"


@each
def test_ten_thousand_rows_are_no_trouble(name: str, table: Make) -> None:
    from time import process_time

    rows = [row(number) for number in range(1, 10_001)]
    began = process_time()
    data = WRITERS[name](rows)
    _, raws = read_table(table(name, data))
    assert len(raws) == 10_000
    assert process_time() - began < 6


def test_parquet_needs_no_more_than_four_columns(table: Make, tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": ["wood/dawn.wav"], "start_s": [1], "end_s": [2], "label": ["owl"]})
    frame.to_parquet(tmp_path / "x.parquet")
    raw = read_table(tmp_path / "x.parquet")[1][0]
    assert facts(raw) == ("wood/dawn.wav", 1.0, 2.0, "owl", None, None, None, None, "")
    assert set(frame.columns) < set(ANNOTATION_SCHEMA.names)


# Selections as Raven writes them: some in one view, some in two, over one or two files.
selections = st.lists(
    st.tuples(
        st.sampled_from(["one.wav", "two.wav"]),
        st.integers(0, 500).map(lambda tenths: tenths / 10),
        st.integers(1, 50).map(lambda tenths: tenths / 10),
        st.booleans(),
        st.sampled_from(["owl", "wren"]),
    ),
    max_size=12,
)


@given(selections)
@settings(max_examples=80, deadline=None)
def test_raven_s_reader_agrees_with_pandas(tmp_path_factory: pytest.TempPathFactory, drawn: list[Any]) -> None:
    """The twin: drop all rows but one of each selection, take the time from the file's offset."""
    before_s = {"one.wav": 0.0, "two.wav": 60.0}
    lines = ["Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tSpecies"]
    for number, (file, at_s, length_s, twice, label) in enumerate(drawn, 1):
        begin_s = before_s[file] + at_s
        for view in ("Waveform 1", "Spectrogram 1") if twice else ("Spectrogram 1",):
            lines.append(f"{number}\t{view}\t1\t{begin_s!r}\t{begin_s + length_s!r}\t{file}\t{at_s!r}\t{label}")
    path = tmp_path_factory.getbasetemp() / "twin.txt"
    path.write_text("\n".join(lines) + "\n")
    frame = pd.read_csv(path, sep="\t").drop_duplicates("Selection")
    length = frame["End Time (s)"] - frame["Begin Time (s)"]
    expected = list(
        zip(
            frame["Begin File"],
            frame["File Offset (s)"],
            frame["File Offset (s)"] + length,
            frame["Species"],
            strict=True,
        )
    )
    _, raws = read_table(path)
    assert [(r.recording, r.start_s, r.label) for r in raws] == [(f, s, label) for f, s, _, label in expected]
    assert [r.end_s for r in raws] == pytest.approx([end for _, _, end, _ in expected])
