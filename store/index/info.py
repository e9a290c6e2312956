"""What an index is, and whether it is whole and up to date."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from store.archive import Archive
from store.fsops import FileOps, ops_of
from store.index.build import require_version
from store.index.files import damaged_files
from store.index.manifest import IndexVersion
from store.index.windows import WindowTables


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The state of an index.

    Attributes
    ----------
    version : int
    kind : str
        ``exact`` or ``coded``.
    model : str
    snapshot : int
        That it was made from.
    windows : int
        Live windows of the archive that it holds.
    fresh_windows : int
        Committed since; searches compare them one by one until an update.
    superseded_rows : int
        That it still holds, and that no search returns.
    segments, lists : int
    recall : dict or None
        ``mean``, ``p5``, ``lists``, ``candidates``, ``k``, ``queries``, ``wanted``; None for ``exact``.
    disk_bytes, ram_bytes : int
    build_s : float
    created, library : str
    notes : list of str
        What to do, if anything.
    damaged : list of str
        Only of a deep check: what is wrong with which file.
    """

    version: int
    kind: str
    model: str
    snapshot: int
    windows: int
    fresh_windows: int
    superseded_rows: int
    segments: int
    lists: int
    recall: dict[str, Any] | None
    disk_bytes: int
    ram_bytes: int
    build_s: float
    created: str
    library: str
    notes: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def read_info(archive: Archive, *, deep: bool = False, ops: FileOps | None = None) -> IndexInfo:
    """Return the state of an archive's index.

    Parameters
    ----------
    archive : Archive
    deep : bool
        Read every file and compare its digest.

    Raises
    ------
    NotFound
        If there is no index; kind ``no_index``.
    Damaged, Conflict
        If it cannot be read, or is of another store or model.
    """
    version = require_version(archive, ops or ops_of(archive.root))
    wrong = damaged_files(archive.root, version.files) + WindowTables(archive).damaged(version) if deep else []
    return describe(archive, version, wrong)


def describe(archive: Archive, version: IndexVersion, damaged: list[str] | None = None) -> IndexInfo:
    """Return what there is to say of a version."""
    held = {name for segment in version.segments for name, _ in segment.parts}
    listed = archive.live_parts
    windows = sum(p.live_rows for p in listed if p.part_id in held)
    fresh = sum(p.live_rows for p in listed if p.part_id not in held)
    recipe = version.recipe
    recall = None
    if version.chosen is not None:
        recall = {**asdict(version.chosen), "k": version.k, "queries": version.queries, "wanted": version.wanted_recall}
    vectors = sum(s.vectors.bytes for s in version.segments)
    ram = vectors if version.kind == "exact" else sum(f.bytes for f in version.files) - vectors
    return IndexInfo(
        version=version.number,
        kind=version.kind,
        model=f"{archive.config.model.name} {archive.config.model.version}",
        snapshot=version.snapshot,
        windows=windows,
        fresh_windows=fresh,
        superseded_rows=version.rows - windows,
        segments=len(version.segments),
        lists=int(recipe["lists"]),
        recall=recall,
        disk_bytes=sum(f.bytes for f in version.files),
        ram_bytes=ram,
        build_s=float(version.made["build_s"]),
        created=str(version.made["at"]),
        library=str(version.made["library"]),
        notes=_notes(archive.root, version, windows, fresh),
        damaged=damaged or [],
    )


def _notes(root: str, version: IndexVersion, windows: int, fresh: int) -> list[str]:
    notes = []
    if fresh:
        notes.append(
            f"{fresh:,} windows were committed since: `sonotheque index update --store {root}` adds them; until then searches compare them one by one"
        )
    if version.kind == "coded" and windows > 4 * int(version.made["built_rows"]):
        notes.append(
            "the archive is more than four times what the clusters were learnt from: `sonotheque index build` learns them anew"
        )
    if version.kind == "exact" and windows > 400_000:
        notes.append("the archive has grown: `sonotheque index build` makes codes, which are faster to search")
    if version.chosen is not None and version.chosen.mean < version.wanted_recall:
        notes.append(
            f"recall {version.chosen.mean:.4f} is below the {version.wanted_recall:g} wanted: `search --exact` finds everything"
        )
    return notes
