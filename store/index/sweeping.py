"""Removes files of an index that its newest version does not need."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from typing import Final

from sonotheque.core.errors import Damaged
from store import layout
from store.fsops import FileOps
from store.index.manifest import index_numbers, read_version
from store.state import state_root

GRACE_S: Final = 3600.0  # a build on another machine may not have named its files yet
_SUFFIXES: Final = ("f16", "f32", "faiss", "npz", "arrow")


def sweep_index(
    root: str,
    ops: FileOps,
    *,
    grace_s: float = GRACE_S,
    now: Callable[[], float] = time.time,
    dry_run: bool = False,
) -> tuple[int, int]:
    """Remove versions before the newest, and files older than ``grace_s`` that it does not name; open files stay readable.

    Returns
    -------
    files, bytes : int
        Removed; nothing if the newest version cannot be read: it would not be known what is needed.
    """
    folder = f"{state_root(root)}/{layout.index_folder()}"
    numbers = index_numbers(root, ops)
    if not numbers:
        return 0, 0
    try:
        used = {file.path.rpartition("/")[2] for file in read_version(root, numbers[-1], ops).files}
    except (OSError, Damaged):
        return 0, 0
    ending = f"-i{numbers[-1]}.json"
    lists = [n for n in ops.listdir(f"{folder}/windows") if n.endswith(".json")]
    for name in lists:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if name.endswith(ending):
                used |= {
                    f["path"].rpartition("/")[2] for f in json.loads(ops.read(f"{folder}/windows/{name}"))["files"]
                }
    versions = [f"{folder}/{number}.json" for number in numbers[:-1]]
    old = list(versions)
    for name in ops.listdir(folder):
        if name.rpartition(".")[2] in _SUFFIXES and name not in used:
            old += [f"{folder}/{name}"]
    old += [f"{folder}/windows/{name}" for name in lists if not name.endswith(ending)]
    removed = freed = 0
    for path in old:
        with contextlib.suppress(OSError):
            state = os.stat(path)
            if path in versions or now() - state.st_mtime >= max(grace_s, GRACE_S):
                if not dry_run:
                    ops.unlink(path)
                removed, freed = removed + 1, freed + state.st_size
    return removed, freed
