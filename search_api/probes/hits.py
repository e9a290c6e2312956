"""Where a probe found its classes: windows with a score from a threshold on, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from probes import Probe
from search_api.probes.scores import ProbeScores
from search_api.questions.values import column_values
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from sonotheque.core.search import GROUPS
from sonotheque.core.suggest import did_you_mean
from store import Archive
from store.archive import ORDER

HIT_COLUMNS: Final = pa.schema(
    [
        ("rank", pa.int64()),
        ("score", pa.float32()),
        ("label", pa.string()),
        ("path", pa.string()),
        ("site", pa.string()),
        ("deployment", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("utc_start", pa.timestamp("us", tz="UTC")),
        ("local_start", pa.timestamp("us")),
        ("logit", pa.float32()),
        ("recording_id", pa.int64()),
        ("start_sample", pa.int64()),
        ("probe", pa.string()),
        ("version", pa.int32()),
    ]
)
_BEST_FIRST: Final = f"s.score DESC, {', '.join(f'w.{c.strip()}' for c in ORDER.split(','))}, s.label"
_GROUP_SQL: Final = {"recording": "recording_id", "site": "site", "day": "site, date"}


@dataclass(frozen=True, slots=True)
class HitOptions:
    """Which hits.

    Attributes
    ----------
    where : SearchFilter
        Which windows.
    label : str or None
        One class of the probe; all by default.
    threshold : float or None
        Least score, for every class; each class's own threshold by default.
    limit : int or None
        At most so many, the best.
    best_per : str or None
        At most one hit, the best, for each class of each ``recording``, ``site`` or ``day`` (a site's local date).

    Raises
    ------
    Invalid
        If a value cannot be right.
    """

    where: SearchFilter = field(default_factory=SearchFilter)
    label: str | None = None
    threshold: float | None = None
    limit: int | None = None
    best_per: str | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise Invalid(f"--threshold {self.threshold:g}: a probability, from 0 to 1")
        if self.limit is not None and self.limit < 1:
            raise Invalid(f"--limit {self.limit}: at least 1")
        if self.best_per is not None and self.best_per not in GROUPS:
            raise Invalid(f"--best-per {self.best_per}: {did_you_mean(self.best_per, GROUPS)}")


@dataclass(frozen=True, slots=True)
class Hits:
    """What a probe found.

    Attributes
    ----------
    store : str
    snapshot : int
    probe : Probe
    options : HitOptions
    thresholds : dict
        Class -> least score.
    floor : float
        Least score that was kept when the probe was applied.
    table : pyarrow.Table
        ``HIT_COLUMNS``, best first.
    counts : dict
        Class -> how many there are in all, whatever the limit.
    windows, windows_scored : int
        Of the filter, and those among them that the probe was applied to.
    not_scored : list of dict
        Windows that were looked at and have no score, since their vector is not finite.
    notes : tuple of str
    """

    store: str
    snapshot: int
    probe: Probe
    options: HitOptions
    thresholds: dict[str, float]
    floor: float
    table: pa.Table
    counts: dict[str, int]
    windows: int
    windows_scored: int
    not_scored: list[dict[str, Any]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    @property
    def matching(self) -> int:
        """Hits in all, whatever the limit."""
        return sum(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        columns = {name: column_values(self.table[name]) for name in self.table.column_names}
        hits = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return {
            "store": self.store,
            "snapshot": self.snapshot,
            "probe": self.probe.name,
            "version": self.probe.version,
            "filter": self.options.where.to_json(),
            "label": self.options.label,
            "best_per": self.options.best_per,
            "thresholds": self.thresholds,
            "floor": self.floor,
            "windows": self.windows,
            "windows_scored": self.windows_scored,
            "not_scored": self.not_scored,
            "matching": self.matching,
            "counts": self.counts,
            "hits": hits,
            "notes": list(self.notes),
        }


def find_hits(archive: Archive, probe: Probe, options: HitOptions | None = None) -> Hits:
    """Return what a probe found; superseded rows are never among it.

    Parameters
    ----------
    archive : Archive
    probe : Probe
        As stored, and applied.
    options : HitOptions, optional

    Raises
    ------
    NotFound
        If the probe was not applied, or the filter names what is not in the store.
    Invalid
        If the probe has no such class, or a threshold is below the least score that was kept.
    Damaged
        If a file of scores cannot be read.
    """
    options = options or HitOptions()
    scores = ProbeScores(archive, probe)
    thresholds = thresholds_of(probe, options, scores.floor)
    shown = ", ".join(
        f"{'s' if c in ('score', 'label', 'logit', 'probe', 'version') else 'w'}.{c}"
        for c in HIT_COLUMNS.names
        if c != "rank"
    )
    query, parameters = scores.select(
        thresholds, options.where, f"{shown}, w.date, row_number() OVER (ORDER BY {_BEST_FIRST}) AS place"
    )
    if options.best_per:
        query += best_of(options.best_per)
    counted = archive.sql(f"SELECT label, count(*) AS n FROM ({query}) GROUP BY label", parameters)
    counts = dict(zip(counted["label"].to_pylist(), counted["n"].to_pylist(), strict=True))
    limit = "" if options.limit is None else f" LIMIT {int(options.limit)}"
    found = archive.sql(f"SELECT * FROM ({query}) ORDER BY place{limit}", parameters)
    rank = pa.array(range(1, found.num_rows + 1), pa.int64())
    table = found.drop_columns(["place", "date"]).add_column(0, "rank", rank).cast(HIT_COLUMNS)
    windows, scored = scores.windows(options.where)
    wrong = scores.not_scored()
    return Hits(
        archive.root,
        archive.snapshot.number,
        probe,
        options,
        thresholds,
        scores.floor,
        table,
        {label: counts.get(label, 0) for label in thresholds},
        windows,
        scored,
        wrong,
        tuple(_notes(archive, probe, windows, scored, wrong)),
    )


def best_of(best_per: str) -> str:
    """Return the end of a SELECT of scores ``s`` and windows ``w`` that leaves one hit of each class and group: the best."""
    return f" QUALIFY row_number() OVER (PARTITION BY s.label, {_grouped(best_per)} ORDER BY {_BEST_FIRST}) = 1"


def _grouped(best_per: str) -> str:
    return ", ".join(f"w.{c.strip()}" for c in _GROUP_SQL[best_per].split(","))


def thresholds_of(probe: Probe, options: HitOptions, floor: float) -> dict[str, float]:
    """Return class -> least score of the hits that are asked for.

    Raises
    ------
    Invalid
        If there is no such class, or scores so low were not kept.
    """
    if options.label is not None and options.label not in probe.classes:
        raise Invalid(
            f"probe {probe.name} has no class {options.label!r}; {did_you_mean(options.label, probe.classes)}"
        )
    own = dict(zip(probe.classes, (float(t) for t in probe.thresholds), strict=True))
    labels = probe.classes if options.label is None else (options.label,)
    found = {label: own[label] if options.threshold is None else options.threshold for label in labels}
    label, least = min(found.items(), key=lambda item: item[1])
    if least < floor:
        what = f"--threshold {least:g}" if options.threshold is not None else f"the threshold of {label}, {least:.4g},"
        raise Invalid(
            f"{what} is below {floor:g}, the least score that was kept when probe {probe.name} was applied: ask for a higher one, "
            f"or run `sonotheque probe apply {probe.name} --floor {least / 2:.1g}` first"
        )
    return found


def _notes(archive: Archive, probe: Probe, windows: int, scored: int, wrong: Sequence[dict[str, Any]]) -> list[str]:
    notes = []
    if scored < windows:
        notes.append(
            f"{windows - scored:,} of {windows:,} windows were embedded or moved since probe {probe.name} was applied, and are not among "
            f"the hits: `sonotheque probe apply {probe.name} --store {archive.root}` scores them"
        )
    if wrong:
        notes.append(
            f"{len(wrong):,} windows have no scores, since their vectors are not finite, the first: {wrong[0]['path']} at "
            f"{wrong[0]['start_s']:g} s. `sonotheque verify --store {archive.root} --deep` lists such damage"
        )
    return notes


__all__ = ["HIT_COLUMNS", "HitOptions", "Hits", "best_of", "find_hits", "thresholds_of"]
