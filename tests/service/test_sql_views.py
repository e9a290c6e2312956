"""The views over HTTP are the archive's own, row for row; results are told so that JSON can hold them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.questions.values import column_values
from search_api.safe_sql import SqlLimits
from search_api.safe_sql.answers import EXACT_MAX, exact, rows_json
from search_api.safe_sql.relations import relation
from sonotheque.core.errors import Invalid, Limit, Unavailable
from store import Archive
from tests.service.sql_kit import Desk, make_store

VIEWS = ("windows", "recordings", "predictions", "annotations", "sites", "scores")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("seen"))


@pytest.fixture(scope="module")
def archive(root):
    with Archive(root) as found:
        yield found


@pytest.fixture(scope="module")
def desk(root):
    made = Desk(root, SqlLimits(workers=1))
    yield made
    made.close()


def told(table: pa.Table) -> list[list[Any]]:
    """The twin: a whole table, one value at a time."""
    columns = []
    for name in table.column_names:
        values = column_values(table[name])
        columns.append([str(v) if name == "recording_id" and v is not None else v for v in values])
    return [list(row) for row in zip(*columns, strict=True)]


def ordered(rows):
    return sorted(rows, key=repr)


@pytest.mark.parametrize("view", VIEWS)
def test_row_for_row(desk, archive, view):
    found = desk.ask(f"SELECT * FROM {view}")
    expected = archive.sql(f"SELECT * FROM {view}")
    assert [c["name"] for c in found["columns"]] == expected.column_names
    described = archive.sql(f"DESCRIBE {view}").to_pylist()
    assert [c["type"] for c in found["columns"]] == [d["column_type"] for d in described]
    assert len(found["rows"]) == expected.num_rows > 0
    assert ordered(found["rows"]) == ordered(told(expected))
    assert not found["truncated"]
    assert found["snapshot"] == archive.snapshot.number


QUESTIONS = (
    "SELECT count(*) FROM windows WHERE site = 'b=c'",
    "SELECT count(*) FROM windows WHERE site IN ('%', 'é/日') AND hour BETWEEN 2 AND 6",
    "SELECT count(*) FROM windows WHERE utc_start >= TIMESTAMPTZ '2025-03-26 00:00:00Z'",
    "SELECT count(*) FROM windows WHERE utc_start IS NULL OR local_start < TIMESTAMP '2025-05-01'",
    "SELECT count(*) FROM windows WHERE date = DATE '2025-10-04' OR date IS NULL",
    "SELECT count(*) FROM windows WHERE path LIKE '%/10-%'",
    "SELECT recording_id, start_sample FROM windows WHERE start_sample > 0 AND valid_s > 0.5 ORDER BY 1, 2",
    "SELECT site, hour, count(*) FROM windows GROUP BY ALL ORDER BY ALL",
    "SELECT label, max(score), min(logit), any_value(rank ORDER BY rank) FROM predictions GROUP BY label ORDER BY label",
    "SELECT count(*) FROM predictions WHERE score > 0.5 AND label <> 'rain'",
    "SELECT count(*) FROM predictions WHERE score > 0.7310586::FLOAT",
    "SELECT r.path, count(*) FROM recordings r JOIN windows w USING (recording_id) GROUP BY r.path ORDER BY r.path",
    "SELECT outcome, count(*), sum(duration_s) FROM recordings GROUP BY outcome ORDER BY outcome",
    "SELECT s.label, w.path, w.start_s, s.score FROM scores s JOIN windows w USING (recording_id, start_sample) ORDER BY ALL",
    "SELECT probe, version, count(*) FROM scores WHERE score >= 0.3 GROUP BY ALL ORDER BY ALL",
    "SELECT a.label, w.start_s FROM annotations a JOIN windows w ON w.recording_id = a.recording_id AND w.start_s < a.end_s ORDER BY ALL",
    "SELECT strftime(local_start, '%H:%M'), minutes_since_sunrise, minutes_since_sunset FROM windows ORDER BY ALL",
    "SELECT site, first_date, last_date, audio_s FROM sites ORDER BY site",
    "SELECT utc_start AT TIME ZONE 'Europe/Berlin' FROM windows ORDER BY 1",
    "WITH t AS (SELECT *, row_number() OVER (PARTITION BY site ORDER BY path, start_s) n FROM windows) SELECT path FROM t WHERE n = 2 ORDER BY 1",
)


@pytest.mark.parametrize("query", QUESTIONS)
def test_filters_reach_the_files_and_change_nothing(desk, archive, query):
    rows = told(archive.sql(query))
    assert desk.rows(query) == rows
    assert rows and rows != [[0]]


def test_parameters(desk, archive):
    site, other = archive.sql("SELECT DISTINCT site FROM windows ORDER BY site LIMIT 2")["site"].to_pylist()
    assert desk.rows("SELECT DISTINCT site FROM windows WHERE site = ?", [site]) == [[site]]
    assert desk.rows(
        "SELECT DISTINCT site FROM windows WHERE site = $a OR site = $b ORDER BY 1", {"a": site, "b": other}
    ) == [[site], [other]]
    assert desk.rows("SELECT ?, ?, ?, ?, ?", [1, 1.5, "x", None, True]) == [[1, 1.5, "x", None, True]]
    assert desk.rows("SELECT count(*) FROM windows WHERE site = ANY($sites)", {"sites": [site, other]})[0][0] > 1
    hostile = "'; DROP VIEW windows; --"
    assert desk.rows("SELECT ?, count(*) FROM windows WHERE path = ?", [hostile, hostile]) == [[hostile, 0]]
    for wrong in ([], [1, 2], {"a": 1}):
        with pytest.raises(Invalid):
            desk.ask("SELECT ?", wrong)
    with pytest.raises(Invalid):
        desk.ask("SELECT ?", [2**200])
    assert desk.rows("SELECT 1") == [[1]]


VALUES = {
    "9007199254740991::BIGINT": 9007199254740991,
    "9007199254740992::BIGINT": "9007199254740992",
    "(-9223372036854775808)::BIGINT": "-9223372036854775808",
    "170141183460469231731687303715884105727::HUGEINT": "170141183460469231731687303715884105727",
    "[1, 9007199254740993]": [1, "9007199254740993"],
    "{'recording_id': 5, 'b': 9007199254740993}": {"recording_id": "5", "b": "9007199254740993"},
    "'nan'::DOUBLE": None,
    "'-inf'::FLOAT": None,
    "0.1::FLOAT": 0.1,
    "1.50::DECIMAL(9, 2)": 1.5,
    "TIMESTAMPTZ '2025-05-10 02:12:00+02'": "2025-05-10T00:12:00Z",
    "TIMESTAMP '2025-05-10 02:12:00.5'": "2025-05-10T02:12:00.500000",
    "DATE '2025-05-10'": "2025-05-10",
    "TIME '04:05:06'": "04:05:06",
    "INTERVAL '1 month 2 days'": "1 months 2 days 0 s",
    "'\\xAA\\x00'::BLOB": base64.b64encode(b"\xaa\x00").decode(),
    "true": True,
    "NULL": None,
    "'a\"é\u2028'": "a\"é\u2028",
    "'x'::ENUM ('x', 'y')": "x",
    "'4b8a7f6e-0000-4000-8000-000000000001'::UUID": "4b8a7f6e-0000-4000-8000-000000000001",
    "MAP {'a': 1}": [["a", 1]],
    "'{\"a\": 1}'::JSON": '{"a": 1}',
    "[]": [],
    "[[1, NULL], NULL]": [[1, None], None],
}  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_values(desk, value):
    assert desk.rows(f"SELECT {value}") == [[VALUES[value]]]


def test_ids_are_texts_and_other_numbers_are_not(desk):
    found = desk.ask("SELECT 5::BIGINT AS recording_id, 5::BIGINT AS annotation_id, NULL::BIGINT AS Recording_Id")
    assert found["rows"] == [["5", 5, None]]
    assert [c["type"] for c in found["columns"]] == ["BIGINT"] * 3


def test_two_columns_of_one_name(desk):
    found = desk.ask("SELECT 1 AS a, 2 AS a, 3 AS A")
    assert found["rows"] == [[1, 2, 3]]
    assert found["columns"][0]["name"] == "a"


def test_no_rows_have_columns(desk):
    found = desk.ask("SELECT path, start_s FROM windows WHERE false")
    assert (found["rows"], found["truncated"]) == ([], False)
    assert [c["name"] for c in found["columns"]] == ["path", "start_s"]


@pytest.mark.parametrize("n", [0, 1, 2047, 2048, 2049, 9_999, 10_000])
def test_rows_up_to_the_bound(desk, n):
    found = desk.ask("SELECT * FROM range(?)", [n])
    assert [r[0] for r in found["rows"]] == list(range(n))
    assert not found["truncated"]


def test_rows_beyond_the_bound(desk):
    found = desk.ask("SELECT * FROM range(10001)")
    assert len(found["rows"]) == 10_000 and found["truncated"]
    assert desk.ask("SELECT * FROM range(100000000000)")["truncated"], "a stream: what nobody reads is not worked out"


def test_bytes_beyond_the_bound(desk):
    found = desk.ask("SELECT repeat('x', 100000) FROM range(200)")
    assert found["truncated"]
    assert 7_000_000 < len(json.dumps(found["rows"])) < 8_500_000
    with pytest.raises(Limit, match="one row"):
        desk.ask("SELECT repeat('x', 10000000)")
    assert desk.rows("SELECT 1") == [[1]]


def test_a_time_that_no_calendar_of_json_holds(desk):
    for query in ("SELECT 'infinity'::TIMESTAMP", "SELECT TIMESTAMP '290000-01-01'"):
        with pytest.raises(Invalid, match="VARCHAR"):
            desk.ask(query)
    assert desk.rows("SELECT 'infinity'::TIMESTAMP::VARCHAR") == [["infinity"]]


@given(st.integers())
def test_whole_numbers_are_exact(n):
    found = json.loads(json.dumps(exact(n)))
    assert int(found) == n
    assert isinstance(found, int) == (abs(n) <= EXACT_MAX)
    assert int(float(found)) == n or isinstance(found, str)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_exact_changes_numbers_alone(value):
    def plain(one):
        if isinstance(one, bool) or one is None or isinstance(one, str):
            return one
        if isinstance(one, int):
            return one if abs(one) < 2**53 else str(one)
        if isinstance(one, list):
            return [plain(v) for v in one]
        return {k: str(v) if k.lower() == "recording_id" and isinstance(v, int) else plain(v) for k, v in one.items()}

    assert exact(value) == plain(value)


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.text(max_size=12)), max_size=40),
    st.integers(0, 50),
    st.integers(40, 400),
    st.integers(1, 7),
)
def test_rows_json_against_its_twin(rows, rows_max, bytes_max, batch):
    """Bytes and rows are those of the longest beginning that fits."""
    table = pa.table(
        {"a": pa.array([r[0] for r in rows], pa.int64()), "b": pa.array([r[1] for r in rows], pa.string())}
    )
    kept, size = [], 2
    for row in rows:
        size += len(json.dumps(list(row), separators=(",", ":"))) + 1
        if len(kept) == rows_max or size > bytes_max:
            break
        kept.append(list(row))
    if rows and not kept and rows_max:
        with pytest.raises(Limit):
            rows_json(table.to_batches(max_chunksize=batch), rows_max, bytes_max)
        return
    text, n, truncated = rows_json(table.to_batches(max_chunksize=batch), rows_max, bytes_max)
    assert json.loads(text) == kept
    assert (n, truncated) == (len(kept), len(kept) < len(rows))
    assert len(text) <= bytes_max


def test_relations_take_files_out_of_a_views_text():
    text = (
        "SELECT a FROM read_parquet(['/s/site=b%3Dc/month=2025-03/x.parquet', '/s/site=it''s/month=none/y.parquet'], hive_partitioning=true, "
        "hive_types={'site': VARCHAR, 'month': VARCHAR}) UNION ALL SELECT b FROM read_parquet(['/z.parquet'], hive_partitioning=false, filename=true)"
    )
    one = relation("v", text, ("windows",))
    assert one.sql == "SELECT a FROM _v_0 UNION ALL SELECT b FROM _v_1"
    files = one.to_json()["files"]
    assert files["_v_0"] == [
        ["/s/site=b%3Dc/month=2025-03/x.parquet", {"site": "b=c", "month": "2025-03"}],
        ["/s/site=it's/month=none/y.parquet", {"site": "it's", "month": "none"}],
    ]
    assert files["_v_1"] == [["/z.parquet", {"filename": "/z.parquet"}]]
    assert relation("v", text, ("windows",)).version == one.version != relation("v", text.replace("/z", "/w")).version
    with pytest.raises(Unavailable):
        relation("v", "SELECT * FROM read_parquet('/x.parquet')")


def test_a_folder_named_like_a_partition_above_the_store(tmp_path):
    """The archive's own views take another way there."""
    root = make_store(tmp_path / "site=elsewhere" / "date=2020-01-01")
    desk = Desk(root, SqlLimits(workers=1))
    try:
        with Archive(root) as archive:
            for view in VIEWS:
                assert ordered(desk.rows(f"SELECT * FROM {view}")) == ordered(
                    told(archive.sql(f"SELECT * FROM {view}"))
                ), view
    finally:
        desk.close()


def test_decimals_and_times_of_the_twin():
    """The twin itself: what `told` says of plain values."""
    table = pa.table(
        {
            "d": [Decimal("1.50")],
            "t": pa.array([datetime(2025, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
            "recording_id": [2**62],
        }
    )
    assert told(table) == [[1.5, "2025-01-01T00:00:00Z", str(2**62)]]
