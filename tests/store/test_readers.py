"""What was written comes back equal, through every reader a person may use."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from sonotheque.core.errors import Damaged, SonothequeError
from sonotheque.core.recording import RecordingTime, printable_path
from store import Archive, PartWriter, load_ledger, open_archive, write_snapshot
from store.schema import HIVE_TYPES
from tests.store import kit

SITES = ("A", "007", "7", "12", "two words", "x/y", "Öko-Süd 日本", "100%", "a=b", "it's", "null", "a+b", ".", "q?*[1]")
DATES = ("2024-05-01", None)
PLACES = [(site, day) for site in SITES for day in DATES]


def commit_all(root, config, places, **options):
    twin = kit.Twin(config)
    for number, (site, day) in enumerate(places):
        time = kit.TIME if day else kit.NO_TIME
        items = [(kit.recording(f"{number}/{name}.wav", site=site, time=time), n) for name, n in (("a", 3), ("b", 2))]
        kit.write_part(root, config, items, date=day, **options)
        for rec, n in items:
            twin.add(rec, n, date=day)
    write_snapshot(root, config, load_ledger(root))
    return twin


def same(found, expected):
    assert found, "nothing was read"
    found, expected = kit.by_identity(found), kit.by_identity(expected)
    assert len(found) == len(expected)
    for got, want in zip(found, expected, strict=True):
        assert got == {key: want[key] for key in got}
        assert set(got) == set(want)


def sql_rows(archive, view):
    """The rows as stored; the catalog's own columns, and the date a window itself begins on, have tests of their own."""
    own = " EXCLUDE (deployment, hour, date)" if view == "predictions" else ""
    return archive.sql(f"SELECT *{own} FROM {view}").to_pylist()


def without_date(rows):
    return [{key: value for key, value in row.items() if key != "date"} for row in rows]


@pytest.fixture(scope="module", params=["float16", "float32"])
def store(request, tmp_path_factory):
    root, config = kit.new_store(tmp_path_factory.mktemp(request.param), kit.store_config(dtype=request.param))
    return root, commit_all(root, config, PLACES)


def test_sql(store):
    root, twin = store
    with Archive(root) as archive:
        same(sql_rows(archive, "embeddings"), twin.rows)
        same(sql_rows(archive, "predictions"), without_date(twin.predictions))


def test_vectors(store):
    root, twin = store
    found = []
    with open_archive(Path(root)) as archive:
        for windows, vectors in archive.vectors():
            assert vectors.dtype == np.float32 and vectors.shape == (windows.num_rows, kit.DIM)
            found += [
                {**row, "embedding": vector.tolist()} for row, vector in zip(windows.to_pylist(), vectors, strict=True)
            ]
    same(found, twin.rows)


def test_pyarrow(store):
    root, twin = store
    hive = ds.partitioning(pa.schema([("site", pa.string()), ("date", pa.date32())]), flavor="hive")
    for view, rows in (("embeddings", twin.rows), ("predictions", twin.predictions)):
        same(ds.dataset(f"{root}/{view}", partitioning=hive).to_table().to_pylist(), rows)


def test_polars(store):
    root, twin = store
    schema = {"site": pl.String, "date": pl.Date}
    for view, rows in (("embeddings", twin.rows), ("predictions", twin.predictions)):
        frame = pl.scan_parquet(f"{root}/{view}", hive_partitioning=True, hive_schema=schema, glob=False).collect()
        same([{**row, **vector(row)} for row in frame.to_dicts()], rows)


def vector(row):
    return {"embedding": [float(v) for v in row["embedding"]]} if "embedding" in row else {}


def test_plain_duckdb_as_the_format_says(store):
    """No code of ours: the file list of the snapshot, hive types, union by name, UTC."""
    import json

    import duckdb

    root, twin = store
    listed = json.loads(Path(root, "snapshots/1.json").read_text())["parts"]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    types = ", ".join(f"{k}: {v}" for k, v in HIVE_TYPES.items())
    files = [f"{root}/{p['embeddings']}" for p in listed]
    query = f"SELECT * FROM read_parquet(?, hive_partitioning=true, hive_types={{{types}}}, union_by_name=true)"
    same(connection.sql(query, params=[files]).to_arrow_table().to_pylist(), twin.rows)


@pytest.mark.parametrize("site", SITES)
def test_one_site_by_name(store, site):
    """The filter compares strings: '007' is not 7, and 'x/y' is written as people write it."""
    root, twin = store
    with Archive(root) as archive:
        n = archive.sql("SELECT count(*) AS n FROM embeddings WHERE site = ?", [site])["n"][0].as_py()
    assert n == len([r for r in twin.rows if r["site"] == site]) == 10


def test_site_and_date_have_their_types(store):
    root, _ = store
    with Archive(root) as archive:
        table = archive.sql("SELECT site, date FROM embeddings WHERE date IS NULL LIMIT 1")
        assert (table.schema.field("site").type, table.schema.field("date").type) == (pa.string(), pa.date32())
        assert table["date"][0].as_py() is None
        days = archive.sql("SELECT DISTINCT date FROM predictions ORDER BY date")["date"].to_pylist()
        assert days == [date(2024, 5, 1), None]


def test_only_numbers_as_sites_stay_strings(tmp_path):
    root, config = kit.new_store(tmp_path)
    commit_all(root, config, [("7", None), ("12", None)])
    with Archive(root) as archive:
        assert archive.sql("SELECT DISTINCT site FROM embeddings ORDER BY site")["site"].to_pylist() == ["12", "7"]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_the_machine_s_zone_does_not_matter(store, zone, monkeypatch):
    import time

    root, twin = store
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with Archive(root) as archive:
            same(sql_rows(archive, "embeddings"), twin.rows)
            text = archive.sql("SELECT min(utc_start)::VARCHAR AS t FROM embeddings")["t"][0].as_py()
        assert text.startswith("2024-05-01 02:30:00.123457")
    finally:
        monkeypatch.undo()
        time.tzset()


TIMES = {
    "both": kit.TIME,
    "none": kit.NO_TIME,
    "local_only": RecordingTime(kit.LOCAL, None, None, None, "name"),
    "last_microsecond": RecordingTime(
        datetime(2023, 12, 31, 23, 59, 59, 999_999), datetime(2024, 1, 1, 4, 59, 59, 999_999, tzinfo=UTC), -300
    ),
    "before_1970": RecordingTime(
        datetime(1969, 7, 20, 20, 17, 40, 1), datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=UTC), 0
    ),
    "leap_day": RecordingTime(datetime(2024, 2, 29, 12), datetime(2024, 2, 29, 10, tzinfo=UTC), 120),
}


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("rate_factor", [1.0, 10.0, 0.1], ids=lambda f: f"x{f}")
def test_times_are_exact_to_the_microsecond(tmp_path, time, rate_factor):
    """Each window has its own time; a rate factor stretches model time, not true time."""
    root, config = kit.new_store(tmp_path, kit.store_config(rate_factor=rate_factor, hop_samples=1001))
    rec = kit.recording("a.wav", time=time)
    kit.write_part(root, config, [(rec, 50)])
    twin = kit.Twin(config)
    twin.add(rec, 50)
    write_snapshot(root, config, load_ledger(root))
    with Archive(root) as archive:
        same(sql_rows(archive, "embeddings"), twin.rows)
        same(sql_rows(archive, "predictions"), without_date(twin.predictions))


def test_a_utc_time_given_in_another_zone_is_stored_as_utc(tmp_path):
    from zoneinfo import ZoneInfo

    root, config = kit.new_store(tmp_path)
    moment = datetime(2024, 7, 1, 6, tzinfo=ZoneInfo("Asia/Kathmandu"))
    kit.write_part(
        root, config, [(kit.recording("a.wav", time=RecordingTime(datetime(2024, 7, 1, 6), moment, 345)), 1)]
    )
    (name,) = (n for n in kit.tree(root) if n.startswith("embeddings"))
    table = pq.ParquetFile(f"{root}/{name}").read()
    assert table["utc_start"][0].as_py() == datetime(2024, 7, 1, 0, 15, tzinfo=UTC)
    assert table["local_start"][0].as_py() == datetime(2024, 7, 1, 6)


PATHS = [
    "plain.wav",
    "Ä/日本 (1).WAV",
    "caf\udce9.wav",
    "a'b\"c.wav",
    "tab\there.wav",
    "back\\slash.wav",
    "emoji 🦉.flac",
]


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_any_path(tmp_path, path):
    """Also one whose bytes are not UTF-8: readers see an escape, the ledger keeps the name itself."""
    root, config = kit.new_store(tmp_path)
    rec = kit.recording(path)
    kit.write_part(root, config, [(rec, 2)])
    twin = kit.Twin(config)
    twin.add(rec, 2)
    write_snapshot(root, config, load_ledger(root))
    with Archive(root) as archive:
        same(sql_rows(archive, "embeddings"), twin.rows)
        same(sql_rows(archive, "predictions"), without_date(twin.predictions))
    ((_, entry),) = load_ledger(root).live.values()
    assert entry.path == path
    assert "\udce9" not in printable_path(path)


def test_float16_is_rounded_as_numpy_rounds(tmp_path):
    root, config = kit.new_store(tmp_path, kit.store_config(top_k=0))
    rec = kit.recording("a.wav")
    awkward = np.array([[0.1, -65504, 65504, 6e-8, 5.96e-8, 2049, -0.0, 1 / 3]], np.float32)
    rows = kit.window_rows(rec, 1, config)
    rows.embeddings[:] = awkward
    with PartWriter(root, config, part_id="ab" * 16, site="A", date=None, classes=()) as part:
        part.add(rows)
        part.commit(kit.entries([(rec, 1)]))
    write_snapshot(root, config, load_ledger(root))
    with Archive(root) as archive:
        ((_, vectors),) = archive.vectors()
        listed = archive.sql("SELECT embedding FROM embeddings")["embedding"][0].as_py()
    expected = awkward.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(vectors, expected)
    np.testing.assert_array_equal(np.array(listed, np.float32), expected[0])
    assert np.signbit(vectors[0, 6])


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        ("float16", 65_504.0, True),
        ("float16", 70_000.0, False),
        ("float16", np.nan, False),
        ("float32", 70_000.0, True),
        ("float32", 3e38, True),
        ("float32", np.inf, False),
        ("float32", np.nan, False),
    ],
)
def test_a_vector_must_be_finite_in_the_store_s_type(tmp_path, dtype, value, fits):
    root, config = kit.new_store(tmp_path, kit.store_config(dtype=dtype, top_k=0))
    rows = kit.window_rows(kit.recording("bad.wav"), 3, config)
    rows.embeddings[1, 2] = value
    with PartWriter(root, config, part_id="ab" * 16, site="A", date=None, classes=()) as part:
        if fits:
            part.add(rows)
            return
        with pytest.raises(Damaged, match=r"bad\.wav.*not finite as " + dtype):
            part.add(rows)


def test_a_store_without_predictions(tmp_path):
    root, config = kit.new_store(tmp_path, kit.store_config(top_k=0))
    twin = commit_all(root, config, [("A", "2024-05-01")])
    assert not Path(root, "predictions").exists()
    with Archive(root) as archive:
        same(sql_rows(archive, "embeddings"), twin.rows)
        table = archive.sql("SELECT * FROM predictions")
        assert table.num_rows == 0
        assert {"label", "score", "rank", "site", "date"} <= set(table.column_names)


def test_a_part_without_rows_reads_beside_others(tmp_path):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording("bad.wav", site="B"), 0)])
    twin = commit_all(root, config, [("A", "2024-05-01")])
    with Archive(root) as archive:
        assert len(archive.snapshot.parts) == 2
        same(sql_rows(archive, "embeddings"), twin.rows)
        same(sql_rows(archive, "predictions"), without_date(twin.predictions))
        assert sum(t.num_rows for t, _ in archive.vectors()) == len(twin.rows)


@pytest.mark.parametrize("failed_part", [False, True], ids=["no_parts", "only_a_part_without_rows"])
def test_an_empty_snapshot(tmp_path, failed_part):
    root, config = kit.new_store(tmp_path)
    if failed_part:
        kit.write_part(root, config, [(kit.recording("bad.wav"), 0)])
    write_snapshot(root, config, load_ledger(root))
    with Archive(root) as archive:
        for view in ("embeddings", "predictions"):
            assert archive.sql(f"SELECT path, site, date, utc_start FROM {view}").num_rows == 0
        assert list(archive.vectors()) == []


ROOTS = ["plain", "it's", "st*r[1]?", "two words", "Öko", "date=1999-01-01", "site=other", "path=x", "project=x", "%2F"]


@pytest.mark.parametrize("name", ROOTS)
def test_the_store_s_own_folder_may_have_any_name(tmp_path, name):
    """A folder above the store must not be taken for a pattern, nor for a partition."""
    root, config = kit.new_store(tmp_path / name)
    kit.write_part(root, config, [(kit.recording("old.wav"), 2)])
    (old,) = load_ledger(root).parts
    newer = kit.recording("old.wav", version=2, replaces=[old])
    kit.write_part(root, config, [(newer, 1)])
    twin = commit_all(root, config, [("A", "2024-05-01"), ("it's", None)])
    twin.add(newer, 1)
    with Archive(root) as archive:
        same(sql_rows(archive, "embeddings"), twin.rows)
        same(sql_rows(archive, "predictions"), without_date(twin.predictions))


def test_vectors_come_in_blocks_of_at_most_8192(tmp_path):
    root, config = kit.new_store(tmp_path, kit.store_config(dim=2, top_k=0))
    kit.write_part(root, config, [(kit.recording("long.wav"), 9000)])
    write_snapshot(root, config, load_ledger(root))
    with Archive(root) as archive:
        blocks = [windows.num_rows for windows, _ in archive.vectors()]
        assert sum(blocks) == 9000 and max(blocks) <= 8192


def test_a_part_that_is_gone_is_named(tmp_path):
    root, config = kit.new_store(tmp_path)
    commit_all(root, config, [("A", "2024-05-01")])
    archive = Archive(root)
    (part,) = archive.snapshot.parts
    Path(root, part.embeddings).unlink()
    with archive, pytest.raises(Damaged, match=part.part_id):
        list(archive.vectors())


def test_predictions_are_ranked_from_one(store):
    root, _ = store
    with Archive(root) as archive:
        ranks = archive.sql(
            "SELECT recording_id, start_sample, list(rank ORDER BY rank) AS ranks, list(logit ORDER BY rank) AS logits "
            "FROM predictions GROUP BY ALL"
        ).to_pylist()
    assert all(r["ranks"] == [1, 2] and r["logits"] == sorted(r["logits"], reverse=True) for r in ranks)


def test_a_store_made_anew_at_the_same_place_has_a_catalog_of_its_own(tmp_path):
    """Somebody removed the parts and left the catalog: snapshot 1 counts other parts now."""
    for name in ("one", "two"):
        root, config = kit.new_store(tmp_path)
        kit.write_part(root, config, [(kit.recording(f"{name}.wav"), 3)])
        write_snapshot(root, config, load_ledger(root))
        with open_archive(root) as archive:
            assert archive.sql("SELECT DISTINCT path FROM windows").column("path").to_pylist() == [f"{name}.wav"]
        for folder in ("embeddings", "predictions", "snapshots"):
            shutil.rmtree(f"{root}/{folder}")


def test_sql_over_bytes_that_are_not_what_was_written_is_damage(tmp_path):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording("a.wav"), 30)])
    write_snapshot(root, config, load_ledger(root))
    (part,) = Path(root).glob("embeddings/*/*/*.parquet")
    whole = part.read_bytes()
    with open_archive(root) as archive:
        archive.sql("SELECT count(*) FROM windows")  # builds the catalog
    told = set()
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")  # a column's name in the footer is another matter
    for position in range(4, pages, max(1, pages // 70)):
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        part.write_bytes(broken)
        try:
            with open_archive(root) as archive:
                archive.sql("SELECT sum(embedding[1]) FROM embeddings")
        except SonothequeError as error:
            told.add(type(error))
            last = error.message
    assert told == {Damaged}
    assert "--deep" in last
