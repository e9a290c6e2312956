"""The page's files: the right types, asked for again, and nothing outside of their folder."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api.http.routes.pages import TYPES, Files
from sonotheque.core.errors import NotFound
from tests.service.guard_kit import Wire, bare_app, client_of, error_of, live, parsed

SECRET = "a secret outside"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    ui = root / "ui"
    (ui / "js" / "views").mkdir(parents=True)
    (ui / "css").mkdir()
    (ui / "index.html").write_text("<!doctype html><title>Sonotheque</title>")
    (ui / "js" / "app.js").write_text("export const a = 1;")
    (ui / "js" / "views" / "search.js").write_text("export const b = 2;")
    (ui / "css" / "main.css").write_text("body {}")
    (ui / ".hidden.js").write_text(SECRET)
    (ui / "notes.md").write_text(SECRET)
    (ui / "tool.py").write_text(SECRET)
    (root / "keys.json").write_text("{}")
    (root / "secret.js").write_text(SECRET)
    (root / "uix").mkdir()
    (root / "uix" / "a.js").write_text(SECRET)
    os.symlink(root / "secret.js", ui / "link.js")
    os.symlink(root, ui / "up")
    os.symlink(ui / "js" / "app.js", ui / "inside.js")
    (ui / "folder.js").mkdir()
    os.mkfifo(ui / "pipe.js")
    return root


@pytest.fixture(scope="module")
def client(folder):
    return client_of(bare_app(folder, limits={"rate_per_min": 0}))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/ui/index.html", "text/html; charset=utf-8"),
        ("/ui/js/app.js", "text/javascript; charset=utf-8"),
        ("/ui/js/views/search.js", "text/javascript; charset=utf-8"),
        ("/ui/css/main.css", "text/css; charset=utf-8"),
        ("/ui/inside.js", "text/javascript; charset=utf-8"),
    ],
)
def test_files(client, path, kind):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    head = client.head(path)
    assert head.content == b""
    assert head.headers["content-length"] == str(len(answer.content))
    assert head.headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    "path",
    ["/", "/search", "/archive", "/recordings/123", "/probes", "/probes/owl", "/probes/owl/review", "/jobs", "/jobs/7"],
)
def test_addresses_of_the_page(client, path):
    assert "Sonotheque" in client.get(path).text
    assert client.get(path + "?q=1&sites=a").status_code == 200
    assert client.post(path).status_code == 405


OTHER = [
    "/other",
    "/search/x",
    "/recordings",
    "/recordings/1/2",
    "/probes/a/b",
    "/index.html",
    "/js/app.js",
    "/ui",
    "/ui/",
]


@pytest.mark.parametrize("path", [*OTHER, "/favicon.ico", "/search%2f", "/recordings/1%2f2"])
def test_other_addresses_are_not_the_page(client, path):
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code in (404, 307)
    assert "Sonotheque" not in answer.text


class TestAskedAgain:
    def test_what_did_not_change_is_not_sent(self, client):
        tag = client.get("/ui/js/app.js").headers["etag"]
        for wanted in (tag, f'"x", {tag}', f"W/{tag}", "*"):
            answer = client.get("/ui/js/app.js", headers={"If-None-Match": wanted})
            assert (answer.status_code, answer.content) == (304, b""), wanted
            assert answer.headers["etag"] == tag
        for wanted in ('"x"', "", "nonsense", tag.strip('"')):
            assert client.get("/ui/js/app.js", headers={"If-None-Match": wanted}).status_code == 200, wanted

    def test_what_changed_is(self, tmp_path):
        (tmp_path / "ui").mkdir()
        file = tmp_path / "ui" / "a.js"
        file.write_text("one")
        client = client_of(bare_app(tmp_path))
        tag = client.get("/ui/a.js").headers["etag"]
        file.write_text("other")
        again = client.get("/ui/a.js", headers={"If-None-Match": tag})
        assert (again.status_code, again.text) == (200, "other")
        file.unlink()
        assert client.get("/ui/a.js", headers={"If-None-Match": tag}).status_code == 404

    def test_without_a_page(self, tmp_path):
        assert error_of(client_of(bare_app(tmp_path)).get("/"), 404)["kind"] == "not_found"


ATTACKS = [
    "/ui/../secret.js",
    "/ui/%2e%2e/secret.js",
    "/ui/%2E%2E%2Fsecret.js",
    "/ui/..%2fsecret.js",
    "/ui/%252e%252e%252fsecret.js",
    "/ui/..%5csecret.js",
    "/ui/..\\secret.js",
    "/ui/js/../../secret.js",
    "/ui/js/..%2f..%2fsecret.js",
    "/ui/....//secret.js",
    "/ui//secret.js",
    "/ui/./js/app.js",
    "/ui//js/app.js",
    "/ui/js//app.js",
    "/ui/js/app.js/",
    "/ui/js/app.js%00",
    "/ui/js/app.js%00.css",
    "/ui/..%00/secret.js",
    "/ui/%c0%ae%c0%ae/secret.js",
    "/ui/%uff0e%uff0e/secret.js",
    "/ui/\uff0e\uff0e/secret.js",
    "/ui/%2fetc%2fpasswd",
    "/ui//etc/passwd",
    "/ui/C:/windows/win.ini",
    "/ui/file:///etc/passwd",
    "/ui/.hidden.js",
    "/ui/notes.md",
    "/ui/tool.py",
    "/ui/README.md",
    "/ui/link.js",
    "/ui/up/secret.js",
    "/ui/up/keys.json",
    "/ui/../uix/a.js",
    "/ui/folder.js",
    "/ui/pipe.js",
    "/ui/js",
    "/ui/js/",
    "/ui/~root.js",
    "/ui/js/app.js;x",
    "/ui/JS/APP.JS",
    "/ui/js/app.js%20",
    "/ui/js/app.js%0a",
    "/ui/con.js",
    "/ui/" + "a" * 5000 + ".js",
    "/ui/" + "a/" * 500 + "b.js",
    "/../secret.js",
    "/%2e%2e/secret.js",
    "/recordings/..%2f..%2fsecret.js",
]


@pytest.mark.parametrize("path", ATTACKS)
def test_nothing_else_is_given(client, folder, path):
    answer = client.get(path, follow_redirects=False)
    if path == "/ui/./js/app.js":
        return  # the client tidies it up; see the test below
    assert answer.status_code in (404, 307, 422), path
    assert SECRET not in answer.text
    assert str(folder) not in answer.text


def test_nothing_else_is_given_on_the_wire(folder):
    """A client library tidies paths up before they are sent; an attacker does not."""
    with live(bare_app(folder, limits={"rate_per_min": 0})) as port:
        for path in ATTACKS:
            raw = path.encode("utf-8").decode("latin-1")
            if re.search(r"[^\x21-\x7e]", raw):
                continue
            with Wire(port) as wire:
                answer = wire.say(f"GET {raw} HTTP/1.1\nHost: localhost\nConnection: close\n\n").rest()
            assert parsed(answer)[0] in (400, 404, 307, 422), path
            assert SECRET.encode() not in answer
            assert str(folder).encode() not in answer


@given(st.text(st.sampled_from("./\\%a\x00:~js"), max_size=20) | st.text(max_size=20))
@settings(max_examples=100)
def test_a_file_is_always_below_its_folder(folder, name):
    files = Files(folder / "ui")
    for tried in (name, name + ".js", "js/" + name, name + "/secret.js"):
        try:
            data, _, kind = files.open(tried)
        except NotFound as error:
            assert str(folder) not in error.message
        else:
            assert SECRET.encode() not in data
            assert kind in TYPES.values()
