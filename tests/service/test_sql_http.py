"""``POST /v1/sql``: switched off, the scope, the envelope, and every error in the one shape."""

from __future__ import annotations

import concurrent.futures

import pytest

from tests.service.conftest import serve, tree


@pytest.fixture(scope="module")
def asked(made, tmp_path_factory):
    with serve(made, tmp_path_factory.mktemp("state"), sql=True) as found:
        yield found


def error_of(answer):
    return answer["error"]["kind"]


def test_an_answer(asked):
    body = asked.post(
        "/v1/sql", {"query": "SELECT site, count(*) AS n, max(utc_start) AS t FROM windows GROUP BY site ORDER BY site"}
    )
    data, meta = body["data"], body["meta"]
    assert [c["name"] for c in data["columns"]] == ["site", "n", "t"]
    assert [c["type"] for c in data["columns"]] == ["VARCHAR", "BIGINT", "TIMESTAMP WITH TIME ZONE"]
    assert [row[:2] for row in data["rows"]] == [["north", 10], ["south", 8]]
    assert all(row[2].endswith("Z") for row in data["rows"])
    assert data["truncated"] is False and data["took_ms"] > 0
    assert meta["snapshot"] == 1 and meta["took_ms"] >= data["took_ms"]


def test_parameters_and_ids(asked):
    one = asked.get("/v1/windows?limit=1")["data"][0]
    query = "SELECT recording_id, start_sample FROM windows WHERE recording_id = ?::BIGINT AND start_s = ?"
    rows = asked.post("/v1/sql", {"query": query, "parameters": [one["recording_id"], one["start_s"]]})["data"]["rows"]
    assert [f"{a}:{b}" for a, b in rows] == [one["window_id"]]
    named = {"query": "SELECT $a || $b", "parameters": {"a": "x", "b": "y"}}
    assert asked.post("/v1/sql", named)["data"]["rows"] == [["xy"]]


@pytest.mark.parametrize(
    ("query", "status", "kind"),
    [
        ("COPY (SELECT 1) TO '/tmp/x'", 403, "refused"),
        ("SELECT * FROM duckdb_settings()", 403, "refused"),
        ("SELECT * FROM '/etc/passwd'", 403, "refused"),
        ("SELECT 1; SELECT 2", 422, "invalid"),
        ("SELEC 1", 422, "invalid"),
        ("SELECT nothing FROM windows", 422, "unknown_column"),
        ("SELECT * FROM nowhere", 422, "unknown_column"),
        ("SELECT list_sum(range(2000000000))", 413, "limit"),
        ("SELECT '" + "x" * 17_000 + "'", 413, "too_large"),
        ("", 422, "invalid"),
        ("SELECT 1\0", 422, "invalid"),
    ],
)
def test_errors(asked, query, status, kind):
    answer = asked.post("/v1/sql", {"query": query}, status=status)
    assert error_of(answer) == kind
    assert set(answer["error"]) >= {"kind", "message", "request_id"}
    message = answer["error"]["message"]
    assert (
        asked.made.store not in message and str(asked.made.recordings) not in message and "/etc/passwd" not in message
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": 1},
        {"query": ["SELECT 1"]},
        {"query": "SELECT 1", "parameters": "x"},
        {"query": "SELECT 1", "path": "/"},
        {"query": "SELECT ?", "parameters": [[[{"a": 1}]] * 3, {}]},
        {"query": "SELECT ?", "parameters": [10**400]},
        {"query": "SELECT $a", "parameters": {"b": 1}},
        [],
        None,
    ],
)
def test_wrong_bodies(asked, body):
    assert error_of(asked.post("/v1/sql", body, status=422)) == "invalid"
    assert asked.post("/v1/sql", {"query": "SELECT 1"})["data"]["rows"] == [[1]]


def test_bytes_that_are_no_json(asked):
    for content in (b"{", b"\xff", b'{"query": "\\ud800"}', b'{"query": "SELECT ?", "parameters": [NaN]}'):
        answer = asked.client.post("/v1/sql", content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), answer.text


def test_many_at_once(asked):
    """Some are answered, the others told to come again; none hangs, and none is mixed up with another."""

    def one(n):
        return n, asked.client.post(
            "/v1/sql", json={"query": "SELECT ?, count(*) FROM range(1000000)", "parameters": [n]}
        )

    with concurrent.futures.ThreadPoolExecutor(14) as threads:
        found = list(threads.map(one, range(28)))
    for n, answer in found:
        assert answer.status_code in (200, 503)
        if answer.status_code == 200:
            assert answer.json()["data"]["rows"] == [[n, 1_000_000]]
        else:
            assert error_of(answer.json()) == "overloaded" and answer.headers["retry-after"]
    assert sum(answer.status_code == 200 for _, answer in found) >= 10


def test_nothing_of_the_store_was_touched(asked):
    before = tree(asked.made.store)
    for query in (
        "SELECT * FROM windows",
        "WITH x AS (COPY (SELECT 1) TO 'x') SELECT * FROM x",
        "SELECT * FROM annotations",
    ):
        asked.client.post("/v1/sql", json={"query": query})
    assert tree(asked.made.store) == before


def test_it_is_off_unless_asked_for(served):
    answer = served.post("/v1/sql", {"query": "SELECT 1"}, status=403)
    assert error_of(answer) == "forbidden"
    assert served.get("/v1")["data"]["features"]["sql"] is False


def test_the_scope_is_never_implied(made, tmp_path):
    with serve(made, tmp_path / "state", sql=True) as one:
        everything, sql = (
            one.service.keys.create(*named)
            for named in (("all", ["read", "annotate", "embed", "admin"]), ("asker", ["sql"]))
        )
        secrets = [made_key[1] if isinstance(made_key, tuple) else made_key for made_key in (everything, sql)]
        for secret, status in zip(secrets, (403, 200), strict=True):
            headers = {"authorization": f"Bearer {secret}"}
            one.post("/v1/sql", {"query": "SELECT 1"}, status=status, headers=headers)
        assert one.client.post("/v1/sql", json={"query": "SELECT 1"}).status_code == 401
    with serve(made, tmp_path / "other") as off:
        made_key = off.service.keys.create("asker", ["sql"])
        secret = made_key[1] if isinstance(made_key, tuple) else made_key
        answer = off.post("/v1/sql", {"query": "SELECT 1"}, status=403, headers={"authorization": f"Bearer {secret}"})
        assert "sonotheque serve --sql" in answer["error"]["message"]


def test_the_document_tells_of_it(asked):
    told = asked.get("/openapi.json")["paths"]["/v1/sql"]["post"]
    assert set(told["responses"]) >= {"200", "401", "403", "413", "422", "429", "503"}
