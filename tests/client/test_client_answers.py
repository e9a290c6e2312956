"""What else may be at an address, what may be sent, and what is refused before it is sent."""

from __future__ import annotations

import ast
import io
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonotheque.client.sending import Body
from sonotheque.core.errors import CLASS_OF_KIND, KINDS, Conflict, Invalid, SonothequeError, Unavailable
from tests.client.test_client_transport import Service, fault, ok

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sonotheque", "store", "embedder", "cluster", "probes", "search_api")
# Raised with a second class as well: an annotation cannot be written while another program writes one.
ALSO = {("busy", "Unavailable")}


def test_every_kind_has_a_class():
    assert set(CLASS_OF_KIND) == set(KINDS)
    for kind, one in CLASS_OF_KIND.items():
        assert one(f"about {kind}", kind=kind).kind == kind
    classes = {one.default_kind: one for one in SonothequeError.__subclasses__() if one.__module__.endswith("errors")}
    assert {kind: CLASS_OF_KIND[kind] for kind in classes} == classes


def test_the_class_of_a_kind_is_that_which_the_code_raises():
    names = {one.__name__ for one in CLASS_OF_KIND.values()}
    raised = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                    given_ = [
                        k.value.value for k in node.keywords if k.arg == "kind" and isinstance(k.value, ast.Constant)
                    ]
                    raised |= {(kind, node.func.id) for kind in given_ if kind}
    assert len(raised) > 25
    wrong = {(kind, name) for kind, name in raised if CLASS_OF_KIND[kind].__name__ != name}
    assert wrong == ALSO and CLASS_OF_KIND["busy"] is Conflict


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300])
def test_a_redirect_is_an_error_that_says_where_to(status, tmp_path):
    service = Service((status, b"<html>moved</html>", {"location": "https://birds.example.org/v1"}))
    client = service.client()
    for ask in (
        client.info,
        lambda: client.sql("SELECT 1"),
        lambda: client.upload(b"x"),
        lambda: client.export(tmp_path / "a.csv"),
        lambda: client.jobs.wait("j"),
        lambda: client.audio("1:2"),
    ):
        with pytest.raises(Invalid, match=rf"{status} .*https://birds\.example\.org/v1"):
            ask()
    assert len(service.asked) == 6 and not service.slept and not (tmp_path / "a.csv").exists()
    with pytest.raises(Invalid, match="does not say where"):
        Service((status, b"")).client().info()


@pytest.mark.parametrize(
    "body", [b"<html>Log in</html>", b"", b"\xff\xfe\x00", b"null", b"[]", b"3", b'{"error": 1}', b'{"data": 1}']
)
def test_an_answer_that_is_not_the_services(body):
    service = Service((200, body, {"content-type": "text/html"}))
    client = service.client()
    for ask in (
        client.info,
        lambda: list(client.windows()),
        lambda: client.search(b"x"),
        lambda: client.search(window="1:2"),
        lambda: client.identify(b"x"),
        lambda: client.classify("owl", b"x"),
        lambda: client.embed(b"x"),
        lambda: client.upload(b"x"),
        lambda: client.jobs.get("j"),
    ):
        with pytest.raises(Unavailable, match=r"archive\.test answered 200 with text/html"):
            ask()


@pytest.mark.parametrize("wrong", ["", ".", ".."])
def test_empty_ids_are_refused_before_anything_is_asked(wrong):
    service = Service(ok([]))
    client = service.client()
    for ask in (
        lambda: client.window(wrong),
        lambda: client.recording(wrong),
        lambda: client.timeline(wrong),
        lambda: client.clip(wrong),
        lambda: client.audio(wrong),
        lambda: client.spectrogram(recording=wrong),
        lambda: client.audio(clip=wrong),
        lambda: client.jobs.get(wrong),
        lambda: client.jobs.cancel(wrong),
        lambda: client.jobs.wait(wrong),
        lambda: client.probes.get(wrong),
        lambda: list(client.probes.hits(wrong)),
        lambda: client.classify(wrong, b"x"),
    ):
        with pytest.raises(Invalid, match="is no "):
            ask()
    assert not service.asked


def test_no_probes_are_none_and_not_all():
    found = {"windows": [], "summary": []}
    service = Service(ok(found))
    client = service.client()
    for probes in ([], (), "none", "all", ["owl", "fox"]):
        client.identify(b"x", probes=probes)
        client.identify(window="1:2", probes=probes)
    sent = [request.url.params.get_list("probes") for request in service.asked]
    assert sent[::2] == sent[1::2] == [["none"], ["none"], ["none"], ["all"], ["owl", "fox"]]


def test_export_takes_its_own_names_alone(tmp_path):
    service = Service((200, b"label\n"))
    client = service.client()
    for name, near in (("lable", "label"), ("site", "there are"), ("sites", "there are"), ("fmt", "there are")):
        with pytest.raises(Invalid, match=f"{name}.*{near}"):
            client.export(tmp_path / "a.csv", **{name: "x"})
    assert not service.asked and not (tmp_path / "a.csv").exists()
    assert client.export(tmp_path / "a.csv", label="owl", annotator=None) == 6
    assert dict(service.asked[0].url.params) == {"form": "csv", "label": "owl"}


def test_classify_sends_no_name_of_a_file(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    service = Service(ok({"windows": []}))
    service.client().classify("owl", tmp_path / "a.wav", version=2)
    assert dict(service.asked[0].url.params) == {"version": "2"}


def pipe(data):
    """A file that cannot be gone back in."""
    read, write = os.pipe()

    def fill():
        with os.fdopen(write, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=fill)
    thread.start()
    return os.fdopen(read, "rb"), thread


def test_a_pipe_is_sent_whole_and_once():
    data = bytes(range(256)) * 1000
    file, thread = pipe(data)
    service = Service(ok({"clip_id": "c"}))
    with file:
        assert service.client().upload(file)["clip_id"] == "c"
    thread.join()
    assert service.asked[0].content == data
    file, thread = pipe(data)
    service = Service(fault(503, "overloaded"), ok({"clip_id": "c"}))
    with file, pytest.raises(Unavailable):
        service.client().upload(file)
    thread.join()
    assert [request.content for request in service.asked] == [data] and not service.slept


def test_a_pipe_reaches_a_real_server(archive, call):
    file, thread = pipe(call.read_bytes())
    with file:
        found = archive.search(file, k=1)
    thread.join()
    assert found[0].window_id == archive.search(call, k=1)[0].window_id
    with call.open("rb") as file, io.BytesIO(b"in front" + call.read_bytes()) as later:
        later.seek(8)
        assert archive.upload(file)["clip_id"] == archive.upload(later)["clip_id"]


@given(st.binary(max_size=200), st.integers(0, 250), st.integers(0, 3))
def test_a_file_is_sent_from_where_it_was_every_time(data, start, busy):
    for file in (io.BytesIO(data), io.BufferedReader(io.BytesIO(data))):
        file.seek(start)
        service = Service(*[fault(503, "overloaded")] * busy, ok({"clip_id": "c"}))
        service.client().upload(file)
        assert [request.content for request in service.asked] == [data[start:]] * (busy + 1)
        assert {request.headers["content-length"] for request in service.asked} == {str(len(data[start:]))}


def test_a_file_of_text_and_one_that_grows(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" * 10)
    with path.open() as file, pytest.raises(Invalid, match="binary mode"):
        Service(ok({})).client().upload(file)
    with path.open("rb") as file:
        body = Body(file)
        path.write_bytes(b"RIFF" * 20)
        assert b"".join(body.content()) == b"RIFF" * 10 and body.headers == {"Content-Length": "40"}


def test_a_real_service_asks_no_probe_where_none_is_wanted(archive, call):
    found = archive.identify(call, probes=[])
    assert found.windows and all(window["probes"] == [] for window in found.windows)
    with pytest.raises(Invalid, match="did you mean site"):
        archive._transport.get("/v1/windows", {"sites": "north"})
