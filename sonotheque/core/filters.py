"""SearchFilter: which windows are meant. One noun for the command line, Python and HTTP; compiled in ``store/filtering.py``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Final, Self

from sonotheque.core.errors import Invalid

JUDGEMENTS: Final = ("positive", "negative", "uncertain")
_DAY_MIN = 24 * 60
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_SUN = re.compile(r"(sunrise|sunset)(?:([+-]\d{1,3})(?:min|m)?)?")


@dataclass(frozen=True, slots=True)
class HourSpan:
    """A time of day on the site's clock, half-open; past midnight if it begins later than it ends.

    Attributes
    ----------
    from_min, to_min : int
        Minutes after midnight, 0 to 1440. ``22:00-04:00`` is 1320 and 240.
    """

    from_min: int
    to_min: int

    @classmethod
    def parse(cls, text: str) -> HourSpan:
        """Return the span of a text such as ``04:00-06:30`` or ``22:00-04:00``.

        Raises
        ------
        Invalid
            If it is no such text, or the span is empty.
        """
        begin, mark, end = text.replace(" ", "").partition("-")
        found = _CLOCK.fullmatch(begin), _CLOCK.fullmatch(end)
        if mark and found[0] and found[1]:
            low, high = (int(m[1]) * 60 + int(m[2]) if int(m[2]) < 60 else -1 for m in found if m)
            if 0 <= low < _DAY_MIN and 0 <= high <= _DAY_MIN and low != high:
                return cls(low, high)
        raise Invalid(
            f"time of day {text!r}: expected FROM-TO on the site's clock, as in 04:00-06:30 or 22:00-04:00 (past midnight)"
        )

    def __str__(self) -> str:
        return f"{self.from_min // 60:02d}:{self.from_min % 60:02d}-{self.to_min // 60:02d}:{self.to_min % 60:02d}"


@dataclass(frozen=True, slots=True)
class SunSpan:
    """A time relative to sunrise or sunset, half-open; the two ends may refer to different events.

    Attributes
    ----------
    from_event, to_event : str
        ``sunrise`` or ``sunset``.
    from_min, to_min : int
        Minutes after the event; negative before it.
    """

    from_event: str
    from_min: int
    to_event: str
    to_min: int

    @classmethod
    def parse(cls, text: str) -> SunSpan:
        """Return the span of a text such as ``sunrise-60..sunrise+120`` or ``sunset..sunrise`` (all night).

        Raises
        ------
        Invalid
            If it is no such text, or ends before it begins.
        """
        begin, mark, end = text.replace(" ", "").partition("..")
        found = _SUN.fullmatch(begin), _SUN.fullmatch(end)
        if mark and found[0] and found[1]:
            span = cls(found[0][1], int(found[0][2] or 0), found[1][1], int(found[1][2] or 0))
            if span.from_event != span.to_event or span.from_min < span.to_min:
                return span
        raise Invalid(
            f"sun span {text!r}: expected FROM..TO in minutes around sunrise or sunset, as in sunrise-60..sunrise+120, "
            "sunset..sunset+90 or sunset..sunrise (the whole night)"
        )

    def __str__(self) -> str:
        return f"{self.from_event}{self.from_min:+d}..{self.to_event}{self.to_min:+d}"


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """A choice of windows; every field narrows it, and an empty filter means all.

    Attributes
    ----------
    sites, deployments : tuple of str
        Any of these, spelled as in the store.
    recordings : tuple of str
        Paths as stored; ``*`` and ``?`` stand for any characters and any one.
    date_from, date_to : date or None
        Local dates of the window, both included.
    months : tuple of int
        1 to 12, of the window's local date: every May of all years.
    hours : HourSpan or None
        Time of day on the site's clock at the window's start.
    sun : SunSpan or None
        The same relative to sunrise or sunset; windows of sites without coordinates do not match.
    label : str or None
        A species: the model's label, or its scientific or common name alone. A window matches if it has a prediction of
        this label with a score in ``[score_min, score_max]`` and a rank up to ``rank_max``. Without a label: any label.
    score_min, score_max : float or None
    rank_max : int or None
    annotated : bool or None
        True: only windows that an annotation overlaps; False: only others.
    annotation_label : str or None
        Only annotations of this label count for ``annotated``.
    judgement : str or None
        Only annotations so judged: ``positive``, ``negative``, ``uncertain``.
    overlap_min_s : float
        Least overlap of annotation and window, in seconds; 0: any that is not a mere touch.
    valid_min_s : float or None
        Only windows with at least this much sound.

    Raises
    ------
    Invalid
        If a value cannot be right.
    """

    sites: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    date_from: date | None = None
    date_to: date | None = None
    months: tuple[int, ...] = ()
    hours: HourSpan | None = None
    sun: SunSpan | None = None
    label: str | None = None
    score_min: float | None = None
    score_max: float | None = None
    rank_max: int | None = None
    annotated: bool | None = None
    annotation_label: str | None = None
    judgement: str | None = None
    overlap_min_s: float = 0.0
    valid_min_s: float | None = None

    def __post_init__(self) -> None:
        if self.date_from and self.date_to and self.date_from > self.date_to:
            raise Invalid(f"dates {self.date_from} to {self.date_to}: the first is after the last")
        if wrong := [m for m in self.months if not 1 <= m <= 12]:
            raise Invalid(f"month {wrong[0]}: expected 1 to 12")
        if self.judgement is not None and self.judgement not in JUDGEMENTS:
            raise Invalid(f"judgement {self.judgement!r}: expected {', '.join(JUDGEMENTS)}")
        low, high = self.score_min, self.score_max
        if low is not None and high is not None and low > high:
            raise Invalid(f"scores from {low:g} to {high:g}: the first is above the last")
        if self.rank_max is not None and self.rank_max < 1:
            raise Invalid(f"rank {self.rank_max}: 1 is the best")
        if not 0 <= self.overlap_min_s < float("inf"):
            raise Invalid(f"least overlap {self.overlap_min_s:g} s: expected 0 or more seconds")
        if self.annotated is None and (self.annotation_label is not None or self.judgement is not None):
            object.__setattr__(self, "annotated", True)

    @property
    def asks_predictions(self) -> bool:
        """Whether the model's classes decide."""
        return any(value is not None for value in (self.label, self.score_min, self.score_max, self.rank_max))

    @property
    def is_empty(self) -> bool:
        """Whether every window is meant."""
        return self == SearchFilter(overlap_min_s=self.overlap_min_s)

    @classmethod
    def from_texts(cls, values: Mapping[str, Any]) -> Self:
        """Build a filter from the texts of flags, HTTP parameters or JSON.

        Parameters
        ----------
        values : mapping
            Field -> text, number, or list of them; None and empty lists are left out. ``date_from`` is ISO 8601,
            ``hours`` as :meth:`HourSpan.parse`, ``sun`` as :meth:`SunSpan.parse`.

        Raises
        ------
        Invalid
            If a field is unknown or a value is not of its kind.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            from sonotheque.core.suggest import did_you_mean

            raise Invalid(f"filter {unknown[0]!r} is not known; {did_you_mean(unknown[0], known)}")
        given = {k: _typed(k, v) for k, v in values.items() if v is not None and v not in ((), [])}
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that narrow, as :meth:`from_texts` reads them."""
        empty = SearchFilter()
        out: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(empty, field.name):
                is_text = isinstance(value, date | HourSpan | SunSpan)
                out[field.name] = str(value) if is_text else list(value) if isinstance(value, tuple) else value
        return out

    def merged(self, **changes: Any) -> SearchFilter:
        """Return the filter with other values of some fields."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return SearchFilter(**{**own, **changes})


def _typed(name: str, value: Any) -> Any:
    try:
        if name in ("sites", "deployments", "recordings"):
            return (value,) if isinstance(value, str) else tuple(str(v) for v in value)
        if name == "months":
            return tuple(int(v) for v in ([value] if isinstance(value, str | int) else value))
        if name in ("date_from", "date_to"):
            return value if isinstance(value, date) else date.fromisoformat(str(value))
        if name == "hours":
            return value if isinstance(value, HourSpan) else HourSpan.parse(str(value))
        if name == "sun":
            return value if isinstance(value, SunSpan) else SunSpan.parse(str(value))
        if name in ("score_min", "score_max", "overlap_min_s", "valid_min_s"):
            return float(value)
        if name == "rank_max":
            return int(value)
        if name == "annotated":
            return value if isinstance(value, bool) else {"true": True, "yes": True, "false": False, "no": False}[value]
    except Invalid:
        raise
    except (ValueError, TypeError, KeyError):
        raise Invalid(f"filter {name}: {value!r} cannot be read; expected {_EXPECTED[name]}") from None
    return str(value)


_EXPECTED: Final = {
    "sites": "names",
    "deployments": "names",
    "recordings": "paths",
    "months": "numbers 1 to 12",
    "date_from": "a date such as 2025-05-03",
    "date_to": "a date such as 2025-05-03",
    "score_min": "a number",
    "score_max": "a number",
    "rank_max": "a whole number",
    "overlap_min_s": "seconds",
    "valid_min_s": "seconds",
    "annotated": "true or false",
}
