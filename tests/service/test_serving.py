"""The server as a process of its own: where it listens, how it ends, and that requests are finished first."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from search_api.http import serving
from search_api.http.serving import listen, make_config, require_keys, url_of
from search_api.http.settings import Limits, ServiceSettings
from search_api.keys import KeyRing
from sonotheque.core.errors import Conflict, Invalid, NotFound, Refused
from tests.cluster.support import cli_env
from tests.service.guard_kit import Wire, bare_app, parsed

SLOW = """
import asyncio, sys, threading
from types import SimpleNamespace
from pathlib import Path
from search_api.http import serving
from search_api.http.settings import Limits, ServiceSettings
from tests.service.guard_kit import bare_app

folder, drain_s = Path(sys.argv[1]), float(sys.argv[2])
app = bare_app(folder)
app.state.service = SimpleNamespace(draining=False)

@app.get("/v1/draining")
async def draining() -> bool:
    return app.state.service.draining

@app.get("/v1/waits")
async def waits() -> str:
    while not (folder / "go").exists():
        await asyncio.sleep(0.01)
    return "finished"

@app.get("/v1/file")
async def file(began: str) -> str:
    (folder / began).touch()
    while not (folder / "go").exists():
        await asyncio.sleep(0.01)
    return "finished, draining" if app.state.service.draining else "finished"

serving.create_app = lambda settings: app
serving.run(ServiceSettings(str(folder), state=str(folder), port=0, limits=Limits(drain_s=drain_s)),
            lambda url: print(url, flush=True))
print("ended well", flush=True)
"""


@contextlib.contextmanager
def process(folder, drain_s=20):
    """Yield a running server and its address."""
    started = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(folder), str(drain_s)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli_env(),
    )  # fmt: skip
    try:
        assert started.stdout
        url = started.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), started.communicate()
        yield started, url
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate(timeout=20)


def asked(url, found, **more):
    try:
        found.append(httpx.get(url, timeout=60, **more))
    except httpx.HTTPError as error:
        found.append(error)


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def refused(url):
    try:
        httpx.get(url, timeout=5)
    except httpx.ConnectError:
        return True
    return False


class TestEnding:
    @pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
    def test_a_running_request_is_finished_and_no_new_one_taken(self, tmp_path, sig):
        with process(tmp_path) as (server, url):
            found: list = []
            thread = threading.Thread(target=asked, args=(f"{url}/v1/file?began=one", found))
            thread.start()
            until((tmp_path / "one").exists)
            server.send_signal(sig)
            until(lambda: refused(f"{url}/healthz"))
            assert server.poll() is None
            assert not found
            (tmp_path / "go").touch()
            thread.join(30)
            assert found[0].json() == "finished, draining"
            out, err = server.communicate(timeout=30)
            assert server.returncode == 0
            assert "ended well" in out
            assert "Traceback" not in err

    def test_one_that_takes_too_long_is_not_waited_for(self, tmp_path):
        with process(tmp_path, drain_s=1) as (server, url):
            found: list = []
            thread = threading.Thread(target=asked, args=(f"{url}/v1/file?began=one", found))
            thread.start()
            until((tmp_path / "one").exists)
            server.send_signal(signal.SIGTERM)
            out, _ = server.communicate(timeout=30)
            thread.join(30)
            assert server.returncode == 0
            assert "ended well" in out
            assert not isinstance(found[0], httpx.Response) or found[0].status_code >= 500

    def test_streams_do_not_hold_it_up(self, tmp_path):
        with process(tmp_path, drain_s=60) as (server, url):
            with Wire(int(url.rsplit(":", 1)[1])) as wire:
                wire.say("GET /v1/events HTTP/1.1\nHost: localhost\n\n")
                assert wire.some().startswith(b"HTTP/1.1 200")
                server.send_signal(signal.SIGTERM)
                assert wire.rest().endswith(b"0\r\n\r\n")
            _, err = server.communicate(timeout=30)
            assert server.returncode == 0
            assert "without completing" not in err

    def test_idle_connections_do_not_hold_it_up(self, tmp_path):
        with process(tmp_path, drain_s=60) as (server, url), httpx.Client(base_url=url) as client:
            assert client.get("/healthz").status_code == 200
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=30)
            assert server.returncode == 0

    def test_the_answers_of_the_server_itself(self, tmp_path):
        with process(tmp_path) as (_, url):
            answer = httpx.get(
                f"{url}/v1/draining", headers={"X-Forwarded-For": "10.0.0.9", "X-Forwarded-Proto": "https"}
            )
            assert answer.json() is False
            assert "server" not in answer.headers
            with Wire(int(url.rsplit(":", 1)[1])) as wire:
                status, headers, _ = parsed(wire.say("nonsense\n\n").rest())
            assert status == 400
            assert "uvicorn" not in str(headers).lower()


class TestWhereItListens:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "birds.example.org", ""])
    def test_not_where_others_can_reach_it_without_keys(self, tmp_path, host):
        settings = ServiceSettings(str(tmp_path), host=host)
        with pytest.raises(Refused, match=f"sonotheque keys create NAME --scope read --store {tmp_path}"):
            require_keys(settings)
        assert not (tmp_path / "service").exists()

    def test_with_a_key_it_does(self, tmp_path):
        settings = ServiceSettings(str(tmp_path), host="0.0.0.0")
        ring = KeyRing(f"{settings.state_folder}/keys.json")
        ring.create("anna", ["read"])
        require_keys(settings)
        ring.revoke("anna")
        with pytest.raises(Refused):
            require_keys(settings)

    def test_the_command_names_another_state_folder(self, tmp_path):
        with pytest.raises(Refused, match=r"--state /elsewhere$"):
            require_keys(ServiceSettings(str(tmp_path), state="/elsewhere", host="0.0.0.0"))

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
    def test_on_loopback_it_needs_none(self, tmp_path, host):
        require_keys(ServiceSettings(str(tmp_path), host=host))

    def test_nothing_is_opened_before_keys_are_looked_at(self, tmp_path, monkeypatch):
        def never(*_):
            raise AssertionError("listened")

        monkeypatch.setattr(serving, "listen", never)
        with pytest.raises(Refused):
            serving.run(ServiceSettings(str(tmp_path), host="0.0.0.0"))

    def test_a_port_that_is_taken(self):
        with listen("127.0.0.1", 0) as first:
            port = first.getsockname()[1]
            with pytest.raises(Conflict, match=f"port {port} of 127.0.0.1 is taken.*--port 0"):
                listen("127.0.0.1", port)

    def test_any_free_one(self):
        with listen("127.0.0.1", 0) as one, listen("127.0.0.1", 0) as two:
            assert one.getsockname()[1] != two.getsockname()[1]
            assert url_of("127.0.0.1", one) == f"http://127.0.0.1:{one.getsockname()[1]}"
            assert url_of("0.0.0.0", one) == f"http://127.0.0.1:{one.getsockname()[1]}"
            assert url_of("::1", one) == f"http://[::1]:{one.getsockname()[1]}"

    @pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.9", "x" * 300, "a b"])
    def test_a_host_that_is_not_here(self, host):
        with pytest.raises(Invalid, match="--host"):
            listen(host, 0)

    def test_a_port_that_may_not_be_used(self, monkeypatch):
        def denied(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(socket.socket, "bind", denied)
        with pytest.raises(Invalid, match="below 1024"):
            listen("127.0.0.1", 80)

    def test_no_store(self, tmp_path):
        with pytest.raises(NotFound):
            serving.run(ServiceSettings(str(tmp_path / "no"), port=0))
        assert os.listdir(tmp_path) == []


def test_what_the_server_is_told(tmp_path):
    """Settings that keep what the guards believe true."""
    config = make_config(bare_app(tmp_path), ServiceSettings(str(tmp_path), limits=Limits(concurrency=10, drain_s=0.2)))
    assert not config.proxy_headers
    assert not config.access_log
    assert not config.server_header
    assert config.timeout_graceful_shutdown == 1
    assert config.limit_concurrency > 10
    assert config.h11_max_incomplete_event_size == 32_768
    config.load()
    assert config.http_protocol_class is serving.PatientOnlySoLong
    assert config.ws_protocol_class is None


def test_too_many_connections_are_told_in_a_word(tmp_path):
    """uvicorn's own bound, far above the guards': a plain 503."""
    with process(tmp_path) as (_, url):
        port = int(url.rsplit(":", 1)[1])
        with contextlib.ExitStack() as stack:
            for _ in range(64 * 8):
                stack.enter_context(Wire(port))
            with Wire(port) as wire:
                answer = wire.say("GET /healthz HTTP/1.1\nHost: localhost\nConnection: close\n\n").rest()
            assert parsed(answer)[0] == 503
        until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
