"""An axis of local dates. Long times without any recording are cut out, so that the days that are there can be seen."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SPARSE_SHARE = 0.4
_CUT_DAYS = 21  # a shorter stretch without recording is worth seeing as what it is
TICKS_MAX: Final = 11
_STEPS: Final = (1, 2, 7, 14)


@dataclass(frozen=True, slots=True)
class DateAxis:
    """Columns of a picture.

    Attributes
    ----------
    columns : tuple of date or None
        In order; None stands for a time that is cut out.
    """

    columns: tuple[date | None, ...]

    @classmethod
    def of(cls, dates: Iterable[date]) -> DateAxis:
        """Return the axis of some dates: all days from the first to the last, unless most of them are empty."""
        there = sorted(set(dates))
        if not there:
            return cls(())
        span = (there[-1] - there[0]).days + 1
        if len(there) >= _SPARSE_SHARE * span or span <= _CUT_DAYS:
            return cls(tuple(there[0] + timedelta(n) for n in range(span)))
        columns: list[date | None] = [there[0]]
        for before, after in pairwise(there):
            between = (after - before).days - 1
            if between > _CUT_DAYS:
                columns.append(None)
            else:
                columns += [before + timedelta(n + 1) for n in range(between)]
            columns.append(after)
        return cls(tuple(columns))

    @property
    def at(self) -> dict[date, int]:
        """Date -> its column."""
        return {day: i for i, day in enumerate(self.columns) if day is not None}

    @property
    def cuts(self) -> list[int]:
        """Columns that stand for a time cut out."""
        return [i for i, day in enumerate(self.columns) if day is None]

    def ticks(self, most: int = TICKS_MAX) -> list[tuple[int, str]]:
        """Return columns and their labels: about ``most`` of them, with the year where it changes."""
        chosen = _chosen(self.columns, most)
        out, year = [], None
        for i in chosen:
            day = self.columns[i]
            if day is not None:
                text = f"{day.day} {day.strftime('%b')}"
                out.append((i, f"{text}\n{day.year}" if day.year != year else text))
                year = day.year
        return out

    def draw(self, axis: Axes, *, ticks: int = TICKS_MAX) -> None:
        """Put the dates under an axis whose columns are 0, 1, 2 ... wide 1, and mark what is cut out."""
        labels = self.ticks(ticks)
        axis.set_xticks([i for i, _ in labels], [text for _, text in labels])
        axis.set_xlim(-0.5, len(self.columns) - 0.5)
        for i in self.cuts:
            axis.axvspan(i - 0.5, i + 0.5, color="white", zorder=4, linewidth=0)
            for side in (i - 0.5, i + 0.5):
                axis.axvline(side, color="#9a9a9a", linewidth=0.8, linestyle=(0, (2, 2)), zorder=5)


def _chosen(columns: Sequence[date | None], most: int) -> list[int]:
    """Return the columns that get a label: every n-th day, the first of months, or the first days after cuts."""
    days = [i for i, day in enumerate(columns) if day is not None]
    if None in columns:
        starts = [i for i in days if i == 0 or columns[i - 1] is None]
        return _apart(starts, days, -(-len(columns) // most))
    for step in _STEPS:
        if len(days) <= most * step:
            return days[::step]
    firsts = [i for i in days if (columns[i] or date.min).day == 1]
    return firsts[:: -(-len(firsts) // most)]


def _apart(first: Iterable[int], others: Iterable[int], least: int) -> list[int]:
    """Return columns that keep their distance, the first ones first."""
    out: list[int] = []
    for i in [*first, *others]:
        at = bisect(out, i)
        if all(abs(i - other) >= least for other in out[max(at - 1, 0) : at + 1]):
            out.insert(at, i)
    return out
