"""The answer to when a species was heard: nouns, and its rows for other programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from search_api.questions.about import About
from search_api.questions.grids import HOURS, SUN_STEP_MIN, Grid, SunBin


class Source(StrEnum):
    """Who found the species."""

    PREDICTIONS = "predictions"
    ANNOTATIONS = "annotations"
    PROBE = "probe"


class By(StrEnum):
    """What the rows of an answer are."""

    CELL = "date-hour"
    HOUR = "hour"
    DATE = "date"
    MONTH = "month"
    SUN = "sun"


@dataclass(frozen=True, slots=True)
class Panel:
    """One species at one site, or at all of them.

    Attributes
    ----------
    label : str
    site : str or None
        None: all sites, each on its own clock.
    grid : Grid
    without_time : dict
        ``windows`` and ``found`` where the local time is unknown.
    sun : tuple of SunBin
        Only if asked for.
    without_sun : dict or None
        ``windows`` and ``found`` where the sun is not known; only if asked for.
    """

    label: str
    site: str | None
    grid: Grid
    without_time: dict[str, int]
    sun: tuple[SunBin, ...] = ()
    without_sun: dict[str, int] | None = None

    @property
    def found(self) -> int:
        """Windows with the species, at known times."""
        return int(self.grid.found.sum())


@dataclass(frozen=True, slots=True)
class Place:
    """A site of the answer."""

    site: str
    zone: str | None
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True, slots=True)
class Activity:
    """The answer.

    Attributes
    ----------
    about : About
    source : Source
    score_min : float or None
        None for annotations.
    rank_max : int or None
        None: every prediction that the store keeps.
    labels : tuple of str
    places : tuple of Place
        Sites with windows whose local time is known.
    panels : tuple of Panel
        By label, then by site.
    counted : str
        What was counted, in words; only if a probe found it.
    """

    about: About
    source: Source
    score_min: float | None
    rank_max: int | None
    labels: tuple[str, ...]
    places: tuple[Place, ...]
    panels: tuple[Panel, ...]
    counted: str = ""

    def to_json(self, by: By = By.CELL) -> dict[str, Any]:
        """Return the answer as a JSON object with the rows of :func:`rows_by`."""
        totals = []
        for panel in self.panels:
            grid = panel.grid
            total = {"label": panel.label, "site": panel.site}
            total |= counts(grid.windows.sum(), grid.audio_s.sum(), grid.found.sum())
            totals.append({**total, "without_time": panel.without_time, "without_sun": panel.without_sun})
        return {
            **self.about.to_json(),
            "source": str(self.source),
            "score_min": self.score_min,
            "rank_max": self.rank_max,
            "labels": list(self.labels),
            "sites": [{name: getattr(p, name) for name in Place.__slots__} for p in self.places],
            "by": str(by),
            "totals": totals,
            "rows": rows_by(self, by),
        }


def counts(windows: int, audio_s: float, found: int) -> dict[str, Any]:
    """Return what every row of an answer has."""
    hours = float(audio_s) / 3600
    return {
        "windows": int(windows),
        "audio_h": round(hours, 6),
        "detections": int(found),
        "detections_per_h": round(int(found) / hours, 4) if hours > 0 else None,
    }


def rows_by(answer: Activity, by: By) -> list[dict[str, Any]]:
    """Return flat rows: ``label``, ``site`` (null: all), what ``by`` says, and the counts. Only of times with recordings."""
    rows = []
    for panel in answer.panels:
        own = {"label": panel.label, "site": panel.site}
        if by is By.SUN:
            for b in panel.sun:
                span = {"event": b.event, "from_min": b.from_min, "to_min": b.from_min + SUN_STEP_MIN}
                rows.append({**own, **span, **counts(b.windows, b.audio_s, b.found)})
        else:
            rows += [{**own, **row} for row in _grid_rows(panel.grid, by)]
    return rows


def _grid_rows(grid: Grid, by: By) -> list[dict[str, Any]]:
    keys: dict[By, Callable[[int, int], dict[str, Any]]] = {
        By.CELL: lambda day, hour: {"date": grid.dates[day].isoformat(), "hour": hour},
        By.HOUR: lambda _, hour: {"hour": hour},
        By.DATE: lambda day, _: {"date": grid.dates[day].isoformat()},
        By.MONTH: lambda day, _: {"month": grid.dates[day].strftime("%Y-%m")},
    }
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for day in range(len(grid.dates)):
        for hour in range(HOURS):
            if grid.windows[day, hour]:
                key = tuple(keys[by](day, hour).items())
                total = sums.setdefault(key, [0, 0.0, 0])
                total[0] += grid.windows[day, hour]
                total[1] += grid.audio_s[day, hour]
                total[2] += grid.found[day, hour]
    return [{**dict(key), **counts(*total)} for key, total in sorted(sums.items())]
