"""What every writer reads: rows with what is known of their recordings, in types and an order that writers rely on."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Invalid, NotFound
from store.formats import Detections, write_plain_csv
from store.formats.detections import RECORDING_TYPES, ROW_TYPES
from tests.exports import kit


def frame_of(found: Detections) -> pl.DataFrame:
    return pl.concat(list(found.frames()))


@pytest.mark.parametrize(
    ("label", "scientific", "common"),
    [
        ("Strix aluco_Tawny Owl", "Strix aluco", "Tawny Owl"),
        ("Strix aluco", "Strix aluco", None),
        ("a_b_c", "a", "b_c"),
        ("a_", "a", None),
        ("_b", "_b", "b"),
        ("", "", None),
        ("Engine_Engine", "Engine", "Engine"),
    ],
)
def test_labels_are_split_at_the_first_underscore(label, scientific, common):
    (row,) = frame_of(kit.detections([kit.row("A/rec0.wav", label=label)], [kit.recording(0)])).to_dicts()
    assert (row["scientific"], row["common"]) == (scientific, common)


def test_columns_that_are_not_there_are_null_and_others_are_left_out():
    rows = kit.rows([kit.row("A/rec0.wav")]).drop_columns(["rank"]).append_column("mine", pa.array(["x"]))
    recordings = kit.recordings([kit.recording(0)]).select(["path", "duration_s"]).append_column("mine", pa.array([1]))
    found = Detections.of(rows, recordings)
    (row,) = frame_of(found).to_dicts()
    assert "mine" not in row
    assert (row["rank"], row["site"], row["local_start"], row["latitude"]) == (None,) * 4
    assert (row["file"], row["duration_s"], row["end_cut_s"]) == ("A/rec0.wav", 10.0, 3.0)
    assert set(ROW_TYPES) <= set(row)
    assert set(RECORDING_TYPES) <= set(found.recordings.columns)


def test_types_are_brought_into_one_form():
    rows = kit.rows([kit.row("A/rec0.wav", 3.0)])
    rows = rows.set_column(1, "start_s", rows["start_s"].cast(pa.float32())).set_column(
        5, "rank", rows["rank"].cast(pa.int8())
    )
    rows = rows.set_column(3, "label", rows["label"].dictionary_encode())
    (row,) = frame_of(Detections.of(rows, kit.recordings([kit.recording(0)]))).to_dicts()
    assert (row["start_s"], row["rank"], row["label"]) == (3.0, 1, kit.LABELS[0])


def test_a_sound_of_unknown_length_cuts_nothing():
    (row,) = frame_of(kit.detections([kit.row("A/rec0.wav", 9.0)], [kit.recording(0, duration_s=None)])).to_dicts()
    assert row["end_cut_s"] == 12.0


@settings(deadline=None, max_examples=40)
@given(kit.archives(), st.integers(1, 6))
def test_rows_of_any_order_come_out_in_the_order_of_the_recordings(archive, block):
    made, found = archive
    at_once = Detections.of(kit.rows(found), kit.recordings(made), kit.FACTS)
    in_blocks = kit.detections(found, made, block=block)
    if not found:
        assert not list(at_once.frames())
        return
    one, other = frame_of(at_once), frame_of(in_blocks)
    assert one.equals(other)
    keys = list(zip(one["order"], one["start_s"], one["rank"], strict=True))
    assert keys == sorted(keys)
    assert sorted(zip(one["path"], one["start_s"], one["label"], strict=True)) == sorted(
        (r["path"], r["start_s"], r["label"]) for r in found
    )


def test_rows_are_read_one_block_at_a_time():
    seen = []

    def blocks():
        for i in range(3):
            seen.append(i)
            yield kit.rows([kit.row(f"A/rec{i}.wav")])

    found = Detections(kit.recordings([kit.recording(i) for i in range(3)]), blocks())
    frames = found.frames()
    assert not seen
    next(frames)
    assert seen == [0]


def test_an_empty_block_among_others():
    blocks = [kit.rows([]), kit.rows([kit.row("A/rec0.wav")]), kit.rows([])]
    assert frame_of(Detections(kit.recordings([kit.recording(0)]), blocks)).height == 1


def test_a_recording_that_comes_again_later_is_an_error():
    blocks = [kit.rows([kit.row(f"A/rec{i}.wav")]) for i in (0, 1, 0)]
    with pytest.raises(Invalid, match=r"Detections\.of sorts"):
        frame_of(Detections(kit.recordings([kit.recording(0), kit.recording(1)]), blocks))


def test_what_is_missing_is_named():
    with pytest.raises(NotFound, match=r"x\.wav is not among the 1 recordings"):
        frame_of(kit.detections([kit.row("x.wav")], [kit.recording(0)]))
    with pytest.raises(Invalid, match="recordings: there is no column path"):
        Detections(pa.table({"name": ["x"]}), [])
    with pytest.raises(
        Invalid, match="detections: there is no column label; needed are path, start_s, end_s, label, score"
    ):
        frame_of(Detections(kit.recordings([kit.recording(0)]), [kit.rows([]).drop_columns(["label"])]))


# Any table as CSV


def plain(table: pa.Table, tmp_path: Path, block: int = 2) -> list[dict[str, str]]:
    handle = BytesIO()
    write_plain_csv(table.to_batches(max_chunksize=block), table.schema, handle)
    (tmp_path / "t.csv").write_bytes(handle.getvalue())
    return kit.read_csv(tmp_path / "t.csv")


def test_plain_csv_of_every_type_a_view_has(tmp_path):
    local = datetime(2024, 10, 27, 2, 30, 0, 123_456)
    table = pa.table(
        {
            "recording_id": pa.array([2**62], pa.int64()),
            "path": ["=a.wav"],
            "date": pa.array([local.date()]),
            "local_start": pa.array([local], pa.timestamp("us")),
            "utc_start": pa.array(
                [datetime(2024, 10, 27, 1, 30, 0, 123_456, tzinfo=UTC)], pa.timestamp("us", tz="UTC")
            ),
            "created_utc": pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
            "time_issues": pa.array([["late", "twice"]], pa.list_(pa.string())),
            "score": pa.array([0.1], pa.float32()),
            "start_s": pa.array([1e-5]),
            "flag": pa.array([True]),
            "nothing": pa.array([None], pa.string()),
        }
    )
    (row,) = plain(table, tmp_path)
    assert row == {
        "recording_id": str(2**62),
        "path": "'=a.wav",
        "date": "2024-10-27",
        "local_start": "2024-10-27T02:30:00.123+01:00",
        "utc_start": "2024-10-27T01:30:00.123Z",
        "created_utc": "2024-01-01T00:00:00.000Z",
        "time_issues": "late; twice",
        "score": "0.1",
        "start_s": "0.00001",
        "flag": "true",
        "nothing": "",
    }


def test_plain_csv_of_a_local_time_alone(tmp_path):
    table = pa.table({"local_start": pa.array([datetime(2024, 5, 1), None], pa.timestamp("us")), "n": [1, 2]})
    assert [r["local_start"] for r in plain(table, tmp_path)] == ["2024-05-01T00:00:00.000", ""]


def test_plain_csv_of_nothing_and_of_several_blocks(tmp_path):
    table = pa.table({"a": list(range(7)), "b": [str(i) for i in range(7)]})
    assert [r["a"] for r in plain(table, tmp_path, block=3)] == [str(i) for i in range(7)]
    assert plain(table.slice(0, 0), tmp_path) == []
    assert (tmp_path / "t.csv").read_text() == "a,b\n"
