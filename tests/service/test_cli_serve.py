"""``sonotheque serve`` and ``sonotheque keys`` from a terminal."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from search_api.http.settings import PORT, Limits, ServiceSettings
from search_api.keys import KeyRing
from sonotheque.cli import serve as verb
from sonotheque.cli.main import main
from tests.cluster.support import cli_env
from tests.service.conftest import wait_ready


@pytest.fixture
def sonotheque(monkeypatch, capfd):
    """Run a verb in this process; returns exit code, stdout, stderr."""

    def go(*words):
        monkeypatch.setattr(sys, "argv", ["sonotheque", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err

    return go


@pytest.fixture
def settings_of(sonotheque, monkeypatch):
    """What `serve` would run with."""

    def go(*words):
        seen = []
        monkeypatch.setattr("search_api.http.serving.run", lambda settings, told: seen.append(settings))
        code, out, err = sonotheque("serve", *words)
        return (seen[0] if seen else None), code, out, err

    return go


class TestServe:
    def test_a_real_one(self, own, tmp_path):
        """Starts, tells its address, answers, and ends well when asked to."""
        words = ["serve", "--store", own.store, "--port", "0", "--state", str(tmp_path / "state"), "--json"]
        started = subprocess.Popen(
            [sys.executable, "-m", "sonotheque.cli.main", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli_env(),
        )  # fmt: skip
        assert started.stdout
        try:
            told = json.loads("".join(iter(lambda: started.stdout.read(1), "}")) + "}")
            assert told["store"] == own.store
            with httpx.Client(base_url=told["url"]) as client:
                wait_ready(client)
                assert client.get("/v1").json()["data"]["store"]["windows"] == 18
                taken = subprocess.run(
                    [sys.executable, "-m", "sonotheque.cli.main", "serve", "--store", own.store, "--port", told["url"].rsplit(":", 1)[1]],
                    capture_output=True, text=True, env=cli_env(), timeout=60,
                )  # fmt: skip
                assert taken.returncode == 5
                assert "is taken" in taken.stderr
                assert "--port 0" in taken.stderr
            started.send_signal(signal.SIGTERM)
            _, err = started.communicate(timeout=60)
        finally:
            if started.poll() is None:
                started.kill()
                started.communicate()
        assert started.returncode == 0, err
        assert "GET /v1 200" in err
        assert "Traceback" not in err
        assert not Path(own.store, "service").exists(), "--state was given"

    def test_the_options_become_settings(self, settings_of, tmp_path):
        (tmp_path / "season").mkdir()
        found, code, _, _ = settings_of(
            "--store", "archive", "--host", "0.0.0.0", "--port", 9000, "--recordings", "/r", "--ingest", f"season={tmp_path / 'season'}",
            "--sql", "--log-share", 0.05, "--state", "/s", "--weights", "/w", "--threads", 2, "--allow-host", "a.example",
            "--allow-host", "b.example", "--rate", 60,
        )  # fmt: skip
        assert code == 0
        assert found == ServiceSettings(
            store="archive",
            state="/s",
            host="0.0.0.0",
            port=9000,
            allow_hosts=("a.example", "b.example"),
            recordings="/r",
            ingest_roots={"season": str(tmp_path / "season")},
            sql=True,
            log_share=0.05,
            weights="/w",
            threads=2,
            limits=Limits(rate_per_min=60, upload_rate_per_min=60),
        )

    def test_what_is_so_without_options(self, settings_of):
        assert settings_of("--store", "archive")[0] == ServiceSettings(store="archive", port=PORT)

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("--ingest", "season"), 2, "NAME=DIR"),
            (("--ingest", "=/x"), 2, "NAME=DIR"),
            (("--ingest", "a="), 2, "NAME=DIR"),
            (("--ingest", "a=/no/such/folder"), 4, "no such folder"),
            (("--ingest", "../a=/tmp"), 2, "no slash"),
            (("--ingest", "a=/tmp", "--ingest", "a=/"), 5, "twice"),
            (("--log-share", "5"), 2, "0.05 for 5 %"),
            (("--port", "70000"), 2, "65535"),
            (("--port", "many"), 2, ""),
            (("--threads", "-1"), 2, ""),
        ],
        ids=str,
    )
    def test_options_that_cannot_be(self, settings_of, words, code, told):
        found, left, out, err = settings_of("--store", "archive", *words)
        assert (found, left, out) == (None, code, "")
        assert told in err

    def test_no_store(self, sonotheque, tmp_path):
        code, out, err = sonotheque("serve", "--store", tmp_path / "no", "--port", 0)
        assert (code, out) == (4, "")
        assert str(tmp_path / "no") in err
        assert not (tmp_path / "no").exists()

    def test_elsewhere_without_keys(self, sonotheque, made, tmp_path):
        code, out, err = sonotheque("serve", "--store", made.store, "--host", "0.0.0.0", "--state", tmp_path)
        assert (code, out) == (10, "")
        assert f"sonotheque keys create NAME --scope read --store {made.store} --state {tmp_path}" in err
        as_json = sonotheque("serve", "--store", made.store, "--host", "0.0.0.0", "--state", tmp_path, "--json")
        assert json.loads(as_json[1])["error"]["kind"] == "refused"

    def test_a_state_folder_that_cannot_be(self, sonotheque, made, tmp_path):
        (tmp_path / "file").write_text("")
        code, _, err = sonotheque("serve", "--store", made.store, "--port", 0, "--state", tmp_path / "file" / "x")
        assert code == 6
        assert "--state DIR" in err

    def test_requests_are_written_down_unless_quiet(self):
        import logging

        logger = logging.getLogger("sonotheque")
        before = logger.level
        try:
            verb._logs(quiet=True)
            assert not logging.getLogger("sonotheque.requests").isEnabledFor(logging.INFO)
            verb._logs(quiet=False)
            assert logging.getLogger("sonotheque.requests").isEnabledFor(logging.INFO)
        finally:
            logger.setLevel(before)


class TestKeys:
    def test_create_shows_it_once(self, sonotheque, own):
        code, out, err = sonotheque(
            "keys", "create", "anna", "--scope", "read", "--scope", "annotate", "--store", own.store
        )
        assert code == 0
        secret = out.strip()
        assert secret.startswith("sntq_"), "stdout is the key alone, to be piped"
        assert "anna: read, annotate" in err
        path = Path(own.store, "service", "keys.json")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert KeyRing(path).check(secret).scopes == ("read", "annotate")
        code, out, _ = sonotheque("keys", "list", "--store", own.store)
        assert "anna" in out
        assert secret not in out

    def test_as_json(self, sonotheque, own):
        made = json.loads(sonotheque("keys", "create", "anna", "--store", own.store, "--json")[1])
        assert made["scopes"] == ["read"]
        assert made["key"].startswith("sntq_")
        (listed,) = json.loads(sonotheque("keys", "list", "--store", own.store, "--json")[1])["keys"]
        assert listed == {k: v for k, v in made.items() if k != "key"}
        gone = json.loads(sonotheque("keys", "revoke", "anna", "--store", own.store, "--json")[1])
        assert gone["revoked"]

    def test_revoke(self, sonotheque, own):
        secret = sonotheque("keys", "create", "anna", "--store", own.store)[1].strip()
        code, out, _ = sonotheque("keys", "revoke", "anna", "--store", own.store)
        assert code == 0
        assert "does not count any more" in out
        assert KeyRing(Path(own.store, "service", "keys.json")).check(secret) is None
        assert sonotheque("keys", "revoke", "anna", "--store", own.store)[0] == 4

    def test_none_yet(self, sonotheque, own):
        code, out, _ = sonotheque("keys", "list", "--store", own.store)
        assert code == 0
        assert "no key was made yet" in out

    def test_in_another_folder(self, sonotheque, made, tmp_path):
        before = sorted(os.listdir(made.store))
        code, *_ = sonotheque("keys", "create", "anna", "--store", made.store, "--state", tmp_path / "state")
        assert code == 0
        assert (tmp_path / "state" / "keys.json").exists()
        assert sorted(os.listdir(made.store)) == before

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (("create", "anna", "--scope", "raed"), 2, "did you mean read"),
            (("create", "a/b"), 2, "name of a key"),
            (("create",), 2, ""),
            (("revoke", "anna"), 4, "no key that counts"),
        ],
        ids=str,
    )
    def test_what_cannot_be(self, sonotheque, own, words, code, told):
        left, out, err = sonotheque("keys", *words, "--store", own.store)
        assert (left, out) == (code, "")
        assert told in err
        assert not Path(own.store, "service", "keys.json").exists()

    @pytest.mark.parametrize("words", [("create", "anna"), ("list",), ("revoke", "anna")], ids=str)
    def test_no_store(self, sonotheque, tmp_path, words):
        code, _, _ = sonotheque("keys", *words, "--store", tmp_path / "no")
        assert code == 4
        assert not (tmp_path / "no").exists()

    def test_a_key_opens_a_running_service_at_once(self, sonotheque, own, tmp_path):
        from tests.service.conftest import serve as served_at

        state = Path(own.store, "service")
        with served_at(own, state) as served:
            assert served.client.get("/v1").status_code == 200
            secret = sonotheque("keys", "create", "anna", "--store", own.store)[1].strip()
            assert served.client.get("/v1").status_code == 401
            assert served.client.get("/v1", headers={"X-API-Key": secret}).status_code == 200


def test_a_taken_port_is_told_before_anything_is_loaded(sonotheque, made, monkeypatch, tmp_path):
    def never(*_):
        raise AssertionError("made an application")

    monkeypatch.setattr("search_api.http.serving.create_app", never)
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, err = sonotheque("serve", "--store", made.store, "--port", other.getsockname()[1], "--state", tmp_path)
    assert code == 5
    assert "is taken" in err
