"""Source files that cannot be used: named, nothing written; left out on request, the rest imported."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.perch_folder import rows_of, write_embeddings, write_predictions
from cluster.imports import perch_rows
from cluster.imports.perch_files import Faulty, embedding_columns
from cluster.status import verify_store
from sonotheque.core.errors import Damaged, Invalid, NotFound
from tests.imports.support import DIM, WINDOW_S, assert_same, data_tree, do, expected_of, make, stored


def parquet(output: Path, checkpoint: int) -> Path:
    return output / "A4" / "embeddings_partitioned" / str(checkpoint) / "part-0.parquet"


def csv(output: Path, checkpoint: int) -> Path:
    return output / "A4" / "predictions_partitioned" / f"checkpoint_{checkpoint:04d}.csv"


def cut(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def table_with(path: Path, name: str, values: list) -> None:
    table = pq.read_table(path, partitioning=None)
    kind = table.schema.field(name).type
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, [pa.array(values, kind)]), path)


def edited(path: Path, name: str, row: int, value) -> None:
    values = pq.read_table(path, partitioning=None)[name].to_pylist()
    values[row] = value
    table_with(path, name, values)


def without(path: Path, name: str) -> None:
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns([name]), path)


SPOILT = {
    "the last file of a killed run is cut short": (lambda p: cut(p, 0.6), "not a whole Parquet file"),
    "it has no bytes at all": (lambda p: cut(p, 0), "not a whole Parquet file"),
    "it is something else": (lambda p: p.write_bytes(b"not parquet" * 100), "not a whole Parquet file"),
    "a column is gone": (lambda p: without(p, "chunk_idx"), "has no column chunk_idx"),
    "a number of the vector is gone": (lambda p: without(p, "emb_7"), "not complete: 63 of them"),
    "a vector is text": (
        lambda p: pq.write_table(
            pq.read_table(p, partitioning=None).set_column(
                8, "emb_3", [pa.array(["x"] * pq.read_metadata(p).num_rows)]
            ),
            p,
        ),
        "emb_3 holds string",
    ),
    "a row has no path": (lambda p: edited(p, "file_path", 2, None), "row 2 of row group 0 has no file_path"),
    "a row has an empty path": (lambda p: edited(p, "file_path", 2, ""), "file_path is empty"),
    "a row has no end": (lambda p: edited(p, "end_time", 1, None), "row 1 of row group 0 has no end_time"),
    "start and number of a window disagree": (lambda p: edited(p, "start_time", 3, 1.0), "row 3 .*start_time 1 "),
    "a window ends before it starts": (lambda p: edited(p, "end_time", 0, -1.0), "row 0 .*end_time -1"),
    "a window is longer than the model's": (lambda p: edited(p, "end_time", 0, 99.0), "row 0 .*windows of 2 s"),
    "an end is no number": (lambda p: edited(p, "end_time", 0, float("nan")), "row 0 .*end_time nan"),
}


@pytest.mark.parametrize("spoil,why", SPOILT.values(), ids=SPOILT.keys())
def test_a_damaged_file_is_named_and_nothing_is_written(output: Path, tmp_path: Path, spoil, why) -> None:
    spoil(parquet(output, 2))
    with pytest.raises(Damaged, match=why) as error:
        do(output, tmp_path / "store")
    assert str(parquet(output, 2)) in error.value.message
    assert "--skip-damaged" in error.value.message
    assert not (tmp_path / "store").exists()


def test_on_request_the_rest_is_imported_and_the_file_is_in_the_report(output: Path, tmp_path: Path) -> None:
    cut(parquet(output, 2), 0.6)
    report = do(output, tmp_path / "store", skip_damaged=True)
    assert list(report.damaged) == [str(parquet(output, 2))]
    assert (report.windows, report.rows) == (56, 56)
    assert any("no embeddings beside them" in note for note in report.notes), "its CSV is whole"
    shutil.rmtree(parquet(output, 2).parent)
    assert_same(stored(tmp_path / "store"), expected_of(output))
    assert verify_store(str(tmp_path / "store"), deep=True).ok


def test_several_damaged_files_are_counted_and_the_first_are_named(output: Path, tmp_path: Path) -> None:
    for n in range(3, 10):
        folder = parquet(output, n).parent
        folder.mkdir(parents=True)
        parquet(output, n).write_bytes(b"PAR1")
    with pytest.raises(Damaged, match=r"7 of the source's files or rows cannot be used.*and 2 more"):
        do(output, tmp_path / "store")
    assert len(do(output, tmp_path / "store", skip_damaged=True).damaged) == 7


CSV_SPOILT = {
    "cut in the middle of a line": (lambda p: cut(p, 0.5), "middle of a line"),
    "no bytes": (lambda p: cut(p, 0), "is empty"),
    "no such columns": (lambda p: p.write_text("a,b\n1,2\n"), "header lacks"),
    "a score that is no number": (lambda p: p.write_text(p.read_text().replace(",1", ",x", 30)), "cannot be read"),
    "a line with too few cells": (lambda p: p.write_text(p.read_text() + "x,y\n"), "cannot be read"),
    "a line without a path": (
        lambda p: p.write_text(p.read_text().replace("/data/2025/A4/20250510_032500.WAV", "", 1)),
        "a line without file_path",
    ),
    "bytes that are no text": (lambda p: p.write_bytes(b"\xff\xfe\n" * 9), "cannot be read"),
}


@pytest.mark.parametrize("spoil,why", CSV_SPOILT.values(), ids=CSV_SPOILT.keys())
def test_a_damaged_prediction_file_is_named(output: Path, tmp_path: Path, spoil, why) -> None:
    spoil(csv(output, 2))
    with pytest.raises(Damaged, match=why) as error:
        do(output, tmp_path / "store")
    assert str(csv(output, 2)) in error.value.message
    assert not (tmp_path / "store").exists()
    report = do(output, tmp_path / "store", skip_damaged=True)
    assert (report.windows, report.without_predictions) == (60, 4)
    csv(output, 2).unlink()
    assert_same(stored(tmp_path / "store"), expected_of(output))


def test_a_csv_that_nobody_wants_is_not_looked_at(output: Path, tmp_path: Path) -> None:
    cut(csv(output, 2), 0.5)
    assert do(output, tmp_path / "store", predictions=False).windows == 60


def test_vectors_that_rot_after_the_look_stop_the_import_and_what_is_whole_stays(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small columns read well, the vectors' pages do not."""
    make(output / "A4", {f"/data/2025/A4/20250511_03{m:02d}00.WAV": 20.0 for m in (0, 5)}, resume=False, interval=99)
    path = parquet(output, 0)
    meta = pq.read_metadata(path).row_group(0)
    at = next(c for i in range(meta.num_columns) if (c := meta.column(i)).path_in_schema == "emb_20").data_page_offset
    data = bytearray(path.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(bytes(data))
    with pytest.raises(Damaged, match=r"its vectors cannot be read.*run the same command again") as error:
        do(output, tmp_path / "store")
    assert str(path) in error.value.message
    path.unlink()
    report = do(output, tmp_path / "store")
    assert report.ok and report.windows == 32
    assert verify_store(str(tmp_path / "store"), deep=True).ok


class TestDimensions:
    def test_vectors_of_perch_1_ask_for_its_name(self, tmp_path: Path) -> None:
        rows = rows_of("/data/2025/A4/20250510_030000.WAV", 10.0)
        write_embeddings(tmp_path / "out" / "A4", 0, rows, dim=1280)
        write_predictions(tmp_path / "out" / "A4", 0, rows)
        with pytest.raises(
            Invalid, match=r"holds 1,280-d vectors; perch_v2 has 1,536. perch_v1 has: say --model perch_v1"
        ):
            do(tmp_path / "out", tmp_path / "store", model=None)
        report = do(tmp_path / "out", tmp_path / "store", model="perch_v1")
        assert (report.model, report.windows) == ("perch_v1", 2)

    def test_a_length_that_no_model_has(self, output: Path, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match=r"holds 64-d vectors; perch_v2 has 1,536. If another model"):
            do(output, tmp_path / "store", model=None)

    def test_one_file_of_another_length_is_damaged(self, output: Path, tmp_path: Path) -> None:
        write_embeddings(output / "A4", 9, rows_of("/data/2025/A4/x.WAV", 4.0, WINDOW_S), dim=DIM + 1)
        with pytest.raises(Damaged, match=r"holds 65-d vectors, other files 64-d ones"):
            do(output, tmp_path / "store")

    def test_an_unknown_model_gets_a_suggestion(self, output: Path, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"perch_v2"):
            do(output, tmp_path / "store", model="perch_2")

    def test_columns_may_stand_in_any_order(self) -> None:
        assert embedding_columns(["emb_2", "file", "emb_0", "emb_1", "emb_x"]) == ["emb_0", "emb_1", "emb_2"]
        for names in (["file"], ["emb_0", "emb_2"], ["emb_1", "emb_2"]):
            with pytest.raises(Faulty):
                embedding_columns(names)

    def test_shuffled_columns_come_out_in_order(self, output: Path, tmp_path: Path) -> None:
        wanted = expected_of(output)
        for checkpoint in range(3):
            table = pq.read_table(parquet(output, checkpoint), partitioning=None)
            names = sorted(table.schema.names)  # emb_10 before emb_2
            pq.write_table(table.select(names), parquet(output, checkpoint))
        do(output, tmp_path / "store")
        assert_same(stored(tmp_path / "store"), wanted)


class TestNothingThere:
    def test_messages_say_what_was_looked_for(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"is not a folder"):
            do(tmp_path / "nowhere", tmp_path / "store")
        (tmp_path / "empty").mkdir()
        with pytest.raises(NotFound, match=r"looked for a folder embeddings_partitioned"):
            do(tmp_path / "empty", tmp_path / "store")
        (tmp_path / "begun" / "embeddings_partitioned").mkdir(parents=True)
        with pytest.raises(NotFound, match=r"has not written anything"):
            do(tmp_path / "begun", tmp_path / "store")
        (tmp_path / "tflite").mkdir()
        (tmp_path / "tflite" / "embeddings.parquet").write_bytes(b"")
        with pytest.raises(NotFound, match=r"TFLite script"):
            do(tmp_path / "tflite", tmp_path / "store")
        assert not (tmp_path / "store").exists()

    def test_files_without_rows_are_nothing(self, output: Path, tmp_path: Path) -> None:
        for path in output.rglob("*.parquet"):
            pq.write_table(pq.read_table(path, partitioning=None).slice(0, 0), path)
        with pytest.raises(NotFound, match=r"holds no recording"):
            do(output, tmp_path / "store")
        assert not (tmp_path / "store").exists()


class TestStale:
    def test_rows_left_over_from_an_earlier_run_are_said(self, output: Path, tmp_path: Path) -> None:
        os.utime(parquet(output, 0), ns=(2_000_000_000 * 10**9,) * 2)
        report = do(output, tmp_path / "store")
        assert any("left over from an earlier run" in note and "/1/part-0" in note for note in report.notes)

    def test_an_undisturbed_run_gives_no_such_note(self, output: Path, tmp_path: Path) -> None:
        assert not any("left over" in note for note in do(output, tmp_path / "store").notes)


class TestLargeRowGroups:
    """A checkpoint may be of any size: what is too large to hold is picked from as it streams by."""

    @pytest.mark.parametrize("held", [0, 30_000, 1 << 30])
    def test_the_same_rows_however_much_is_held(
        self, output: Path, tmp_path: Path, held: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(perch_rows, "_HELD_BYTES", held)
        monkeypatch.setattr(perch_rows, "_BATCH_ROWS", 5)
        monkeypatch.setattr(perch_rows, "_GUESSES_HELD", 1)
        do(output, tmp_path / "store")
        assert_same(stored(tmp_path / "store"), expected_of(output))

    def test_several_row_groups_in_a_file(self, output: Path, tmp_path: Path) -> None:
        wanted = expected_of(output)
        for path in output.rglob("*.parquet"):
            pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=9)
        do(output, tmp_path / "store")
        assert_same(stored(tmp_path / "store"), wanted)

    def test_what_is_held_stays_below_its_bound(self, output: Path) -> None:
        from cluster.imports.perch_files import wide_files

        files = wide_files(str(output / "A4"), 0)
        rows = perch_rows.WideRows(files, "placeholder", 3, set())
        perch_rows_held = 28 * DIM * 4
        for file in (0, 1, 2, 1, 0):
            places = perch_rows.place_of(file, np.arange(4))
            assert rows.vectors(places, DIM).shape == (4, DIM)
        assert sum(m.nbytes for m in rows._held.values()) == 2 * perch_rows_held + 4 * DIM * 4


def test_hive_style_folders_and_stray_files_are_understood(output: Path, tmp_path: Path) -> None:
    wanted = expected_of(output)
    base = output / "A4" / "embeddings_partitioned"
    (base / "1").rename(base / "checkpoint_id=1")
    (base / ".DS_Store").write_bytes(b"x")
    (output / "inference.log").write_text("DONE: A4\n")
    do(output, tmp_path / "store")
    assert_same(stored(tmp_path / "store"), wanted)


def test_a_failed_import_leaves_the_store_as_it_was(output: Path, tmp_path: Path) -> None:
    do(output, tmp_path / "store")
    before = data_tree(tmp_path / "store")
    make(output / "B1", {"/data/2025/B1/20250510_030000.WAV": 20.0})
    cut(output / "B1" / "embeddings_partitioned" / "0" / "part-0.parquet", 0.9)
    with pytest.raises(Damaged):
        do(output, tmp_path / "store")
    assert data_tree(tmp_path / "store") == before
