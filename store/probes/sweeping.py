"""Removes what trainings that died left behind: numbered folders that never became a version."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from store import layout
from store.fsops import FileOps, store_errors
from store.probes.names import numbers, stored_names

GRACE_S = 3600.0  # writing a version takes moments


def sweep_unfinished(
    root: str,
    ops: FileOps,
    *,
    grace_s: float = GRACE_S,
    now: Callable[[], float] = time.time,
    dry_run: bool = False,
) -> tuple[int, int]:
    """Remove the files of folders that have no ``probe.json`` and have not changed for the grace period, of an hour at least.

    Returns
    -------
    (int, int)
        Files and bytes removed, or to be removed.
    """
    files = size = 0
    oldest = now() - max(grace_s, GRACE_S)
    for name in stored_names(root, ops):
        for number in numbers(ops.listdir(f"{root}/{layout.probe_folder(name)}")):
            folder = f"{root}/{layout.probe_version(name, number)}"
            there = ops.listdir(folder)
            if layout.PROBE_FILE in there or not there or os.stat(folder).st_mtime > oldest:
                continue
            # The weights hold the number: they go last, so that nobody takes it while something is left.
            for file in sorted(there, key=lambda f: f == layout.PROBE_WEIGHTS):
                files, size = files + 1, size + os.path.getsize(f"{folder}/{file}")
                if not dry_run:
                    with store_errors(root):
                        ops.unlink(f"{folder}/{file}")
    return files, size
