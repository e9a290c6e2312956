"""The ready questions as JSON values: when species were heard as grids of dates and hours, which species were found with their windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from search_api.browsing.labels import names
from search_api.browsing.wire import window_rows
from search_api.probes.hit_activity import hit_activity
from search_api.probes.hits import HitOptions
from search_api.probes.stored import load_probe
from search_api.questions.activity import activity, hints
from search_api.questions.grids import HOURS, Grid
from search_api.questions.heard import Activity, By, Source, counts, rows_by
from search_api.questions.species import Best, SpeciesRow, species
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from store import Archive

CELL: Final = "cell"
BY: Final = (CELL, "hour", "date", "month")
SPECIES_MAX: Final = 5_000


def activity_answer(
    archive: Archive,
    labels: Sequence[str],
    wanted: SearchFilter,
    *,
    by: str = CELL,
    per_site: bool = False,
    source: str = "predictions",
    probe: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Return when species were heard, and notes.

    Parameters
    ----------
    archive : Archive
    labels : sequence of str
        Labels, scientific or common names; of a probe, its classes (none: all of them).
    wanted : SearchFilter
        Which windows; its ``label`` is left out.
    by : str
        ``cell``: panels with a grid of dates and hours; ``hour``, ``date`` or ``month``: rows.
    per_site : bool
        A panel for each site.
    source : str
        ``predictions``, ``annotations`` or ``probe``.
    probe : str, optional
        Which one, if it is the source.

    Returns
    -------
    dict
        ``labels, source, score_min``; ``panels`` (``label, site, dates, hours, found, audio_s``; dates × 24, None where nothing was
        recorded), ``rows`` (None for ``cell``), ``totals`` (one for each panel).
    list of str

    Raises
    ------
    NotFound, Invalid
        See :func:`search_api.questions.activity.activity`.
    """
    if by not in BY:
        raise Invalid(f"by {by!r}: expected {', '.join(BY)}")
    found, notes = _heard(archive, labels, wanted, per_site=per_site, source=source, probe=probe)
    panels = []
    if by == CELL:
        panels = [{"label": p.label, "site": p.site, **_grid_json(p.grid)} for p in found.panels]
    answer = {
        "labels": list(found.labels),
        "source": str(found.source),
        "score_min": found.score_min,
        "panels": panels,
        "rows": None if by == CELL else rows_by(found, By(by)),
        "totals": [
            {
                "label": panel.label,
                "site": panel.site,
                **counts(panel.grid.windows.sum(), panel.grid.audio_s.sum(), panel.grid.found.sum()),
                "without_time": panel.without_time,
            }
            for panel in found.panels
        ],
    }
    return answer, notes


def _heard(
    archive: Archive, labels: Sequence[str], wanted: SearchFilter, *, per_site: bool, source: str, probe: str | None
) -> tuple[Activity, list[str]]:
    wanted = wanted.merged(label=None)
    if source == Source.PROBE:
        if not probe:
            raise Invalid("source=probe: expected the probe's name, as probe=owls")
        if wanted.score_max is not None or wanted.rank_max is not None:
            raise Invalid("source=probe: score_max and rank_max choose the model's predictions; leave them out")
        if len(labels) > 1:
            raise Invalid("source=probe: expected one label, or none for all of the probe's classes")
        where, least = wanted.merged(score_min=None), wanted.score_min
        options = HitOptions(where=where, label=labels[0] if labels else None, threshold=least)
        return hit_activity(archive, load_probe(archive.root, probe), options, per_site=per_site), []
    if source not in (Source.PREDICTIONS, Source.ANNOTATIONS):
        raise Invalid(f"source {source!r}: expected predictions, annotations or probe")
    found = activity(archive, labels, wanted, source=Source(source), per_site=per_site)
    return found, hints(archive, found, wanted)


def _grid_json(grid: Grid) -> dict[str, Any]:
    recorded = (grid.audio_s > 0).tolist()
    return {
        "dates": [day.isoformat() for day in grid.dates],
        "hours": list(range(HOURS)),
        "found": _where(recorded, grid.found.tolist()),
        "audio_s": _where(recorded, np.round(grid.audio_s, 3).tolist()),
    }


def _where(recorded: list[list[bool]], values: list[list[Any]]) -> list[list[Any]]:
    """Return the values, None in hours without sound."""
    return [
        [value if there else None for there, value in zip(*day, strict=True)]
        for day in zip(recorded, values, strict=True)
    ]


def species_answer(
    archive: Archive, wanted: SearchFilter, *, per_site: bool = False, best: int = 1, limit: int = 500
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return which species were found, most windows first, and notes.

    Parameters
    ----------
    archive : Archive
    wanted : SearchFilter
        Which predictions; rank 1 and a score of at least 0.5 unless given.
    per_site : bool
        A row for each species and site.
    best : int
        Windows to name that show a species best.
    limit : int
        At most so many rows.

    Returns
    -------
    list of dict
        ``label, scientific, common, site, windows, days, sites, first, last`` (on the site's clock), ``per_hour``, ``best_score`` and
        ``best`` (windows with ``score`` and ``rank``).
    list of str

    Raises
    ------
    NotFound, Invalid
        See :func:`search_api.questions.species.species`.
    """
    found = species(archive, wanted, per_site=per_site, best=best)
    rows = found.rows[:limit]
    score = "any score" if found.score_min is None else f"a score of at least {found.score_min:g}"
    notes = [f"predictions of rank {found.rank_max} or better with {score}"]
    if len(found.rows) > len(rows):
        notes.append(f"the first {len(rows):,} of {len(found.rows):,} rows")
    shown = _best_windows(archive, [b for row in rows for b in row.best])
    return [_species_json(row, [shown.pop(0) for _ in row.best]) for row in rows], notes


def _species_json(row: SpeciesRow, best: list[dict[str, Any]]) -> dict[str, Any]:
    own = row.to_json()
    rate = row.per_hour
    kept = {name: own[name] for name in ("site", "windows", "sites", "days", "first", "last", "best_score")}
    return {**names(row.label), **kept, "per_hour": None if rate is None else round(rate, 4), "best": best}


def _best_windows(archive: Archive, best: Sequence[Best]) -> list[dict[str, Any]]:
    """Return the windows that show species best, in their order, with their ids."""
    paths = pa.table({"path": pa.array(sorted({b.path for b in best}), pa.string())})
    known = archive.sql_with(
        {"_paths": paths}, "SELECT path, recording_id, deployment FROM recordings SEMI JOIN _paths USING (path)"
    ).to_pylist()
    of = {row["path"]: row for row in known}
    rule = archive.config.windows
    rate = rule.sample_rate_hz * rule.rate_factor
    table = pa.table(
        {
            "recording_id": pa.array([of[b.path]["recording_id"] for b in best], pa.int64()),
            "start_sample": pa.array([round(b.start_s * rate) for b in best], pa.int64()),
            "deployment": pa.array([of[b.path]["deployment"] for b in best], pa.string()),
            "path": pa.array([b.path for b in best], pa.string()),
            "site": pa.array([b.site for b in best], pa.string()),
            "start_s": pa.array([b.start_s for b in best], pa.float64()),
            "end_s": pa.array([b.end_s for b in best], pa.float64()),
            "utc_start": pa.array([b.utc_start for b in best], pa.timestamp("us", "UTC")),
            "local_start": pa.array([b.local_start for b in best], pa.timestamp("us")),
        }
    )
    rows = window_rows(archive, table)
    return [{**row, "score": b.score, "rank": b.rank} for row, b in zip(rows, best, strict=True)]


__all__ = ["BY", "CELL", "SPECIES_MAX", "activity_answer", "species_answer"]
