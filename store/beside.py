"""Looks at what lies beside the parts: changes of the metadata, and the annotations. Reads only."""

from __future__ import annotations

import json
import re
import sqlite3

from sonotheque.core.errors import Damaged, SonothequeError
from store import layout
from store.fsops import FileOps, ops_of

_NAME = re.compile(r"([1-9][0-9]*)\.json")


def faults_beside(root: str, ops: FileOps | None = None) -> dict[str, str]:
    """Return path (relative to the store) -> what is wrong, for ``metadata/`` and ``annotations.sqlite``."""
    return {**_metadata_faults(root, ops or ops_of(root)), **_annotation_faults(root)}


def _metadata_faults(root: str, ops: FileOps) -> dict[str, str]:
    names = ops.listdir(f"{root}/{layout.METADATA}")
    numbers = sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))
    faults = {}
    for number in range(1, max(numbers, default=0) + 1):
        relative = layout.metadata_path(number)
        try:
            if not isinstance(json.loads(ops.read(f"{root}/{relative}")), dict):
                faults[relative] = "is no JSON object"
        except FileNotFoundError:
            faults[relative] = f"is not there, and {layout.METADATA}/{numbers[-1]}.json is: changes build on each other"
        except (OSError, ValueError) as error:
            faults[relative] = f"cannot be read: {error}"
    return faults or _unreadable_metadata(root)


def _unreadable_metadata(root: str) -> dict[str, str]:
    """Let the metadata's own reader look at changes that are whole as files."""
    from store.metadata import latest_metadata, read_metadata

    try:
        read_metadata(root, latest_metadata(root))
    except Damaged as error:
        return {layout.METADATA: error.message}
    return {}


def _annotation_faults(root: str) -> dict[str, str]:
    from store.annotations.database import reading

    try:
        with reading(root) as connection:
            told = [row[0] for row in connection.execute("PRAGMA quick_check(3)")] if connection else ["ok"]
    except Damaged as error:
        return {layout.ANNOTATIONS: error.message}
    except sqlite3.DatabaseError as error:
        return {layout.ANNOTATIONS: str(error)}
    except SonothequeError as error:  # another program's database, or one that is locked: not ours to call damaged
        return {layout.ANNOTATIONS: error.message} if error.kind == "foreign_database" else {}
    return {} if told == ["ok"] else {layout.ANNOTATIONS: "; ".join(map(str, told))}
