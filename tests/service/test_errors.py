"""Errors over HTTP: one shape, the right status, and no folder of the server in any message."""

from __future__ import annotations

import logging

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.testclient import TestClient

from search_api.http.errors import Scrubber, add_error_handlers
from sonotheque.core.errors import (
    HTTP_STATUS,
    KINDS,
    Conflict,
    Damaged,
    Invalid,
    Limit,
    NotFound,
    Refused,
    Unavailable,
)


class Body(BaseModel):
    k: int


@pytest.fixture
def client(tmp_path):
    app = FastAPI()
    add_error_handlers(app)
    app.state.scrubber = Scrubber({str(tmp_path): "the archive"})
    errors = {
        "absent": NotFound("no site 'x'"),
        "wrong": Invalid(f"{tmp_path}/part.parquet cannot be"),
        "conflict": Conflict("two models", kind="model_conflict"),
        "damaged": Damaged(f"{tmp_path} is damaged at /var/lib/thing/file.bin"),
        "away": Unavailable("later"),
        "full": Unavailable("full", kind="overloaded"),
        "slow": Unavailable("slow", kind="timeout"),
        "often": Limit("often", kind="rate_limited"),
        "large": Limit("large"),
        "who": Refused("who", kind="unauthorized"),
        "no": Refused("no", kind="forbidden"),
    }

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise errors[name] if name in errors else ZeroDivisionError(f"secret {tmp_path}")

    @app.post("/body")
    async def body(value: Body) -> int:
        return value.k

    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("absent", 404, "not_found"),
        ("wrong", 422, "invalid"),
        ("conflict", 409, "model_conflict"),
        ("damaged", 500, "damaged"),
        ("away", 503, "unavailable"),
        ("full", 503, "overloaded"),
        ("slow", 408, "timeout"),
        ("often", 429, "rate_limited"),
        ("large", 413, "limit"),
        ("who", 401, "unauthorized"),
        ("no", 403, "forbidden"),
    ],
)
def test_each_kind_has_its_status(client, name, status, kind):
    answer = client.get(f"/raise/{name}")
    assert answer.status_code == status
    assert answer.json()["error"]["kind"] == kind
    assert kind in KINDS
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_statuses_of_kinds_are_of_kinds_that_there_are():
    assert set(HTTP_STATUS) <= set(KINDS)


def test_no_folder_is_told(client, tmp_path):
    for name in ("wrong", "damaged"):
        message = client.get(f"/raise/{name}").json()["error"]["message"]
        assert str(tmp_path) not in message
        assert "/var/lib" not in message
        assert "the archive" in message


def test_what_nobody_foresaw_is_logged_and_not_told(client, caplog, tmp_path):
    with caplog.at_level(logging.ERROR, "sonotheque.service"):
        answer = client.get("/raise/other")
    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "internal"
    assert "secret" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_wrong_values_say_where(client):
    answer = client.post("/body", json={"k": "many"})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["fields"][0]["where"] == "body.k"
    assert "body.k" in error["message"]
    broken = client.post("/body", content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 422
    assert broken.json()["error"]["kind"] == "invalid"


def test_addresses_and_methods_that_are_not_there(client):
    assert client.get("/nothing").json()["error"]["kind"] == "not_found"
    answer = client.delete("/body")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["kind"] == "invalid"


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        ("store at /srv/archive is", "store at the archive is"),
        ("/srv/archive/embeddings/x.parquet is", "the archive/embeddings/x.parquet is"),
        ("/srv/archive2/x.parquet", "(a file of the server)"),
        ("see /v1/labels", "see /v1/labels"),
        ("forest/dawn.wav at 1/2 of it", "forest/dawn.wav at 1/2 of it"),
        ("in '/etc/passwd'", "in '(a file of the server)'"),
        ("at C:\\data\\x.wav", "at (a file of the server)"),
    ],
)
def test_scrubbing(message, cleaned):
    assert Scrubber({"/srv/archive": "the archive"}).clean(message) == cleaned


@given(st.text(alphabet="abc /._-", max_size=40))
def test_no_message_keeps_the_folder(text):
    cleaned = Scrubber({"/srv/archive": "the archive"}).clean(f"{text} /srv/archive/{text}")
    assert "/srv/archive/" not in cleaned
