"""Makes the golden stores of format version 1: ``python -m tests.care.golden.make_v1 FOLDER``.

The ones beside this file were made by the program that wrote version 1, before version 2 existed; they are never made again.
What is new in the script since then is ``new_store``, which asks a later program for version 1: a test compares what that writes.
``expected.json`` holds what a reader must see, read from the files with nothing but pyarrow and json.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from store import load_ledger, write_snapshot
from tests.store import kit

GOLDEN = Path(__file__).parent
STORES = ("v1-clean", "v1-superseded")


def new_store(folder: Path) -> tuple[str, Any]:
    return kit.new_store(folder, replace(kit.store_config(), format_version=1, made_as=1))


def clean(folder: Path) -> None:
    """Two sites, a part of an unknown date, a file that failed, a name that is not ASCII; nothing superseded."""
    root, config = new_store(folder)
    kit.write_part(root, config, [(kit.recording("a/1.wav"), 3), (kit.recording("a/2.wav"), 0)])
    kit.write_part(root, config, [(kit.recording("a/3.wav"), 2)])
    late = kit.recording("b/ünknown.wav", site="B 1/2", time=kit.NO_TIME)
    kit.write_part(root, config, [(late, 2)], date=None)
    write_snapshot(root, config, load_ledger(root))
    describe(folder, root)


def superseded(folder: Path) -> None:
    """A file that changed twice, one that failed and then did not, one planned twice at once; three snapshots."""
    root, config = new_store(folder)
    first = part(root, config, ("a/1.wav", 1, (), 3), ("a/2.wav", 1, (), 0), ("a/3.wav", 1, (), 2))
    write_snapshot(root, config, load_ledger(root))
    second = part(root, config, ("a/1.wav", 2, (first,), 1), ("a/2.wav", 2, (first,), 2))
    write_snapshot(root, config, load_ledger(root))
    part(root, config, ("a/1.wav", 3, (second,), 2))
    part(root, config, ("c/1.wav", 1, (), 1))
    part(root, config, ("c/1.wav", 1, (), 1), ("c/2.wav", 1, (), 1))
    write_snapshot(root, config, load_ledger(root))
    describe(folder, root)


def part(root: str, config: Any, *files: tuple[str, int, tuple[str, ...], int]) -> str:
    """Commit a part of ``(path, version, replaces, windows)``; returns its id."""
    before = set(load_ledger(root).parts)
    kit.write_part(root, config, [(kit.recording(p, version=v, replaces=r), n) for p, v, r, n in files])
    (made,) = set(load_ledger(root).parts) - before
    return made


def describe(folder: Path, root: str) -> None:
    """Write ``expected.json``: the ids, and the rows of every snapshot."""
    base = Path(root)
    seen = {
        number: rows_of(base, json.loads((base / f"snapshots/{number}.json").read_text()))
        for number in range(1, 1 + len(list((base / "snapshots").iterdir())))
    }
    ledger = load_ledger(root)
    live = {e.path: [p, e.size_bytes, e.mtime_ns, e.status, e.windows] for p, e in ledger.live.values()}
    value = {"store_digest": seen[1]["store_digest"], "parts": sorted(ledger.parts), "live": live, "snapshots": seen}
    (folder / "expected.json").write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def rows_of(base: Path, snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader of a snapshot sees, without this project's readers."""
    found: dict[str, Any] = {"store_digest": snapshot["store_digest"], "embeddings": [], "predictions": []}
    for listed in snapshot["parts"]:
        for name in ("embeddings", "predictions"):
            for row in pq.ParquetFile(base / listed[name]).read().to_pylist():
                if row["recording_id"] not in listed["superseded"]:
                    place = {"site": listed["site"], "date": listed["date"]}
                    found[name].append({**json.loads(json.dumps(row, default=str)), **place})
    return found


MAKE = dict(zip(STORES, (clean, superseded), strict=True))

if __name__ == "__main__":
    for name, make in MAKE.items():
        make(Path(sys.argv[1]) / name)
