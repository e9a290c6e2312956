"""Snapshots: numbered, immutable lists of parts. Readers use them, never a glob (FORMAT.md section 7)."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from typing import Any

from sonotheque.core.errors import Damaged, NotFound
from sonotheque.core.ids import file_sha256
from store import layout
from store.config import FORMAT_VERSION, StoreConfig, temp_name
from store.fsops import FileOps, LocalFileOps, put_new, store_errors
from store.ledger import Ledger, Part

_NAME = re.compile(r"([1-9][0-9]*)\.json")


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """One part as a snapshot lists it; paths are relative to the store."""

    part_id: str
    site: str
    date: str | None
    embeddings: str
    predictions: str | None
    rows: int
    live_rows: int
    bytes: int
    sha256: str
    superseded: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A numbered list of parts; never changes once written."""

    number: int
    store_digest: str
    parts: tuple[SnapshotPart, ...]

    @property
    def live_rows(self) -> int:
        """Windows that a reader of this snapshot sees."""
        return sum(p.live_rows for p in self.parts)

    @property
    def bytes(self) -> int:
        """Bytes of all files listed."""
        return sum(p.bytes for p in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the snapshot's file."""
        return {
            "format_version": FORMAT_VERSION,
            "snapshot": self.number,
            "store_digest": self.store_digest,
            "parts": [asdict(p) for p in self.parts],
        }


def latest_number(root: str, ops: FileOps | None = None) -> int:
    """Return the newest snapshot's number; 0 if there is none."""
    names = (ops or LocalFileOps()).listdir(f"{root}/{layout.SNAPSHOTS}")
    return max((int(found[1]) for n in names if (found := _NAME.fullmatch(n))), default=0)


def read_snapshot(root: str, number: int | None = None, ops: FileOps | None = None) -> Snapshot:
    """Read a snapshot, the newest by default.

    Raises
    ------
    NotFound
        If the store has no snapshot (of that number) yet.
    Damaged
        If its file cannot be read.
    """
    ops = ops or LocalFileOps()
    number = latest_number(root, ops) if number is None else number
    path = f"{root}/{layout.snapshot_path(number)}"
    try:
        value = json.loads(ops.read(path))
        parts = tuple(SnapshotPart(**{**p, "superseded": tuple(p["superseded"])}) for p in value["parts"])
        return Snapshot(value["snapshot"], value["store_digest"], parts)
    except FileNotFoundError:
        raise NotFound(
            f"{root} has no snapshot {number or ''}".rstrip()
            + ": nothing was embedded yet, or the first run is still going "
            f"(`sonotheque status --store {root}`)"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} cannot be read as a snapshot: {error!r}") from error


def write_snapshot(
    root: str,
    config: StoreConfig,
    ledger: Ledger,
    *,
    known_sha256: dict[str, str] | None = None,
    ops: FileOps | None = None,
) -> Snapshot:
    """Write the next snapshot of what is committed now; the newest one again if nothing has changed.

    Parameters
    ----------
    root, config, ledger
        The store, its settings, and what its footers say.
    known_sha256 : dict, optional
        Part id → digest, as reported by the tasks that committed; digests of the rest come from the newest snapshot, or
        from reading the file.
    """
    ops = ops or LocalFileOps()
    number = latest_number(root, ops)
    before = {p.part_id: p for p in read_snapshot(root, number, ops).parts} if number else {}
    digests = {**{i: p.sha256 for i, p in before.items()}, **(known_sha256 or {})}
    entries = tuple(
        _entry(root, part, ledger, digests.get(part.part_id))
        for part in sorted(ledger.parts.values(), key=lambda p: (p.site, p.date or "", p.part_id))
    )
    if number and tuple(before.values()) == entries:
        return Snapshot(number, config.digest, entries)
    while True:
        number += 1
        snapshot = Snapshot(number, config.digest, entries)
        data = json.dumps(snapshot.to_json()).encode()
        target = f"{root}/{layout.snapshot_path(number)}"
        with store_errors(root):
            if put_new(ops, f"{root}/{layout.TMP}", temp_name(f"snapshot-{number}"), target, data):
                return snapshot


def _entry(root: str, part: Part, ledger: Ledger, sha256: str | None) -> SnapshotPart:
    files = [f"{root}/{p}" for p in (part.embeddings, part.predictions) if p]
    return SnapshotPart(
        part.part_id,
        part.site,
        part.date,
        part.embeddings,
        part.predictions,
        part.rows,
        ledger.live_rows(part),
        sum(os.path.getsize(f) for f in files if os.path.exists(f)),
        sha256 or file_sha256(files[0]),
        tuple(sorted(ledger.superseded.get(part.part_id, ()))),
    )
