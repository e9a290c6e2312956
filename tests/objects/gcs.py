"""As much of Google Cloud Storage's JSON API as reading recordings takes: listing in pages, facts, ranges of one generation."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Held:
    """An object."""

    data: bytes
    generation: int
    created: str


@dataclass
class GoogleServer:
    """A server with one bucket; ``denied`` makes every answer a 403, and so on."""

    bucket: str = "sounds"
    objects: dict[str, Held] = field(default_factory=dict)
    error: int = 0
    errors_left: int = -1
    paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """``gs://sounds``."""
        return f"gs://{self.bucket}"

    def environment(self) -> dict[str, str]:
        """Return the variables by which the server is found, without credentials."""
        return {
            "STORAGE_EMULATOR_HOST": self.endpoint,
            "SONOTHEQUE_ANONYMOUS": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "GOOGLE_APPLICATION_CREDENTIALS": "",
            "CLOUDSDK_CONFIG": os.devnull,
        }

    def put(self, key: str, data: bytes) -> None:
        """Write an object; over an old one it is another generation."""
        old = self.objects.get(key)
        generation = old.generation + 1 if old else 1_700_000_000_000_000
        self.objects[key] = Held(data, generation, "2026-05-01T04:00:00.123Z")

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: GoogleServer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        store, parts = self.server_of, urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        store.paths.append(unquote(self.path))
        if store.error and store.errors_left:
            store.errors_left -= 1
            return self._json(store.error, {"error": {"code": store.error, "message": "no"}})
        path = parts.path.removeprefix("/download").removeprefix("/storage/v1/b/")
        bucket, _, key = path.partition("/o")
        if bucket != store.bucket:
            return self._json(404, {"error": {"code": 404, "message": "no such bucket"}})
        if not key:
            return self._list(asked)
        name = unquote(key.removeprefix("/"))
        held = store.objects.get(name)
        if held is None:
            return self._json(404, {"error": {"code": 404, "message": "no such object"}})
        if asked.get("ifGenerationMatch", str(held.generation)) != str(held.generation):
            return self._json(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        if asked.get("alt") != "media":
            return self._json(200, _facts(name, held))
        start, _, stop = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return self._send(206, held.data[int(start) : int(stop) + 1 if stop else None], "application/octet-stream")

    def _list(self, asked: dict[str, str]) -> None:
        names = sorted(
            (name for name in self.server_of.objects if name.startswith(asked.get("prefix", ""))), key=str.encode
        )
        first = int(asked.get("pageToken", "0"))
        last = first + int(asked.get("maxResults", "1000"))
        page: dict[str, object] = {"items": [_facts(name, self.server_of.objects[name]) for name in names[first:last]]}
        if last < len(names):
            page["nextPageToken"] = str(last)
        self._json(200, page)

    def _json(self, status: int, value: dict[str, object]) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _facts(name: str, held: Held) -> dict[str, object]:
    return {
        "name": name,
        "size": str(len(held.data)),
        "timeCreated": held.created,
        "generation": str(held.generation),
    }
