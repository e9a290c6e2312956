"""Sunrise and sunset at a place (by astral: the standard 0.833 degrees below the horizon, no elevation), and minutes since."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import lru_cache

import numpy as np
from astral import Observer
from astral.sun import sunrise, sunset
from numpy.typing import NDArray

Moments = NDArray[np.datetime64]
_HALF_DAY_MIN = 720.0
_DAY = timedelta(days=1)


def sun_events(latitude: float, longitude: float, first: date, last: date) -> tuple[Moments, Moments]:
    """Return the sunrises and sunsets from the day before ``first`` to the day after ``last``.

    Parameters
    ----------
    latitude, longitude : float
        Degrees, north and east positive.
    first, last : date
        In UTC.

    Returns
    -------
    sunrises, sunsets : datetime64[us], each sorted
        In UTC. Days without the event (polar day and night) have none.
    """
    days = [  # one more at each end, for what lies between two
        first - 2 * _DAY + timedelta(n) for n in range((last - first).days + 5)
    ]
    low, high = np.datetime64(first - _DAY, "us"), np.datetime64(last + 2 * _DAY, "us")
    found = (_moments(event, latitude, longitude, days) for event in (sunrise, sunset))
    rise, fall = (moments[(moments >= low) & (moments < high)] for moments in found)
    return rise, fall


def _moments(event: Callable[..., datetime], latitude: float, longitude: float, days: list[date]) -> Moments:
    found = {at for day in days if (at := _event(event, latitude, longitude, day)) is not None}
    moments = np.array(sorted(found), "datetime64[us]")
    # Astral works by UTC days: on the one day of a year on which the event moves over midnight UTC it finds it twice, a minute
    # apart, or not at all; then it lies half way between its neighbours, to a few seconds. (Where the sun really stays below or
    # above the horizon for a single day, it grazes it at that moment.)
    moments = moments[np.diff(moments, prepend=np.datetime64(0, "us")) > np.timedelta64(12, "h")]
    apart = np.diff(moments)
    gaps = np.flatnonzero((apart > np.timedelta64(36, "h")) & (apart < np.timedelta64(60, "h")))
    between = moments[gaps] + (moments[gaps + 1] - moments[gaps]) // 2
    return np.sort(np.concatenate([moments, between]))


@lru_cache(maxsize=100_000)
def _event(event: Callable[..., datetime], latitude: float, longitude: float, day: date) -> datetime | None:
    try:
        return event(Observer(latitude, longitude), day).replace(tzinfo=None)
    except ValueError:  # astral's word for a sun that does not rise or set on a day
        return None


def minutes_since(events: Moments, times: Moments) -> NDArray[np.float32]:
    """Return the minutes since the nearest event.

    Parameters
    ----------
    events : datetime64[us], sorted
    times : datetime64, (n,)
        NaT where unknown.

    Returns
    -------
    float32, (n,)
        In (-720, 720], negative before the event; NaN for NaT, and where no event lies within twelve hours.
    """
    out = np.full(len(times), np.nan, np.float32)
    known = ~np.isnat(times)
    if not len(events) or not known.any():
        return out
    micros = times[known].astype("datetime64[us]").astype(np.int64)
    marks = events.astype(np.int64)
    after = np.searchsorted(marks, micros)
    since = (micros - marks[np.maximum(after - 1, 0)]) / 6e7
    until = (micros - marks[np.minimum(after, len(marks) - 1)]) / 6e7
    nearest = np.where(np.abs(until) < np.abs(since), until, since)
    inside = (nearest > -_HALF_DAY_MIN) & (nearest <= _HALF_DAY_MIN)
    out[known] = np.where(inside, nearest, np.nan)
    return out
