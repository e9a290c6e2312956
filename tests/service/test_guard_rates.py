"""How often a caller may ask, and what does not count as another caller."""

from __future__ import annotations

import pytest

from search_api.http.guard import rates as module
from search_api.http.guard.rates import WRONG_KEYS_PER_MIN, Rates, address_of
from search_api.http.guard.refusals import RateLimited
from search_api.keys import KeyRing
from tests.service.guard_kit import bare_app, client_of, error_of


def limited(tmp_path, per_min=5, uploads=0, **more):
    return bare_app(tmp_path, limits={"rate_per_min": per_min, "upload_rate_per_min": uploads}, **more)


def asked(client, times, **more):
    return [client.get("/v1/things/7", **more).status_code for _ in range(times)]


class TestLimits:
    def test_the_one_too_many(self, tmp_path):
        client = client_of(limited(tmp_path))
        assert asked(client, 5) == [200] * 5
        answer = client.get("/v1/things/7")
        found = error_of(answer, 429)
        assert found["kind"] == "rate_limited"
        assert 1 <= int(answer.headers["retry-after"]) <= 61
        assert answer.headers["retry-after"] in found["message"]

    def test_it_ends_with_the_minute(self, tmp_path, monkeypatch):
        import time

        client = client_of(limited(tmp_path))
        assert asked(client, 6)[-1] == 429
        now = time.time
        monkeypatch.setattr("time.time", lambda: now() + 61)
        assert asked(client, 6) == [200] * 5 + [429]

    def test_zero_is_no_limit(self, tmp_path):
        assert set(asked(client_of(limited(tmp_path, 0)), 50)) == {200}

    def test_addresses_are_counted_apart(self, tmp_path):
        app = limited(tmp_path)
        assert asked(client_of(app, ("127.0.0.1", 1)), 6)[-1] == 429
        assert asked(client_of(app, ("127.0.0.2", 1)), 1) == [200]
        assert asked(client_of(app, ("127.0.0.1", 2)), 1) == [429], "another port is the same caller"

    @pytest.mark.parametrize(
        "name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP"]
    )
    def test_a_header_does_not_change_the_address(self, tmp_path, name):
        client = client_of(limited(tmp_path))
        statuses = [client.get("/v1/things/7", headers={name: f"10.0.0.{i}"}).status_code for i in range(6)]
        assert statuses == [200] * 5 + [429]
        client = client_of(limited(tmp_path, 0))
        assert client.get("/v1/things/7", headers={name: "10.0.0.9"}).json()["client"] == "127.0.0.1"

    def test_keys_are_counted_apart_and_their_address_together(self, tmp_path):
        ring = KeyRing(tmp_path / "keys.json")
        secrets = [ring.create(f"k{i}", ["read"])[1] for i in range(5)]
        client = client_of(limited(tmp_path))
        for secret in secrets[:4]:
            headers = {"X-API-Key": secret}
            assert asked(client, 5, headers=headers) == [200] * 5
        assert asked(client, 1, headers={"X-API-Key": secrets[4]}) == [429], (
            "four times one key's rate from one address"
        )

    def test_one_key_is_one_caller_from_wherever(self, tmp_path):
        _, secret = KeyRing(tmp_path / "keys.json").create("anna", ["read"])
        app = limited(tmp_path)
        statuses = [asked(client_of(app, (f"10.0.0.{i}", 1)), 1, headers={"X-API-Key": secret})[0] for i in range(6)]
        assert statuses == [200] * 5 + [429]

    def test_nobody_is_counted_by_address(self, tmp_path):
        KeyRing(tmp_path / "keys.json").create("anna", ["read"])
        assert asked(client_of(limited(tmp_path)), 6) == [401] * 5 + [429]

    def test_health_is_not_counted(self, tmp_path):
        client = client_of(limited(tmp_path, 1))
        assert [client.get(p).status_code for p in ("/healthz", "/readyz") * 5] == [200] * 10
        assert asked(client, 2) == [200, 429]
        assert client.get("/healthz").status_code == 200

    def test_uploads_have_a_rate_of_their_own(self, tmp_path):
        client = client_of(limited(tmp_path, 100, 2))
        sound = {"Content-Type": "audio/wav"}
        assert [client.post("/v1/upload", content=b"x", headers=sound).status_code for _ in range(3)] == [200, 200, 429]
        assert client.post("/v1/things", json={}).status_code == 200
        assert client.get("/v1/things/7").status_code == 200

    def test_wrong_keys_are_counted(self, tmp_path):
        _, secret = KeyRing(tmp_path / "keys.json").create("anna", ["read"])
        client = client_of(limited(tmp_path, 0))
        statuses = asked(client, WRONG_KEYS_PER_MIN + 1, headers={"X-API-Key": "sntq_guess"})
        assert statuses == [401] * WRONG_KEYS_PER_MIN + [429]
        assert client.post("/v1/session", json={"key": "sntq_guess"}).status_code == 429, "here too"
        assert asked(client, 1, headers={"X-API-Key": secret}) == [200], "whoever shares the address is not shut out"


class TestAddresses:
    @pytest.mark.parametrize(
        ("client", "address"),
        [
            (("10.1.2.3", 7), "10.1.2.3"),
            (("2001:db8:1:2:3:4:5:6", 7), "2001:db8:1:2::"),
            (("2001:db8:1:2:ffff::1", 7), "2001:db8:1:2::"),
            (("fe80::1%eth0", 7), "fe80::"),
            (("::ffff:10.1.2.3", 7), "::ffff:10.1.2.3"),
            (("testclient", 7), "testclient"),
            (None, "unknown"),
        ],
    )
    def test_what_counts_as_one(self, client, address):
        found = address_of({"client": client})
        assert found in (address, "::ffff:a01:203")

    def test_many_addresses_do_not_fill_the_memory(self, monkeypatch):
        monkeypatch.setattr(module, "_CALLERS_MAX", 50)
        rates = Rates(2, 0)
        for i in range(500):
            rates({"path": "/x", "method": "GET", "headers": [], "client": (f"10.0.{i // 250}.{i % 250}", 1)})
        assert len(rates._callers) <= 50
        assert len(rates._limiter.storage.events) <= 50
        scope = {"path": "/x", "method": "GET", "headers": [], "client": ("10.9.9.9", 1)}
        rates(scope)
        rates(scope)
        with pytest.raises(RateLimited):
            rates(scope)
