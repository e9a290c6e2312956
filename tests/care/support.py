"""What the suites of this folder share: stores with many small parts, and readers that know nothing of this project's."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import Snapshot, StoreConfig, load_ledger, part_id, read_snapshot, write_snapshot
from store.ledger import read_part
from store.snapshots import SnapshotPart
from tests.store import kit

Row = tuple[Any, ...]
TARGET = 8  # windows a compacted part, in these small stores
HOUR_S = 3600.0


def later(hours: float) -> Any:
    """A clock that is ahead of the files' times."""
    return lambda: time.time() + hours * HOUR_S


def snap(root: str, config: StoreConfig) -> Snapshot:
    return write_snapshot(root, config, load_ledger(root))


def commit(root: str, config: StoreConfig, *files: tuple[Any, ...], **options: Any) -> str:
    """Commit a part of ``(path, version, windows[, replaces])``; returns its id. A site may be given as an option."""
    items = [
        (kit.recording(path, version=version, replaces=more[0] if more else ()), windows)
        for path, version, windows, *more in files
    ]
    kit.write_part(root, config, items, **options)
    return part_id(config.digest, [recording for recording, _ in items])


def many_small(root: str, config: StoreConfig, parts: int = 6, *, site: str = "A", first: int = 0) -> None:
    """Parts of two files each, the second of which failed in every third part."""
    for n in range(first, first + parts):
        commit(
            root, config, (f"{site}/{n:03}a.wav", 1, 2), (f"{site}/{n:03}b.wav", 1, 0 if n % 3 == 0 else 1), site=site
        )


def seen(root: str, snapshot: Snapshot | int | None = None) -> dict[str, list[Row]]:
    """Both datasets as a reader of a snapshot sees them, bit for bit, without anything of this project but the list of files."""
    listed = snapshot if isinstance(snapshot, Snapshot) else read_snapshot(root, snapshot)
    out: dict[str, list[Row]] = {"embeddings": [], "predictions": []}
    for part in listed.parts:
        for dataset, relative in (("embeddings", part.embeddings), ("predictions", part.predictions)):
            if relative:
                table = pq.ParquetFile(f"{root}/{relative}").read()
                gone = pc.is_in(table["recording_id"], value_set=pa.array(part.superseded, pa.int64()))
                for row in table.filter(pc.invert(gone)).to_pylist():
                    out[dataset].append((part.site, part.date, *(_bits(v) for v in row.values())))
    return {dataset: sorted(rows, key=repr) for dataset, rows in out.items()}


def seen_now(root: str) -> dict[str, list[Row]]:
    """The same of what is live by the ledger, listed in a snapshot or not."""
    ledger = load_ledger(root)
    assert not ledger.damaged, ledger.damaged
    listed = [
        SnapshotPart(
            p.part_id,
            p.site,
            p.date,
            p.embeddings,
            p.predictions,
            p.rows,
            0,
            0,
            "",
            tuple(ledger.superseded.get(p.part_id, ())),
        )
        for p in ledger.parts.values()
    ]
    return seen(root, Snapshot(0, "", tuple(listed)))


def _bits(value: Any) -> Any:
    return tuple(float(v).hex() for v in value) if isinstance(value, list) else value


def live_details(root: str) -> dict[str, dict[str, Any]]:
    """Path -> everything the ledger says of its live version, but where its rows lie."""
    ledger = load_ledger(root)
    out = {}
    for part in ledger.parts.values():
        dead = ledger.superseded.get(part.part_id, set())
        for f in read_part(root, part.embeddings).files:
            if f.recording_id not in dead:
                assert f.path not in out, f"{f.path} is live twice"
                detail = dict(f.detail or {})
                for key in ("first_row", "replaces", "origin", "moved_from"):
                    detail.pop(key, None)
                out[f.path] = {**detail, "site": part.site, "date": part.date}
    return out


def part_files(root: str) -> list[str]:
    return [name for name in kit.tree(root) if name.startswith(("embeddings/", "predictions/"))]


def set_times(root: str, names: Iterable[str], at_s: float) -> None:
    for name in names:
        os.utime(Path(root, name), (at_s, at_s))


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
