"""A service to measure: a process of its own, its start timed, its memory watched."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

_READY_S = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running service.

    Attributes
    ----------
    host, port
        Where it listens.
    pid : int
    listening_s, ready_s : float
        Seconds from the start of the process until it answered at all, and until ``/readyz`` said yes.
    """

    host: str
    port: int
    pid: int
    listening_s: float
    ready_s: float

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}:{self.port}"

    def rss_mb(self) -> float:
        """Return the memory of the process and of its children, in MB; pages of mapped files count where they are resident."""
        process = psutil.Process(self.pid)
        return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]) / 1e6

    def own_mb(self) -> float:
        """Return the memory that is the process's own (no mapped files), in MB: what would grow if something leaked."""
        process = psutil.Process(self.pid)
        return sum(p.memory_full_info().uss for p in [process, *process.children(recursive=True)]) / 1e6

    def cpu_s(self) -> float:
        """Return the processor seconds used so far, children included."""
        process = psutil.Process(self.pid)
        return sum(sum(p.cpu_times()[:2]) for p in [process, *process.children(recursive=True)])


@contextlib.contextmanager
def serving(store: str, *more: str) -> Iterator[Server]:
    """Start ``sonotheque serve`` on a free port, and end it afterwards; its own folder is a temporary one."""
    state = tempfile.mkdtemp(prefix="sonotheque-bench-")
    began = time.perf_counter()
    words = ["serve", "--store", store, "--port", "0", "--state", state, "--json", "--rate", "0", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "sonotheque.cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the service's output is not connected")
        url = _url(process)
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        listening = time.perf_counter() - began
        while _status(host, int(port), "/readyz") != 200:
            if process.poll() is not None or time.perf_counter() - began > _READY_S:
                raise RuntimeError(f"the service over {store} did not get ready")
            time.sleep(0.01)
        yield Server(host, int(port), process.pid, listening, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(state, ignore_errors=True)


def start_times(store: str, repeats: int) -> list[dict[str, float]]:
    """Start the service so often, and return how long it took."""
    times = []
    for _ in range(repeats):
        with serving(store) as server:
            times.append({"listening_s": server.listening_s, "ready_s": server.ready_s, "rss_mb": server.rss_mb()})
    return times


def _url(process: subprocess.Popen[str]) -> str:
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        with contextlib.suppress(ValueError, KeyError):
            return str(json.loads("".join(lines))["url"])
    raise RuntimeError("the service ended before it told its address")


def _status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def cores() -> int:
    """Return how many cores client and service share."""
    return len(os.sched_getaffinity(0))


def clip(seconds: float, *, rate_hz: int = 48_000, seed: int = 0) -> bytes:
    """Return a WAV of so many seconds: an owl's hoots of the demo's kind in noise."""
    import io

    import numpy as np
    import soundfile as sf

    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    calls = np.sin(2 * np.pi * 800 * t) * (np.sin(2 * np.pi * 0.7 * t + seed) > 0.6)
    out = io.BytesIO()
    sf.write(
        out, (0.2 * calls + 0.02 * rng.standard_normal(len(t))).astype(np.float32), rate_hz, "PCM_16", format="WAV"
    )
    return out.getvalue()
