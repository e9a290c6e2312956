"""Where the windows of the searched archive lie, and the filters asked of it. NumPy alone: peers run this in an environment of theirs.

Row after row: site, day, recording, window. Each site records on the same days, half of them in April and half in May, ten times a
day. What is heard depends on the site alone, not on day or hour: the windows of one hour are a random sample of each site's.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_data import SITES

HOURS = (0, 2, 4, 5, 6, 8, 12, 16, 20, 22)  # recordings begin at these
FIRST_DAY = date(2025, 4, 1)
WINDOW_S = 5
_SPAN_DAYS = 60  # all of April and of May but its last day
_DAYS = (2, 10, 20, 30, 60)  # each divides the span
_WINDOWS_MOST = 120  # in one recording, where days are left: ten minutes


@dataclass(frozen=True, slots=True)
class Layout:
    """How many windows there are, and how they are shared out.

    Attributes
    ----------
    wanted : int
        At least so many.
    dim, sites, seed : int
    """

    wanted: int
    dim: int = 1536
    sites: int = SITES
    seed: int = 7

    @property
    def days(self) -> int:
        """Days on which each site records."""
        each = -(-self.wanted // (self.sites * len(HOURS)))  # windows of one site and hour
        if each < _DAYS[1]:
            return _DAYS[0]
        return next((d for d in _DAYS[1:] if d * _WINDOWS_MOST >= each), _DAYS[-1])

    @property
    def each(self) -> int:
        """Windows of one recording."""
        return -(-self.wanted // (self.sites * len(HOURS) * self.days))

    @property
    def per_site(self) -> int:
        """Windows of one site."""
        return self.days * len(HOURS) * self.each

    @property
    def windows(self) -> int:
        """Windows in all."""
        return self.sites * self.per_site

    def day(self, number: int) -> date:
        """Return the date of a day."""
        return FIRST_DAY + timedelta(days=number * _SPAN_DAYS // self.days)

    def row(self, path: str, start_s: float) -> int:
        """Return the row of a window from what a hit says of it."""
        site, name = path.split("/")
        begins = datetime.strptime(name, "%Y%m%d_%H%M%S.WAV")
        day = (begins.date() - FIRST_DAY).days * self.days // _SPAN_DAYS
        recording = ((int(site.removeprefix("site-")) - 1) * self.days + day) * len(HOURS) + HOURS.index(begins.hour)
        return recording * self.each + round(start_s / WINDOW_S)

    def site_of(self) -> NDArray[np.uint8]:
        """Return the site of each row, from 0."""
        return np.repeat(np.arange(self.sites, dtype=np.uint8), self.per_site)

    def month_of(self) -> NDArray[np.uint8]:
        """Return the month of each row."""
        months = np.array([self.day(d).month for d in range(self.days)], np.uint8)
        return np.tile(np.repeat(months, len(HOURS) * self.each), self.sites)

    def hour_of(self) -> NDArray[np.uint8]:
        """Return the hour of each row."""
        return np.tile(np.repeat(np.array(HOURS, np.uint8), self.each), self.sites * self.days)

    def save(self, folder: Path) -> None:
        """Write it beside the data."""
        (folder / "layout.json").write_text(json.dumps(asdict(self)) + "\n", "ascii")

    @classmethod
    def load(cls, folder: Path) -> Layout:
        """Read it back."""
        return cls(**json.loads((folder / "layout.json").read_text("ascii")))


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter, in each language that it is asked in.

    Attributes
    ----------
    name, words : str
    sites, months, hours : tuple of int
        Empty: all. Sites from 0; hours that follow each other.
    """

    name: str
    words: str
    sites: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()

    def mask(self, layout: Layout) -> NDArray[np.bool_]:
        """Return which rows it means, worked out from the layout alone."""
        mask = np.ones(layout.windows, np.bool_)
        for wanted, of in ((self.sites, layout.site_of), (self.months, layout.month_of), (self.hours, layout.hour_of)):
            if wanted:
                mask &= np.isin(of(), wanted)
        return mask

    def where(self) -> Any:
        """Return it in the filter language."""
        from sonotheque.core.filters import HourSpan, SearchFilter

        span = HourSpan(self.hours[0] * 60, (self.hours[-1] + 1) * 60) if self.hours else None
        return SearchFilter(sites=tuple(f"site-{s + 1:02d}" for s in self.sites), months=self.months, hours=span)

    def sql(self) -> str:
        """Return it as a condition on the columns ``site``, ``month`` and ``hour``."""
        named = (("site", self.sites), ("month", self.months), ("hour", self.hours))
        return " AND ".join(f"{name} IN ({', '.join(map(str, values))})" for name, values in named if values)

    def shifted(self, by: int, layout: Layout) -> Choice:
        """Return one of the same size at other sites and another hour."""
        sites = tuple(sorted((s + by) % layout.sites for s in self.sites))
        hours = (HOURS[(HOURS.index(self.hours[0]) + by) % len(HOURS)],) if self.hours else ()
        return Choice(self.name, self.words, sites, self.months, hours)


def choices(layout: Layout) -> list[Choice]:
    """Return the filters that are measured: 0.1 %, 1 % twice, 10 % and half of the windows."""
    some = tuple(range(0, layout.sites, 5))
    site = (min(6, layout.sites - 1),)
    return [
        Choice("0.1 %", "one site, one month, one hour of the day", site, (4,), (5,)),
        Choice("1 %", "ten sites, one month, one hour of the day", some, (4,), (5,)),
        Choice("1 %, one site", "one site, one month", site, (4,)),
        Choice("10 %", "one hour of the day, all sites", hours=(5,)),
        Choice("50 %", "one month", months=(4,)),
    ]


def scans(layout: Layout, rows: int = 20_000) -> list[Choice]:
    """Return filters that mean about so many windows: rows side by side, and rows spread over the archive."""
    share = min(1.0, rows / layout.windows)
    together = tuple(range(max(1, round(share * layout.sites))))
    hours = (5,) if share <= 0.1 else (4, 5) if share <= 0.2 else ()
    part = share / (len(hours) / len(HOURS) if hours else 1.0)
    step = max(1, round(1 / part))
    return [
        Choice("side by side", "all windows of some sites", together),
        Choice("spread", "some hours of the day at sites all over", tuple(range(0, layout.sites, step)), hours=hours),
    ]
