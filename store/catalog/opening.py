"""Opens the catalog of a snapshot: the one that is there, or one that is built now."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from sonotheque.core.errors import Unavailable
from sonotheque.core.ids import digest_of
from sonotheque.core.places import is_object
from store.catalog.manifest import Manifest, UnitFault, read_manifest
from store.config import StoreConfig
from store.fsops import FileOps, ops_of
from store.metadata import latest_metadata, read_metadata
from store.snapshots import Snapshot
from store.state import state_root

if TYPE_CHECKING:
    from store.catalog.build import CatalogBuilder, Progress


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalog that can be read.

    Attributes
    ----------
    base : str
        The folder that the manifest's paths are relative to: the store's, or one of this user's own.
    manifest : Manifest
    without : dict
        Damaged part files that were left out on request -> why.
    """

    base: str
    manifest: Manifest
    without: dict[str, str]

    def path(self, relative: str) -> str:
        """Return the path of one of its files."""
        return f"{self.base}/{relative}"


def open_catalog(
    root: str,
    config: StoreConfig,
    snapshot: Snapshot,
    *,
    metadata: int | None = None,
    skip_damaged: bool = False,
    progress: Progress | None = None,
    ops: FileOps | None = None,
) -> Catalog:
    """Return the catalog of a snapshot with the newest metadata, or an earlier version of them.

    Parameters
    ----------
    root, config, snapshot
        The store.
    metadata : int, optional
        A version of the metadata; the newest by default.
    skip_damaged : bool
        Leave parts out that cannot be read, and name them in ``without``. Such a catalog lies outside the store.
    progress : callable, optional
        Called with (units done, units in all) while a catalog is built.

    Raises
    ------
    Damaged
        If a part must be read and cannot be, unless ``skip_damaged``.
    """
    ops = ops or ops_of(root)
    version = latest_metadata(root) if metadata is None else metadata
    home = state_root(root)
    places = [home, _own_folder(root)]
    for base in places:
        found = read_manifest(base, snapshot, version, ops, lenient=base == root)
        if found and all(os.path.exists(f"{base}/{f}") for f in found.files):
            return Catalog(base, found, {})
    from store.catalog.build import CatalogBuilder  # polars: only for building

    state = read_metadata(root, version)
    without: dict[str, str] = {}
    while True:
        builder = CatalogBuilder(root, home, config, snapshot, state, without, ops)
        try:
            return Catalog(*_built(builder, _own_folder(root), progress), without)
        except UnitFault as fault:
            if not skip_damaged or fault.relative in without:
                raise
            without[fault.relative] = fault.why


def _built(builder: CatalogBuilder, elsewhere: str, progress: Progress | None) -> tuple[str, Manifest]:
    """Build in the store, or in a folder of this user's where the store cannot be written to."""
    if builder.without:  # never where another reader would take it for the whole
        builder.base = f"{elsewhere}-without-{digest_of(sorted(builder.without))[:12]}"
        return builder.base, builder.build(progress)
    try:
        return builder.base, builder.build(progress)
    except Unavailable as error:
        if error.kind not in ("read_only", "disk_full"):
            raise
        builder.base = elsewhere
        return builder.base, builder.build(progress)


def _own_folder(root: str) -> str:
    """Return this user's folder for the catalog of a store that cannot be written to."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    usable = Path(cache)
    with contextlib.suppress(OSError):
        usable.mkdir(parents=True, exist_ok=True)
    place = cache if os.access(cache, os.W_OK) else gettempdir()
    return os.path.join(place, "sonotheque", digest_of(root if is_object(root) else os.path.realpath(root)))
