"""From a store to files: rows of the filter and no others, all recordings in a sequence, whole or not at all."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from search_api.export_options import FORMS
from search_api.exports import ExportOptions
from search_api.locating import Locator
from sonotheque.core.errors import Conflict, Invalid, Limit, NotFound
from sonotheque.core.filters import SearchFilter
from store import open_archive
from store.formats import csv_tables, raven
from store.formats.whole import MARK
from tests.cluster.support import make_archive, run
from tests.exports import kit
from tests.exports.kit import export

TOP = SearchFilter(rank_max=1)
ROWS = "SELECT p.*, r.duration_s FROM predictions p JOIN recordings r USING (recording_id)"
ORDER = "ORDER BY p.site, r.local_start NULLS LAST, p.path, p.start_sample, p.rank"
TABLE_FORMS = [(what, form) for what, forms in FORMS.items() if what != "clips" for form in forms]


def options(**given) -> ExportOptions:
    where = {k: given.pop(k) for k in list(given) if k in SearchFilter.__slots__}
    return ExportOptions(where=SearchFilter.from_texts(where), **given)


@pytest.mark.parametrize(("what", "form"), TABLE_FORMS)
def test_every_export_counts_its_rows_and_leaves_nothing_else(made, tmp_path, what, form):
    counts = {
        "predictions": made.rows("SELECT count(*) n FROM predictions WHERE rank = 1")[0]["n"],
        "embeddings": made.rows("SELECT count(*) n FROM windows")[0]["n"],
        "windows": made.rows("SELECT count(*) n FROM windows")[0]["n"],
        "recordings": made.rows("SELECT count(*) n FROM recordings")[0]["n"],
        "annotations": 0,
    }
    given = options(rank_max=1) if what == "predictions" else options()
    summary = export(made.store, what, form, tmp_path / "out.x", given)
    assert summary.rows == counts[what]
    assert sorted(summary.to_json()) == sorted(
        ["what", "format", "out", "rows", "files", "snapshot", "filter", "notes", "failures"]
    )
    found = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != MARK]
    assert len(found) == summary.files
    assert not list(tmp_path.rglob(".*"))


def test_raven_combined_of_a_store_is_the_sequence_of_all_its_readable_recordings(made, tmp_path):
    """The times again from the listed files and the recordings' own lengths, which is what Raven adds up."""
    label = made.rows("SELECT label, count(*) n FROM predictions WHERE rank = 1 GROUP BY label ORDER BY n")[0]["label"]
    export(made.store, "predictions", "raven-combined", tmp_path / "all.txt", options(label=label, rank_max=1))
    table = kit.tabbed(tmp_path / "all.txt")
    files = (tmp_path / "all.files.txt").read_text().split("\n")[:-1]
    lengths = {
        str(made.recordings / r["path"]): r["duration_s"] for r in made.rows("SELECT path, duration_s FROM recordings")
    }
    assert len(files) == 12, "ten, the untimed one and the short one; not the one without sound"
    assert [Path(f).parent.name for f in files] == ["north"] * 5 + ["south"] * 7
    assert files[-1].endswith("untimed.wav")
    expected = made.rows(f"{ROWS} WHERE p.label = '{label}' AND p.rank = 1 {ORDER}")
    assert 0 < len({r["path"] for r in expected}) < len(files), "some recordings have no row"
    assert len(table) == len(expected)
    for row, one in zip(table, expected, strict=True):
        before = math.fsum(lengths[f] for f in files[: files.index(row["Begin Path"])])
        assert row["Begin Path"] == str(made.recordings / one["path"])
        assert float(row["File Offset (s)"]) == pytest.approx(one["start_s"], abs=1e-6)
        assert float(row["Begin Time (s)"]) == pytest.approx(before + one["start_s"], abs=2e-6)
        end = before + min(one["end_s"], one["duration_s"])
        assert float(row["End Time (s)"]) == pytest.approx(end, abs=2e-6)


def test_a_place_narrows_the_sequence_and_a_label_does_not(made, tmp_path):
    for name, where, count in (
        ("site", {"sites": "north", "score_min": 2.0}, 5),
        ("day", {"date_from": "2024-05-02", "date_to": "2024-05-02", "score_min": 2.0}, 4),
        ("path", {"recordings": "south/*_04*"}, 1),
        ("label", {"score_min": 2.0}, 12),
    ):
        export(made.store, "predictions", "raven-combined", tmp_path / f"{name}.txt", options(**where))
        assert (tmp_path / f"{name}.files.txt").read_text().count("\n") == count, name


def test_raven_tables_of_a_store(made, tmp_path):
    summary = export(made.store, "predictions", "raven", tmp_path / "t", options(rank_max=1, sites="north", empty=True))
    tables = sorted((tmp_path / "t").rglob(f"*{raven.ENDING}"))
    assert len(tables) == 5 == summary.files
    assert sum(len(kit.tabbed(t)) for t in tables) == summary.rows
    note = json.loads((tmp_path / "t" / MARK).read_text())
    assert (note["rows"], note["filter"]) == (summary.rows, {"sites": ["north"], "rank_max": 1})
    assert {"model", "model_version", "weights_digest", "snapshot", "program"} <= set(note)


def test_csv_rows_are_those_of_the_filter_in_the_order_of_the_recordings(made, tmp_path):
    where = {"score_min": 0.4, "hours": "05:00-08:00"}
    export(made.store, "predictions", "csv", tmp_path / "o.csv", options(**where, columns=("site,rank", "local_time")))
    table = kit.read_csv(tmp_path / "o.csv")
    expected = made.rows(f"{ROWS} WHERE score >= 0.4 AND hour BETWEEN 5 AND 7 {ORDER}")
    assert len(expected) > 5
    assert list(table[0]) == [*csv_tables.BIRDNET, "site", "rank", "local_time"]
    assert [(r["File"], float(r["Start (s)"]), int(r["rank"])) for r in table] == [
        (str(made.recordings / e["path"]), e["start_s"], e["rank"]) for e in expected
    ]
    assert all(r["local_time"].endswith("+02:00") for r in table)


@pytest.mark.parametrize("rows", [1, 7, 20])
def test_a_site_that_is_sorted_in_pieces_gives_the_same_file(made, tmp_path, monkeypatch, rows):
    for form in ("csv", "raven-combined", "parquet"):
        export(made.store, "predictions", form, tmp_path / f"whole.{form}")
    monkeypatch.setattr("search_api.export_rows._SORTED_ROWS", rows)
    for form in ("csv", "raven-combined", "parquet"):
        export(made.store, "predictions", form, tmp_path / f"pieces.{form}")
        assert (tmp_path / f"pieces.{form}").read_bytes() == (tmp_path / f"whole.{form}").read_bytes()


def test_parquet_holds_the_rows_of_the_view(made, tmp_path):
    export(made.store, "predictions", "parquet", tmp_path / "p.parquet", options(rank_max=2))
    table = pq.read_table(tmp_path / "p.parquet")
    with open_archive(made.store) as archive:
        expected = archive.predictions(SearchFilter(rank_max=2))
    assert table.column_names == expected.column_names
    assert sorted(table.to_pylist(), key=str) == sorted(expected.to_pylist(), key=str)


def test_embeddings_in_every_format_are_those_of_the_archive(made, tmp_path):
    where = SearchFilter(sites=("south",), valid_min_s=1.0)
    with open_archive(made.store) as archive:
        windows, (ids, vectors) = archive.windows(where), archive.embeddings(where)
    for form in FORMS["embeddings"]:
        export(made.store, "embeddings", form, tmp_path / f"e.{form}", ExportOptions(where=where))
    paths = windows["path"].to_pylist()
    table = pq.read_table(tmp_path / "e.parquet")
    assert table["path"].to_pylist() == paths
    assert table["recording_id"].to_pylist() == ids["recording_id"].tolist()
    assert np.array_equal(np.array(table["embedding"].to_pylist(), np.float32), vectors)
    assert np.array_equal(np.load(tmp_path / "e.npy"), vectors)
    assert [r["path"] for r in kit.read_csv(tmp_path / "e.windows.csv")] == paths
    with h5py.File(tmp_path / "e.hdf5") as file:
        assert np.array_equal(file["embeddings"][:], vectors)
        assert file.attrs["model"] == "placeholder"
        assert file.attrs["window_s"] > 0
    rows = kit.read_csv(tmp_path / "e.csv")
    assert np.allclose([[float(v) for k, v in r.items() if k[0] == "e" and k[1:].isdigit()] for r in rows], vectors)


def test_half_precision_parquet(made, tmp_path):
    export(made.store, "embeddings", "parquet", tmp_path / "e.parquet", options(dtype="float16"))
    assert str(pq.read_schema(tmp_path / "e.parquet").field("embedding").type.value_type) == "halffloat"


def test_a_wide_csv_of_too_much_is_refused_unless_forced(made, tmp_path, monkeypatch):
    monkeypatch.setattr("search_api.exports.WIDE_VALUES_MAX", 100)
    with pytest.raises(Limit, match="--force"):
        export(made.store, "embeddings", "csv", tmp_path / "e.csv")
    assert not list(tmp_path.iterdir())
    assert export(made.store, "embeddings", "csv", tmp_path / "e.csv", options(force=True)).rows > 0


def test_plain_tables_have_the_views_columns(made, tmp_path):
    for what in ("windows", "recordings", "annotations"):
        export(made.store, what, "csv", tmp_path / f"{what}.csv")
        export(made.store, what, "parquet", tmp_path / f"{what}.parquet")
        header = (tmp_path / f"{what}.csv").read_text(encoding="utf-8").split("\n")[0].split(",")
        with open_archive(made.store) as archive:
            columns = archive.sql(f"SELECT * FROM {what} LIMIT 0").column_names
        assert header == columns == pq.read_schema(tmp_path / f"{what}.parquet").names
    rows = {r["path"]: r for r in kit.read_csv(tmp_path / "recordings.csv")}
    assert rows["north/20240501_040000.wav"]["local_start"] == "2024-05-01T04:00:00.000+02:00"
    assert rows["south/untimed.wav"]["local_start"] == ""
    assert rows["south/20240502_110000.wav"]["outcome"] == "failed"


def test_recordings_of_a_filter(made, tmp_path):
    summary = export(
        made.store, "recordings", "csv", tmp_path / "r.csv", options(sites="north", date_from="2024-05-02")
    )
    assert summary.rows == 2


def test_annotations_of_a_filter(made, tmp_path):
    from store.annotations import Annotation, AnnotationLog

    store = shutil.copytree(made.store, tmp_path / "store")
    ids = {r["path"]: r["recording_id"] for r in made.rows("SELECT path, recording_id FROM recordings")}
    first, second = "north/20240501_040000.wav", "south/20240501_040000.wav"
    AnnotationLog(str(store)).add(
        [
            Annotation(ids[first], first, 0.5, 1.5, "owl", "positive"),
            Annotation(ids[first], first, 2.0, 3.0, "tit", "negative"),
            Annotation(ids[second], second, 0.5, 1.5, "owl", "positive"),
        ],
        annotator="a",
        provenance="test",
    )
    for name, where, count in (
        ("all", {}, 3),
        ("site", {"sites": "north"}, 2),
        ("label", {"annotation_label": "owl"}, 2),
        ("both", {"annotation_label": "owl", "sites": "south", "overlap_min_s": 0.9}, 1),
        ("judged", {"judgement": "negative"}, 1),
        ("day", {"date_from": "2024-06-01"}, 0),
    ):
        assert export(str(store), "annotations", "csv", tmp_path / f"{name}.csv", options(**where)).rows == count, name
    rows = kit.read_csv(tmp_path / "both.csv")
    assert [(r["path"], r["label"], r["judgement"]) for r in rows] == [(second, "owl", "positive")]
    counted = export(str(store), "predictions", "csv", tmp_path / "p.csv", options(annotation_label="tit", rank_max=1))
    windows = made.rows(f"SELECT count(*) n FROM windows WHERE path = '{first}' AND start_s < 3 AND end_s > 2")
    assert counted.rows == windows[0]["n"] > 0


def test_where_recordings_are_said_to_be(made, tmp_path):
    export(
        made.store, "predictions", "raven-combined", tmp_path / "a.txt", options(rank_max=1, recordings_dir="D:\\audio")
    )
    assert (tmp_path / "a.files.txt").read_text().startswith("D:\\audio\\north\\20240501_040000.wav\n")
    export(
        made.store, "predictions", "kaleidoscope", tmp_path / "k.csv", options(rank_max=1, recordings_dir="D:\\audio")
    )
    row = kit.read_csv(tmp_path / "k.csv")[0]
    assert (row["INDIR"], row["FOLDER"], row["IN FILE"]) == ("D:\\audio", "north", "20240501_040000.wav")


def test_the_locator_of_a_store_knows_where_it_was_embedded_from(made):
    assert Locator.of(made.store).roots == ((str(made.recordings), ""),)


def test_sample_rates_and_damage_are_noted_in_a_sequence(made, tmp_path):
    notes = export(made.store, "predictions", "raven-combined", tmp_path / "a.txt", options(rank_max=1)).notes
    assert any("numbers of channels (1, 2)" in note for note in notes)


def test_a_store_without_predictions(tmp_path):
    run(make_archive(tmp_path / "r", sites=1, days=1, files=1), tmp_path / "store", top_k=0)
    for form in FORMS["predictions"]:
        summary = export(str(tmp_path / "store"), "predictions", form, tmp_path / form)
        assert summary.rows == 0
        assert "no predictions" in summary.notes[-1]
    assert export(str(tmp_path / "store"), "clips", "wav", tmp_path / "c.zip").rows > 0


def test_nothing_matches(made, tmp_path):
    for what, form in TABLE_FORMS:
        if what != "annotations":
            where = {"score_min": 2.0}
            assert export(made.store, what, form, tmp_path / f"{what}.{form}", options(**where)).rows == 0, (what, form)


@pytest.mark.parametrize(
    ("what", "form", "given", "said"),
    [
        ("prediction", "csv", {}, "did you mean predictions"),
        ("predictions", "ravn", {}, "raven-combined"),
        ("predictions", "2025-05-03", {}, "--until"),
        ("embeddings", "raven", {}, "parquet, npy, hdf5, csv"),
        ("windows", "csv", {"columns": ("lat",)}, "--columns"),
        ("windows", "csv", {"recordings_dir": "/x"}, "--recordings"),
        ("predictions", "csv", {"empty": True}, "--empty-tables"),
        ("predictions", "csv", {"columns": ("latt",)}, "did you mean lat"),
        ("embeddings", "npy", {"dtype": "float16"}, "--dtype"),
        ("embeddings", "parquet", {"dtype": "int8"}, "float16"),
        ("embeddings", "parquet", {"force": True}, "--force"),
        ("predictions", "csv", {"margin_s": 1.0}, "--margin-s"),
        ("predictions", "csv", {"max_clips": 5}, "--max-clips"),
        ("predictions", "csv", {"follow_links": True}, "--follow-links"),
        ("clips", "wav", {"max_clips": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(made, tmp_path, what, form, given, said):
    with pytest.raises(Invalid, match=said):
        export(made.store, what, form, tmp_path / "o", options(**given))
    assert not list(tmp_path.iterdir())


def test_names_that_are_not_there(made, tmp_path):
    for where in ({"sites": "nord"}, {"label": "no such bird"}, {"recordings": "x.wav"}):
        for what in ("predictions", "embeddings", "windows", "recordings"):
            with pytest.raises(NotFound):
                export(made.store, what, "parquet", tmp_path / "o", options(**where))
    with pytest.raises(NotFound):
        export(str(tmp_path / "gone"), "windows", "csv", tmp_path / "o")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_kept_unless_it_may_be_replaced(made, tmp_path):
    (tmp_path / "a.files.txt").write_text("mine")
    with pytest.raises(Conflict, match=r"a\.files\.txt is already there"):
        export(made.store, "predictions", "raven-combined", tmp_path / "a.txt", options(rank_max=1))
    assert not (tmp_path / "a.txt").exists()
    for _ in range(2):
        export(made.store, "predictions", "raven-combined", tmp_path / "a.txt", options(rank_max=1, overwrite=True))
        export(made.store, "predictions", "raven", tmp_path / "t", options(rank_max=1, overwrite=True))
    with pytest.raises(Conflict):
        export(made.store, "predictions", "raven", tmp_path / "t", options(rank_max=1))
    with pytest.raises(Invalid, match="lies in the store"):
        export(made.store, "windows", "csv", Path(made.store) / "w.csv")


def test_an_error_half_way_leaves_nothing(made, tmp_path, monkeypatch):
    calls = []

    def fail(self, table):
        calls.append(table.num_rows)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("store.Archive.vectors_of", fail)
    for form in FORMS["embeddings"]:
        with pytest.raises(OSError, match="Input/output"):
            export(made.store, "embeddings", form, tmp_path / f"e.{form}")
    assert len(calls) == len(FORMS["embeddings"])
    assert not list(tmp_path.iterdir())


def test_progress_is_told(made, tmp_path):
    seen: list[tuple[int, int]] = []
    summary = export(
        made.store, "predictions", "csv", tmp_path / "o", None, lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (summary.rows, summary.rows)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_same_export_gives_the_same_bytes(made, tmp_path):
    for form in ("csv", "tidy", "raven-combined", "kaleidoscope", "parquet"):
        for n in (1, 2):
            (tmp_path / str(n)).mkdir(exist_ok=True)
            export(made.store, "predictions", form, tmp_path / str(n) / form)
        assert (tmp_path / "1" / form).read_bytes() == (tmp_path / "2" / form).read_bytes()
