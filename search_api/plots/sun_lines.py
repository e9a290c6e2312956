"""Sunrise and sunset on the clock of a place, for the lines in a picture of days and hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from search_api.questions.activity import Place
from store.sun import sun_events

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEAR_DEGREES = 2.0  # eight minutes of the sun


def common_place(places: Sequence[Place]) -> Place | None:
    """Return one place that stands for several: the middle, if all are known, near one another and on one clock; else None."""
    known = [p for p in places if p.latitude is not None and p.longitude is not None and p.zone is not None]
    if not known or len(known) < len(places) or len({p.zone for p in places}) != 1:
        return None
    latitudes = np.array([p.latitude for p in known], np.float64)
    longitudes = np.array([p.longitude for p in known], np.float64)
    if np.ptp(latitudes) > _NEAR_DEGREES or np.ptp(longitudes) > _NEAR_DEGREES:
        return None
    return Place(known[0].site, known[0].zone, float(latitudes.mean()), float(longitudes.mean()))


def sun_hours(place: Place, dates: Sequence[date | None]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the hours of sunrise and sunset on some dates.

    Parameters
    ----------
    place : Place
        With coordinates and a zone.
    dates : sequence of date or None
        (n,)

    Returns
    -------
    sunrise, sunset : float64, (n,)
        Hours after midnight on the place's clock; NaN on days without, and for None.
    """
    days = [day for day in dates if day is not None]
    rise, fall = np.full(len(dates), np.nan), np.full(len(dates), np.nan)
    if not days or place.zone is None or place.latitude is None or place.longitude is None:
        return rise, fall
    zone = ZoneInfo(place.zone)
    at = {day: i for i, day in enumerate(dates) if day is not None}
    first, last = min(days) - timedelta(1), max(days) + timedelta(1)
    for hours, events in zip((rise, fall), sun_events(place.latitude, place.longitude, first, last), strict=True):
        for moment in events.astype("datetime64[us]").tolist():
            local = moment.replace(tzinfo=UTC).astimezone(zone)
            column = at.get(local.date())
            if column is not None:
                hours[column] = local.hour + local.minute / 60 + local.second / 3600
    return rise, fall


def draw_over_days(axis: Axes, place: Place | None, columns: Sequence[date | None]) -> bool:
    """Draw both lines over an axis of days (x) and hours (y). Returns whether there was anything to draw."""
    if place is None:
        return False
    drawn = False
    for hours in sun_hours(place, columns):
        if np.isfinite(hours).any():
            # One step a day, so that a change of the clocks is a step too.
            x = np.repeat(np.arange(len(columns) + 1) - 0.5, 2)[1:-1]
            y = np.repeat(hours, 2)
            axis.plot(x, y, color="black", linewidth=2.6, alpha=0.55, zorder=2.5)
            axis.plot(x, y, color="white", linewidth=1.2, zorder=2.6)
            drawn = True
    return drawn
