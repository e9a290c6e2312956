"""A manifest: which files make up the catalog of one snapshot and one version of the metadata."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from sonotheque.core.errors import Damaged
from sonotheque.core.ids import digest_of
from store import layout
from store.fsops import FileOps, LocalFileOps
from store.snapshots import Snapshot


class UnitFault(Damaged):
    """A part's file that the catalog needs and that cannot be read."""

    def __init__(self, relative: str, why: str) -> None:
        super().__init__(
            f"part file {relative} cannot be read: {why}. `sonotheque verify --deep` lists all damage; --skip-damaged "
            "(in Python skip_damaged=True) answers without it, and says so"
        )
        self.relative, self.why = relative, why

    def __reduce__(self) -> tuple[object, ...]:
        return (UnitFault, (self.relative, self.why))


@dataclass(frozen=True, slots=True)
class Unit:
    """One site's month: two files, or one where the store keeps no predictions.

    Attributes
    ----------
    site, month : str
        Corrected; ``month`` is ``YYYY-MM``, or ``none`` where the time is unknown.
    windows, predictions : str
        Paths relative to the catalog's base; ``predictions`` may be empty.
    rows, prediction_rows : int
    moved : tuple of str
        Parts whose stored place or times are not those of the catalog.
    """

    site: str
    month: str
    windows: str
    predictions: str
    rows: int
    prediction_rows: int
    moved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a catalog; paths relative to its base."""

    snapshot: int
    metadata: int
    store_digest: str
    recordings: str
    stored: str
    sites: str
    labels: str
    units: tuple[Unit, ...]
    parts: str = ""  # digest of what the snapshot lists; catalogs of earlier releases lack it

    @property
    def moved(self) -> frozenset[str]:
        """Parts whose stored place or times are not those of the catalog."""
        return frozenset(part for unit in self.units for part in unit.moved)

    @property
    def files(self) -> set[str]:
        """Every file it names."""
        own = {self.recordings, self.stored, self.sites, self.labels}
        return own | {f for u in self.units for f in (u.windows, u.predictions) if f}

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as a JSON object."""
        return asdict(self)


def manifest_of(value: dict[str, Any]) -> Manifest:
    """Rebuild a manifest from :meth:`Manifest.to_json`."""
    units = tuple(Unit(**{**u, "moved": tuple(u["moved"])}) for u in value["units"])
    return Manifest(**{**value, "units": units})


def read_manifest(
    base: str, snapshot: Snapshot, metadata: int, ops: FileOps | None = None, *, lenient: bool = False
) -> Manifest | None:
    """Return the manifest of a snapshot and a version of the metadata; None if it must be built (again).

    Its number alone does not say which snapshot: a store that is made anew at the same place counts from 1 again. ``lenient`` takes a
    manifest that does not name its parts.
    """
    try:
        found = manifest_of(
            json.loads((ops or LocalFileOps()).read(f"{base}/{layout.catalog_manifest(snapshot.number, metadata)}"))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # it is derived: what cannot be read is made again
    if found.store_digest != snapshot.store_digest:
        return None
    return found if found.parts == parts_digest(snapshot) or (lenient and not found.parts) else None


def parts_digest(snapshot: Snapshot) -> str:
    """Return a digest of what a snapshot lists."""
    return digest_of([[p.part_id, p.sha256, list(p.superseded)] for p in snapshot.parts])
