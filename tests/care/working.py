"""What the other processes of ``test_processes.py`` do."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np

from sonotheque.core.filters import SearchFilter
from store import Archive, load_ledger, read_config
from store.care import collect_garbage, compact
from store.snapshots import latest_number, snapshot_numbers
from tests.care.support import commit, snap

FIXED = "fixed/%"
ROUNDS = 9


def answer(archive: Archive) -> str:
    """A digest of what a reader sees of the recordings that never change, by every way of asking."""
    sha = hashlib.sha256()
    for view, columns in (
        ("embeddings", "path, start_sample, embedding"),
        ("predictions", "path, start_sample, rank, label, logit"),
    ):
        rows = archive.sql(f"SELECT {columns} FROM {view} WHERE path LIKE ? ORDER BY ALL", [FIXED]).to_pylist()
        sha.update(repr(rows).encode())
    ids, vectors = archive.embeddings(SearchFilter(recordings=("fixed/*",)))
    sha.update(ids.tobytes() + np.ascontiguousarray(vectors).tobytes())
    streamed = sorted(
        (row["path"], row["start_sample"], vector.tobytes())
        for table, block in archive.vectors()
        for row, vector in zip(table.select(["path", "start_sample"]).to_pylist(), block, strict=True)
        if row["path"].startswith("fixed/")
    )
    sha.update(repr(streamed).encode())
    return sha.hexdigest()


def read(root: str, floor: Any, stop: Any, results: Any) -> None:
    """Open, ask again and again, close, from the first moment to the last; ``floor``: no older snapshot is open here."""
    seen: set[str] = set()
    asked = outlived = 0
    try:
        while not stop.is_set():
            floor.value = latest_number(root)
            with Archive(root) as archive:
                for _ in range(3):
                    seen.add(answer(archive))
                    asked += 1
                    time.sleep(0.02)
                outlived += latest_number(root) > archive.snapshot.number
        results.put(("reader", seen, asked, outlived, ""))
    except BaseException as error:
        results.put(("reader", seen, asked, outlived, repr(error)))
        raise


def maintain(root: str, floor: Any, stop: Any, results: Any) -> None:
    """Change files beside the fixed ones, compact, and remove everything that no snapshot from ``floor`` on lists."""
    merged = removed = 0
    error = ""
    try:
        config = read_config(root)
        for number in range(ROUNDS):
            held = {e.path: name for name, e in load_ledger(root).live.values()}
            for n in range(3):
                path = f"fixed/{n}-changes.txt.wav".replace("fixed/", "other/") if n else "fixed-not.wav"
                commit(root, config, (path, number + 2, 1 + n, [held[path]] if path in held else []))
            snap(root, config)
            merged += compact(root, target=10 + 5 * (number % 4)).merged
            keep = sum(n >= floor.value for n in snapshot_numbers(root)) + 1
            removed += collect_garbage(root, grace_h=0, keep_snapshots=max(1, keep)).parts
    except BaseException as raised:
        error = repr(raised)
        raise
    finally:
        stop.set()
        results.put(("maintainer", merged, removed, error))


def compact_at_once(root: str, target: int, barrier: Any, results: Any) -> None:
    barrier.wait(60)
    try:
        results.put(("ok", compact(root, target=target).made))
    except Exception as error:
        results.put((repr(error), 0))
        raise


def commit_at_once(root: str, replaces: dict[str, str], barrier: Any, results: Any) -> None:
    """Commit new versions that were planned before, one part each."""
    config = read_config(root)
    barrier.wait(60)
    for path, old in replaces.items():
        commit(root, config, (path, 9, 1, [old]))
    snap(root, config)
    results.put(("ok", len(replaces)))
