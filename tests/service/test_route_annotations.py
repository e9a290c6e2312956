"""Judgements over HTTP: in, out, undone; feedback; kept queries; and that a kill after the answer loses nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import httpx
import pytest

from store.annotations import AnnotationLog
from tests.service.conftest import serve, tree, wait_ready


@pytest.fixture
def ids(changing):
    return [row["window_id"] for row in changing.get("/v1/windows")["data"]]


def said(changing):
    return AnnotationLog(changing.made.store).current().to_pylist()


def test_judgements_in_one_call_are_on_disk_when_it_is_answered(changing, ids) -> None:
    body = {
        "annotator": "Ana",
        "provenance": "page: review",
        "annotations": [
            {"window_id": ids[0], "label": "Käuzchen \"'🦉", "judgement": "positive"},
            {
                "recording_id": ids[0].split(":")[0],
                "start_s": 0.5,
                "end_s": 1.25,
                "label": "rain",
                "judgement": "negative",
                "low_hz": 100,
            },
            {
                "path": "north/20240501_040000.wav",
                "start_s": 1,
                "end_s": 2,
                "label": "=1+1",
                "judgement": "uncertain",
                "note": "n",
            },
        ],
    }
    found = changing.post("/v1/annotations", body, 201)["data"]
    assert (found["added"], found["already"], found["batch"]) == (3, 0, 1)
    rows = said(changing)
    assert [row["annotation_id"] for row in rows] == [a["annotation_id"] for a in found["annotations"]]
    assert [row["label"] for row in rows] == ["Käuzchen \"'🦉", "rain", "=1+1"]
    assert {row["annotator"] for row in rows} == {"Ana"} and rows[0]["provenance"] == "page: review"
    again = changing.post("/v1/annotations", body, 201)["data"]
    assert (again["added"], again["already"], again["batch"]) == (0, 3, None)
    assert [a["annotation_id"] for a in again["annotations"]] == [1, 2, 3]
    window = changing.get(f"/v1/windows/{ids[0]}")["data"]
    assert [a["annotation_id"] for a in window["annotations"]] == [1, 2, 3]
    assert changing.get("/v1/windows?annotation_label=rain")["data"][0]["window_id"] == ids[0]


def test_one_wrong_one_and_none_is_kept(changing, ids) -> None:
    before = tree(changing.made.store)
    good = {"window_id": ids[0], "label": "owl"}
    for wrong, status in (
        ({"window_id": "12:0", "label": "owl"}, 404),
        ({"window_id": "12", "label": "owl"}, 422),
        ({"window_id": ids[1], "label": ""}, 422),
        ({"window_id": ids[1], "label": " "}, 422),
        ({"window_id": ids[1], "label": "a\0b"}, 422),
        ({"window_id": ids[1], "label": "x" * 501}, 422),
        ({"window_id": ids[1], "label": "owl", "judgement": "perhaps"}, 422),
        ({"window_id": ids[1], "label": "owl", "start_s": 0}, 422),
        ({"label": "owl"}, 422),
        ({"window_id": ids[1], "path": "x", "label": "owl"}, 422),
        ({"path": "no.wav", "start_s": 0, "end_s": 1, "label": "owl"}, 404),
        ({"path": "north/20240501_040000.wav", "start_s": 0, "end_s": 99, "label": "owl"}, 422),
        ({"path": "north/20240501_040000.wav", "start_s": 2, "end_s": 1, "label": "owl"}, 422),
        (
            {"path": "north/20240501_040000.wav", "start_s": 0, "end_s": 1, "label": "owl", "low_hz": 2, "high_hz": 1},
            422,
        ),
        ({"window_id": ids[1], "label": "owl", "unknown": 1}, 422),
        (None, 422),
        ([], 422),
    ):
        error = changing.post("/v1/annotations", {"annotations": [good, wrong]}, status)["error"]
        assert error["message"] and changing.made.store not in error["message"], wrong
    assert tree(changing.made.store) == before


def test_numbers_that_are_none_are_refused(changing) -> None:
    place = '"path": "north/20240501_040000.wav", "label": "owl", "end_s": 1, "start_s"'
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1", '"x"', "null", "[0]"):
        answer = changing.client.post(
            "/v1/annotations",
            content=f'{{"annotations": [{{{place}: {number}}}]}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (400, 422), number
        json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} in an answer"))
    assert said(changing) == []


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"", (422,)),
        (b"null", (422,)),
        (b"{", (400, 422)),
        (b'{"annotations": []}', (422,)),
        (b'{"annotations": {}}', (422,)),
        (b"[" * 50_000, (400, 422)),
        (b'{"annotations": [' + b",".join([b'{"window_id": "1:0", "label": "x"}'] * 5_001) + b"]}", (422,)),
        (b'{"annotations": [{"window_id": "1:0", "label": "' + b"x" * 1_000_000 + b'"}]}', (422,)),
        (b'{"annotator": "' + b"x" * 3_000_000 + b'"}', (413,)),
        (b'{"annotations": [{"window_id": "1:0", "label": "\xff"}]}', (400, 422)),
        (b'{"annotations": [{"window_id": "1:0", "label": "\\ud800"}]}', (400, 404, 422)),
        (b'{"annotations": [{"window_id": "1:0", "label": "x"}], "annotator": ""}', (422,)),
    ],
)
def test_bodies_that_are_none_are_refused(served, body, statuses) -> None:
    answer = served.client.post("/v1/annotations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in statuses, answer.text[:300]
    assert answer.json()["error"]["kind"]
    assert not Path(served.made.store, "annotations.sqlite").exists()


def test_lone_surrogates_are_refused_and_not_kept(changing, ids) -> None:
    body = json.dumps({"annotations": [{"window_id": ids[0], "label": "owl", "note": "\ud800"}]})
    answer = changing.client.post("/v1/annotations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert said(changing) == []


def test_undo_one_then_a_batch_then_the_undo(changing, ids) -> None:
    add = [{"window_id": one, "label": "owl"} for one in ids[:3]]
    batch = changing.post("/v1/annotations", {"annotations": add}, 201)["data"]
    one = changing.post("/v1/annotations/undo", {"annotation_id": batch["annotations"][1]["annotation_id"]})["data"]
    assert (one["undone"], one["undoes"]) == (1, batch["batch"])
    assert [row["annotation_id"] for row in said(changing)] == [1, 3]
    rest = changing.post("/v1/annotations/undo", {"batch": batch["batch"]})["data"]
    assert rest["undone"] == 2 and said(changing) == []
    back = changing.post("/v1/annotations/undo", {"batch": rest["batch"]})["data"]
    assert back["restored"] == 2 and len(said(changing)) == 2
    assert changing.post("/v1/annotations/undo", {"last": True})["data"]["undone"] == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"batch": 1, "last": True}, 422),
        ({"batch": 0}, 422),
        ({"batch": -1}, 422),
        ({"batch": 2**70}, 422),
        ({"batch": "x"}, 422),
        ({"annotation_id": 1.5}, 422),
        ({"batch": 7}, 404),
        ({"annotation_id": 7}, 404),
        ({"last": True, "annotator": "Nobody"}, 409),
        ({"unknown": 1}, 422),
    ],
)
def test_an_undo_of_what_is_not_there_is_refused(changing, ids, body, status) -> None:
    changing.post("/v1/annotations", {"annotator": "Ana", "annotations": [{"window_id": ids[0], "label": "owl"}]}, 201)
    assert changing.post("/v1/annotations/undo", body, status)["error"]["message"]
    assert len(said(changing)) == 1


def test_the_last_is_the_annotators_own(changing, ids) -> None:
    for who in ("Ana", "Ben"):
        changing.post(
            "/v1/annotations", {"annotator": who, "annotations": [{"window_id": ids[0], "label": "owl"}]}, 201
        )
    changing.post("/v1/annotations/undo", {"last": True, "annotator": "Ana"})
    assert [row["annotator"] for row in said(changing)] == ["Ben"]


def test_annotations_in_pages_with_filters_and_labels(changing, ids) -> None:
    body = {"annotator": "Ana", "annotations": [{"window_id": one, "label": f"l{n % 3}"} for n, one in enumerate(ids)]}
    changing.post("/v1/annotations", body, 201)
    found, cursor = [], ""
    while True:
        page = changing.get(f"/v1/annotations?limit=4{cursor}")
        found += [row["annotation_id"] for row in page["data"]]
        if page["meta"]["next"] is None:
            break
        cursor = f"&cursor={page['meta']['next']}"
    assert found == list(range(len(ids), 0, -1))
    assert {row["label"] for row in changing.get("/v1/annotations?label=l1")["data"]} == {"l1"}
    assert changing.get("/v1/annotations?judgement=negative")["data"] == []
    assert all(row["path"].startswith("south/") for row in changing.get("/v1/annotations?recording=south/*")["data"])
    assert "l1" in changing.get("/v1/annotations?label=l9", 404)["error"]["message"]
    for path in ("limit=0", "limit=501", "judgement=x", "cursor=x"):
        changing.get(f"/v1/annotations?{path}", 422)
    labels = changing.get("/v1/annotations/labels")["data"]
    assert [(row["label"], row["positive"], row["annotators"]) for row in labels] == [(f"l{n}", 6, 1) for n in range(3)]


def test_exports_are_files_that_stream(changing, ids) -> None:
    label = '"; DROP TABLE x; --\nZeile 2, „é“'
    body = {"annotator": "Ana", "annotations": [{"window_id": one, "label": label} for one in ids]}
    changing.post("/v1/annotations", body, 201)
    for form, kind in (
        ("csv", "text/csv"),
        ("json", "application/json"),
        ("raven", "application/zip"),
        ("audacity", "application/zip"),
    ):
        with changing.client.stream("GET", f"/v1/annotations/export?form={form}") as answer:
            assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
            assert "attachment" in answer.headers["content-disposition"]
            assert "content-length" not in answer.headers
            data = b"".join(answer.iter_bytes())
        if form == "json":
            assert [row["label"] for row in json.loads(data)] == [label] * 18
        elif kind == "application/zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                assert len(archive.namelist()) == 5 and archive.testzip() is None
        else:
            assert data.count(b"\n") >= 19
    changing.get("/v1/annotations/export?form=xls", 422)
    changing.get("/v1/annotations/export?label=none", 404)
    changing.get("/v1/annotations/export?form=raven&judgement=negative", 404)


def test_feedback_becomes_a_judgement_with_its_provenance(changing, ids) -> None:
    body = {
        "window_id": ids[0],
        "label": "owl",
        "verdict": "wrong",
        "source": {"kind": "probe", "name": "owls", "version": 3, "score": 0.25},
        "comment": "a dog",
        "listener": "Cleo",
    }
    found = changing.post("/v1/feedback", body, 201)["data"]
    row = said(changing)[0]
    assert found["annotations"][0]["annotation_id"] == row["annotation_id"]
    assert (row["judgement"], row["annotator"], row["note"]) == ("negative", "Cleo", "a dog")
    assert row["provenance"] == "feedback: probe owls, version 3, score 0.25"
    for change, status in (
        ({"verdict": "maybe"}, 422),
        ({"source": {"kind": "guess"}}, 422),
        ({"source": None}, 422),
        ({"window_id": "12:0"}, 404),
        ({"window_id": "x"}, 422),
        ({"label": ""}, 422),
        ({"comment": "a\0b"}, 422),
        ({"more": 1}, 422),
    ):
        changing.post("/v1/feedback", {**body, **change}, status)
    assert len(said(changing)) == 1


def test_a_key_signs_what_it_sends_and_needs_the_scope(own, tmp_path) -> None:
    with serve(own, tmp_path / "state") as served:
        keys = {}
        for name, scopes in (("reader", ("read",)), ("Anas phone", ("read", "annotate"))):
            _, secret = served.service.keys.create(name, scopes)
            keys[name] = {"Authorization": f"Bearer {secret}"}
        one = served.get("/v1/windows?limit=1", headers=keys["reader"])["data"][0]["window_id"]
        body = {"annotations": [{"window_id": one, "label": "owl"}]}
        for path in ("/v1/annotations", "/v1/annotations/undo", "/v1/feedback"):
            assert served.post(path, body, 401)["error"]["kind"] == "unauthorized"
            assert served.post(path, body, 403, headers=keys["reader"])["error"]["kind"] == "forbidden"
        assert said(served) == []
        served.post("/v1/annotations", body, 201, headers=keys["Anas phone"])
        served.post(
            "/v1/annotations", {**body, "annotator": "Ben", "provenance": "tour"}, 201, headers=keys["Anas phone"]
        )
        told = [(row["annotator"], row["provenance"]) for row in said(served)]
        assert told == [("Anas phone", "over HTTP (key Anas phone)"), ("Ben", "tour (key Anas phone)")]
        assert served.get("/v1/queries", 403, headers=keys["Anas phone"])["error"]["kind"] == "forbidden"


def test_kept_queries_are_listed_and_reviewed(changing) -> None:
    log = changing.service.query_log
    hits = [{"window_id": "1:0", "score": 0.5, "rank": 1}]
    tokens = [log.keep({"kind": "window", "name": str(n)}, {"k": 5}, {"how": "exact"}, hits) for n in range(5)]
    found, cursor = [], ""
    while True:
        page = changing.get(f"/v1/queries?limit=2{cursor}")
        found += [row["token"] for row in page["data"]]
        if page["meta"]["next"] is None:
            break
        cursor = f"&cursor={page['meta']['next']}"
    assert found == tokens[::-1]
    done = changing.post(f"/v1/queries/{tokens[0]}/review", {"verdict": "poor", "note": "n", "reviewer": "Ana"}, 201)[
        "data"
    ]
    assert done["reviews"][0]["reviewer"] == "Ana" and done["hits"][0]["window_id"] == "1:0"
    assert [row["token"] for row in changing.get("/v1/queries?reviewed=true")["data"]] == [tokens[0]]
    changing.get("/v1/queries/none", 404)
    changing.get("/v1/queries/%27%3B--", 422)
    changing.post("/v1/queries/none/review", {"verdict": "good"}, 404)
    changing.post(f"/v1/queries/{tokens[0]}/review", {"verdict": "great"}, 422)
    changing.get("/v1/queries?limit=0", 422)
    changing.get("/v1/queries?cursor=x", 422)


def test_nothing_is_logged_unless_asked_for(changing) -> None:
    assert changing.get("/v1/queries")["data"] == []
    assert not (changing.state / "queries").exists()


SERVER = """
import sys, uvicorn
from search_api.http.app import create_app
from search_api.http.settings import ServiceSettings
app = create_app(ServiceSettings(sys.argv[1], state=sys.argv[2], decoders=1, threads=1))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[3]), log_level="error")
"""


def test_what_was_answered_with_201_survives_a_kill_at_any_moment(own, tmp_path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    args = [sys.executable, "-c", SERVER, own.store, str(tmp_path / "state"), str(port)]
    server = subprocess.Popen(args, cwd=Path.cwd(), stderr=subprocess.PIPE)
    told: list[int] = []
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            _wait_listening(client, server)
            wait_ready(client)
            rows = client.get("/v1/windows").json()["data"]
            killer = threading.Timer(0.6, lambda: os.kill(server.pid, signal.SIGKILL))
            killer.start()
            for n in range(100_000):
                body = {"annotations": [{"window_id": row["window_id"], "label": f"l{n}"} for row in rows[:3]]}
                try:
                    answer = client.post("/v1/annotations", json=body)
                except httpx.HTTPError:
                    break
                assert answer.status_code == 201, answer.text
                told += [a["annotation_id"] for a in answer.json()["data"]["annotations"]]
            killer.join()
    finally:
        server.kill()
        server.wait()
    kept = AnnotationLog(own.store).current()["annotation_id"].to_pylist()
    assert told and set(told) <= set(kept)
    assert len(kept) % 3 == 0  # a batch is there whole, or not at all
    with serve(own, tmp_path / "state") as served:
        assert served.get("/v1/annotations?limit=1")["data"][0]["annotation_id"] == max(kept)


def _wait_listening(client, server) -> None:
    until = time.monotonic() + 60
    while True:
        with contextlib.suppress(httpx.HTTPError):
            client.get("/healthz")
            return
        assert server.poll() is None and time.monotonic() < until, server.stderr.read().decode()[-2000:]
        time.sleep(0.05)
