"""Raises a store's format version: one small file is replaced, no part is touched."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from sonotheque.core.errors import Conflict, Damaged
from store import layout
from store.config import FORMAT_VERSION, StoreConfig, read_config, temp_name
from store.fsops import FileOps, ops_of, put_new, put_over, store_errors
from store.ledger import load_ledger
from store.snapshots import latest_number, write_snapshot
from store.verify import verify


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What migration did, or would do.

    Attributes
    ----------
    dry_run : bool
    changed : bool
        Whether the store was (or would be) made another version; False if it has the newest already.
    from_version, to_version : int
    parts, windows : int
        What the store holds, as checked before; none of it changes. 0 if it has the newest version already.
    kept : str
        The old settings, relative to the store; empty if nothing was changed.
    snapshot : int
        The newest.
    """

    dry_run: bool
    changed: bool
    from_version: int
    to_version: int
    parts: int = 0
    windows: int = 0
    kept: str = ""
    snapshot: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def migrate(root: str, *, dry_run: bool = False, ops: FileOps | None = None) -> MigrationReport:
    """Make a store of an earlier format version one of the newest, in place.

    Its parts keep their names and bytes and its digest stays, as the settings remember what version they were made as. Whatever stops this
    leaves a store of one version or the other, and the same call goes on.

    Parameters
    ----------
    root : str
    dry_run : bool
        Only check and tell.

    Raises
    ------
    NotFound
        If the folder is no store.
    Damaged
        If ``verify`` finds damage: it is to be mended under the rules it was written by.
    Conflict
        If other settings lie under the name that the old ones are to get.
    Unavailable
        Disk full or read-only.
    """
    ops = ops or ops_of(root)
    config = read_config(root, ops)
    version = config.format_version
    if version == FORMAT_VERSION:
        number = latest_number(root, ops) if dry_run else _snapshot(root, config, ops)
        return MigrationReport(dry_run, False, version, version, snapshot=number)
    found = verify(root, [])
    if not found.ok:
        path, why = next(iter(found.damaged_files.items()))
        raise Damaged(
            f"{root} is damaged and was not migrated: {path}: {why}"
            f"{f' (and {found.damaged - 1} more)' if found.damaged > 1 else ''}. `sonotheque verify --store {root}` lists all"
        )
    kept = layout.former_config(version)
    if not dry_run:
        with store_errors(root):
            _replace(root, kept, ops)
        number = _snapshot(root, read_config(root, ops), ops)
    else:
        number = found.snapshot
    return MigrationReport(dry_run, True, version, FORMAT_VERSION, found.parts, found.windows, kept, number)


def _replace(root: str, kept: str, ops: FileOps) -> None:
    """Keep the settings under another name, then put the new ones in their place at once."""
    path, tmp = f"{root}/{layout.CONFIG}", f"{root}/{layout.TMP}"
    data = ops.read(path)
    if not put_new(ops, tmp, temp_name("config"), f"{root}/{kept}", data) and ops.read(f"{root}/{kept}") != data:
        raise Conflict(
            f"{root}/{kept} is there and is not what {layout.CONFIG} holds: move it away, if it is not needed, and run again"
        )
    value = json.loads(data)
    value |= {"format_version": FORMAT_VERSION, "made_as": StoreConfig.from_json(value).made_as}
    put_over(ops, tmp, temp_name("config"), path, json.dumps(value, indent=2).encode() + b"\n")


def _snapshot(root: str, config: StoreConfig, ops: FileOps) -> int:
    """Write a snapshot of what is committed, if it has changed since the newest; return the newest one's number."""
    ledger = load_ledger(root, ops)
    if ledger.damaged or not ledger.parts:
        return latest_number(root, ops)
    return write_snapshot(root, config, ledger, ops=ops).number
