"""Counts of windows by place and time, from the two queries that go together: what was recorded, and what was found in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sonotheque.core.filters import SearchFilter
from store import Archive
from store.filtering import PREDICTIONS, WINDOWS

HOURS: Final = 24
_EPOCH: Final = date(1970, 1, 1).toordinal()
_KEYS = "site, date, hour"
# Filtered and grouped before anything else: the view is ordered by label, so a species reads its own rows alone.
_FOUND = "SELECT {keys}, count(*)::BIGINT AS found FROM ({chosen}) GROUP BY ALL"
_EFFORT = (
    "SELECT {keys}, count(*)::BIGINT AS windows, sum(least(valid_s, {hop_s})) AS audio_s FROM ({chosen}) GROUP BY ALL"
)
SUN_STEP_MIN: Final = 30
_SUN_KEYS = f"""site,
CASE WHEN abs(minutes_since_sunrise) <= abs(minutes_since_sunset) THEN 'sunrise' ELSE 'sunset' END AS event,
(floor(CASE WHEN abs(minutes_since_sunrise) <= abs(minutes_since_sunset) THEN minutes_since_sunrise
 ELSE minutes_since_sunset END / {SUN_STEP_MIN}) * {SUN_STEP_MIN})::INTEGER AS from_min,
minutes_since_sunrise IS NOT NULL AND minutes_since_sunset IS NOT NULL AS is_known"""


@dataclass(frozen=True, slots=True)
class Grid:
    """Counts by local date and hour; (n_dates, 24) each. Hours without recording have no sound.

    Attributes
    ----------
    dates : tuple of date
        Those with a recording, in order.
    windows : int64
        Analysed.
    audio_s : float64
        Sound in them; what overlapping windows share counts once.
    found : int64
        Windows with the species.
    """

    dates: tuple[date, ...]
    windows: NDArray[np.int64]
    audio_s: NDArray[np.float64]
    found: NDArray[np.int64]

    @property
    def per_hour(self) -> NDArray[np.float64]:
        """Windows with the species per hour of recording; NaN where nothing was recorded."""
        return rate(self.found, self.audio_s)


@dataclass(frozen=True, slots=True)
class SunBin:
    """Half an hour around sunrise or sunset, whichever is nearer.

    Attributes
    ----------
    event : str
        ``sunrise`` or ``sunset``.
    from_min : int
        Minutes after the event, negative before it, at which it begins.
    windows, audio_s, found
        As in :class:`Grid`.
    """

    event: str
    from_min: int
    windows: int
    audio_s: float
    found: int


def rate(found: NDArray[np.int64], audio_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return counts per hour of recording, float64 of their shape; NaN where there is none."""
    out = np.full(np.shape(found), np.nan)
    np.divide(np.asarray(found) * 3600.0, audio_s, out=out, where=np.asarray(audio_s) > 0)
    return out


def effort_cells(archive: Archive, recorded: SearchFilter) -> pa.Table:
    """Return ``site, date, hour, windows, audio_s`` of the windows that a filter means."""
    chosen, parameters = archive.select(recorded, columns=f"{_KEYS}, valid_s")
    return archive.sql(_EFFORT.format(keys=_KEYS, hop_s=repr(hop_s(archive)), chosen=chosen), parameters)


def found_cells(archive: Archive, wanted: SearchFilter, relation: str) -> pa.Table:
    """Return ``site, date, hour, found`` of the rows of a relation that a filter means."""
    chosen, parameters = archive.select(wanted, relation=relation, columns=_KEYS)
    return archive.sql(_FOUND.format(keys=_KEYS, chosen=chosen), parameters)


def sun_effort(archive: Archive, recorded: SearchFilter) -> pa.Table:
    """Return ``site, event, from_min, is_known, windows, audio_s`` of the windows that a filter means."""
    chosen, parameters = archive.select(recorded, columns="*")
    return archive.sql(_EFFORT.format(keys=_SUN_KEYS, hop_s=repr(hop_s(archive)), chosen=chosen), parameters)


def sun_found(archive: Archive, wanted: SearchFilter, relation: str) -> pa.Table:
    """Return ``site, event, from_min, is_known, found`` of the rows of a relation that a filter means."""
    if relation == WINDOWS:
        chosen, parameters = archive.select(wanted, columns="*")
    else:
        inner, parameters = archive.select(wanted, relation=PREDICTIONS, columns="recording_id, start_sample")
        chosen = f"SELECT * FROM windows JOIN ({inner}) USING (recording_id, start_sample)"
    return archive.sql(_FOUND.format(keys=_SUN_KEYS, chosen=chosen), parameters)


def hop_s(archive: Archive) -> float:
    """Return the seconds from one window's start to the next."""
    rule = archive.config.windows
    return float(rule.hop_samples / (rule.sample_rate_hz * rule.rate_factor))


def grid_of(effort: pa.Table, found: pa.Table, site: str | None) -> tuple[Grid, dict[str, int]]:
    """Return the counts of one site (None: of all), and those without a local time (``windows``, ``found``)."""
    efforts, founds = _of_site(effort, site), _of_site(found, site)
    timed, hits = efforts.filter(pc.field("date").is_valid()), founds.filter(pc.field("date").is_valid())
    days = np.unique(_days(timed))
    windows, counts = np.zeros((len(days), HOURS), np.int64), np.zeros((len(days), HOURS), np.int64)
    audio = np.zeros((len(days), HOURS))
    cell = np.searchsorted(days, _days(timed)), timed["hour"].to_numpy()
    np.add.at(windows, cell, timed["windows"].to_numpy())
    np.add.at(audio, cell, timed["audio_s"].to_numpy())
    np.add.at(counts, (np.searchsorted(days, _days(hits)), hits["hour"].to_numpy()), hits["found"].to_numpy())
    without = {
        "windows": _sum(efforts, "windows") - int(windows.sum()),
        "found": _sum(founds, "found") - int(counts.sum()),
    }
    dates = tuple(date.fromordinal(_EPOCH + int(day)) for day in days)
    return Grid(dates, windows, audio, counts), without


def _of_site(rows: pa.Table, site: str | None) -> pa.Table:
    return rows if site is None else rows.filter(pc.field("site") == site)


def _days(rows: pa.Table) -> NDArray[np.int64]:
    """Return dates as days since 1970."""
    days: NDArray[np.int64] = rows["date"].cast(pa.int32()).to_numpy().astype(np.int64)
    return days


def _sum(rows: pa.Table, column: str) -> int:
    return int(rows[column].to_numpy().sum())


def sun_bins_of(effort: pa.Table, found: pa.Table, site: str | None) -> tuple[tuple[SunBin, ...], dict[str, int]]:
    """Return the counts around sunrise and sunset of one site (None: of all), and those where the sun is not known."""
    sums: dict[tuple[str, int], list[Any]] = {}
    without = {"windows": 0, "found": 0}
    for name, rows in (("windows", effort.to_pylist()), ("found", found.to_pylist())):
        for row in rows:
            if site not in (None, row["site"]):
                continue
            if not row["is_known"]:
                without[name] += row[name]
                continue
            total = sums.setdefault((row["event"], row["from_min"]), [0, 0.0, 0])
            if name == "windows":
                total[0] += row["windows"]
                total[1] += row["audio_s"]
            else:
                total[2] += row["found"]
    return tuple(SunBin(*key, *total) for key, total in sorted(sums.items())), without


def sites_in(effort: pa.Table) -> list[str]:
    """Return the sites of an effort table, in order."""
    names: Iterable[str] = effort["site"].unique().to_pylist()
    return sorted(names)
