"""What the archive's files are at: its index and its snapshots."""

from __future__ import annotations

from typing import Any

from sonotheque.core.errors import NotFound
from store import Archive
from store.index.info import read_info
from store.snapshots import latest_number, read_snapshots


def index_state(archive: Archive) -> dict[str, Any]:
    """Return ``built``, and what there is to say of the index if it is; messages do not name the store's folder.

    Raises
    ------
    Damaged, Conflict
        If it cannot be read, or is of another store or model.
    """
    try:
        info = read_info(archive).to_json()
    except NotFound as error:
        if error.kind != "no_index":
            raise
        return {
            "built": False,
            "notes": [
                "there is no index yet, so that searches compare every window: `sonotheque index build` makes one"
            ],
        }
    info["notes"] = [without_root(archive.root, note) for note in info["notes"]]
    return {"built": True, **info}


def list_snapshots(archive: Archive) -> list[dict[str, Any]]:
    """Return the snapshots, oldest first: ``snapshot, parts, windows, bytes, newest, asked`` and ``problem``, if one cannot be read."""
    newest = latest_number(archive.root)
    rows = []
    for number, found in read_snapshots(archive.root):
        row: dict[str, Any] = {
            "snapshot": number,
            "newest": number == newest,
            "asked": number == archive.snapshot.number,
        }
        if isinstance(found, str):
            row |= {"parts": None, "windows": None, "bytes": None, "problem": without_root(archive.root, found)}
        else:
            row |= {"parts": len(found.parts), "windows": found.live_rows, "bytes": found.bytes, "problem": None}
        rows.append(row)
    return rows


def without_root(root: str, text: str) -> str:
    """Return a message without the folder of the store."""
    return text.replace(f"{root}/", "").replace(root, "STORE")
