"""A store in Google's object store: the same commit by another protocol, its condition ``ifGenerationMatch=0``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest

from sonotheque.core.errors import NotFound, Unavailable
from store import create_config, load_ledger, open_archive, remote, verify, write_snapshot
from store.fsops import ops_of, put_new
from store.objects import PROBE
from store.state import state_root
from tests.objects.gcs import GoogleServer, _Handler
from tests.store import kit

CONFIG = kit.store_config()
ITEMS = [(kit.recording("a/1.wav"), 3), (kit.recording("a/3.wav"), 2)]


@dataclass
class WritableServer(GoogleServer):
    """One that takes uploads; ``lost`` answers are not given after the upload took effect."""

    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    uploads: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._server.RequestHandlerClass = type("Handler", (_Writable,), {"server_of": self})


class _Writable(_Handler):
    server_of: WritableServer

    def do_GET(self) -> None:  # noqa: N802 - a name of http.server
        parts = urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        key = unquote(parts.path.partition("/o/")[2])
        held = self.server_of.objects.get(key)
        wanted = self.headers.get("Range", "")
        if held and wanted.startswith("bytes=-"):
            return self._send(206, held.data[-int(wanted.removeprefix("bytes=-")) :], "application/octet-stream")
        if held and asked.get("alt") != "media":
            facts = {"name": key, "size": str(len(held.data)), "generation": str(held.generation), "bucket": "sounds"}
            return self._json(200, {**facts, "metadata": self.server_of.metadata.get(key, {})})
        if parts.path.endswith("/o") and asked.get("delimiter") == "/":
            return self._folder(asked.get("prefix", ""))
        return super().do_GET()

    def _folder(self, prefix: str) -> None:
        below = [name.removeprefix(prefix) for name in self.server_of.objects if name.startswith(prefix)]
        files = [name for name in below if "/" not in name]
        folders = sorted({name.partition("/")[0] for name in below if "/" in name})
        items = [
            {"name": prefix + name, "size": str(len(self.server_of.objects[prefix + name].data))} for name in files
        ]
        self._json(200, {"items": items, "prefixes": [f"{prefix}{name}/" for name in folders]})

    def do_POST(self) -> None:  # noqa: N802
        store = self.server_of
        asked = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"].encode()
        _, facts, _ = BytesParser().parsebytes(b"Content-Type: " + kind + b"\n\n" + body).walk()
        about = json.loads(facts.get_payload())
        store.uploads += 1
        if asked.get("ifGenerationMatch") == "0" and about["name"] in store.objects:
            return self._json(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        boundary = b"--" + kind.partition(b'boundary="')[2].rstrip(b'"')
        data = body.split(boundary)[2].partition(b"\n\n")[2].removesuffix(b"\n")
        store.put(about["name"], data)
        store.metadata[about["name"]] = about.get("metadata", {})
        if store.lost:
            store.lost -= 1
            self.close_connection = True
            return None
        return self._json(200, {"name": about["name"], "size": str(len(data)), "generation": "1"})


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[WritableServer]:
    server = WritableServer()
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SONOTHEQUE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(remote.ANONYMOUS, "1")
    monkeypatch.setattr(remote, "WAITS_S", (0.0,) * 3)
    remote._filesystem.cache_clear()
    yield server
    remote._filesystem.cache_clear()
    server.stop()


def test_a_store(google: WritableServer, tmp_path) -> None:
    here, _ = kit.new_store(tmp_path / "here", CONFIG)
    root = f"{google.url}/deep/archive"
    create_config(root, CONFIG)
    for store in (here, root):
        assert kit.write_part(store, CONFIG, ITEMS).won
        write_snapshot(store, CONFIG, load_ledger(store))
    held = {name.removeprefix("deep/archive/"): one.data for name, one in google.objects.items()}
    assert held.pop(PROBE)
    assert held == kit.tree(here)
    assert verify(root, [], deep=True).ok
    with open_archive(root) as there, open_archive(here) as local:
        query = "SELECT path, embedding FROM embeddings ORDER BY path, start_sample"
        assert there.sql(query).equals(local.sql(query))
        assert np.array_equal(next(there.vectors())[1], next(local.vectors())[1])


def test_the_first_wins_and_a_lost_answer_is_its_own(google: WritableServer) -> None:
    root = f"{google.url}/a"
    create_config(root, CONFIG)
    google.lost = 1
    assert kit.write_part(root, CONFIG, ITEMS).won
    before = dict(google.objects)
    assert not kit.write_part(root, CONFIG, ITEMS, perturb=1e-3).won
    assert google.objects == before
    ops = ops_of(root)
    assert not put_new(ops, f"{root}/_tmp", "x", f"{root}/sonotheque.json", b"another")
    assert not kit.temporary_files(state_root(root))


def test_errors(google: WritableServer) -> None:
    with pytest.raises(NotFound, match="is not a store"):
        load = open_archive(f"{google.url}/nothing")
        load.close()
    google.error = 403
    with pytest.raises(Unavailable, match="may not be read"):
        open_archive(f"{google.url}/a")
