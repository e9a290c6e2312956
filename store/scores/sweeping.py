"""Removes scores of parts that are gone."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection
from typing import Final

from store import layout
from store.fsops import FileOps

GRACE_S: Final = 3600.0  # a part may have been committed, and scored, after the list of parts was made


def sweep_scores(
    root: str,
    part_ids: Collection[str],
    ops: FileOps,
    *,
    grace_s: float = GRACE_S,
    now: Callable[[], float] = time.time,
    dry_run: bool = False,
) -> tuple[int, int]:
    """Remove files of scores of parts that are not among ``part_ids``, once they are older than ``grace_s``.

    Returns
    -------
    files, bytes : int
        Removed, or to be removed.
    """
    removed = freed = 0
    for name in ops.listdir(f"{root}/{layout.SCORES}"):
        for file in ops.listdir(f"{root}/{layout.SCORES}/{name}"):
            identity = layout.part_id_of(file)
            if identity is None or identity in part_ids:
                continue
            path = f"{root}/{layout.SCORES}/{name}/{file}"
            with contextlib.suppress(FileNotFoundError):  # somebody else was faster
                state = os.stat(path)
                if now() - state.st_mtime >= max(grace_s, GRACE_S):
                    if not dry_run:
                        ops.unlink(path)
                    removed, freed = removed + 1, freed + state.st_size
    return removed, freed
