"""A query's rows: in blocks, once, cut off where asked; and what they become outside of the program."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api.questions.sql import run_query
from search_api.questions.values import column_texts, column_values, for_people, plain
from search_api.questions.writing import (
    json_document,
    numeric_columns,
    rows_of,
    shown_rows,
    target_of,
    write_csv,
    write_file,
    write_parquet,
)
from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from tests.questions.kit import FakeArchive, Recording, tables_of

ALL_TYPES = """SELECT 1::TINYINT i, 18446744073709551615::UBIGINT u, 3::HUGEINT h, 1.50::DECIMAL(5,2) de, 0.1::FLOAT f, 1e300::DOUBLE d,
'NaN'::DOUBLE nan, 'x,"y"' s, ''::VARCHAR empty, NULL n, true b, DATE '2019-05-22' da, TIME '01:02:03' ti,
TIMESTAMP '2019-05-22 04:15:00.5' ts, TIMESTAMPTZ '2019-05-22 04:15:00+02' tz, TIMESTAMP_NS '2019-05-22 04:15:00.123456789' ns,
INTERVAL 90 SECOND iv, '\\xAA'::BLOB bl, [1, NULL] li, [0.1::FLOAT] lf, {'a': 1, 't': DATE '2020-01-01'} st, MAP {'k': 1} ma,
'b'::ENUM('a', 'b') en, array_value(1.0::FLOAT, 2.5) ar, uuid '79332a80-5b93-483d-9e25-3c504a23f91a' uu"""


@pytest.fixture(scope="module")
def archive():
    with FakeArchive(tables_of([Recording("a.wav"), Recording("b.wav", site="Č", local_start=None)])) as made:
        yield made


def test_rows_come_in_blocks_and_are_counted(archive):
    rows = run_query(archive, "SELECT range AS n FROM range(200000)")
    blocks = list(rows)
    assert len(blocks) > 1
    assert sum(b.num_rows for b in blocks) == 200_000
    assert not rows.truncated
    assert list(rows) == []  # read once


@pytest.mark.parametrize(
    ("n", "limit", "kept", "truncated"),
    [(10, 3, 3, True), (10, 10, 10, False), (10, 11, 10, False), (0, 5, 0, False), (100_000, 65_536, 65_536, True)],
)
def test_a_limit_cuts_and_says_so(archive, n, limit, kept, truncated):
    rows = run_query(archive, f"SELECT * FROM range({n})", limit=limit)
    assert sum(b.num_rows for b in rows) == kept
    assert rows.truncated is truncated


def test_an_empty_result_has_its_columns(archive):
    rows = run_query(archive, "SELECT path, duration_s FROM recordings WHERE site = $site", {"site": "none"})
    assert rows.schema.names == ["path", "duration_s"]
    assert json_document(rows) == {
        "columns": [{"name": "path", "type": "string"}, {"name": "duration_s", "type": "double"}],
        "rows": [],
        "truncated": False,
    }


def test_columns_of_one_name_are_told_apart(archive):
    rows = run_query(archive, "SELECT 1 AS a, 2 AS a, 3 AS b, 4 AS a")
    assert rows.schema.names == ["a", "a_2", "b", "a_3"]
    assert json_document(rows)["rows"] == [{"a": 1, "a_2": 2, "b": 3, "a_3": 4}]


@pytest.mark.parametrize(
    "query", ["SET threads = 2", "CREATE OR REPLACE TEMP TABLE t (a INT)", "PRAGMA version", "EXPLAIN SELECT 1", "DESCRIBE windows"]
)  # fmt: skip
def test_other_statements_answer_with_what_they_return(archive, query):
    list(run_query(archive, query))


def test_the_last_of_several_statements_answers(archive):
    rows = run_query(archive, "CREATE TEMP MACRO twice(x) AS 2 * x; SELECT twice(21) AS a")
    assert json_document(rows)["rows"] == [{"a": 42}]


def test_a_number_where_text_is_meant_is_explained():
    class Refusing(FakeArchive):
        def batches(self, query, parameters=None, *, rows=65_536):
            try:
                yield from super().batches(query, parameters)
            except duckdb.Error as error:
                raise Invalid(f"SQL: {error}") from error

    with Refusing(tables_of([Recording("a.wav")])) as made, pytest.raises(Invalid, match="in single quotes it is text"):
        run_query(made, "SELECT * FROM recordings WHERE site = $site", {"site": 12})


def test_every_type_leaves_as_json(archive):
    row = json_document(run_query(archive, ALL_TYPES))["rows"][0]
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    expected = {
        "i": 1, "u": 18446744073709551615, "h": 3, "de": 1.5, "f": 0.1, "d": 1e300, "nan": None, "s": 'x,"y"', "empty": "", "n": None,
        "b": True, "da": "2019-05-22", "ti": "01:02:03", "ts": "2019-05-22T04:15:00.500000", "tz": "2019-05-22T02:15:00Z",
        "ns": "2019-05-22T04:15:00.123456", "bl": "aa", "li": [1, None], "lf": [0.1], "st": {"a": 1, "t": "2020-01-01"},
        "en": "b", "ar": [1.0, 2.5], "uu": "79332a80-5b93-483d-9e25-3c504a23f91a",
    }  # fmt: skip
    assert {k: row[k] for k in expected} == expected
    assert "90" in row["iv"]
    assert row["ma"] in ({"k": 1}, [["k", 1]])


def test_every_type_leaves_as_csv(archive):
    handle = io.BytesIO()
    assert write_csv(run_query(archive, ALL_TYPES), handle) == 1
    heading, values = csv.reader(io.StringIO(handle.getvalue().decode(), newline=""))
    row = dict(zip(heading, values, strict=True))
    assert row["s"] == 'x,"y"'
    assert row["tz"] == "2019-05-22T02:15:00Z"
    assert row["ts"] == "2019-05-22T04:15:00.500"
    assert row["da"] == "2019-05-22"
    assert (row["f"], row["nan"], row["n"], row["b"]) == ("0.1", "", "", "true")
    assert json.loads(row["st"]) == {"a": 1, "t": "2020-01-01"}
    assert json.loads(row["li"]) == [1, None]


def test_csv_is_rfc_4180(archive):
    handle = io.BytesIO()
    write_csv(run_query(archive, "SELECT 'a\nb' AS x, 'c' AS \"y,z\" UNION ALL SELECT 'Č', NULL"), handle)
    text = handle.getvalue().decode("utf-8")
    assert text.startswith('x,"y,z"\r\n')
    assert text.endswith("\r\n")
    assert list(csv.reader(io.StringIO(text, newline=""))) in (
        [["x", "y,z"], ["a\nb", "c"], ["Č", ""]],
        [["x", "y,z"], ["Č", ""], ["a\nb", "c"]],
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
        ),
        max_size=6,
    )
)
def test_csv_and_json_hold_what_was_there(archive, rows):
    table = [{"i": i, "s": s, "f": f, "t": t} for i, s, f, t in rows]
    schema = pa.schema([("i", pa.int64()), ("s", pa.string()), ("f", pa.float64()), ("t", pa.timestamp("us"))])
    made = pa.Table.from_pylist(table, schema=schema)
    archive.add("given", made)
    handle = io.BytesIO()
    write_csv(run_query(archive, "SELECT * FROM given"), handle)
    document = json_document(run_query(archive, "SELECT * FROM given"))
    _, *found = csv.reader(io.StringIO(handle.getvalue().decode(), newline=""))
    for (i, s, f, t), texts, row in zip(rows, found, document["rows"], strict=True):
        assert texts[0] == ("" if i is None else str(i))
        assert texts[1] == (s or "")
        assert (texts[2] == "") if f is None else float(texts[2]) == f
        assert (texts[3] == "") if t is None else datetime.fromisoformat(texts[3]) == t
        assert row == {"i": i, "s": s, "f": f, "t": None if t is None else t.isoformat()}


def test_parquet_holds_the_same_rows(archive, tmp_path):
    query = "SELECT range AS n, range::VARCHAR AS text, [range] AS l FROM range(150000) ORDER BY n"
    assert write_parquet(run_query(archive, query), tmp_path / "x.parquet") == 150_000
    table = pq.read_table(tmp_path / "x.parquet")
    assert table["n"].to_pylist() == list(range(150_000))
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups < 5  # not one for each block
    write_parquet(run_query(archive, "SELECT 1 AS a WHERE false"), tmp_path / "x.parquet")
    assert pq.read_table(tmp_path / "x.parquet").schema.names == ["a"]
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0


def test_what_breaks_off_leaves_nothing(archive, tmp_path):
    class Broken(FakeArchive):
        def batches(self, query, parameters=None, *, rows=65_536):
            yield from list(super().batches(query, parameters))[:1]
            raise Unavailable("the disk went away")

    (tmp_path / "x.csv").write_text("old")
    with Broken() as made:
        for name, form in (("x.csv", "csv"), ("x.parquet", "parquet"), ("x.json", "json")):
            with pytest.raises(Unavailable):
                write_file(run_query(made, "SELECT * FROM range(100000)"), form, tmp_path / name, {})
    assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]
    assert (tmp_path / "x.csv").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "form"), [("x.csv", "csv"), ("x.json", "json"), ("x.parquet", "parquet"), ("X.CSV", "csv")]
)
def test_the_ending_says_the_format(tmp_path, name, form):
    asked = {"csv": False, "json": False, "parquet": None, "overwrite": False, "store": str(tmp_path / "store")}
    assert target_of(**asked, out=str(tmp_path / name)) == (form, tmp_path / name)
    assert target_of(**asked, out=None) == (None, None)
    assert target_of(**{**asked, "csv": True}, out=None) == ("csv", None)
    assert target_of(**{**asked, "csv": True}, out=str(tmp_path / "x.txt")) == ("csv", tmp_path / "x.txt")
    assert target_of(**{**asked, "parquet": str(tmp_path / "y")}, out=None) == ("parquet", tmp_path / "y")


def test_targets_that_cannot_be(tmp_path):
    asked = {
        "csv": False,
        "json": False,
        "parquet": None,
        "out": None,
        "overwrite": False,
        "store": str(tmp_path / "store"),
    }
    (tmp_path / "there.csv").touch()
    (tmp_path / "store").mkdir()
    for changes, kind, told in (
        ({"csv": True, "json": True}, Invalid, "one format at a time"),
        ({"json": True, "parquet": "x.parquet"}, Invalid, "one format"),
        ({"out": str(tmp_path / "x.xls")}, Invalid, "must be .csv, .json or .parquet"),
        ({"parquet": "a", "out": "b.csv"}, Invalid, "leave --out away"),
        ({"out": str(tmp_path / "there.csv")}, Conflict, "--overwrite"),
        ({"out": str(tmp_path / "none" / "x.csv")}, NotFound, "there is no folder"),
        ({"out": str(tmp_path / "store" / "x.csv")}, Invalid, "lies in the store"),
    ):
        with pytest.raises(kind, match=told):
            target_of(**{**asked, **changes})
    assert target_of(**{**asked, "out": str(tmp_path / "there.csv"), "overwrite": True})[0] == "csv"


def test_a_json_file_says_where_it_is_from(archive, tmp_path):
    write_file(run_query(archive, "SELECT 'Č' AS s"), "json", tmp_path / "x.json", {"store": "s", "snapshot": 3})
    assert json.loads(Path(tmp_path / "x.json").read_text(encoding="utf-8")) == {
        "store": "s", "snapshot": 3, "columns": [{"name": "s", "type": "string"}], "rows": [{"s": "Č"}], "truncated": False,
    }  # fmt: skip


def test_the_first_rows_are_shown_and_all_are_counted(archive):
    texts, count = shown_rows(run_query(archive, "SELECT range AS n, NULL AS x FROM range(100000)"), 3)
    assert texts == [["0", ""], ["1", ""], ["2", ""]]
    assert count == 100_000
    texts, count = shown_rows(run_query(archive, "SELECT * FROM range(60)"), None)
    assert len(texts) == count == 60


def test_times_are_shown_as_they_are(archive):
    rows = run_query(archive, "SELECT utc_start, local_start, date FROM windows WHERE start_s = 0 ORDER BY path")
    texts, _ = shown_rows(rows, 5)
    assert texts == [["2025-05-01 02:30:00Z", "2025-05-01 04:30:00", "2025-05-01"], ["", "", ""]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), (True, "true"), (False, "false"), (3, "3"), (0.98478, "0.98478"), (52.146196, "52.146196"), (30.0, "30"),
        (0.0, "0"), (1e-7, "1e-07"), (1234567.8, "1234567.8"), (1e20, "1e+20"), (-0.5, "-0.5"), ("a\nb\tc", "a b c"),
        ("\x1b[31mred", "\N{REPLACEMENT CHARACTER}[31mred"), ([1, None, 0.5], "[1, , 0.5]"), ({"a": 1}, "{a: 1}"),
    ],
)  # fmt: skip
def test_values_for_people(value, text):
    assert for_people(value) == text


@pytest.mark.parametrize(
    ("value", "json_value"),
    [
        (math.inf, None), (Decimal("3"), 3), (Decimal("3.5"), 3.5), (date(2020, 1, 2), "2020-01-02"), (time(1, 2), "01:02:00"),
        (timedelta(seconds=90), "90 s"), (b"\x00\xff", "00ff"), ((1, 2), [1, 2]), ({1: datetime(2020, 1, 1)}, {"1": "2020-01-01T00:00:00"}),
        (datetime(2020, 1, 1, 12, tzinfo=UTC), "2020-01-01T12:00:00Z"), (pa.MonthDayNano([1, 2, 3_000_000_000]), "1 months 2 days 3 s"),
    ],
)  # fmt: skip
def test_values_for_json(value, json_value):
    assert plain(value) == json_value


def test_short_floats_stay_short():
    column = pa.array([0.9, 0.1, None, float("nan")], pa.float32())
    assert column_values(column) == [0.9, 0.1, None, None]
    assert column_texts(pa.array([None, datetime(2020, 1, 1)], pa.timestamp("us"))) == [None, "2020-01-01 00:00:00"]


def test_which_columns_are_numbers():
    schema = pa.schema(
        [("a", pa.int8()), ("b", pa.string()), ("c", pa.float32()), ("d", pa.decimal128(5, 2)), ("e", pa.bool_())]
    )
    assert numeric_columns(schema) == [0, 2, 3]


def test_rows_made_elsewhere_are_written_the_same():
    handle = io.BytesIO()
    assert write_csv(rows_of([{"a": 1, "b": None}, {"a": 2, "b": None}]), handle) == 2
    assert handle.getvalue() == b"a,b\r\n1,\r\n2,\r\n"
