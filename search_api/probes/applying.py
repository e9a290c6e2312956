"""Probes over the archive: every window's scores, kept so that a question about them takes no model and no vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.scoring import ScoringReport, score_snapshot
from probes import Probe
from search_api.probes.stored import load_probe
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from store import Archive
from store.probes import in_use
from store.scores import SCORE_FLOOR
from store.snapshots import SnapshotPart

Progress = Callable[[int, int], None]  # windows done, windows in all


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How probes are applied.

    Attributes
    ----------
    where : SearchFilter
        Only parts of the store that hold such a window; each of them is scored whole.
    floor : float
        Scores below it are not kept; 0: all are.
    workers : int
        Processes of a Dask cluster on this machine; 1: no Dask.
    scheduler : str or None
        Address of a running Dask scheduler.
    cluster : str or None
        A cluster file, whose workers take the place of ``workers``.
    dry_run : bool
        Only count what is to be scored.
    note : callable
        Takes what people should know of a cluster that is started.
    """

    where: SearchFilter = field(default_factory=SearchFilter)
    floor: float = SCORE_FLOOR
    workers: int = 1
    scheduler: str | None = None
    cluster: str | None = None
    dry_run: bool = False
    note: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Applied:
    """What an application did.

    Attributes
    ----------
    scoring : ScoringReport
    store : str
    where : dict
        The filter.
    notes : tuple of str
        What a user of the scores should know.
    """

    scoring: ScoringReport
    store: str
    where: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a part or a window has no scores that should."""
        return bool(self.scoring.failures or self.scoring.not_scored)

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        return {"store": self.store, "filter": self.where, **self.scoring.to_json(), "notes": list(self.notes)}


def apply_stored(
    archive: Archive,
    names: Sequence[str],
    options: ApplyOptions | None = None,
    *,
    is_all: bool = False,
    version: int | None = None,
    progress: Progress | None = None,
) -> Applied:
    """Apply probes by their names; see :func:`apply_probes`.

    Parameters
    ----------
    archive : Archive
    names : sequence of str
        Of stored probes: the version in use of each.
    options : ApplyOptions, optional
    is_all : bool
        Every probe that has a version in use.
    version : int, optional
        Another version of the one probe that is named.
    progress : callable, optional

    Raises
    ------
    Invalid
        If no probe is named, or names do not go with the other choices.
    NotFound
        If there is no such probe or version, or none is in use.
    """
    if is_all == bool(names):
        said = f"--all and {names[0]}: one of them" if names else "no probe is named: give names, or --all"
        raise Invalid(f"{said}; `sonotheque probe list --store {archive.root}` tells which there are")
    if version is not None and len(names) != 1:
        raise Invalid(f"--version {version} belongs to one probe; {len(names) or 'all'} are asked for")
    wanted = list(dict.fromkeys(names)) or sorted(in_use(archive.root))
    if not wanted:
        raise NotFound(
            f"{archive.root} has no probe in use: `sonotheque probe train NAME --store {archive.root}` makes one"
        )
    found = [load_probe(archive.root, name, version) for name in wanted]
    return apply_probes(archive, found, options, progress=progress)


def apply_probes(
    archive: Archive, probes: Sequence[Probe], options: ApplyOptions | None = None, *, progress: Progress | None = None
) -> Applied:
    """Score the windows of an archive's snapshot that are not scored yet; run again, it goes on where it was interrupted.

    Parameters
    ----------
    archive : Archive
    probes : sequence of Probe
        Stored versions, of the archive's model; all go through the vectors together.
    options : ApplyOptions, optional
    progress : callable, optional

    Raises
    ------
    Conflict
        If a probe is of another model (kind ``model_conflict``).
    Invalid
        If an option cannot be right.
    NotFound
        If the filter names what is not in the store.
    Unavailable
        If scores cannot be written, or the Dask cluster goes away. What was committed stays.
    """
    options = options or ApplyOptions()
    scoring = score_snapshot(
        archive.root,
        archive.snapshot,
        probes,
        floor=options.floor,
        parts=_parts(archive, options.where),
        workers=options.workers,
        scheduler=options.scheduler,
        cluster=options.cluster,
        dry_run=options.dry_run,
        progress=progress,
        note=options.note,
    )
    return Applied(scoring, archive.root, options.where.to_json(), tuple(_notes(archive, probes, options, scoring)))


def _parts(archive: Archive, where: SearchFilter) -> Sequence[SnapshotPart]:
    if where.is_empty:
        return archive.live_parts
    query, parameters = archive.select(where, columns="DISTINCT w.part_id")
    wanted = set(archive.sql(query, parameters)["part_id"].to_pylist())
    return tuple(p for p in archive.live_parts if p.part_id in wanted)


def _notes(archive: Archive, probes: Sequence[Probe], options: ApplyOptions, scoring: ScoringReport) -> list[str]:
    notes = []
    if not options.where.is_empty:
        notes.append(
            f"{scoring.parts:,} of {len(archive.live_parts):,} parts hold windows of the filter; each of them is scored whole"
        )
    for probe in probes:
        low = {c: t for c, t in zip(probe.classes, probe.thresholds, strict=True) if t < options.floor}
        if low:
            name, least = min(low.items(), key=lambda item: item[1])
            notes.append(
                f"probe {probe.name}: the threshold of {name} is {least:.4g}, and scores below {options.floor:g} are not kept; "
                f"apply it with --floor {least / 2:.1g} for hits at that threshold"
            )
    if archive.damaged:
        notes.append(f"{len(archive.damaged):,} damaged part files were left out")
    return notes
