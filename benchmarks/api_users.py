"""Users of a service: each a thread that asks, waits for the answer, and asks again. Standard library only, so that they cost little."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.api_server import Server

POLITE = (429, 503)  # refusals by policy
_count = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes
    ----------
    path : str
    body : bytes or None
        None: GET.
    content_type : str
    is_new : bool
        A sound that was never sent before: its last two samples are a count. The service knows sounds that it has just heard.
    """

    path: str
    body: bytes | None = None
    content_type: str = "audio/wav"
    is_new: bool = False


@dataclass(slots=True)
class Tally:
    """What one kind of user met.

    Attributes
    ----------
    latencies_ms : list of float
        Of answers with status 200.
    statuses : Counter
        0: the connection broke.
    """

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return counts and percentiles."""
        found = np.asarray(self.latencies_ms or [np.nan])
        names = {"median_ms": 50, "p95_ms": 95, "p99_ms": 99}
        errors = sum(n for s, n in self.statuses.items() if s != 200 and s not in POLITE)
        return {
            "answers": len(self.latencies_ms),
            "per_s": round(len(self.latencies_ms) / self.seconds, 2) if self.seconds else None,
            **{name: round(float(np.percentile(found, q)), 2) for name, q in names.items()},
            "statuses": {str(s): n for s, n in sorted(self.statuses.items())},
            "errors": errors,
        }


def once(connection: http.client.HTTPConnection, ask: Ask) -> tuple[int, bytes]:
    """Send one request and return status and body."""
    if ask.body is None:
        connection.request("GET", ask.path)
    else:
        body = ask.body[:-4] + (next(_count) & 0x0FFF0FFF).to_bytes(4, "little") if ask.is_new else ask.body
        connection.request("POST", ask.path, body, {"Content-Type": ask.content_type})
    answer = connection.getresponse()
    return answer.status, answer.read()


def closed_loop(server: Server, asks: Sequence[Ask], users: int, seconds: float, *, warm: int = 2) -> Tally:
    """Let so many users ask without pause for so many seconds; each begins elsewhere in ``asks``.

    A refusal by policy is waited out for a tenth of a second, as a client that reads ``Retry-After`` would wait longer.
    """
    tally, lock = Tally(), threading.Lock()
    gate = threading.Barrier(users + 1)
    until = [0.0]

    def user(number: int) -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        for i in range(warm):
            once(connection, asks[(number + i) % len(asks)])
        gate.wait()
        at = number
        while time.perf_counter() < until[0]:
            began = time.perf_counter()
            try:
                status, _ = once(connection, asks[at % len(asks)])
            except (OSError, http.client.HTTPException):
                status = 0
                connection.close()
            took = 1000 * (time.perf_counter() - began)
            with lock:
                tally.statuses[status] += 1
                if status == 200:
                    tally.latencies_ms.append(took)
            if status in POLITE:
                time.sleep(0.1)
            at += users
        connection.close()

    threads = [threading.Thread(target=user, args=(n,)) for n in range(users)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    until[0] = began + 1e9
    gate.wait()
    began = time.perf_counter()
    until[0] = began + seconds
    for thread in threads:
        thread.join()
    tally.seconds = time.perf_counter() - began
    return tally


def nuisance(
    server: Server, body: bytes, users: int, stop: threading.Event
) -> tuple[list[threading.Thread], Counter[str]]:
    """Start users who send a body so slowly that it never ends, or go away in its middle; returns them and what became of them."""
    met: Counter[str] = Counter()

    def slow(number: int) -> None:
        while not stop.is_set():
            met[_half_sent(server, body, stop, go_away=number % 2 == 1)] += 1

    threads = [threading.Thread(target=slow, args=(n,), daemon=True) for n in range(users)]
    for thread in threads:
        thread.start()
    return threads, met


def _half_sent(server: Server, body: bytes, stop: threading.Event, *, go_away: bool) -> str:
    try:
        with socket.create_connection((server.host, server.port), timeout=60) as link:
            head = f"POST /v1/search?k=10 HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: audio/wav\r\nContent-Length: {len(body)}\r\n\r\n"
            link.sendall(head.encode())
            if go_away:
                link.sendall(body[: len(body) // 2])
                stop.wait(0.2)
                return "went away"
            link.settimeout(0.5)
            for at in range(0, len(body), 64):
                if stop.is_set():
                    return "still sending"
                link.sendall(body[at : at + 64])
                try:
                    answer = link.recv(200)
                except TimeoutError:
                    continue
                return f"refused {answer.split(b' ')[1].decode()}" if answer else "closed"
    except OSError:
        return "closed"
    return "sent"


def together(parts: dict[str, Callable[[], Tally]]) -> dict[str, Tally]:
    """Run several kinds of users at the same time."""
    found: dict[str, Tally] = {}
    threads = [threading.Thread(target=lambda n=name, f=part: found.update({n: f()})) for name, part in parts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def hits_of(body: bytes) -> list[dict[str, Any]]:
    """Return the hits of a search's answer."""
    hits: list[dict[str, Any]] = json.loads(body)["data"]["hits"]
    return hits
