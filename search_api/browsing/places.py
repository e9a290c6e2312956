"""Sites, and when how much was recorded at each of them."""

from __future__ import annotations

from typing import Any, Final

import pyarrow.compute as pc

from search_api.questions.grids import HOURS, effort_cells
from search_api.questions.values import plain
from sonotheque.core.errors import Limit
from sonotheque.core.filters import SearchFilter
from store import Archive

CELLS_MAX: Final = 100_000
_SITES = """
SELECT s.site, s.latitude, s.longitude, s.zone, s.recordings, s.windows, s.audio_s, s.first_date AS first, s.last_date AS last,
       coalesce(d.days, 0)::BIGINT AS days, s.deployments
FROM sites s LEFT JOIN (
    SELECT site, count(DISTINCT date) AS days FROM recordings WHERE outcome = 'done' GROUP BY site
) d USING (site) ORDER BY s.site
"""


def list_sites(archive: Archive) -> list[dict[str, Any]]:
    """Return the sites with their effort: ``recordings, windows, audio_s``, ``first`` and ``last`` local date, ``days`` with sound."""
    return [{name: plain(value) for name, value in row.items()} for row in archive.sql(_SITES).to_pylist()]


def effort(archive: Archive, wanted: SearchFilter | None = None, *, per_site: bool = True) -> dict[str, Any]:
    """Return how much sound was analysed in each hour of each local date.

    Parameters
    ----------
    archive : Archive
    wanted : SearchFilter, optional
        Which windows.
    per_site : bool
        A cell for each site, not one for all (``site`` is None then).

    Returns
    -------
    dict
        ``dates``, ``hours``, ``cells`` (``site, date, hour, audio_s``), ``totals`` (``windows, audio_s, without_time_s``).

    Raises
    ------
    NotFound
        If the filter names what is not in the store.
    Limit
        If there are more cells than a page can show.
    """
    found = effort_cells(archive, wanted or SearchFilter())
    timed = found.filter(pc.field("date").is_valid() & (pc.field("audio_s") > 0))
    keys = ["site", "date", "hour"] if per_site else ["date", "hour"]
    summed = (
        timed.group_by(keys, use_threads=False)
        .aggregate([("audio_s", "sum")])
        .sort_by([(k, "ascending") for k in keys])
    )
    if summed.num_rows > CELLS_MAX:
        raise Limit(
            f"{summed.num_rows:,} hours of recording, at most {CELLS_MAX:,} in one answer: narrow it with site, date_from and "
            "date_to, or ask for all sites together with per_site=false"
        )
    rows = summed.rename_columns({"audio_s_sum": "audio_s"}).to_pylist()
    cells = [
        {"site": None, **row, "date": row["date"].isoformat(), "audio_s": round(row["audio_s"], 3)} for row in rows
    ]
    audio_s = float(pc.sum(found["audio_s"]).as_py() or 0.0)
    with_time_s = float(pc.sum(timed["audio_s"]).as_py() or 0.0)
    return {
        "dates": sorted({cell["date"] for cell in cells}),
        "hours": list(range(HOURS)),
        "cells": cells,
        "totals": {
            "windows": int(pc.sum(found["windows"]).as_py() or 0),
            "audio_s": round(audio_s, 3),
            "without_time_s": round(audio_s - with_time_s, 3),
        },
    }
