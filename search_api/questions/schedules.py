"""When a recorder was meant to record, told from when it did; and the gaps, where it did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_REGULAR_SHARE = 0.5  # of the intervals that must be near their median
_NEAR = 0.2
_MISSED = 1.5  # intervals from start to start: what is longer has lost a recording
_STARTS_MIN = 4
_AT_SLOTS_SHARE = 0.8  # of the recordings that must begin at the same times every day
_SLOT_NEAR_MIN = 5
_PAUSE_DAYS = 7  # a pause is looked for on so many days before and after: recorders follow the sun slowly
_PAUSE_SHARE = 0.6
_PAUSE_NEAR_S = 1800.0
_TIMES_SHOWN = 6
_DAY_S = 86_400.0
GAP_MIN_DEFAULT_S: Final = 3600.0
_US = np.timedelta64(1, "us")


@dataclass(frozen=True, slots=True)
class Starts:
    """When the recordings of one recorder began; (n,) each, in order of time.

    Attributes
    ----------
    local : datetime64[us]
        On the site's clock.
    time : datetime64[us]
        On a clock that runs evenly: UTC where it is known for all of them, else the same as ``local``.
    duration_s : float64
    is_sound : bool
        Whether it gave sound: files that failed show that the recorder was meant to run, and not that it did.
    """

    local: NDArray[np.datetime64]
    time: NDArray[np.datetime64]
    duration_s: NDArray[np.float64]
    is_sound: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pause:
    """A time of day at which a recorder is off by plan, in minutes after midnight; past midnight if it begins later."""

    from_min: int
    to_min: int

    def __str__(self) -> str:
        return f"{_clock(self.from_min)}-{_clock(self.to_min)}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a recorder did as a rule.

    Attributes
    ----------
    recordings : int
    interval_s : float or None
        From start to start, as a rule; None if there is no such rule.
    duration_s : float
        Of a recording, as a rule.
    pauses : tuple of Pause
        Off by plan, every day.
    daily_min : tuple of int
        Without an interval: the times of every day at which it records, in minutes after midnight; empty if there are none.
    """

    recordings: int
    interval_s: float | None
    duration_s: float
    pauses: tuple[Pause, ...] = ()
    daily_min: tuple[int, ...] = ()

    def __str__(self) -> str:
        length = _span(self.duration_s)
        if self.daily_min:
            all_shown = len(self.daily_min) <= _TIMES_SHOWN
            shown = self.daily_min if all_shown else self.daily_min[: _TIMES_SHOWN - 2]
            more = "" if all_shown else f" ... ({len(self.daily_min)} times)"
            return f"{length} daily at {', '.join(map(_clock, shown))}{more}"
        if self.interval_s is None:
            return "no rule" if self.recordings >= _STARTS_MIN else "too few to tell"
        if self.interval_s - self.duration_s <= max(0.05 * self.interval_s, 2.0):
            text = f"{length} files without pause"
        else:
            text = f"{length} every {_span(self.interval_s)}"
        return text + (f", off {' and '.join(map(str, self.pauses))}" if self.pauses else "")

    def to_json(self) -> dict[str, Any]:
        """Return the schedule as a JSON object."""
        pauses = [{"from_min": p.from_min, "to_min": p.to_min} for p in self.pauses]
        return {
            "text": str(self),
            "recordings": self.recordings,
            "interval_s": self.interval_s,
            "duration_s": self.duration_s,
            "pauses": pauses,
            "daily_min": list(self.daily_min),
        }


@dataclass(frozen=True, slots=True)
class Silence:
    """A time without a recording: rows of the recordings before and after it, and how long it is."""

    before: int
    after: int
    length_s: float


def schedule_of(starts: Starts) -> tuple[Schedule, list[Silence]]:
    """Return a recorder's schedule and its gaps, in order of time.

    The interval is the median from start to start, if at least half of the intervals are near it; a gap is where the next
    recording comes later than one and a half intervals after the last. A pause that comes back at its time of day on most
    days of the fortnight around it is part of the schedule, and no gap. Without an interval, recordings may be made at the
    same times every day; a gap is where such a time has none. Without any rule, a gap is more than a day without recording.

    Parameters
    ----------
    starts : Starts
    """
    n, sound = len(starts.time), np.flatnonzero(starts.is_sound)
    duration = float(np.median(starts.duration_s[sound])) if len(sound) else 0.0
    interval = _interval(starts.time)
    if interval is None:
        slots = _daily_slots(starts.local)
        step_min_s = 0.0 if slots else _DAY_S
        silences = _silences(starts, sound, step_min_s) if n >= _STARTS_MIN else []
        if slots:
            passed = _slots_passed(starts.local, slots)
            silences = [s for s in silences if passed[s.after] - passed[s.before] > 1]
        return Schedule(n, None, duration, (), slots), silences
    silences = _silences(starts, sound, _MISSED * interval)
    planned = _planned(starts, sound, silences)
    pauses = _pauses(starts, [s for s, p in zip(silences, planned, strict=True) if p])
    return Schedule(n, interval, duration, pauses), [s for s, p in zip(silences, planned, strict=True) if not p]


def _daily_slots(local: NDArray[np.datetime64]) -> tuple[int, ...]:
    """Return the minutes of the day at which a recording begins on most days, if most recordings begin at such."""
    day = local.astype("datetime64[D]")
    minute = ((local - day) / np.timedelta64(1, "m")).astype(np.int64)
    days = len(np.unique(day))
    if days < 2 or len(local) < _STARTS_MIN:
        return ()
    at, counts = np.unique(np.unique(np.stack([day.astype(np.int64), minute]), axis=1)[1], return_counts=True)
    slots = at[counts >= max(2.0, _PAUSE_SHARE * days)]
    at_slots = np.isin(minute, slots).mean() if len(slots) else 0.0
    return tuple(int(m) for m in slots) if at_slots >= _AT_SLOTS_SHARE else ()


def _slots_passed(local: NDArray[np.datetime64], slots: Sequence[int]) -> NDArray[np.int64]:
    """Return how many daily times lie before each start, or at it, counted from one point on."""
    late = local + np.timedelta64(_SLOT_NEAR_MIN, "m")
    day = late.astype("datetime64[D]")
    minute = ((late - day) / np.timedelta64(1, "m")).astype(np.int64)
    passed: NDArray[np.int64] = day.astype(np.int64) * len(slots) + np.searchsorted(
        np.asarray(slots), minute, side="right"
    )
    return passed


def _interval(time: NDArray[np.datetime64]) -> float | None:
    steps = np.diff(np.unique(time)) / _US / 1e6
    if len(steps) < _STARTS_MIN - 1:
        return None
    median = float(np.sort(steps)[(len(steps) - 1) // 2])  # one that occurs, not the middle between two
    near = np.abs(steps - median) <= _NEAR * median
    return median if near.mean() >= _REGULAR_SHARE else None


def _silences(starts: Starts, sound: NDArray[np.int64], step_min_s: float) -> list[Silence]:
    """Return where no sound is for longer than from one start to the next."""
    if len(sound) < 2:
        return []
    begin = starts.time[sound]
    end = begin + np.round(starts.duration_s[sound] * 1e6).astype("timedelta64[us]")
    last = np.maximum.accumulate(end)  # recordings may overlap: two recorders, two channels
    by = np.maximum.accumulate(np.where(end == last, np.arange(len(end)), 0))
    step = (begin[1:] - begin[:-1]) / _US / 1e6
    quiet = (begin[1:] - last[:-1]).astype("timedelta64[us]") / _US / 1e6
    found = np.flatnonzero((step > step_min_s) & (quiet > 0))
    return [Silence(int(sound[by[i]]), int(sound[i + 1]), float(quiet[i])) for i in found]


def _planned(starts: Starts, sound: NDArray[np.int64], silences: Sequence[Silence]) -> list[bool]:
    """Return which silences come back every day: at the same time of day, of the same length, on most days around."""
    if not silences:
        return []
    begin, length = _clock_and_length(starts, silences)
    day = starts.local[[s.before for s in silences]].astype("datetime64[D]").astype(np.int64)
    days = np.unique(starts.local[sound].astype("datetime64[D]").astype(np.int64))
    out = []
    for i in range(len(silences)):
        around = np.abs(day - day[i]) <= _PAUSE_DAYS
        apart = np.abs(begin - begin[i])
        same = np.minimum(apart, _DAY_S - apart) <= _PAUSE_NEAR_S
        alike = around & same & (np.abs(length - length[i]) <= _PAUSE_NEAR_S)
        of = int((np.abs(days - day[i]) <= _PAUSE_DAYS).sum())
        out.append(bool(length[i] < _DAY_S and len(np.unique(day[alike])) >= max(2.0, _PAUSE_SHARE * of)))
    return out


def _clock_and_length(starts: Starts, silences: Sequence[Silence]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the time of day at which silences begin, and their length; seconds."""
    rows = [s.before for s in silences]
    since_midnight = (starts.local[rows] - starts.local[rows].astype("datetime64[D]")) / _US / 1e6
    length = np.array([s.length_s for s in silences])
    return (since_midnight + starts.duration_s[rows]) % _DAY_S, length


def _pauses(starts: Starts, planned: Sequence[Silence]) -> tuple[Pause, ...]:
    """Return planned silences as times of day: those that begin near one another are one pause."""
    if not planned:
        return ()
    begin, length = _clock_and_length(starts, planned)
    order = np.argsort(begin, kind="stable")
    groups: list[list[int]] = []
    for i in order:
        if groups and begin[i] - begin[groups[-1][-1]] <= _PAUSE_NEAR_S:
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    pauses = []
    for group in groups:
        low = float(np.median(begin[group]))
        high = low + float(np.median(length[group]))
        pauses.append(Pause(round(low / 60) % 1440, round(high / 60) % 1440))
    return tuple(pauses)


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02d}:{minute % 60:02d}"


def _span(seconds: float) -> str:
    """Return a length in the unit that suits it: ``10 s``, ``15 min``, ``1.5 h``."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"
