"""Audacity, BirdNET's CSV, the tidy table, Kaleidoscope and Parquet: exact columns, and values against a dumb twin."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid
from store.formats import (
    Detections,
    chosen_columns,
    write_audacity,
    write_birdnet_csv,
    write_birdnet_parquet,
    write_kaleidoscope,
    write_parquet,
    write_tidy,
)
from store.formats.audacity import ENDING
from store.formats.parquet import METADATA_KEY, row_groups
from tests.exports import kit

several = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def text_of(writer, found: Detections, **options) -> str:
    handle = BytesIO()
    writer(found, handle, **options)
    return handle.getvalue().decode("utf-8")


def table_of(writer, found: Detections, **options) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text_of(writer, found, **options), newline="")))


def week(local: datetime) -> int:
    return (local.month - 1) * 4 + min(4, (local.day + 6) // 7)


# Audacity


def test_audacity(tmp_path):
    found = kit.detections(
        [kit.row("A/rec0.wav", 9, score=0.25), kit.row("A/rec0.wav", label="rain")], [kit.recording(0)]
    )
    written = write_audacity(found, tmp_path)
    assert (written.rows, written.files) == (2, 1)
    text = (tmp_path / f"A/rec0{ENDING}").read_text(encoding="utf-8")
    assert text == "0\t3\train, rain\t0.5\n9\t10\tStrix aluco, Tawny Owl\t0.25\n"


def test_audacity_makes_an_empty_file_only_on_request(tmp_path):
    made = [kit.recording(0), kit.recording(1)]
    assert write_audacity(kit.detections([], made), tmp_path).files == 0
    assert write_audacity(kit.detections([], made), tmp_path, empty=True).files == 2
    assert (tmp_path / f"A/rec1{ENDING}").read_bytes() == b""


# BirdNET's CSV


def test_birdnet_csv_has_birdnets_columns():
    text = text_of(
        write_birdnet_csv, kit.detections([kit.row("A/rec0.wav", 9)], [kit.recording(0, file="/data/A/rec0.wav")])
    )
    assert text == (
        "Start (s),End (s),Scientific name,Common name,Confidence,File\n9,10,Strix aluco,Tawny Owl,0.5,/data/A/rec0.wav\n"
    )


def test_birdnet_csv_with_more_columns():
    found = kit.detections([kit.row("A/rec0.wav", 3)], [kit.recording(0)])
    columns = chosen_columns(["lat lon", "week,site", "overlap", "sensitivity", "model", "local_time", "utc", "rank"])
    (one,) = table_of(write_birdnet_csv, found, columns=columns)
    assert list(one)[6:] == [
        "lat",
        "lon",
        "week",
        "site",
        "overlap",
        "sensitivity",
        "model",
        "local_time",
        "utc",
        "rank",
    ]
    assert list(one.values())[6:] == [
        *(
            "48.8",
            "2.3",
            "17",
            "A",
            "0.5",
            "1",
            "tiny 1.2",
            "2024-05-01T04:30:03.000+02:00",
            "2024-05-01T02:30:03.000Z",
            "1",
        ),
    ]


def test_an_unknown_column_is_refused_with_a_near_name():
    with pytest.raises(Invalid, match="did you mean local_time") as error:
        chosen_columns(["localtime"])
    assert error.value.kind == "unknown_column"
    assert chosen_columns(["lat, lon", "lat"]) == ["lat", "lon"]


@several
@given(kit.archives(), st.integers(1, 5))
def test_birdnet_csv_against_its_twin(archive, block):
    made, found = archive
    table = table_of(write_birdnet_csv, kit.detections(found, made, block=block))
    durations = {one["path"]: one["duration_s"] for one in made}
    order = {one["path"]: i for i, one in enumerate(made)}
    placed = sorted(found, key=lambda r: (order[r["path"]], r["start_s"], r["rank"]))
    assert len(table) == len(placed)
    for row, one in zip(table, placed, strict=True):
        scientific, _, common = one["label"].partition("_")
        assert (row["Scientific name"], row["Common name"], row["File"]) == (
            scientific,
            common or scientific,
            one["path"],
        )
        assert float(row["Start (s)"]) == one["start_s"]
        assert float(row["End (s)"]) == pytest.approx(min(one["end_s"], durations[one["path"]]), abs=1e-6)
        assert float(row["Confidence"]) == pytest.approx(one["score"], abs=1e-6)


# Spreadsheets


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_spreadsheet_runs_a_name_as_a_formula(first):
    path, label = f"{first}cmd|'/C calc'!A0.wav", f"{first}2+5_{first}1"
    for writer in (write_birdnet_csv, write_tidy, write_kaleidoscope):
        found = kit.detections([kit.row(path, label=label)], [kit.recording(0, path, site=f"{first}s")])
        for value in table_of(writer, found)[0].values():
            assert (
                not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
                or value.lstrip("-").replace(".", "").isdigit()
            )
    (one,) = table_of(write_birdnet_csv, kit.detections([kit.row(path)], [kit.recording(0, path)]))
    assert one["File"] == "'" + path


def test_negative_numbers_stay_numbers():
    (one,) = table_of(
        write_tidy, kit.detections([kit.row("A/rec0.wav")], [kit.recording(0, latitude=-33.9, longitude=-70.0)])
    )
    assert (one["lat"], one["lon"]) == ("-33.9", "-70")


def test_commas_quotes_and_line_ends_survive_csv():
    path, label = 'A/a, "b"\nc.wav', 'Strix, "aluco"_Tawny\nOwl'
    (one,) = table_of(write_birdnet_csv, kit.detections([kit.row(path, label=label)], [kit.recording(0, path)]))
    assert (one["File"], one["Scientific name"], one["Common name"]) == (path, 'Strix, "aluco"', "Tawny\nOwl")


def test_small_scores_are_not_written_as_powers_of_ten():
    (one,) = table_of(write_birdnet_csv, kit.detections([kit.row("A/rec0.wav", score=0.00001)], [kit.recording(0)]))
    assert one["Confidence"] == "0.00001"


# The tidy table


def test_tidy_columns_and_values():
    found = kit.detections([kit.row("A/rec0.wav", 9)], [kit.recording(0, deployment="wood-1")])
    (one,) = table_of(write_tidy, found)
    assert one == {
        "recording": "A/rec0.wav",
        "site": "A",
        "deployment": "wood-1",
        "date": "2024-05-01",
        "local_time": "2024-05-01T04:30:09.000+02:00",
        "utc": "2024-05-01T02:30:09.000Z",
        "start_s": "9",
        "end_s": "10",
        "lat": "48.8",
        "lon": "2.3",
        "week": "17",
        "label": "Strix aluco_Tawny Owl",
        "scientific": "Strix aluco",
        "common": "Tawny Owl",
        "score": "0.5",
        "rank": "1",
        "model": "tiny 1.2",
    }


def test_what_is_not_known_is_empty_and_never_guessed():
    unknown = dict.fromkeys(("utc_start", "local_start", "latitude", "longitude", "site"))
    (one,) = table_of(write_tidy, kit.detections([kit.row("A/rec0.wav", label="rain")], [kit.recording(0, **unknown)]))
    for name in ("site", "deployment", "date", "local_time", "utc", "lat", "lon", "week", "common"):
        assert one[name] == ""


def test_a_local_time_without_a_zone_has_no_offset():
    (one,) = table_of(write_tidy, kit.detections([kit.row("A/rec0.wav", 3)], [kit.recording(0, utc_start=None)]))
    assert (one["local_time"], one["utc"]) == ("2024-05-01T04:30:03.000", "")


@several
@given(
    local=st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)),
    offset_min=st.integers(-12 * 60, 14 * 60),
    start_s=st.integers(0, 100_000).map(lambda n: n * 2.5),
)
def test_times_and_weeks_against_pythons_own(local, offset_min, start_s):
    """The written time, read by Python, is the instant; its offset is the one of that window."""
    local = local.replace(microsecond=0)
    made = kit.recording(
        0, duration_s=1e6, local_start=local, utc_start=local.replace(tzinfo=UTC) - timedelta(minutes=offset_min)
    )
    (one,) = table_of(write_tidy, kit.detections([kit.row("A/rec0.wav", start_s)], [made]))
    there = local + timedelta(seconds=start_s)
    read = datetime.fromisoformat(one["local_time"])
    assert read.replace(tzinfo=None) == there
    assert read.utcoffset() == timedelta(minutes=offset_min)
    assert datetime.fromisoformat(one["utc"]) == read
    assert int(one["week"]) == week(there)
    assert one["date"] == there.date().isoformat()


def test_rows_own_times_count_before_those_of_their_recording():
    """A window after the clocks changed has another offset than its recording's start."""
    found = kit.rows([kit.row("A/rec0.wav", 3600.0)])
    found = found.append_column("local_start", pa.array([datetime(2024, 5, 1, 4, 30)], pa.timestamp("us")))
    found = found.append_column(
        "utc_start", pa.array([datetime(2024, 5, 1, 3, 30, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    )
    found = found.append_column("site", pa.array(["corrected"]))
    (one,) = table_of(write_tidy, Detections.of(found, kit.recordings([kit.recording(0, duration_s=7200.0)])))
    assert (one["local_time"], one["site"]) == ("2024-05-01T04:30:00.000+01:00", "corrected")


# Kaleidoscope


def test_kaleidoscope_columns_and_values():
    made = [
        kit.recording(0, "B/c/rec.wav", file="/data/birds/B/c/rec.wav"),
        kit.recording(1, "top.wav", latitude=None, longitude=None),
    ]
    text = text_of(write_kaleidoscope, kit.detections([kit.row("B/c/rec.wav", 9), kit.row("top.wav", 0)], made))
    assert text.split("\n") == [
        "INDIR,FOLDER,IN FILE,OFFSET,DURATION,scientific_name,common_name,confidence,lat,lon,week,overlap,sensitivity",
        "/data/birds,B/c,rec.wav,9,1,Strix aluco,Tawny Owl,0.5,48.8,2.3,17,0.5,1",
        ",,top.wav,0,3,Strix aluco,Tawny Owl,0.5,,,17,0.5,1",
        "",
    ]


# Parquet


def test_birdnet_parquet_names_and_values(tmp_path):
    found = kit.detections([kit.row("A/rec0.wav", 9)], [kit.recording(0)])
    with (tmp_path / "x.parquet").open("wb") as handle:
        assert write_birdnet_parquet(found, handle, about={"model": "tiny"}).rows == 1
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["input", "start_time", "end_time", "species_name", "confidence"]
    assert table.to_pylist() == [
        {
            "input": "A/rec0.wav",
            "start_time": 9.0,
            "end_time": 10.0,
            "species_name": "Strix aluco_Tawny Owl",
            "confidence": 0.5,
        }
    ]
    assert json.loads(table.schema.metadata[METADATA_KEY]) == {"model": "tiny"}


def test_parquet_keeps_rows_and_types_as_they_are(tmp_path):
    found = kit.rows([kit.row("A/rec0.wav", i * 3.0, rank=i) for i in range(10)])
    with (tmp_path / "x.parquet").open("wb") as handle:
        written = write_parquet(found.to_batches(max_chunksize=3), found.schema, handle)
    assert (written.rows, written.files) == (10, 1)
    assert pq.read_table(tmp_path / "x.parquet").equals(found)


@several
@given(st.lists(st.integers(0, 7), max_size=8), st.integers(1, 9))
def test_row_groups_do_not_depend_on_the_blocks(sizes, rows):
    whole = kit.rows([kit.row("A/rec0.wav", i * 3.0) for i in range(sum(sizes))])
    firsts = [sum(sizes[:i]) for i in range(len(sizes))]
    blocks = [whole.slice(first, n) for first, n in zip(firsts, sizes, strict=True)]
    groups = list(row_groups(blocks, whole.schema, rows))
    assert [g.num_rows for g in groups] == [rows] * (len(whole) // rows) + [len(whole) % rows] * bool(len(whole) % rows)
    assert pa.concat_tables([whole.slice(0, 0), *groups]).equals(whole)


def test_parquet_of_nothing_can_be_read(tmp_path):
    with (tmp_path / "x.parquet").open("wb") as handle:
        write_parquet([], kit.ROWS, handle)
    assert pq.read_table(tmp_path / "x.parquet").schema.equals(kit.ROWS)


@pytest.mark.parametrize("writer", [write_birdnet_csv, write_tidy, write_kaleidoscope])
def test_tables_of_nothing_have_their_header(writer):
    text = text_of(writer, kit.detections([], [kit.recording(0)]))
    assert text.count("\n") == 1
    assert not list(csv.DictReader(StringIO(text)))
