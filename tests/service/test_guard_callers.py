"""Who may: missing, wrong and revoked keys, scopes, cookies, and where no key is needed."""

from __future__ import annotations

import logging
import pickle

import pytest
from starlette.requests import Request

from search_api.http.errors import Scrubber
from search_api.http.guard import COOKIE, caller_of, require_scope
from search_api.http.guard.callers import session_token
from search_api.http.guard.refusals import RateLimited
from search_api.keys import SCOPES, KeyRing
from sonotheque.core.errors import Refused
from tests.service.guard_kit import bare_app, client_of, error_of


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "keys.json")


@pytest.fixture
def closed(tmp_path, ring):
    """A service that has a key, and that key's secret."""
    _, secret = ring.create("anna", ["read", "annotate"])
    return client_of(bare_app(tmp_path)), secret


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


class TestOpen:
    def test_on_loopback_without_keys_everybody_may(self, tmp_path):
        client = client_of(bare_app(tmp_path))
        assert client.get("/v1/things/7").json()["caller"] == "local"
        assert client.get("/v1/admin").status_code == 200
        assert client.post("/v1/things", json={"a": 1}).json() == {"a": 1}

    @pytest.mark.parametrize(("sql", "status"), [(False, 403), (True, 200)])
    def test_sql_only_if_it_was_asked_for(self, tmp_path, sql, status):
        assert client_of(bare_app(tmp_path, sql=sql)).get("/v1/sql").status_code == status

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "birds.example.org"])
    def test_nobody_may_where_others_can_reach_it(self, tmp_path, host):
        client = client_of(bare_app(tmp_path, host=host))
        assert error_of(client.get("/v1/things/7"), 401)["kind"] == "unauthorized"

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.8.8", "::1", "LOCALHOST", "[::1]"])
    def test_loopback_has_many_names(self, tmp_path, host):
        assert client_of(bare_app(tmp_path, host=host)).get("/v1/things/7").status_code == 200

    def test_the_first_key_closes_the_door_and_the_last_ones_end_does_not_open_it(self, tmp_path, ring):
        client = client_of(bare_app(tmp_path))
        assert client.get("/v1/things/7").status_code == 200
        ring.create("anna", ["read"])
        assert client.get("/v1/things/7").status_code == 401
        ring.revoke("anna")
        assert client.get("/v1/things/7").status_code == 401

    def test_a_wrong_key_is_refused_also_where_none_is_needed(self, tmp_path):
        client = client_of(bare_app(tmp_path))
        error_of(client.get("/v1/things/7", headers=bearer("sntq_wrong")), 401)

    def test_a_damaged_file_of_keys_lets_nobody_in(self, tmp_path, ring):
        client = client_of(bare_app(tmp_path))
        ring.path.write_text("nonsense")
        answer = client.get("/v1/things/7")
        assert error_of(answer, 500)["kind"] == "damaged"

    def test_it_closes_nothing_else_and_is_told_without_its_path(self, tmp_path, ring, caplog):
        (tmp_path / "ui").mkdir()
        (tmp_path / "ui" / "index.html").write_text("<title>x</title>")
        app = bare_app(tmp_path)
        app.state.scrubber = Scrubber({str(tmp_path): "the service's folder"})
        client = client_of(app)
        ring.path.write_text("nonsense")
        for path in ("/healthz", "/readyz", "/", "/openapi.json"):
            assert client.get(path, headers={"X-API-Key": "sntq_any"}).status_code == 200, path
        for answer in (
            client.get("/v1/things/7"),
            client.get("/v1/things/7", headers=bearer("sntq_any")),
            client.get("/v1/things/7", headers={"Cookie": f"{COOKIE}=any"}),
            client.get("/metrics"),
            client.post("/v1/session", json={"key": "sntq_any"}),
        ):
            found = error_of(answer, 500)
            assert found["kind"] == "damaged"
            assert "the file of keys the service's folder/keys.json cannot be read" in found["message"]
            assert str(tmp_path) not in answer.text
        assert str(ring.path) in caplog.text, "whoever runs the service must know which file"

    def test_a_damaged_file_of_sessions_is_told_without_its_path(self, tmp_path, closed):
        client, secret = closed
        client.app.state.scrubber = Scrubber({str(tmp_path): "the service's folder"})
        (tmp_path / "sessions.json").write_text("nonsense")
        assert client.get("/v1/things/7", headers=bearer(secret)).status_code == 200
        answer = client.get("/v1/things/7", headers={"Cookie": f"{COOKIE}=any"})
        assert error_of(answer, 500)["kind"] == "damaged"
        assert str(tmp_path) not in answer.text
        assert client.get("/openapi.json", headers={"Cookie": f"{COOKIE}=any"}).status_code == 200

    def test_health_looks_at_no_key(self, closed):
        client, _ = closed
        for path in ("/healthz", "/readyz"):
            assert client.get(path, headers=bearer("sntq_wrong")).status_code == 200


class TestKeys:
    def test_a_key_in_either_header(self, closed):
        client, secret = closed
        other = {"Authorization": f"bearer  {secret} "}
        for headers in (bearer(secret), other, {"X-API-Key": secret}, {"x-api-key": secret, **bearer(secret)}):
            assert client.get("/v1/things/7", headers=headers).json()["caller"] == "anna"

    def test_missing(self, closed):
        client, _ = closed
        answer = client.get("/v1/things/7")
        found = error_of(answer, 401)
        assert found["kind"] == "unauthorized"
        assert "Authorization: Bearer" in found["message"]
        assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": "Bearer sntq_wrong"},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer"},
            {"Authorization": "Basic YTpi"},
            {"X-API-Key": ""},
            {"X-API-Key": "x" * 9000},
            {"X-API-Key": "\xff\xfe"},
            {"Authorization": "Bearer anna"},
            {"Cookie": f"{COOKIE}=wrong"},
            {"Cookie": f"{COOKIE}="},
            {"Cookie": "=;;==\x01; " + COOKIE},
        ],
        ids=str,
    )
    def test_wrong(self, closed, headers):
        client, _ = closed
        raw = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
        assert error_of(client.get("/v1/things/7", headers=raw), 401)["kind"] == "unauthorized"

    def test_almost_right(self, closed):
        client, secret = closed
        for wrong in (secret[:-1], secret + "A", secret.swapcase(), f"{secret},{secret}"):
            assert client.get("/v1/things/7", headers=bearer(wrong)).status_code == 401

    def test_two_different_keys_are_not_tried_one_by_one(self, closed):
        client, secret = closed
        assert client.get("/v1/things/7", headers={**bearer(secret), "X-API-Key": "other"}).status_code == 401
        twice = [("Authorization", f"Bearer {secret}"), ("Authorization", "Bearer other")]
        assert client.get("/v1/things/7", headers=twice).status_code == 401

    @pytest.mark.parametrize("name", ["key", "api_key", "token", "access_token", "authorization", "X-API-Key"])
    def test_a_key_in_the_address_is_not_looked_at(self, closed, name):
        client, secret = closed
        assert client.get("/v1/things/7", params={name: secret}).status_code == 401

    def test_revoked(self, closed, ring):
        client, secret = closed
        assert client.get("/v1/things/7", headers=bearer(secret)).status_code == 200
        ring.revoke("anna")
        assert error_of(client.get("/v1/things/7", headers=bearer(secret)), 401)["kind"] == "unauthorized"

    def test_without_a_scope(self, closed):
        client, secret = closed
        found = error_of(client.get("/v1/admin", headers=bearer(secret)), 403)
        assert found["kind"] == "forbidden"
        assert "'admin'" in found["message"]
        assert "annotate, read" in found["message"]

    @pytest.mark.parametrize("scope", SCOPES)
    def test_every_scope_against_every_route(self, tmp_path, ring, scope):
        _, secret = ring.create("one", [scope])
        client = client_of(bare_app(tmp_path))
        routes = {
            "read": ("GET", "/v1/things/7"),
            "annotate": ("POST", "/v1/things"),
            "admin": ("GET", "/v1/admin"),
            "sql": ("GET", "/v1/sql"),
        }
        for needed, (method, path) in routes.items():
            may = needed == scope or (scope == "admin" and needed != "sql")
            answer = client.request(method, path, headers=bearer(secret), json={} if method == "POST" else None)
            assert answer.status_code == (200 if may else 403), (scope, needed)

    @pytest.mark.parametrize(
        "path", ["/v1", "/v1/", "/v1/nothing", "/metrics", "/v1//things/7", "/v1/things/../things/7"]
    )
    def test_nobody_learns_what_is_there(self, closed, path):
        client, _ = closed
        assert client.get(path).status_code == 401

    @pytest.mark.parametrize(
        "path", ["//v1/things/7", "/V1/things/7", "/%2fv1/things/7", "/x/../v1/things/7", "/v1%2fthings%2f7"]
    )
    def test_another_spelling_of_a_path_opens_nothing(self, closed, path):
        client, _ = closed
        assert client.get(path).status_code in (401, 404)

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
    def test_what_everybody_may_ask(self, closed, path):
        client, _ = closed
        assert client.get(path).status_code == 200

    def test_a_body_is_not_read_for_nobody(self, tmp_path, ring):
        ring.create("anna", ["read"])
        app = bare_app(tmp_path)
        answer = client_of(app).post("/v1/upload", content=b"x" * 100_000)
        assert answer.status_code == 401
        assert app.state.reading == []

    @pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "PUT", "DELETE", "TRACE", "BREW"])
    def test_other_methods_need_a_key_too(self, closed, method):
        client, secret = closed
        answer = client.request(method, "/v1/things/7")
        assert answer.status_code == 401
        answer = client.request(method, "/v1/things/7", headers=bearer(secret))
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers


class TestSession:
    def test_a_key_once_then_a_cookie(self, closed):
        client, secret = closed
        answer = client.post("/v1/session", json={"key": secret})
        assert answer.json()["data"] == {"name": "anna", "scopes": ["annotate", "read"]}
        assert secret not in answer.text + str(answer.headers)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "path=/" in cookie
        assert "max-age=604800" in cookie
        assert "secure" not in cookie
        assert client.get("/v1/things/7").json()["caller"] == "anna"
        assert client.get("/v1/admin").status_code == 403

    def test_over_tls_the_cookie_stays_there(self, tmp_path, ring):
        _, secret = ring.create("anna", ["read"])
        client = client_of(bare_app(tmp_path))
        client.base_url = "https://127.0.0.1"
        assert "secure" in client.post("/v1/session", json={"key": secret}).headers["set-cookie"].lower()

    def test_it_ends(self, closed):
        client, secret = closed
        client.post("/v1/session", json={"key": secret})
        stolen = client.cookies[COOKIE]
        assert client.delete("/v1/session").json()["data"] == {"ended": True}
        assert COOKIE not in client.cookies
        assert client.get("/v1/things/7").status_code == 401
        client.cookies.clear()
        assert client.get("/v1/things/7", headers={"Cookie": f"{COOKIE}={stolen}"}).status_code == 401
        assert client.delete("/v1/session").json()["data"] == {"ended": False}

    def test_it_ends_with_its_key(self, closed, ring):
        client, secret = closed
        client.post("/v1/session", json={"key": secret})
        ring.revoke("anna")
        assert client.get("/v1/things/7").status_code == 401

    def test_the_cookie_is_no_key_and_the_key_no_cookie(self, closed):
        client, secret = closed
        client.post("/v1/session", json={"key": secret})
        token = client.cookies[COOKIE]
        client.cookies.clear()
        assert client.get("/v1/things/7", headers=bearer(token)).status_code == 401
        assert client.get("/v1/things/7", headers={"Cookie": f"{COOKIE}={secret}"}).status_code == 401

    @pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": 3}, {"key": "x" * 201}, []])
    def test_no_key(self, closed, body):
        client, _ = closed
        error_of(client.post("/v1/session", json=body), 422)

    def test_a_wrong_key_begins_nothing(self, closed):
        client, _ = closed
        answer = client.post("/v1/session", json={"key": "sntq_wrong"})
        error_of(answer, 401)
        assert "set-cookie" not in answer.headers

    def test_other_cookies_do_not_hide_it(self, closed):
        client, secret = closed
        client.post("/v1/session", json={"key": secret})
        token = client.cookies[COOKIE]
        client.cookies.clear()
        for cookie in (f"a=b; {COOKIE}={token}", f"bad[]=x; {COOKIE}={token}; c=d", f'q="; {COOKIE}={token}'):
            assert client.get("/v1/things/7", headers={"Cookie": cookie}).status_code == 200, cookie
        assert session_token({"headers": [(b"cookie", b"\xff; =; a")]}) == ""


class TestNothingIsTold:
    def test_no_secret_in_the_log(self, closed, caplog):
        client, secret = closed
        with caplog.at_level(logging.DEBUG, logger="sonotheque"):
            client.get("/v1/things/7", headers=bearer(secret), params={"key": secret})
            client.get("/v1/things/7", headers=bearer("sntq_wrong-secret"))
            client.post("/v1/session", json={"key": secret})
            client.get("/v1/things/7")
            token = client.cookies[COOKIE]
        text = "\n".join(record.getMessage() for record in caplog.records)
        assert "anna" in text
        assert "/v1/things/7" in text
        assert secret not in text
        assert token not in text
        assert "sntq_" not in text

    def test_no_folder_in_an_answer(self, closed, tmp_path):
        client, secret = closed
        for answer in (
            client.get("/v1/boom", headers=bearer(secret)),
            client.get("/v1/things/7"),
            client.get("/v1/things/7", headers=bearer("x")),
            client.get("/ui/nothing.js"),
        ):
            assert str(tmp_path) not in answer.text
            assert "/srv/secret" not in answer.text
            assert "Traceback" not in answer.text


def test_a_scope_that_is_none_is_a_bug():
    with pytest.raises(ValueError, match="is no scope"):
        require_scope("raed")


def test_a_route_without_guards_refuses():
    """An application that forgot the guards lets nobody in."""
    import asyncio

    request = Request({"type": "http", "headers": []})
    assert caller_of(request) is None
    with pytest.raises(Refused, match="needs a key"):
        asyncio.run(require_scope("read")(request))


def test_the_error_survives_a_process_border():
    again = pickle.loads(pickle.dumps(RateLimited("too often", 7)))
    assert (again.kind, again.status, again.headers) == ("rate_limited", 429, {"Retry-After": "7"})
