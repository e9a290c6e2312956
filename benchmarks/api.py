"""What the service costs: searches by uploaded sound and by window, pictures, its start, and how it holds under load."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.api_server import Server, clip, cores, serving, start_times
from benchmarks.api_text import middle
from benchmarks.api_users import Ask, Tally, closed_loop, hits_of, nuisance, once, together
from benchmarks.envelope import write
from benchmarks.machine import machine
from benchmarks.search_layout import Layout
from benchmarks.search_store import make_search_store
from benchmarks.telling import telling

SCRATCH = Path(".bench")
RESULTS = Path(__file__).parent / "results" / "api.json"
MODEL, DIM = "birdnet_v2.4", 1024
_QUICK_WINDOWS = 20_000
_CLIPS = 8
_USERS = ((1, "alone"), (8, "eight"), (32, "thirty_two"))


def run(
    *,
    windows: int = 1_000_000,
    seconds: float = 30.0,
    real: str | None = None,
    page: bool = True,
    quick: bool = False,
    brief: bool = False,
    out: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure; returns the result, which is written too.

    Parameters
    ----------
    windows : int
        Size of the generated archive; its vectors are made up, the model that embeds the clips is real.
    seconds : float
        Length of each load.
    real : str, optional
        A store whose recordings are at hand: pictures and the page are measured on it.
    page : bool
        Also the page in headless Chromium, if there is one.
    quick : bool
        20,000 windows and three seconds.
    brief : bool
        One start, one user and eight, and no mixture of users: what the suite has time for.
    out : str, optional
        Where the result is written.
    quiet : bool
    """
    tell = telling(quiet)
    scratch = SCRATCH.resolve()
    seconds = 3.0 if quick else seconds
    store = archive(scratch, _QUICK_WINDOWS if quick else windows, quiet=quiet)
    result: dict[str, Any] = {
        "what": "sonotheque bench api",
        "command": "sonotheque bench api"
        + (" --quick" if quick else "")
        + (f" --real {Path(real).name}" if real else ""),
        "machine": machine(),
        "data": f"{_QUICK_WINDOWS if quick else windows:,} windows of {DIM} generated dimensions (search_data.py); clips through {MODEL}; "
        f"users and service share {cores()} cores",
        "seconds": seconds,
    }
    starts = [] if brief else start_times(store, 2 if quick else 5)
    with serving(store) as server:
        own = {"listening_s": server.listening_s, "ready_s": server.ready_s, "rss_mb": server.rss_mb()}
        result["start"] = starts or [own]
        tell(f"ready after {middle(result['start'], 'ready_s'):.2f} s")
        result["sound"] = by_sound(server, seconds, tell, _USERS[:2] if brief else _USERS)
        result["window"] = by_window(server, seconds)
        tell(f"by window: p95 {result['window']['one']['p95_ms']} ms")
        if not brief:
            result["mixed"] = mixed(server, seconds)
            tell(f"mixed: {result['mixed']['users']}")
    if real:
        with serving(real) as server:
            result["pictures"] = pictures(server, 10 if quick else 40)
            tell(f"pictures: cold {result['pictures']['cold']['median_ms']} ms")
            if page:
                from benchmarks.api_page import page_times

                result["page"] = page_times(server)
    target = Path(out) if out else (scratch / "api.json" if quick else RESULTS)
    return write(result, target)


def archive(scratch: Path, windows: int, *, quiet: bool) -> str:
    """Return a store of generated vectors for real clips, indexed, with one probe in use."""
    from store import open_archive
    from store.index.build import build_index
    from store.probes import in_use

    store = str(make_search_store(scratch, Layout(windows, DIM), model=MODEL, quiet=quiet) / "store")
    with open_archive(store) as found:
        if found.index.version is None:
            build_index(found)
    if not in_use(store):
        _train(store)
    return store


def _train(store: str) -> None:
    """Put a probe into use: of windows that are like the first one, against others."""
    from probes.experiment import Experiment
    from search_api.probes.training import train_probe
    from search_api.queries import window_query
    from search_api.search import SearchOptions, search
    from store import open_archive
    from store.annotations import Annotation, AnnotationLog

    with open_archive(store) as found:
        first = found.sql("SELECT path, start_s FROM windows ORDER BY path, start_s LIMIT 1").to_pylist()[0]
        query = window_query(found, f"{first['path']}@{first['start_s']:g}")
        like = search(found, query, SearchOptions(k=60, best_per="recording")).answer.hits
        other = search(found, query, SearchOptions(k=60, near_score=0.1)).answer.hits
    said = [
        Annotation(h.recording_id, h.path, h.start_s, h.end_s, "call", judgement)
        for hits, judgement in ((like, "positive"), (other, "negative"))
        for h in hits
    ]
    AnnotationLog(store).add(said, annotator="benchmark", provenance="sonotheque bench api")
    train_probe(store, Experiment("calls", bootstrap=20, shots=()))


def by_sound(server: Server, seconds: float, tell: Any, loads: Sequence[tuple[int, str]] = _USERS) -> dict[str, Any]:
    """Measure searches by five seconds of sound: decoded, embedded, searched, and given to the probes."""
    path = "/v1/search?k=50&identify=true"
    asks = [Ask(path, clip(5.0, seed=n), is_new=True) for n in range(_CLIPS)]
    found: dict[str, Any] = {}
    for users, words in loads:
        closed_loop(server, asks, users, min(2.0, seconds))
        before_mb, cpu = server.own_mb(), server.cpu_s()
        tally = closed_loop(server, asks, users, seconds)
        row = tally.to_json()
        row |= {"users": users, "own_mb_before": round(before_mb, 1), "own_mb_after": round(server.own_mb(), 1)}
        row["cpu_ms_each"] = round(1000 * (server.cpu_s() - cpu) / max(1, sum(tally.statuses.values())), 1)
        found[words] = row
        tell(f"{users} users: median {row['median_ms']} ms, p95 {row['p95_ms']} ms, {row['statuses']}")
    found["stages_ms"] = _stages(server, asks)
    return found


def _stages(server: Server, asks: list[Ask]) -> dict[str, float]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    rows = [json.loads(once(connection, ask)[1])["meta"].get("times_ms") or {} for ask in asks * 3]
    names = rows[0] if rows else {}
    return {name: round(float(np.median([r[name] for r in rows])), 2) for name in names}


def by_window(server: Server, seconds: float) -> dict[str, Any]:
    """Measure searches by one of the archive's own windows, a new one each time: one user, then eight."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    status, body = once(connection, Ask("/v1/search?k=400", clip(5.0)))
    if status != 200:
        raise RuntimeError(f"the search for windows to ask with was answered {status}: {body[:300]!r}")
    windows = [hit["window_id"] for hit in hits_of(body)]
    asks = [Ask("/v1/search", json.dumps({"window": w, "k": 50}).encode(), "application/json") for w in windows]
    return {
        "one": closed_loop(server, asks, 1, seconds).to_json(),
        "eight": closed_loop(server, asks, 8, seconds).to_json(),
    }


def mixed(server: Server, seconds: float) -> dict[str, Any]:
    """Measure three kinds of users at once: five-second clips, one-minute uploads, and uploads that are slow or break off.

    The first row is the same eight users without the others.
    """
    short = [Ask("/v1/search?k=50", clip(5.0, seed=n), is_new=True) for n in range(_CLIPS)]
    minute = [Ask("/v1/identify", clip(60.0, seed=n), is_new=True) for n in range(2)]
    one = closed_loop(server, short, 4, seconds)
    stop = threading.Event()
    threads, met = nuisance(server, minute[0].body or b"", 8, stop)
    began = server.own_mb()
    tallies: dict[str, Tally] = together(
        {
            "five seconds, 4 users": lambda: closed_loop(server, short, 4, seconds),
            "one minute, 2 users": lambda: closed_loop(server, minute, 2, seconds, warm=0),
        }
    )
    stop.set()
    for thread in threads:
        thread.join(10)
    time.sleep(1.0)
    return {
        "alone": one.to_json(),
        "users": {name: tally.to_json() for name, tally in tallies.items()},
        "slow_and_interrupted": {"users": len(threads), **dict(sorted(met.items()))},
        "own_mb_before": round(began, 1),
        "own_mb_after": round(server.own_mb(), 1),
    }


def pictures(server: Server, count: int) -> dict[str, Any]:
    """Measure spectrograms of different windows, never drawn before, and the same again."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    _, body = once(connection, Ask(f"/v1/windows?limit={count}"))
    paths = [f"/v1/windows/{row['window_id']}/spectrogram?margin_s=1" for row in json.loads(body)["data"]]
    found = {}
    for words in ("cold", "cached"):
        tally = Tally()
        for path in paths:
            began = time.perf_counter()
            status, _ = once(connection, Ask(path))
            tally.statuses[status] += 1
            tally.latencies_ms.append(1000 * (time.perf_counter() - began))
        found[words] = tally.to_json()
    return found


def text(result: dict[str, Any]) -> str:
    """Return the result in words and tables."""
    from benchmarks.api_text import api_text

    return api_text(result)
