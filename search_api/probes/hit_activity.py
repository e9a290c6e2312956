"""When a probe found its classes: the heat map of its hits beside how much was recorded and scored."""

from __future__ import annotations

import pyarrow as pa

from probes import Probe
from search_api.probes.hits import HitOptions, thresholds_of
from search_api.probes.scores import ProbeScores
from search_api.questions.about import About
from search_api.questions.grids import grid_of, hop_s, sites_in
from search_api.questions.heard import Activity, Panel, Place, Source
from store import Archive

_KEYS = "w.site, w.date, w.hour"


def hit_activity(
    archive: Archive, probe: Probe, options: HitOptions | None = None, *, per_site: bool = False
) -> Activity:
    """Return when a probe found its classes, by local date and hour.

    Every hit from the thresholds on counts, whatever ``limit`` and ``best_per`` of the options. Only windows that the probe was
    applied to count as recorded.

    Parameters
    ----------
    archive : Archive
    probe : Probe
        As stored, and applied.
    options : HitOptions, optional
    per_site : bool
        A panel for each site, not one for all.

    Raises
    ------
    NotFound, Invalid, Damaged
        As :func:`search_api.probes.hits.find_hits`.
    """
    options = options or HitOptions()
    scores = ProbeScores(archive, probe)
    thresholds = thresholds_of(probe, options, scores.floor)
    query, parameters = archive.select(options.where)
    scored = pa.table({"part_id": pa.array(scores.part_ids, pa.string())})
    effort = archive.sql_with(
        {"_scored_parts": scored},
        f"SELECT {_KEYS}, count(*)::BIGINT AS windows, sum(least(w.valid_s, {hop_s(archive)!r})) AS audio_s FROM ({query}) w "
        "SEMI JOIN _scored_parts p ON p.part_id = w.part_id GROUP BY ALL",
        parameters,
    )
    sites: list[str | None] = [*sites_in(effort)] if per_site else [None]
    panels = []
    for label, least in thresholds.items():
        inner, values = scores.select({label: least}, options.where, _KEYS)
        found = archive.sql(f"SELECT site, date, hour, count(*)::BIGINT AS found FROM ({inner}) GROUP BY ALL", values)
        panels += [Panel(label, site, *grid_of(effort, found, site)) for site in sites]
    places = archive.sql("SELECT site, zone, latitude, longitude FROM sites ORDER BY site").to_pylist()
    there = set(sites_in(effort))
    low, high = min(thresholds.values()), max(thresholds.values())
    said = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}, by class"
    return Activity(
        About.of(archive, options.where),
        Source.PROBE,
        low,
        None,
        tuple(thresholds),
        tuple(Place(**row) for row in places if row["site"] in there),
        tuple(panels),
        f"windows with a probability ≥ {said} by probe {probe.name}, version {probe.version}",
    )
