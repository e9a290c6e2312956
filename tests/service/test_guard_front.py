"""What every answer carries, what is counted, and what is written down."""

from __future__ import annotations

import logging
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from search_api.http.guard.headers import CONTENT_POLICY, SECURITY
from tests.service.guard_kit import bare_app, client_of, error_of


@pytest.fixture
def app(tmp_path):
    (tmp_path / "ui").mkdir()
    (tmp_path / "ui" / "index.html").write_text("<title>x</title>")
    return bare_app(tmp_path, limits={"json_bytes": 1000})


@pytest.fixture
def client(app):
    return client_of(app)


EVERY_KIND = [
    ("GET", "/", 200, {}),
    ("HEAD", "/", 200, {}),
    ("GET", "/healthz", 200, {}),
    ("GET", "/v1/things/7", 200, {}),
    ("GET", "/v1/nothing", 404, {}),
    ("GET", "/ui/nothing.js", 404, {}),
    ("PUT", "/v1/things/7", 405, {}),
    ("GET", "/v1/sql", 403, {}),
    ("GET", "/v1/things/7", 401, {"headers": {"X-API-Key": "x"}}),
    ("GET", "/v1/things/7", 403, {"headers": {"Host": "evil.example"}}),
    ("POST", "/v1/things", 422, {"json": []}),
    ("POST", "/v1/things", 422, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    ("POST", "/v1/things", 413, {"json": {"a": "x" * 2000}}),
    ("POST", "/v1/nothing", 413, {"content": b"x" * 2000}),
    ("GET", "/v1/boom", 500, {}),
]


class TestEveryAnswer:
    @pytest.mark.parametrize(("method", "path", "status", "more"), EVERY_KIND, ids=lambda v: str(v)[:30])
    def test_carries_the_headers(self, client, method, path, status, more):
        answer = client.request(method, path, **more)
        assert answer.status_code == status
        for name, value in SECURITY:
            assert answer.headers.get_list(name.decode()) == [value.decode()]
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
        assert "server" not in answer.headers
        if status >= 400:
            error_of(answer, status)

    def test_what_may_run_in_the_page(self):
        rules = dict(rule.split(" ", 1) for rule in CONTENT_POLICY.split("; "))
        assert rules["default-src"] == rules["script-src"] == rules["style-src"] == "'self'"
        assert rules["frame-ancestors"] == rules["base-uri"] == "'none'"
        assert rules["media-src"] == "'self' blob:"
        assert "unsafe" not in CONTENT_POLICY
        assert "*" not in CONTENT_POLICY

    def test_a_route_may_know_better(self, client):
        answer = client.get("/v1/framed")
        assert answer.headers.get_list("content-security-policy") == ["sandbox"]
        assert answer.headers.get_list("cache-control") == ["private"]
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_what_the_api_says_is_not_kept(self, client):
        assert client.get("/v1/things/7").headers["cache-control"] == "no-store"
        assert client.get("/").headers["cache-control"] == "no-cache"

    def test_no_path_and_no_reason_in_an_unforeseen_error(self, client):
        found = error_of(client.get("/v1/boom"), 500)
        assert found["kind"] == "internal"
        assert "secret" not in found["message"]


class TestIds:
    def test_a_caller_may_bring_one(self, client):
        assert client.get("/healthz", headers={"X-Request-Id": "abc-12345"}).headers["x-request-id"] == "abc-12345"

    @pytest.mark.parametrize(
        "told", ["", "short", "x" * 65, "a b c d e f", "<script>aaa", "a;b;c;d;e;f", "\xe9" * 10, "../../../etc"]
    )
    def test_one_that_is_no_id_is_not_taken(self, client, told):
        answer = client.get("/healthz", headers=[(b"x-request-id", told.encode("latin-1"))])
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])

    def test_two_are_none(self, client):
        answer = client.get("/healthz", headers=[("x-request-id", "abcdefgh"), ("x-request-id", "12345678")])
        assert answer.headers["x-request-id"] not in ("abcdefgh", "12345678")

    def test_each_has_its_own(self, client):
        assert len({client.get("/healthz").headers["x-request-id"] for _ in range(20)}) == 20


def measured(app):
    """Return (name, labels) -> value."""
    text = app.state.measures.exposition().decode()
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }


def requests_of(app):
    return {
        tuple(dict(labels)[k] for k in ("method", "route", "status")): value
        for (name, labels), value in measured(app).items()
        if name == "sonotheque_requests_total"
    }


class TestMeasures:
    def test_counted_by_route_never_by_address(self, app, client):
        for i in range(3):
            client.get(f"/v1/things/{i}")
        client.get("/v1/nothing/1")
        client.get("/other\udcff".encode("utf-8", "surrogateescape").decode("latin-1"))
        client.request("BREW", "/healthz")
        found = requests_of(app)
        assert found[("GET", "/v1/things/{thing}", "200")] == 3
        assert found[("GET", "(none)", "404")] == 2
        assert found[("other", "/healthz", "405")] + found.get(("other", "/readyz", "405"), 0) == 1
        assert not [k for k in found if "/1" in k[1]]

    def test_errors_by_kind(self, app, client):
        client.get("/v1/things/7", headers={"Host": "evil.example"})
        client.get("/v1/things/7", headers={"X-API-Key": "x"})
        client.get("/v1/sql")
        client.get("/v1/boom")
        kinds = {dict(labels)["kind"]: v for (n, labels), v in measured(app).items() if n == "sonotheque_errors_total"}
        assert kinds == {"cross_site": 1, "unauthorized": 1, "forbidden": 1, "internal": 1}

    def test_bytes_and_seconds(self, app, client):
        client.post("/v1/things", json={"a": "x" * 100})
        found = measured(app)
        assert found[("sonotheque_received_bytes_total", ())] > 100
        assert found[("sonotheque_sent_bytes_total", ())] > 100
        assert found[("sonotheque_request_seconds_count", (("route", "/v1/things"),))] == 1
        assert found[("sonotheque_requests_inside", ())] == 0

    def test_nobody_stays_inside_after_a_failure(self, app, client):
        for path in ("/v1/boom", "/v1/nothing", "/v1/sql"):
            client.get(path)
        assert measured(app)[("sonotheque_requests_inside", ())] == 0
        assert {v for (n, _), v in measured(app).items() if n == "sonotheque_places_taken"} == {0}

    def test_lanes_are_read_when_somebody_looks(self, tmp_path):
        from types import SimpleNamespace

        from fastapi import FastAPI

        from search_api.http.guard import install
        from search_api.http.settings import ServiceSettings
        from search_api.keys import KeyRing

        app, depths = FastAPI(), {"read": 1, "draw": 0}
        app.state.service = SimpleNamespace(lanes=SimpleNamespace(depths=lambda: depths))
        install(app, ServiceSettings(str(tmp_path)), KeyRing(tmp_path / "keys.json"))
        assert measured(app)[("sonotheque_lane_calls", (("lane", "read"),))] == 1
        depths["read"] = 7
        assert measured(app)[("sonotheque_lane_calls", (("lane", "read"),))] == 7

    def test_two_applications_do_not_meet(self, app, tmp_path, client):
        other = bare_app(tmp_path)
        client.get("/healthz")
        assert not requests_of(other)


class TestLog:
    def lines(self, caplog):
        return [r.getMessage() for r in caplog.records if r.name == "sonotheque.requests"]

    def test_one_line_each_with_the_id(self, client, caplog):
        with caplog.at_level(logging.INFO, logger="sonotheque.requests"):
            answer = client.get("/v1/things/7?secret=word", headers={"Cookie": "a=hidden"})
            client.get("/v1/sql")
        first, second = self.lines(caplog)
        assert first.startswith(answer.headers["x-request-id"] + " GET /v1/things/7 200 - ")
        assert first.endswith(" local")
        assert "word" not in first
        assert "hidden" not in first
        assert " 403 forbidden " in second

    def test_a_path_cannot_write_lines_of_its_own(self, client, caplog):
        with caplog.at_level(logging.INFO, logger="sonotheque.requests"):
            client.get("/v1/things/a%0Ab%1B[31mred%E2%80%AE")
        (line,) = self.lines(caplog)
        assert line.isprintable()
        assert "a%0Ab%1B" in line


def test_a_web_socket_is_refused(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/events"):
        pass


def test_the_life_of_the_application_passes_the_guards(tmp_path):
    app = bare_app(tmp_path)
    with client_of(app) as client:
        assert client.get("/healthz").status_code == 200
