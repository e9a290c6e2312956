"""The views of a store against a twin; times through midnight and the changes of the clocks; sun against a loop."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from astral import Observer
from astral.sun import sunrise, sunset

from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from store import Archive, open_archive
from store.results import IDS
from tests.ask import worlds
from tests.store import kit


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root, config, items = worlds.new_world(tmp_path_factory.mktemp("world"))
    with Archive(root) as archive:
        yield archive, config, items


def ordered(rows):
    return sorted(rows, key=lambda r: (r["path"], r["start_sample"], r.get("rank", 0)))


def test_windows(world):
    archive, config, items = world
    found = archive.sql("SELECT * FROM windows").to_pylist()
    expected = worlds.windows(items, config)
    assert len(found) == len(expected) == archive.snapshot.live_rows
    for got, want in zip(ordered(found), ordered(expected), strict=True):
        assert {key: got[key] for key in want} == want


def test_a_recording_through_the_change_of_the_clocks(world):
    """26 October 2025 in Berlin: 02:59:57, 02:00:00, 02:00:03 ... by the clock, three seconds apart in truth."""
    archive, _, _ = world
    rows = archive.sql(
        "SELECT local_start, utc_start FROM windows WHERE path = 'Oak wood/10-2.wav' ORDER BY start_sample"
    ).to_pylist()
    assert [r["local_start"].strftime("%H:%M:%S") for r in rows] == ["02:59:57", "02:00:00", "02:00:03", "02:00:06"]
    assert {b["utc_start"] - a["utc_start"] for a, b in itertools.pairwise(rows)} == {timedelta(seconds=3)}


def test_a_window_has_the_date_it_begins_on(world):
    archive, _, _ = world
    rows = archive.sql(
        "SELECT w.date - r.date AS days, w.hour FROM windows w JOIN recordings r USING (recording_id) "
        "WHERE w.path LIKE '%-1.wav' ORDER BY w.site, w.path, start_sample"
    ).to_pylist()
    assert [(r["days"], r["hour"]) for r in rows][:4] == [(0, 23), (0, 23), (1, 0), (1, 0)]


def test_predictions_are_those_of_the_parts(world):
    archive, config, items = world
    twin = kit.Twin(config)
    for rec, n in items:
        twin.add(rec, n)
    found = archive.sql(
        "SELECT path, start_sample, start_s, end_s, rank, label, logit, score FROM predictions"
    ).to_pylist()
    expected = [{key: row[key] for key in found[0]} for row in twin.predictions]
    assert ordered(found) == ordered(expected)
    places = archive.sql(
        "SELECT count(*) AS n FROM predictions p JOIN windows w USING (recording_id, start_sample) WHERE p.site = w.site "
        "AND p.path = w.path AND p.date IS NOT DISTINCT FROM w.date AND p.hour IS NOT DISTINCT FROM w.hour "
        "AND p.utc_start IS NOT DISTINCT FROM w.utc_start AND p.local_start IS NOT DISTINCT FROM w.local_start"
    )
    assert places["n"][0].as_py() == len(expected)


def test_recordings_also_those_that_failed(world):
    archive, _, items = world
    rows = archive.sql("SELECT path, site, windows, outcome, recorder, latitude FROM recordings").to_pylist()
    assert sorted(r["path"] for r in rows) == sorted(rec.source.path for rec, _ in items)
    by_path = {rec.source.path: (rec, n) for rec, n in items}
    for row in rows:
        rec, n = by_path[row["path"]]
        assert (row["site"], row["windows"], row["outcome"]) == (rec.site, n, "done" if n else "failed")
        assert (row["recorder"], row["latitude"]) == (rec.device["recorder"], rec.device.get("latitude"))


def test_sites(world):
    archive, _, items = world
    sites = {row["site"]: row for row in archive.sql("SELECT * FROM sites").to_pylist()}
    counts = Counter(rec.site for rec, _ in items)
    assert {name: row["recordings"] for name, row in sites.items()} == counts
    assert (sites["Oak wood"]["zone"], sites["b=c"]["zone"]) == ("Europe/Berlin", "America/New_York")
    assert sites["b=c"]["first_date"] == min(
        r.time.local_date for r, _ in items if r.site == "b=c" and r.time.local_date
    )
    assert sites["b=c"]["last_date"].month == 10
    assert sum(row["windows"] for row in sites.values()) == archive.snapshot.live_rows


def test_sun_against_a_loop(world):
    archive, _, items = world
    places = {rec.recording_id: rec.device for rec, _ in items}
    rows = archive.sql("SELECT * FROM windows").to_pylist()
    known = 0
    for row in rows:
        device = places[row["recording_id"]]
        if row["utc_start"] is None or "latitude" not in device:
            assert row["minutes_since_sunrise"] is None and row["minutes_since_sunset"] is None
            continue
        known += 1
        observer, day = Observer(device["latitude"], device["longitude"]), row["utc_start"].date()
        for name, event in (("sunrise", sunrise), ("sunset", sunset)):
            apart = [
                (row["utc_start"] - event(observer, day + timedelta(days=d))).total_seconds() / 60 for d in (-1, 0, 1)
            ]
            assert row[f"minutes_since_{name}"] == pytest.approx(min(apart, key=abs), abs=0.01)
    assert known > 20


FILTERS = [
    {},
    {"sites": ["Oak wood"]},
    {"sites": ["é/日", "%"], "hours": "05:00-06:00"},
    {"hours": "23:00-03:00"},
    {"date_from": "2025-05-01", "date_to": "2025-05-05"},
    {"months": [10]},
    {"sun": "sunset..sunrise"},
    {"label": "rain", "score_min": 0.6},
    {"rank_max": 1, "label": "Strix aluco"},
    {"recordings": ["*/5-?.wav"]},
]


@pytest.mark.parametrize("texts", FILTERS, ids=str)
def test_embeddings_and_bitmaps_are_the_filter_s_rows(world, texts):
    archive, config, _ = world
    wanted = SearchFilter.from_texts(texts)
    table = archive.windows(wanted)
    ids, vectors = archive.embeddings(wanted)
    assert ids.dtype == IDS and vectors.dtype == np.float32 and vectors.shape == (table.num_rows, config.model.dim)
    assert ids["recording_id"].tolist() == table["recording_id"].to_pylist()
    assert ids["start_sample"].tolist() == table["start_sample"].to_pylist()
    brute, offset = {}, 0
    numbers = {}
    for part in archive.snapshot.parts:
        for rows, block in archive.vectors():
            if rows["site"][0].as_py() == part.site and str(rows["date"][0].as_py() or None) == str(part.date):
                for i, (row, vector) in enumerate(zip(rows.to_pylist(), block, strict=True)):
                    brute[row["recording_id"], row["start_sample"]] = vector
                    numbers[row["recording_id"], row["start_sample"]] = offset + i
        offset += part.rows
    for key, vector in zip(ids.tolist(), vectors, strict=True):
        assert (brute[key] == vector).all()
    bitmap = archive.bitmap(wanted)
    assert bitmap.size == offset and bitmap.count == table.num_rows
    assert bitmap.rows().tolist() == sorted(numbers[key] for key in ids.tolist())
    assert bitmap.mask().sum() == bitmap.count and len(bitmap.bits) == -(-offset // 8)


def test_predictions_of_a_filter_are_those_rows_alone(world):
    archive, _, _ = world
    wanted = SearchFilter.from_texts({"label": "rain", "score_min": 0.4, "sites": ["b=c"]})
    rows = archive.predictions(wanted).to_pylist()
    expected = archive.sql("SELECT * FROM predictions WHERE label = 'rain' AND score >= 0.4 AND site = 'b=c'").num_rows
    assert len(rows) == expected > 0
    assert {(r["label"], r["site"]) for r in rows} == {("rain", "b=c")}


def test_shapes_of_results(world):
    archive, _, _ = world
    query = "SELECT utc_start, local_start, date FROM windows WHERE utc_start IS NOT NULL LIMIT 2"
    arrow = archive.sql(query)
    assert [str(f.type) for f in arrow.schema] == ["timestamp[us, tz=UTC]", "timestamp[us]", "date32[day]"]
    assert isinstance(archive.sql(query, result="polars"), pl.DataFrame)
    frame = archive.sql(query, result="pandas")
    assert str(frame["utc_start"].dt.tz) == "UTC" and len(frame) == 2
    with pytest.raises(Invalid, match="arrow, polars, pandas"):
        archive.sql(query, result="excel")
    nothing = archive.windows(SearchFilter.from_texts({"date_from": "1999-01-01", "date_to": "1999-01-02"}))
    assert nothing.num_rows == 0 and nothing.schema == archive.windows(limit=1).schema
    assert archive.embeddings(SearchFilter(months=(1,)))[1].shape == (0, kit.DIM)


def test_windows_come_in_order_and_up_to_a_limit(world):
    archive, _, _ = world
    rows = archive.windows().to_pylist()
    far = datetime(9999, 1, 1)
    key = [
        (r["site"], r["local_start"] or far, r["path"], r["start_sample"])
        for r in rows
        if r["path"] != "Oak wood/10-2.wav"
    ]
    assert key == sorted(key)
    assert archive.windows(limit=5).to_pylist() == rows[:5]
    assert archive.predictions(limit=3).num_rows == 3


def test_batches_are_the_whole_result(world):
    archive, _, _ = world
    query = "SELECT path, start_sample, rank FROM predictions ORDER BY ALL"
    assert pa.Table.from_batches(archive.batches(query, rows=7)).to_pylist() == archive.sql(query).to_pylist()
    assert pa.Table.from_batches(archive.batches("SELECT ? AS x", [3])).to_pylist() == [{"x": 3}]


def test_a_store_of_failures_alone(tmp_path):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording("x.wav"), 0)])
    worlds.snapshot(root, config)
    with open_archive(root) as archive:
        for view, n in (
            ("recordings", 1),
            ("sites", 1),
            ("windows", 0),
            ("predictions", 0),
            ("embeddings", 0),
            ("annotations", 0),
        ):
            assert archive.sql(f"SELECT * FROM {view}").num_rows == n, view
        assert archive.windows(SearchFilter(sites=("A",))).num_rows == 0
        assert archive.labels == ()


def test_a_store_without_predictions(tmp_path):
    root, config = kit.new_store(tmp_path, kit.store_config(top_k=0))
    kit.write_part(root, config, [(kit.recording("x.wav"), 3)])
    worlds.snapshot(root, config)
    with open_archive(root) as archive:
        assert archive.sql("SELECT * FROM predictions").num_rows == 0
        assert archive.windows().num_rows == 3
