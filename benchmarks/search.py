"""Search, measured: recall beside every time, on one thread, and what others do with the same vectors and queries in the same run.

Times are CPU milliseconds of the whole process, medians over the queries. Ours are end to end: the filter, the search, and the hits with
their paths, sites and times; peers return row numbers. The truth is the exact cosine of every stored vector. Building, asking and
opening are each done in processes of their own.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ask_fresh import evict
from benchmarks.envelope import write
from benchmarks.machine import machine
from benchmarks.search_children import child
from benchmarks.search_layout import Layout, choices, scans
from benchmarks.search_measure import kth_cosines, open_rows
from benchmarks.search_peers import ALL, beside
from benchmarks.search_store import MADE, make_search_store, words
from benchmarks.search_text import text
from benchmarks.telling import telling

__all__ = ["run", "text"]

SCRATCH = Path(".bench")
RESULTS = Path(__file__).parent / "results"
RESULT = "search.json"
QUICK_WINDOWS, QUICK_QUERIES = 20_000, 100
FRESH_TIMES, COLD_TIMES, SEARCHES = 5, 3, 100
SPEED_S = 3  # for how long threads ask at once


def run(
    *,
    windows: int,
    queries: int,
    peers: bool,
    peer_windows: int,
    usearch: bool,
    real: str | None,
    hop_s: float,
    quick: bool,
    rebuild: bool,
    keep: bool,
    out: str | None,
    quiet: bool = False,
    dim: int = 1536,
) -> dict[str, Any]:
    """Measure and write the results.

    Parameters
    ----------
    windows : int
        At least so many.
    queries : int
        At most 500.
    peers : bool
        Measure the peers too.
    peer_windows : int
        Size of the archive for that, if smaller than ``windows``: their graphs take an hour for a million.
    usearch : bool
        Measure usearch on all windows as well.
    real : str, optional
        A store, or a folder of recordings to embed, to measure on as well.
    hop_s : float
        Between windows of recordings that are embedded.
    quick : bool
        20,000 windows, 100 queries, no peers.
    rebuild : bool
        Make the store again, also if it is there.
    keep : bool
        Leave the store in ``.bench/`` for the next run.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.
    dim : int
        Of the generated vectors.
    """
    SCRATCH.mkdir(exist_ok=True)
    tell = telling(quiet)
    windows, queries = (QUICK_WINDOWS, QUICK_QUERIES) if quick else (windows, queries)
    where = machine()
    folders: list[Path] = []

    def made(wanted: int) -> tuple[Path, Layout]:
        folders.append(make_search_store(SCRATCH, Layout(wanted, dim), rebuild=rebuild, quiet=quiet).resolve())
        shape = Layout.load(folders[-1])
        _truth(folders[-1], shape, queries)
        tell(f"{shape.windows:,} windows: the truth is known")
        return folders[-1], shape

    folder, shape = made(windows)
    result: dict[str, Any] = {
        "what": "sonotheque bench search",
        "command": _command(windows, dim, queries, peers, peer_windows, usearch, real, hop_s, quick),
        "data": words(shape),
        "made": (folder / MADE).read_text("ascii").strip(),
        "machine": where,
        "windows": shape.windows,
        "dim": shape.dim,
        "queries": queries,
        "ours": _ours(folder, shape, queries, tell),
    }
    if not quick and peers:
        small, few, ours = folder, shape, result["ours"]
        if peer_windows < shape.windows:
            small, few = made(peer_windows)
            ours = _ours(small, few, queries, tell)
        result["beside"] = beside(SCRATCH, small, few, ALL, queries, ours, tell)
    if not quick and usearch and (not peers or peer_windows < shape.windows):
        result["beside_usearch"] = beside(SCRATCH, folder, shape, ("usearch",), queries, result["ours"], tell)
    if real:
        from benchmarks.search_real import measure as measure_real

        result["real"] = measure_real(SCRATCH, Path(real), hop_s, tell)
    target = Path(out) if out else (SCRATCH if quick else RESULTS) / RESULT
    result = write(result, target)
    if not keep:
        for each in folders:
            shutil.rmtree(each)
    return result


def _command(
    windows: int,
    dim: int,
    queries: int,
    peers: bool,
    peer_windows: int,
    usearch: bool,
    real: str | None,
    hop_s: float,
    quick: bool,
) -> str:
    words = ["sonotheque bench search", "--quick" if quick else f"--windows {windows} --queries {queries}"]
    words += [f"--dim {dim}"] if dim != 1536 else []
    if not quick:
        words += [f"--peer-windows {peer_windows}" if peers else "--no-peers", *(["--usearch"] if usearch else [])]
    words += [f"--real {Path(real).name} --hop-s {hop_s:g}"] if real else []
    return " ".join(words)


def _truth(folder: Path, shape: Layout, count: int) -> None:
    vectors, queries = open_rows(folder, shape.windows, shape.dim), np.load(folder / "queries.npy")[:count]
    asked = [*choices(shape), *scans(shape)]
    everything, *chosen = kth_cosines(vectors, queries, [None, *(c.mask(shape) for c in asked)])
    named: dict[str, Any] = {c.name: kth for c, kth in zip(asked, chosen, strict=True)}
    np.savez(folder / "truth.npz", all=everything, **named)


def exact_rows(windows: int) -> int:
    """Return up to how many eligible windows the planner may compare in full: its own number, but where it would leave codes unused."""
    from store.index.searching import EXACT_ROWS

    return EXACT_ROWS if windows >= 5 * EXACT_ROWS else windows // 50


def _ours(folder: Path, shape: Layout, queries: int, tell: Callable[[str], None]) -> dict[str, Any]:
    built = child("search_ours", "build", folder)
    tell(f"built in {built['wall_s']:.1f} s")
    fresh = {"warm": _fresh(folder, FRESH_TIMES), "cold": _fresh(folder, COLD_TIMES, cold=True)}
    tell(f"opened in {fresh['warm']['index_ms']:.0f} ms")
    asked = child("search_ours", "ask", folder, queries, exact_rows(shape.windows), SPEED_S, one_thread=True)
    for row in (*asked["unfiltered"], *asked["filtered"]):
        tell(f"{row['name']}: {row['cpu_ms']:.2f} ms CPU, recall {row['recall']:.4f}")
    return {"build": built, "ask": asked, "fresh": fresh}


def _fresh(folder: Path, times: int, *, cold: bool = False) -> dict[str, Any]:
    """Return medians over fresh processes."""
    told = []
    for _ in range(times):
        if cold:
            evict(str(folder / "store"))
        told.append(child("search_ours", "fresh", folder, SEARCHES, one_thread=True))
    found: dict[str, Any] = {}
    for key, first in told[0].items():
        if isinstance(first, dict):
            found[key] = {name: statistics.median(t[key][name] for t in told) for name in first}
        else:
            found[key] = statistics.median(t[key] for t in told)
    return found
