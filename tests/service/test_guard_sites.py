"""Other web sites are kept out: names that are not the service's, and requests that foreign pages make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.http.guard.hosts import HostCheck, SiteCheck, is_loopback
from search_api.http.guard.installing import PAGE, PAGES
from sonotheque.core.errors import Refused
from tests.service.guard_kit import Wire, bare_app, client_of, error_of, live, parsed


@pytest.fixture
def client(tmp_path):
    (tmp_path / "ui").mkdir()
    (tmp_path / "ui" / "index.html").write_text("<title>x</title>")
    return client_of(bare_app(tmp_path))


class TestHosts:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "LOCALHOST:8770", "localhost.", "[::1]:8770", "127.0.0.1:1", "127.1.2.3"]
    )
    def test_loopback(self, client, host):
        assert client.get("/v1/things/7", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:8770", "localhost@evil.example", "127.0.0.1 evil",
         "", "localhost:port", "local host", "[::1", "192.168.1.7", "2130706433", "0x7f.1", "localhost,evil.example", "localhost/evil", "\xff"],
    )  # fmt: skip
    def test_bad(self, client, host):
        found = error_of(client.get("/v1/things/7", headers=[(b"host", host.encode("latin-1"))]), 403)
        assert found["kind"] == "cross_site"

    def test_health_too(self, client):
        assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403

    def test_the_message_says_how_to_allow_it(self, client):
        found = error_of(client.get("/", headers={"Host": "birds.example.org:80"}), 403)
        assert "--allow-host birds.example.org" in found["message"]

    def test_names_that_are_allowed(self, tmp_path):
        client = client_of(bare_app(tmp_path, allow_hosts=("Birds.example.org",)))
        assert client.get("/healthz", headers={"Host": "birds.EXAMPLE.org:443"}).status_code == 200
        assert client.get("/healthz", headers={"Host": "www.birds.example.org"}).status_code == 403

    def test_bound_to_everything_addresses_are_fine_and_names_are_not(self, tmp_path):
        client = client_of(bare_app(tmp_path, host="0.0.0.0"))
        for host, status in (("192.168.1.7:8770", 200), ("[fe80::1]", 200), ("evil.example", 403), ("2130706433", 403)):
            assert client.get("/healthz", headers={"Host": host}).status_code == status, host

    def test_bound_to_one_name(self, tmp_path):
        client = client_of(bare_app(tmp_path, host="birds.local"))
        for host, status in (("birds.local:8770", 200), ("localhost", 200), ("192.168.1.7", 403)):
            assert client.get("/healthz", headers={"Host": host}).status_code == status, host

    @pytest.mark.parametrize(
        "name", ["X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host", "X-HTTP-Host-Override"]
    )
    def test_no_other_header_names_the_host(self, client, name):
        assert client.get("/healthz", headers={name: "evil.example"}).status_code == 200
        headers = {"Host": "evil.example", name: "localhost"}
        assert client.get("/healthz", headers=headers).status_code == 403

    def test_two_or_none(self, client):
        check = HostCheck("127.0.0.1", ())
        for hosts in ([], [b"localhost", b"localhost"], [b"localhost", b"evil.example"]):
            with pytest.raises(Refused, match="exactly one host"):
                check({"type": "http", "path": "/", "headers": [(b"host", h) for h in hosts]})

    @given(st.ip_addresses())
    def test_addresses_of_this_machine(self, address):
        number = int(address)
        expected = {
            4: number >> 24 == 127,
            6: number == 1 or (number >> 32 == 0xFFFF and number >> 24 & 0xFF == 127),
        }
        assert is_loopback(str(address)) == expected[address.version]


@pytest.fixture(scope="module")
def wire_port(tmp_path_factory):
    with live(bare_app(tmp_path_factory.mktemp("wire"))) as port:
        yield port


@pytest.mark.parametrize(
    "path", ["/metrics%0a", "/v1%0a", "/v1/things/7%00", "/%0a", "/v1/things/%1b[31m", "/healthz%0d%0a", "/x%7f"]
)
def test_no_control_characters_in_a_path(client, path):
    """A route's pattern takes a line feed at its end for the end: what guards and routes read must be the same path."""
    assert error_of(client.get(path), 422)["kind"] == "invalid"


class TestOnTheWire:
    """What a client library would not let a test say."""

    @pytest.mark.parametrize(
        ("text", "statuses"),
        [
            ("GET http://evil.example/v1/things/7 HTTP/1.1\nHost: localhost\n\n", {403}),
            ("GET http://localhost/v1/things/7 HTTP/1.1\nHost: localhost\n\n", {403}),
            ("GET /v1/things/7 HTTP/1.1\nHost: localhost\nHost: evil.example\n\n", {400}),
            ("GET /v1/things/7 HTTP/1.1\n\n", {400}),
            ("GET /v1/things/7 HTTP/1.0\n\n", {403}),
            ("GET /v1/things/7 HTTP/1.1\nHost: evil.example\n\n", {403}),
            ("GET * HTTP/1.1\nHost: localhost\n\n", {403}),
            ("CONNECT evil.example:443 HTTP/1.1\nHost: localhost\n\n", {400, 403}),
            ("GET /v1/things/7 HTTP/1.1\nHost : localhost\n\n", {400}),
            ("GET /v1/things/7 HTTP/1.1\nHost: localhost\n folded: x\n\n", {400, 403}),
            ("POST /v1/upload HTTP/1.1\nHost: localhost\nContent-Length: 3\nContent-Length: 4\n\nabc", {400}),
            ("POST /v1/upload HTTP/1.1\nHost: localhost\nContent-Length: -1\n\n", {400}),
            ("POST /v1/upload HTTP/1.1\nHost: localhost\nTransfer-Encoding: gzip\n\n", {400, 501}),
            ("GET /v1/things/7 HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: upgrade\n\n", {200}),
            ("\x16\x03\x01\x02\x00\x01\x00\x01\n\n", {400}),
        ],
        ids=lambda v: v.split("\n", 2)[0][:40] + v.split("\n", 2)[1][:20] if isinstance(v, str) else "",
    )
    def test_requests_nobody_should_send(self, wire_port, text, statuses):
        with Wire(wire_port) as wire:
            status, *_ = parsed(wire.say(text).some())
        assert status in statuses

    def test_smuggling_a_second_request_in_a_body(self, wire_port):
        """Two lengths for one body: what one reader takes for its end, another takes for the next request."""
        inner = "GET /v1/admin HTTP/1.1\nHost: localhost\n\n"
        text = f"POST /v1/upload HTTP/1.1\nHost: localhost\nContent-Length: {len(inner) + 9}\nTransfer-Encoding: chunked\n\n0\n\n{inner}"
        with Wire(wire_port) as wire:
            answer = wire.say(text).rest()
        assert parsed(answer)[0] == 400
        assert answer.count(b"HTTP/1.1 ") == 1, "what was behind it is not served, and the connection is closed"


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "CROSS-SITE"},
    {"Sec-Fetch-Site": "nonsense"},
    {"Sec-Fetch-Site": ""},
    {"Origin": "null"},
    {"Origin": "http://evil.example"},
    {"Origin": "https://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "http://localhost"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "http://127.0.0.1@evil.example"},
    {"Origin": "file://"},
    {"Origin": ""},
    {"Origin": "chrome-extension://abc"},
    {"Origin": "http://[::1"},
    {"Origin": "http://127.0.0.1:port"},
    {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
]
OWN = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:80"},
    {"Origin": "https://127.0.0.1"},  # something in front of the service speaks TLS
    {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"},
]


class TestSites:
    @pytest.mark.parametrize("headers", FOREIGN, ids=str)
    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/v1/things"), ("GET", "/v1/things/7"), ("DELETE", "/v1/session")]
    )
    def test_foreign(self, client, headers, method, path):
        body = {"json": {}} if method == "POST" else {}
        assert error_of(client.request(method, path, headers=headers, **body), 403)["kind"] == "cross_site"

    @pytest.mark.parametrize("headers", OWN, ids=str)
    def test_own(self, client, headers):
        assert client.post("/v1/things", json={"a": 1}, headers=headers).status_code == 200
        assert client.get("/v1/things/7", headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    )
    def test_a_form_of_another_site(self, client, kind):
        """The kinds of body that a browser sends anywhere without asking first."""
        headers = {"Content-Type": kind, "Origin": "http://evil.example"}
        error_of(client.post("/v1/things", content=b'{"a": 1}', headers=headers), 403)
        error_of(client.post("/v1/session", content=b'{"key": "x"}', headers=headers), 403)

    def test_json_as_text_is_no_json(self, client):
        assert client.post("/v1/things", content=b'{"a": 1}', headers={"Content-Type": "text/plain"}).status_code == 422

    def test_a_preflight_is_refused_and_nothing_is_allowed(self, client):
        headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        answer = client.options("/v1/things", headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]

    @pytest.mark.parametrize("path", [p.replace("{id}", "12").replace("{name}", "owl") for p in PAGES])
    def test_a_link_to_a_page_may_be_followed(self, client, path):
        visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert client.get(path, headers=visit).status_code == 200
        for more in (
            {"Sec-Fetch-Dest": "iframe"},
            {"Sec-Fetch-Mode": "no-cors"},
            {"Sec-Fetch-Dest": ""},
            {"Origin": "null"},
        ):
            assert client.get(path, headers={**visit, **more}).status_code == 403, more
        assert client.post(path, headers=visit).status_code == 403

    @pytest.mark.parametrize(
        "path", ["/v1/things/7", "/metrics", "/openapi.json", "/ui/index.html", "/healthz", "/recordings/1/2"]
    )
    def test_a_link_to_anything_else_may_not(self, client, path):
        visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert client.get(path, headers=visit).status_code == 403

    @given(
        st.sampled_from(["http", "https"]),
        st.sampled_from(["localhost", "127.0.0.1", "[::1]", "birds.example.org"]),
        st.sampled_from(["", ":80", ":443", ":8770"]),
        st.sampled_from(["localhost", "127.0.0.1", "[::1]", "birds.example.org"]),
        st.sampled_from(["", ":80", ":443", ":8770"]),
    )
    def test_the_same_origin_against_a_dumb_twin(self, scheme, name, port, host, host_port):
        default = {"http": ":80", "https": ":443"}[scheme]
        same = name == host and (port or default) == (host_port or default)
        headers = [(b"origin", f"{scheme}://{name}{port}".encode()), (b"host", f"{host}{host_port}".encode())]
        scope = {"type": "http", "method": "POST", "path": "/v1/things", "headers": headers}
        if same:
            SiteCheck(PAGE)(scope)
        else:
            with pytest.raises(Refused):
                SiteCheck(PAGE)(scope)
