"""An object store on this machine that can be made to fail: moto's S3 behind a proxy that breaks requests as it is told.

``fixture store_server`` (in ``conftest.py``) starts one per test module; ``bucket`` gives each test an empty bucket of its own::

    def test_it(bucket: Bucket) -> None:
        bucket.put("site/a.wav", data)
        bucket.server.faults.add(Fault("drop_body", contains="a.wav", after_bytes=1000, times=2))
        ...
        assert bucket.server.faults.count("GET", "a.wav") == 3
"""

from __future__ import annotations

import http.client
import itertools
import logging
import os
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import pytest

Kind = Literal["status", "reset", "drop_request", "drop_body", "lose_answer", "hold"]
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "server", "date"}
_HELD_AT_MOST_S = 60.0


@dataclass
class Fault:
    """What happens to the requests that match.

    Attributes
    ----------
    kind : str
        ``status``: answered with an error and not forwarded; ``reset``: the connection is reset at once; ``drop_request``:
        closed after the first ``after_bytes`` of the request's body arrived, nothing forwarded; ``drop_body``: forwarded,
        and closed after ``after_bytes`` of the answer's body; ``lose_answer``: forwarded, and closed without an answer;
        ``hold``: forwarded after ``released`` is set.
    method : str
        Only such requests; any when empty.
    contains : str
        What the path with its query must contain, decoded; any when empty.
    skip, times : int
        How many matching requests go well before it, and how many it hits; ``times=-1`` is all.
    code, error : int, str
        Of ``status``: ``503, 'SlowDown'``, ``403, 'AccessDenied'``, ``409, 'ConditionalRequestConflict'`` ...
    """

    kind: Kind
    method: str = ""
    contains: str = ""
    skip: int = 0
    times: int = 1
    after_bytes: int = 0
    code: int = 503
    error: str = "SlowDown"
    released: threading.Event = field(default_factory=threading.Event)
    met: int = 0
    hits: int = 0

    def wants(self, method: str, path: str) -> bool:
        """Tell whether this request is hit, and count it."""
        if (self.method and method != self.method) or self.contains not in path:
            return False
        self.met += 1
        if self.met <= self.skip or (self.times >= 0 and self.hits >= self.times):
            return False
        self.hits += 1
        return True


@dataclass(frozen=True)
class Seen:
    """One request that reached the proxy; ``fault`` is the kind that hit it."""

    method: str
    path: str
    range: str
    condition: str
    fault: str
    signed: bool = True


class Faults:
    """The faults in force, and the requests that came, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.seen: list[Seen] = []

    def add(self, fault: Fault) -> Fault:
        """Put a fault into force and return it."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Lift all faults, let go what is held, and forget the requests."""
        with self._lock:
            for fault in self._faults:
                fault.released.set()
            self._faults.clear()
            self.seen.clear()

    def count(self, method: str = "", contains: str = "") -> int:
        """Return how many requests of a kind came."""
        with self._lock:
            return sum(1 for one in self.seen if (not method or one.method == method) and contains in one.path)

    def meet(self, handler: BaseHTTPRequestHandler) -> Fault | None:
        """Note a request and return the fault that hits it."""
        path = unquote(handler.path)
        headers = handler.headers
        with self._lock:
            fault = next((one for one in self._faults if one.wants(handler.command, path)), None)
            kind = fault.kind if fault else ""
            seen = Seen(
                handler.command,
                path,
                headers.get("Range", ""),
                headers.get("If-None-Match", ""),
                kind,
                "Authorization" in headers,
            )
            self.seen.append(seen)
        return fault


class _Relay(BaseHTTPRequestHandler):
    """Takes one request whole, forwards it, and passes the answer on, unless a fault says otherwise."""

    protocol_version = "HTTP/1.1"
    faults: Faults
    upstream: tuple[str, int]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: ``Faults.seen`` has it."""

    def _relay(self) -> None:
        fault = self.faults.meet(self)
        kind = fault.kind if fault else ""
        if fault and kind == "reset":
            return self._hang_up(reset=True)
        if fault and kind == "drop_request":
            self.rfile.read(min(fault.after_bytes, int(self.headers.get("Content-Length", 0))))
            return self._hang_up(reset=True)
        body = self._body()
        if fault and kind == "status":
            return self._refuse(fault)
        if fault and kind == "hold":
            fault.released.wait(_HELD_AT_MOST_S)
        status, headers, answer = self._forward(body)
        if kind == "lose_answer":
            return self._hang_up(reset=True)
        self._answer(status, headers, answer, fault.after_bytes if fault and kind == "drop_body" else None)
        return None

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = _relay  # noqa: N815 - names of http.server

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in {*HOP_BY_HOP, "content-length", "expect"}:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: int | None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP and not (name.lower() == "content-length" and self.command != "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self._hang_up()

    def _refuse(self, fault: Fault) -> None:
        body = f"<Error><Code>{fault.error}</Code><Message>{fault.error}</Message></Error>".encode()
        self._answer(fault.code, [("Content-Type", "application/xml")], body, None)

    def _hang_up(self, reset: bool = False) -> None:
        self.wfile.flush()
        if reset:  # closed with unsent data thrown away: the other side sees ECONNRESET, not a clean end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what the tests are about."""

    def shutdown_request(self, request: Any) -> None:
        request.close()  # the base class says a polite goodbye first, which a reset must not


class Proxy:
    """A relay to a server on this machine, with faults; ``endpoint`` is its address."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.faults = Faults()
        relay = type("Relay", (_Relay,), {"faults": self.faults, "upstream": upstream})
        self._server = _Server(("127.0.0.1", 0), relay)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let go what is held and close the port."""
        self.faults.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class StoreServer:
    """moto's S3 and the proxy before it.

    Attributes
    ----------
    endpoint : str
        Of the proxy: what the code under test is given as ``AWS_ENDPOINT_URL``.
    faults : Faults
    client : object
        boto3's S3 client straight to moto, past the proxy: for putting and looking.
    """

    _names = itertools.count(1)

    def __init__(self) -> None:
        import boto3
        from botocore.config import Config
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request otherwise
        self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._moto.start()
        host, port = self._moto.get_host_and_port()
        self._proxy = Proxy((host, port))
        self.endpoint, self.faults = self._proxy.endpoint, self._proxy.faults
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
            config=Config(proxies={}),
        )

    def environment(self) -> dict[str, str]:
        """Return the variables by which this process or a child finds the server, and no credentials of a real one."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def bucket(self, name: str = "") -> Bucket:
        """Make an empty bucket."""
        name = name or f"bucket-{next(self._names)}"
        self.client.create_bucket(Bucket=name)
        return Bucket(self, name)

    def stop(self) -> None:
        """Close both ports."""
        self._proxy.stop()
        self._moto.stop()


def ask_anew(patch: pytest.MonkeyPatch) -> None:
    """Let this process ask again after hundredths of a second, and remember no block of another test."""
    from embedder.remote import asking, blocks

    patch.setattr(asking, "DELAYS_S", (0.01, 0.01, 0.01))
    patch.setattr(blocks, "_OF_PROCESS", {})


@dataclass
class Bucket:
    """One bucket, filled and looked at past the proxy."""

    server: StoreServer
    name: str

    @property
    def url(self) -> str:
        """``s3://name``."""
        return f"s3://{self.name}"

    def put(self, key: str, data: bytes, **options: Any) -> None:
        """Write an object, over an old one if there is one."""
        self.server.client.put_object(Bucket=self.name, Key=key, Body=data, **options)

    def put_folder(self, folder: Path, prefix: str = "", **options: Any) -> None:
        """Write every file below a folder, by its relative path."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = path.relative_to(folder).as_posix()
                self.put(f"{prefix.rstrip('/')}/{key}" if prefix else key, path.read_bytes(), **options)

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        return bytes(self.server.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys in order."""
        pages = self.server.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.server.client.delete_object(Bucket=self.name, Key=key)

    def uploads(self) -> list[str]:
        """Return the keys of multipart uploads that were begun and neither finished nor given up."""
        return [one["Key"] for one in self.server.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]
