"""Opens an archive for searching: the newest index if there is one, and what was committed since."""

from __future__ import annotations

from sonotheque.core.errors import Damaged
from store.archive import Archive
from store.fsops import FileOps, ops_of
from store.index.codes import Clusters
from store.index.eligible import SearchedWindows
from store.index.manifest import IndexVersion, check_files, newest_version
from store.index.searching import SearchIndex
from store.index.segments import open_segments
from store.index.stored import FreshVectors
from store.index.windows import WindowTables, windows_of
from store.state import state_root


def open_index(archive: Archive, ops: FileOps | None = None, *, ignore: bool = False, gpu: str = "auto") -> SearchIndex:
    """Open an archive for searching.

    Parameters
    ----------
    archive : Archive
    ops : FileOps, optional
    ignore : bool
        Search without the index, whatever state it is in: everything is compared.
    gpu : str
        When indexed vectors are copied to the GPUs, if there are any: ``auto`` (in the background, from the second search on), ``now`` or
        ``off``. The environment's ``SONOTHEQUE_GPU=off`` goes before.

    Returns
    -------
    SearchIndex
        Also if there is no index: then a search compares everything, and says so.

    Raises
    ------
    Damaged
        If the index cannot be read as it was written.
    Conflict
        If it is of another store's or another model's vectors; both are named.
    """
    ops = ops or ops_of(archive.root)
    version = None if ignore else newest_version(archive.root, archive.config, ops)
    while version is not None:
        try:
            return _opened(archive, version, ops, gpu)
        except Damaged:
            newer = newest_version(archive.root, archive.config, ops)
            if newer is None or newer.number == version.number:
                raise
            version = newer  # built meanwhile, and the files of the one before removed
    return _opened(archive, None, ops, gpu)


def _opened(archive: Archive, version: IndexVersion | None, ops: FileOps, gpu: str) -> SearchIndex:
    root, config = archive.root, archive.config
    clusters, segments, tables = None, [], []
    held: list[tuple[str, int]] = []
    if version is not None:
        check_files(root, version)
        clusters = (
            Clusters.load(f"{state_root(root)}/{version.clusters.path}", config.model.dim) if version.clusters else None
        )
        segments = open_segments(root, version, config)
        tables = WindowTables(archive, ops).open(version)
        held = [part for segment in version.segments for part in segment.parts]
    known = {name for name, _ in held}
    fresh = [p for p in archive.live_parts if p.part_id not in known]
    late = [(p.part_id, p.rows) for p in fresh]
    if late:
        tables = [*tables, windows_of(archive, late)]
    windows = SearchedWindows(archive, tables)
    parts = [*held, *late]
    return SearchIndex(archive, version, clusters, segments, windows, FreshVectors(archive, fresh), parts, gpu)
