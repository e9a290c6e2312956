"""Clips over HTTP: kept once they were decoded, named by their content, gone when they are gone."""

from __future__ import annotations

import os
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.service import sound_kit
from tests.service.hearing_kit import WAV


def test_a_clip_is_kept_and_told_of(served):
    data = sound_kit.clip(seconds=5.0)
    kept = served.post("/v1/clips?name=dawn.wav", status=201, content=data, headers=WAV)["data"]
    assert kept == {
        "clip_id": kept["clip_id"],
        "name": "dawn.wav",
        "duration_s": 5.0,
        "sample_rate_hz": 16_000,
        "channels": 1,
        "windows": 3,
        "bytes": len(data),
    }
    assert served.get(f"/v1/clips/{kept['clip_id']}")["data"] == kept
    again = served.post("/v1/clips", status=201, files={"file": ("other name.wav", data)})["data"]
    assert again == {**kept, "name": "other name.wav"}
    assert {len(name.split(".")[0]) for name in os.listdir(served.state / "clips")} == {32}


@pytest.mark.parametrize(
    "what", [b"", b"no sound at all" * 50, sound_kit.clip(seconds=0.3), sound_kit.wav_head(9) + bytes(99)]
)
def test_what_cannot_be_decoded_is_not_kept(served, what):
    before = sorted(os.listdir(served.state / "clips")) if (served.state / "clips").exists() else []
    answer = served.client.post("/v1/clips", content=what, headers=WAV)
    assert answer.status_code in (415, 422)
    assert answer.json()["error"]["kind"] in ("unsupported_audio", "invalid")
    after = sorted(os.listdir(served.state / "clips")) if (served.state / "clips").exists() else []
    assert after == before


@pytest.mark.parametrize("clip_id", ["0" * 32, "x", "..%2f..%2fetc%2fpasswd", "A" * 32, "0" * 99])
def test_clips_that_are_not_there(served, clip_id):
    error = served.get(f"/v1/clips/{clip_id}", status=404)["error"]
    assert error["kind"] == "not_found" and str(served.state) not in error["message"]


def test_json_is_no_clip(served):
    error = served.post("/v1/clips", json={"clip": "0" * 32}, status=415)["error"]
    assert "audio/*" in error["message"]


def test_an_upload_that_ends_in_the_middle_leaves_nothing_and_disturbs_nobody(live):
    address = urlsplit(live.url)
    data = sound_kit.clip(seconds=20.0)
    with httpx.Client(base_url=live.url) as client:
        for _ in range(5):
            with socket.create_connection((address.hostname, address.port)) as connection:
                head = f"POST /v1/clips HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: audio/wav\r\nContent-Length: {len(data)}\r\n\r\n"
                connection.sendall(head.encode() + data[: len(data) // 2])
        found = client.post("/v1/search", content=sound_kit.clip(), headers=WAV)
        assert found.status_code == 200
    until = time.monotonic() + 5
    while live.app.state.service.sounds.pool._inside:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert not (live.state / "clips").exists() or os.listdir(live.state / "clips") == []
