"""This program's index, measured in processes of their own: ``python -m benchmarks.search_ours build|ask|fresh FOLDER ...``.

``build`` uses all cores; ``ask`` one thread, but where it says two; ``fresh`` opens the store as a new process would.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_layout import Choice, Layout, choices, scans
from benchmarks.search_measure import K, Rows, memory, open_rows, peak_mb, recall_of, timed

RECALLS = (None, 0.99, 0.999, 0.9999)  # None: what the index was built for
_FIRST_TIMES = 8


def build(folder: Path) -> dict[str, Any]:
    """Build the index anew, with codes whatever the size; CPU and wall seconds, and bytes."""
    from store import open_archive
    from store.index import IndexWishes, build_index, describe

    root = folder / "store"
    shutil.rmtree(root / "index", ignore_errors=True)
    with open_archive(root) as archive:  # its catalog is made here and not timed: it is no part of the index
        began, used = time.perf_counter(), time.process_time()
        stages: dict[str, list[float]] = {}

        def tell(stage: str, done: int, total: int) -> None:
            stages.setdefault(stage, [time.perf_counter() - began, time.process_time() - used])

        version = build_index(archive, IndexWishes(kind="coded"), tell)
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - used
        info = describe(archive, version)
        n, dim = archive.snapshot.live_rows, archive.config.model.dim
    return {
        "cpu_s": round(cpu_s, 2),
        "wall_s": round(wall_s, 2),
        "stages_s": _stages(stages, wall_s, cpu_s),
        "peak_mb": peak_mb(),
        "lists": info.lists,
        "segments": info.segments,
        "measured": info.recall,
        "library": info.library,
        "disk_bytes": info.disk_bytes,
        "disk_bytes_per_window": round(info.disk_bytes / n, 1),
        "hot_bytes": info.ram_bytes,
        "hot_bytes_per_window": round(info.ram_bytes / n, 1),
        "hot_share_of_float32": round(info.ram_bytes / (n * dim * 4), 5),
    }


def _stages(begun: dict[str, list[float]], wall_s: float, cpu_s: float) -> dict[str, dict[str, float]]:
    """Return how long each stage took, from when each began."""
    names, ends = list(begun), [*list(begun.values())[1:], [wall_s, cpu_s]]
    return {
        name: {"wall": round(end[0] - begun[name][0], 2), "cpu": round(end[1] - begun[name][1], 2)}
        for name, end in zip(names, ends, strict=True)
    }


class _Asker:
    """Asks an opened index, and knows what is right."""

    def __init__(self, folder: Path, count: int) -> None:
        from store import open_archive
        from store.index import open_index

        self.layout = Layout.load(folder)
        self.vectors = open_rows(folder, self.layout.windows, self.layout.dim)
        self.queries: NDArray[np.float32] = np.load(folder / "queries.npy")[:count]
        self.truth = dict(np.load(folder / "truth.npz"))
        self.index = open_index(open_archive(folder / "store"))

    def search(self, choice: Choice | None = None, **more: Any) -> Callable[[NDArray[np.float32]], Any]:
        """Return what asks one query, end to end, hits and all."""
        from store.index import SearchQuery

        where = choice.where() if choice else None
        return lambda query: self.index.search(SearchQuery(query, k=K, where=where, **more))

    def measure(self, name: str, choice: Choice | None = None, *, most_s: float = 30.0, **more: Any) -> dict[str, Any]:
        """Return times, recall, and the plan of the last query."""
        answers, times = timed(self.search(choice, **more), self.queries, most_s=most_s)
        mask = choice.mask(self.layout) if choice else None
        plan = answers[-1].plan
        eligible = len(self.vectors) if mask is None else int(mask.sum())
        if plan.eligible != eligible:
            raise RuntimeError(f"{name}: the filter means {plan.eligible:,} windows; it should mean {eligible:,}")
        found = [self.rows(answer) for answer in answers]
        kth = self.truth[choice.name if choice else "all"]
        right = recall_of(self.vectors, self.queries, found, kth, mask)
        said = {"how": plan.how, "eligible": plan.eligible, "coded": plan.coded, "compared": plan.compared}
        return {"name": name, **times, **right, "fewest_hits": min(len(a.hits) for a in answers), **said}

    def rows(self, answer: Any) -> Rows:
        return np.array([self.layout.row(hit.path, hit.start_s) for hit in answer.hits], np.int64)


def ask(folder: Path, count: int, exact_rows: int, speed_s: int) -> dict[str, Any]:
    """Ask everything on one thread.

    Parameters
    ----------
    folder : Path
    count : int
        Queries.
    exact_rows : int
        Eligible windows up to which the planner compares in full; the program's own number but in a short run, which would
        otherwise never use its codes.
    speed_s : int
        For how long threads ask at once.
    """
    from store.index import searching

    searching.EXACT_ROWS = exact_rows  # type: ignore[misc]
    asker = _Asker(folder, count)
    named = choices(asker.layout)
    every = [asker.measure(_named(recall), recall=recall) for recall in RECALLS]
    every.append(asker.measure("exact", exact=True))
    filtered = [{**asker.measure(c.name, c), "words": c.words, **_first_time(asker, c)} for c in named]
    scanned = [{**asker.measure(c.name, c, exact=True), "words": c.words} for c in scans(asker.layout)]
    one, two = (_throughput(asker, threads, speed_s) for threads in (1, 2))
    return {
        "exact_rows": exact_rows,
        "unfiltered": every,
        "filtered": filtered,
        "scans": scanned,
        "queries_per_s": {"1 thread": one, "2 threads": two},
        **memory(),
    }


def _named(recall: float | None) -> str:
    return "default" if recall is None else f"recall {recall:g}"


def _first_time(asker: _Asker, choice: Choice) -> dict[str, float]:
    """Return what a query costs whose filter was not asked before: others of the same size, each once."""
    cpu, wall = [], []
    for number in range(1, _FIRST_TIMES + 1):
        search = asker.search(choice.shifted(number, asker.layout))
        began, used = time.perf_counter(), time.process_time()
        search(asker.queries[number % len(asker.queries)])
        cpu.append((time.process_time() - used) * 1e3)
        wall.append((time.perf_counter() - began) * 1e3)
        if not choice.sites and not choice.hours:
            break  # there is one such filter alone, and it is known by now
    else:
        return {"first_cpu_ms": round(statistics.median(cpu), 3), "first_wall_ms": round(statistics.median(wall), 3)}
    return {}


def _throughput(asker: _Asker, threads: int, seconds: float) -> float:
    """Return queries a second of so many threads that ask at once."""
    search = asker.search()
    until = time.perf_counter() + seconds

    def some(number: int) -> int:
        done = 0
        while time.perf_counter() < until:
            search(asker.queries[(number + done * threads) % len(asker.queries)])
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(some, range(threads)))
    return round(done / (time.perf_counter() - began), 1)


def fresh(folder: Path, searches: int) -> dict[str, Any]:
    """Open the store in this new process and search; seconds and memory."""
    queries = np.load(folder / "queries.npy")
    clock = [time.perf_counter()]

    def lap() -> float:
        clock.append(time.perf_counter())
        return round((clock[-1] - clock[-2]) * 1e3, 2)

    import faiss  # noqa: F401  # a library, which opening an index would load: no work of the opening

    from store import open_archive
    from store.index import SearchQuery, open_index

    told: dict[str, Any] = {"import_ms": lap(), "imported": memory()}
    lap()
    archive = open_archive(folder / "store")
    told["archive_ms"] = lap()
    index = open_index(archive)
    told["index_ms"] = lap()
    index.search(SearchQuery(queries[0], k=K))
    told["first_search_ms"] = lap()
    for query in queries[:searches]:
        index.search(SearchQuery(query, k=K))
    told["searches"] = searches
    told["searched"] = memory()
    return told


if __name__ == "__main__":
    role, at, *numbers = sys.argv[1:]
    roles: dict[str, Callable[..., dict[str, Any]]] = {"build": build, "ask": ask, "fresh": fresh}
    print(json.dumps(roles[role](Path(at), *map(int, numbers))))
