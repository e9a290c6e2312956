"""Removes catalog files that no kept manifest names."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator

from store import layout
from store.catalog.manifest import manifest_of
from store.fsops import FileOps, LocalFileOps


def sweep(
    root: str,
    keep_snapshots: set[int],
    grace_s: float,
    ops: FileOps | None = None,
    *,
    now: Callable[[], float] = time.time,
    dry_run: bool = False,
) -> tuple[int, int]:
    """Remove manifests of snapshots that are not kept, of metadata that have changed since, and files that no manifest names.

    Parameters
    ----------
    root : str
    keep_snapshots : set of int
        Of these, the manifest with the newest metadata is kept.
    grace_s : float
        Files younger than this are left alone: a builder or a reader may be at work with them.

    Returns
    -------
    files, bytes : int
        Removed, or to be removed.
    """
    ops = ops or LocalFileOps()
    folder = f"{root}/{layout.CATALOG}"
    own = layout.catalog_folder()
    newest: dict[int, tuple[int, str]] = {}
    named: set[str] = set()
    manifests: dict[str, set[str]] = {}
    for name in ops.listdir(f"{root}/{own}"):
        if name.endswith(".json"):
            try:
                manifest = manifest_of(json.loads(ops.read(f"{root}/{own}/{name}")))
            except (OSError, ValueError, KeyError, TypeError):
                continue
            manifests[f"{own}/{name}"] = manifest.files
            if manifest.snapshot in keep_snapshots:
                newest[manifest.snapshot] = max(
                    newest.get(manifest.snapshot, (-1, "")), (manifest.metadata, f"{own}/{name}")
                )
    for _, path in newest.values():
        named |= {path} | manifests[path]
    notes = {f.replace("/windows/", "/units/").replace(".parquet", ".json") for f in named}
    files = sizes = 0
    for path, relative in list(_files(folder, layout.CATALOG)):
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            continue
        if relative in named or relative in notes or now() - stat.st_mtime < grace_s:
            continue
        files, sizes = files + 1, sizes + stat.st_size
        if not dry_run:
            ops.unlink(path)
    return files, sizes


def _files(folder: str, relative: str) -> Iterator[tuple[str, str]]:
    """Yield every file below a folder, manifests first: none may name a file that is gone."""
    below: list[tuple[str, str]] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda e: (e.is_dir(), not e.name.endswith(".json"), e.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            below.append((entry.path, f"{relative}/{entry.name}"))
        else:
            yield entry.path, f"{relative}/{entry.name}"
    for path, name in below:
        yield from _files(path, name)
