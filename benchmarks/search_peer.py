"""One peer in a process of its own, in the peers' environment: ``python -m benchmarks.search_peer NAME build|ask FOLDER DATA [QUERIES]``.

Building may use all cores; asking is done in another process, on one thread.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search_layout import Layout, choices
from benchmarks.search_measure import memory, open_rows, peak_mb, recall_of, timed
from benchmarks.search_peer_base import Peer
from benchmarks.search_peer_graphs import Hnswlib, Hoplite, Usearch
from benchmarks.search_peer_tables import DuckDb, LanceDb, NumPy

PEERS: dict[str, type[Peer]] = {
    "numpy": NumPy,
    "duckdb": DuckDb,
    "hoplite": Hoplite,
    "usearch": Usearch,
    "hnswlib": Hnswlib,
    "lancedb": LanceDb,
}
FILTER = "1 %, one site"  # the one that all peers which can filter can express
_MOST_S = 20.0  # of any one setting


def build(name: str, folder: Path, data: Path) -> dict[str, Any]:
    """Build a peer and tell what it took."""
    layout = Layout.load(folder)
    peer = PEERS[name](data, open_rows(folder, layout.windows, layout.dim), layout, one_thread=False)
    data.mkdir(parents=True)
    began, used = time.perf_counter(), time.process_time()
    peer.build()
    disk_bytes = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    return {
        "name": peer.name,
        "versions": {package: version(package) for package in peer.packages},
        "build": {
            "cpu_s": round(time.process_time() - used, 2),
            "wall_s": round(time.perf_counter() - began, 2),
            "peak_mb": peak_mb(),
            "disk_bytes_per_window": round(disk_bytes / layout.windows, 1),
        },
    }


def ask(name: str, folder: Path, data: Path, count: int) -> dict[str, Any]:
    """Ask a peer that was built, without and with a filter."""
    layout = Layout.load(folder)
    vectors = open_rows(folder, layout.windows, layout.dim)
    queries = np.load(folder / "queries.npy")[:count]
    truth = dict(np.load(folder / "truth.npz"))
    choice = next(c for c in choices(layout) if c.name == FILTER)
    mask = choice.mask(layout)
    before = memory()
    peer = PEERS[name](data, vectors, layout, one_thread=True)
    began = time.perf_counter()
    peer.open()
    told: dict[str, Any] = {"open_ms": round((time.perf_counter() - began) * 1e3, 1)}
    told["unfiltered"], told["filtered"] = [], []
    for kind, ways, kth, own in (
        ("unfiltered", peer.settings(), truth["all"], None),
        ("filtered", peer.filtered(choice), truth[FILTER], mask),
    ):
        for way, search in ways.items():
            answers, times = timed(search, queries, most_s=_MOST_S, least=5)
            right = recall_of(vectors, queries, [peer.rows(a) for a in answers], kth, own)
            told[kind].append({"name": way, **times, **right})
    after = memory()
    told["memory_mb"] = {
        kind: round(after[f"{kind}_mb"] - before[f"{kind}_mb"], 1) for kind in ("own", "resident") if after
    }
    return told


if __name__ == "__main__":
    peer_name, role, at, where, *numbers = sys.argv[1:]
    roles: dict[str, Callable[..., dict[str, Any]]] = {"build": build, "ask": ask}
    print(json.dumps(roles[role](peer_name, Path(at), Path(where), *map(int, numbers))))
