"""Keys and sessions: shown once, hashed at rest, refused at once when revoked, never half written."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api import private_files
from search_api.keys import IMPLIED, SCOPES, KeyRing, allowed_scopes
from search_api.sessions import LIFE_S, Sessions
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound, Unavailable


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "service" / "keys.json")


class TestKeys:
    def test_a_key_opens_and_nothing_else_does(self, ring):
        key, secret = ring.create("anna", ["annotate", "read"])
        assert ring.check(secret) == key
        assert key.scopes == ("read", "annotate")
        for wrong in ("", secret[:-1], secret + "x", secret.upper(), key.key_id, "anna", "x" * 10_000, "\udcff", "é"):
            assert ring.check(wrong) is None

    def test_the_secret_is_nowhere(self, ring):
        key, secret = ring.create("anna", ["read"])
        text = ring.path.read_text()
        assert secret not in text
        assert secret[5:20] not in text
        assert secret not in repr(key)
        assert secret not in json.dumps(key.to_json())
        assert "sha256" not in key.to_json()

    def test_two_keys_are_never_the_same(self, ring):
        secrets = {ring.create(f"k{i}", ["read"])[1] for i in range(20)}
        assert len(secrets) == 20
        assert all(len(s) >= 43 + len("sntq_") and s.startswith("sntq_") for s in secrets)

    def test_only_the_owner_may_read_the_file(self, ring):
        old = os.umask(0)
        try:
            ring.create("anna", ["read"])
        finally:
            os.umask(old)
        assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
        ring.create("bert", ["read"])
        assert stat.S_IMODE(ring.path.stat().st_mode) == 0o600
        assert sorted(p.name for p in ring.path.parent.iterdir()) == ["keys.json", "keys.json.lock"]

    def test_a_revoked_key_opens_nothing_and_stays_in_the_list(self, ring):
        key, secret = ring.create("anna", ["read"])
        gone = ring.revoke("anna")
        assert gone.key_id == key.key_id
        assert gone.revoked
        assert ring.check(secret) is None
        assert ring.of_id(key.key_id) is None
        assert [k.name for k in ring.list()] == ["anna"]
        with pytest.raises(NotFound, match="no key that counts"):
            ring.revoke("anna")

    def test_a_name_can_be_used_again(self, ring):
        _, first = ring.create("anna", ["read"])
        with pytest.raises(Conflict, match="already"):
            ring.create("anna", ["read"])
        ring.revoke("anna")
        _, second = ring.create("anna", ["read"])
        assert ring.check(first) is None
        assert ring.check(second).name == "anna"

    def test_revoked_by_id(self, ring):
        key, secret = ring.create("anna", ["read"])
        ring.revoke(key.key_id)
        assert ring.check(secret) is None

    def test_a_name_near_the_wrong_one_is_offered(self, ring):
        ring.create("anna", ["read"])
        with pytest.raises(NotFound, match="did you mean anna"):
            ring.revoke("ana")

    def test_another_process_sees_and_is_seen(self, ring):
        other = KeyRing(ring.path)
        assert other.unused
        _, secret = ring.create("anna", ["read"])
        assert not other.unused
        assert other.check(secret).name == "anna"
        other.revoke("anna")
        assert ring.check(secret) is None

    def test_unused_means_that_no_key_was_ever_made(self, ring):
        assert ring.unused
        ring.create("anna", ["read"])
        ring.revoke("anna")
        assert not ring.unused, "the last key's end must not open the door"

    @pytest.mark.parametrize("name", ["", " a", "a\n", "x" * 65, "a/b", "<b>", "a\x00", '"'])
    def test_names_that_cannot_be(self, ring, name):
        with pytest.raises(Invalid, match="name of a key"):
            ring.create(name, ["read"])
        assert not ring.path.exists()

    @pytest.mark.parametrize(
        ("scopes", "told"), [([], "at least one"), (["raed"], "did you mean read"), ([""], "is no scope")]
    )
    def test_scopes_that_cannot_be(self, ring, scopes, told):
        with pytest.raises(Invalid, match=told):
            ring.create("anna", scopes)

    @given(st.sets(st.sampled_from(SCOPES), min_size=1))
    @settings(max_examples=32)
    def test_what_a_scope_implies(self, scopes):
        allowed = allowed_scopes(scopes)
        # the dumb twin, one scope at a time
        for scope in SCOPES:
            expected = scope in scopes or ("admin" in scopes and scope != "sql")
            assert (scope in allowed) == expected
        assert "sql" not in IMPLIED


class TestTheFile:
    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{", "null", '{"version": 1, "keys": [{}]}', '{"version": 1, "keys": 3}', '{"keys": []}', '{"version": 2, "keys": []}',
         '{"version": 1, "keys": [{"key_id": "a", "name": "b", "scopes": ["read"], "created": "", "revoked": null, "sha256": "zz"}]}'],
    )  # fmt: skip
    def test_a_damaged_file_lets_nobody_in(self, ring, text):
        _, secret = ring.create("anna", ["read"])
        ring.path.write_text(text)
        for ask in (lambda: ring.check(secret), ring.list, lambda: ring.unused, lambda: ring.create("b", ["read"])):
            with pytest.raises(Damaged):
                ask()
        assert ring.path.read_text() == text, "what is damaged is not written over"

    def test_a_write_that_fails_changes_nothing(self, ring, monkeypatch):
        _, secret = ring.create("anna", ["read"])
        before = ring.path.read_bytes()

        def full(*_):
            raise OSError(28, "No space left on device")

        for name in ("fsync", "replace"):
            with monkeypatch.context() as patch:
                patch.setattr(private_files.os, name, full)
                with pytest.raises(Unavailable) as failed:
                    ring.create("bert", ["read"])
            assert failed.value.kind == "disk_full"
            assert ring.path.read_bytes() == before
            assert ring.check(secret)
            assert sorted(p.name for p in ring.path.parent.iterdir()) == ["keys.json", "keys.json.lock"]

    def test_keys_made_by_many_at_once_are_all_kept(self, ring):
        code = (
            "import sys; from search_api.keys import KeyRing\n"
            "ring = KeyRing(sys.argv[1])\n"
            "for i in range(8): ring.create(f'{sys.argv[2]}-{i}', ['read'])\n"
        )
        makers = [subprocess.Popen([sys.executable, "-c", code, str(ring.path), str(n)]) for n in range(3)]
        threads = [
            threading.Thread(target=lambda n=n: [ring.create(f"t{n}-{i}", ["read"]) for i in range(8)])
            for n in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [m.wait(60) for m in makers] == [0, 0, 0]
        assert len({k.name for k in ring.list()}) == 48


class TestSessions:
    @pytest.fixture
    def clock(self):
        return [1_000_000.0]

    @pytest.fixture
    def sessions(self, ring, tmp_path, clock):
        return Sessions(tmp_path / "sessions.json", ring, lambda: clock[0])

    def test_a_session_is_worth_its_key(self, ring, sessions):
        key, _ = ring.create("anna", ["read"])
        token = sessions.begin(key)
        assert sessions.check(token) == key
        ring.revoke("anna")
        assert sessions.check(token) is None

    def test_it_outlives_a_restart_and_its_token_is_nowhere(self, ring, sessions, tmp_path, clock):
        key, _ = ring.create("anna", ["read"])
        token = sessions.begin(key)
        assert Sessions(tmp_path / "sessions.json", ring, lambda: clock[0]).check(token) == key
        assert token not in (tmp_path / "sessions.json").read_text()
        assert stat.S_IMODE((tmp_path / "sessions.json").stat().st_mode) == 0o600

    def test_it_ends(self, ring, sessions, clock):
        key, _ = ring.create("anna", ["read"])
        first, second = sessions.begin(key), sessions.begin(key)
        assert sessions.end(first)
        assert not sessions.end(first)
        assert sessions.check(first) is None
        assert sessions.check(second)
        clock[0] += LIFE_S - 1
        assert sessions.check(second)
        clock[0] += 1
        assert sessions.check(second) is None

    def test_ended_ones_are_forgotten_and_there_are_never_too_many(self, ring, sessions, tmp_path, clock, monkeypatch):
        monkeypatch.setattr("search_api.sessions._SESSIONS_MAX", 5)
        key, _ = ring.create("anna", ["read"])
        old = sessions.begin(key)
        clock[0] += LIFE_S
        tokens = []
        for _ in range(7):
            clock[0] += 1
            tokens.append(sessions.begin(key))
        kept = json.loads((tmp_path / "sessions.json").read_text())["sessions"]
        assert len(kept) == 5
        assert [bool(sessions.check(t)) for t in tokens] == [False] * 2 + [True] * 5
        assert sessions.check(old) is None

    @pytest.mark.parametrize("token", ["", "x", "x" * 10_000, "\udcff"])
    def test_no_token(self, sessions, token):
        assert sessions.check(token) is None
        assert not sessions.end(token)

    @pytest.mark.parametrize(
        "text", ["[]", '{"sessions": 3}', '{"sessions": {"a": 1}}', '{"sessions": {"a": ["k", "x"]}}']
    )
    def test_a_damaged_file_lets_nobody_in(self, sessions, tmp_path, text):
        (tmp_path / "sessions.json").write_text(text)
        with pytest.raises(Damaged):
            sessions.check("x")
