"""What each writer writes, its reader reads back the same, but for what the format says that it cannot hold."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid
from store.annotations.formats import FORMATS, RawAnnotation, detect, read_table
from store.annotations.formats.audacity import write_audacity
from store.annotations.formats.birdnet import write_birdnet
from store.annotations.formats.hoplite import HEADER as HOPLITE
from store.annotations.formats.hoplite import write_hoplite
from store.annotations.formats.pamdp import write_pamdp
from store.annotations.formats.parquet import write_parquet
from store.annotations.formats.raven import HEADER as RAVEN
from store.annotations.formats.raven import write_raven
from store.annotations.formats.words import inert, live, one_line, plain_number
from tests.annotations.support import DAWN, HOSTILE, facts, rows, table_of, texts

Row = dict[str, Any]
many = settings(max_examples=60, deadline=None)


def reread(files: dict[str, bytes], name: str, format_: str) -> list[RawAnnotation]:
    """Write files and read one of them; that it is found out which format it is, is part of it."""
    with tempfile.TemporaryDirectory() as folder:
        for file, data in files.items():
            Path(folder, file).write_bytes(data)
        assert detect(f"{folder}/{name}") == [format_]
        chosen, raws = read_table(f"{folder}/{name}")
        assert chosen is FORMATS[format_]
        return raws


def wanted(row: Row, text: Any, **changes: Any) -> tuple[Any, ...]:
    """The facts of a row after its texts went through a format."""
    held = {**row, **{c: text(row[c]) for c in ("label", "annotator", "note")}, **changes}
    columns = ("path", "start_s", "end_s", "label", "judgement", "low_hz", "high_hz", "annotator", "note")
    return tuple(held[c] for c in columns)


def once(items: list[Row]) -> list[Row]:
    """Rows that no table would take for one selection in two views."""
    return list({(r["path"], r["start_s"], r["end_s"]): r for r in items}.values())


@given(st.lists(rows(), min_size=1, max_size=6).map(once))
@many
def test_raven(items: list[Row]) -> None:
    raws = reread({"x.txt": write_raven(items, high_hz={DAWN: 24_000.0})}, "x.txt", "raven")
    assert [facts(raw) for raw in raws] == [wanted(row, one_line) for row in items]
    assert not any(raw.named_after for raw in raws)


@given(st.lists(rows(), min_size=1, max_size=6).map(once), st.floats(0, 1e6))
@many
def test_raven_over_a_sequence(items: list[Row], before_s: float) -> None:
    """Times inside the files come back: the start exactly, the end as well as a sum of seconds can hold it."""
    raws = reread({"x.txt": write_raven(items, before_s={DAWN: before_s})}, "x.txt", "raven")
    for raw, row in zip(raws, items, strict=True):
        assert raw.start_s == row["start_s"]
        assert raw.end_s == pytest.approx(row["end_s"], abs=1e-8)


@given(st.lists(rows(judgements=("positive",), paths=("x.wav",)), min_size=1, max_size=6))
@many
def test_audacity(items: list[Row]) -> None:
    raws = reread({"x.txt": write_audacity(items)}, "x.txt", "audacity")
    for raw, row in zip(raws, items, strict=True):
        expected = wanted(row, one_line, judgement=None, annotator=None, note="")[1:]
        assert facts(raw)[1:] == expected
        assert raw.named_after
        assert Path(raw.recording).name == "x"


@given(st.lists(rows(), min_size=1, max_size=6))
@many
def test_birdnet(items: list[Row]) -> None:
    raws = reread({"x.csv": write_birdnet(items)}, "x.csv", "birdnet")
    assert [facts(raw) for raw in raws] == [wanted(row, str.strip) for row in items]


@given(st.lists(rows(), min_size=1, max_size=6))
@many
def test_hoplite(items: list[Row]) -> None:
    raws = reread({"x.csv": write_hoplite(items)}, "x.csv", "hoplite")
    lost = {"low_hz": None, "high_hz": None, "annotator": None, "note": ""}
    assert [facts(raw) for raw in raws] == [wanted(row, str.strip, **lost) for row in items]


@given(st.lists(rows(judgements=("positive",)), min_size=1, max_size=6))
@many
def test_pamdp(items: list[Row]) -> None:
    raws = reread(write_pamdp(items, {}), "observations.csv", "pamdp")
    for raw, row in zip(raws, items, strict=True):
        held, expected = facts(raw), wanted(row, str.strip, judgement=None)
        assert [held[i] for i in (0, 1, 3, 4, 7, 8)] == [expected[i] for i in (0, 1, 3, 4, 7, 8)]
        for i in (2, 5, 6):
            assert held[i] == (None if expected[i] is None else pytest.approx(expected[i], abs=1e-6))
        assert raw.created_utc == row["created_utc"]
        assert (raw.provenance is not None) is row["provenance"].endswith("(machine)")


@given(st.lists(rows(), max_size=6))
@many
def test_parquet_holds_everything(items: list[Row]) -> None:
    raws = reread({"x.parquet": write_parquet(table_of(items))}, "x.parquet", "parquet")
    held = [(*facts(raw), raw.provenance, raw.created_utc) for raw in raws]
    assert held == [(*wanted(row, str), row["provenance"], row["created_utc"]) for row in items]


@given(texts)
@many
def test_formulas_are_made_inert_and_live_again(text: str) -> None:
    assert live(inert(text)) == text.strip()
    assert inert(text)[:1] not in ("=", "+", "-", "@")


@given(st.floats(0, 1e9, allow_nan=False))
def test_numbers_are_exact_and_plain(value: float) -> None:
    text = plain_number(value)
    assert float(text) == value
    assert "e" not in text.lower()


@pytest.mark.parametrize("text", [t for t in HOSTILE if t.strip()])
@pytest.mark.parametrize("format_", ["birdnet", "hoplite"])
def test_no_cell_of_a_csv_is_a_formula_or_breaks_its_row(text: str, format_: str) -> None:
    row = {
        "path": text.strip(),
        "start_s": 1.0,
        "end_s": 2.0,
        "low_hz": None,
        "high_hz": None,
        "label": text,
        "judgement": "positive",
    }
    write = {"birdnet": write_birdnet, "hoplite": write_hoplite}[format_]
    table = list(csv.reader(io.StringIO(write([{**row, "annotator": text, "note": text}]).decode(), newline="")))
    assert len(table) == 2
    assert len(table[0]) == len(table[1])
    assert not any(cell.startswith(("=", "+", "@")) for cell in table[1])


def example(**changes: Any) -> Row:
    base = {
        "annotation_id": 1,
        "recording_id": 7,
        "path": DAWN,
        "start_s": 1.5,
        "end_s": 3.0,
        "low_hz": None,
        "high_hz": None,
    }
    from datetime import UTC, datetime

    rest = {
        "label": "Strix aluco_Tawny Owl",
        "judgement": "positive",
        "annotator": "Ana",
        "provenance": "x",
        "note": "",
    }
    return {**base, **rest, "created_utc": datetime(2024, 5, 1, tzinfo=UTC), **changes}


def test_raven_gets_the_columns_it_knows_in_its_order() -> None:
    lines = write_raven([example()], high_hz={DAWN: 16_000.0}).decode().splitlines()
    assert lines[0].split("\t") == list(RAVEN)
    assert RAVEN[:7] == (
        "Selection",
        "View",
        "Channel",
        "Begin Time (s)",
        "End Time (s)",
        "Low Freq (Hz)",
        "High Freq (Hz)",
    )
    assert lines[1].split("\t")[:7] == ["1", "Spectrogram 1", "1", "1.5", "3", "0", "16000"]


def test_a_band_drawn_in_raven_on_a_selection_without_one_counts(tmp_path: Path) -> None:
    text = write_raven([example()], high_hz={DAWN: 16_000.0}).decode()
    path = tmp_path / "x.txt"
    path.write_text(text.replace("\t0\t16000\t", "\t400\t1800\t"))
    raw = read_table(path)[1][0]
    assert (raw.low_hz, raw.high_hz) == (400, 1800)


def test_hoplite_reads_its_own_columns_with_pandas() -> None:
    frame = pd.read_csv(io.BytesIO(write_hoplite([example(), example(judgement="uncertain")])))
    assert (
        list(frame.columns) == list(HOPLITE) == ["recording", "start_offset_s", "end_offset_s", "label", "label_type"]
    )
    assert frame["label_type"].tolist() == ["positive", "uncertain"]
    assert frame["start_offset_s"].dtype == float


def test_birdnet_s_columns_come_first_and_its_label_is_split() -> None:
    frame = pd.read_csv(io.BytesIO(write_birdnet([example(note="confidence 0.853")])))
    assert list(frame.columns)[:6] == ["Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File"]
    assert frame.iloc[0].tolist()[:6] == [1.5, 3.0, "Strix aluco", "Tawny Owl", 0.853, DAWN]


def test_pamdp_has_times_of_the_site_and_links_its_tables() -> None:
    from datetime import UTC, datetime

    known = {
        "recording_id": 7,
        "duration_s": 60.0,
        "sample_rate_hz": 48_000,
        "site": "wood",
        "deployment": None,
        "utc_start": datetime(2024, 5, 1, 2, 30, tzinfo=UTC),
        "utc_offset_min": 120,
        "channels": 1,
    }
    files = write_pamdp([example(), example(annotation_id=2, label="Engine_Engine")], {DAWN: known})
    observations, media = (pd.read_csv(io.BytesIO(files[n])) for n in ("observations.csv", "media.csv"))
    assert observations["mediaID"].tolist() == [7, 7]
    assert media["mediaID"].tolist() == [7]
    assert media.loc[0, ["filePath", "timestamp", "fileLength"]].tolist() == [DAWN, "2024-05-01T04:30:00.000+02:00", 60]
    assert observations["eventStart"][0] == "2024-05-01T04:30:01.500+02:00"
    assert observations["scientificName"].tolist()[0] == "Strix aluco"
    assert observations["observationType"].tolist() == ["animal", "vehicle"]
    assert pd.isna(observations["scientificName"][1]), "an engine is no species"
    assert observations[["bboxTime", "bboxDuration"]].values.tolist() == [[1.5, 1.5]] * 2


@pytest.mark.parametrize("judgement", ["negative", "uncertain"])
def test_a_negative_is_never_written_as_a_positive(judgement: str) -> None:
    for write in (lambda r: write_audacity(r), lambda r: write_pamdp(r, {})):
        with pytest.raises(Invalid, match=f"judged {judgement}"):
            write([example(judgement=judgement)])


def test_parquet_s_columns_are_those_of_the_view(tmp_path: Path) -> None:
    from store.annotations import ANNOTATION_SCHEMA

    path = tmp_path / "x.parquet"
    path.write_bytes(write_parquet(table_of([example()])))
    assert pq.read_table(path).schema.equals(ANNOTATION_SCHEMA)
