"""The one place where a SearchFilter becomes SQL. Row bitmaps are made from the same SQL (``Archive.bitmap``).

A condition is written over a relation with the columns of the view ``windows`` or of ``predictions``. Conditions on place and
time are on columns both have; what only the other has is asked by EXISTS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sonotheque.core.errors import NotFound
from sonotheque.core.filters import HourSpan, SearchFilter, SunSpan
from sonotheque.core.suggest import did_you_mean
from store.annotations import overlap_sql
from store.labels import resolve_label

WINDOWS, PREDICTIONS = "windows", "predictions"
_DAY_MIN: Final = 1440


@dataclass(frozen=True, slots=True)
class Names:
    """What can be named in a store; looked up only if a filter names it.

    Attributes
    ----------
    sites, deployments, labels : callable
        Return all there are.
    has_recording : callable
        Whether there is a recording of exactly this path.
    """

    sites: Callable[[], Sequence[str]]
    deployments: Callable[[], Sequence[str]]
    labels: Callable[[], Sequence[str]]
    has_recording: Callable[[str], bool]


@dataclass(slots=True)
class Condition:
    """An SQL condition and its parameters, in the order of its ``?``.

    Attributes
    ----------
    terms : list of str
        Joined by AND.
    parameters : list
    """

    terms: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)

    def add(self, term: str, *parameters: Any) -> None:
        """Add a term."""
        self.terms.append(term)
        self.parameters.extend(parameters)

    @property
    def sql(self) -> str:
        """The condition; ``true`` if everything matches."""
        return " AND ".join(f"({t})" for t in self.terms) or "true"


def compile_filter(wanted: SearchFilter, names: Names, *, relation: str = WINDOWS, alias: str = "w") -> Condition:
    """Return the SQL condition of a filter.

    Parameters
    ----------
    wanted : SearchFilter
    names : Names
        For spelling: an unknown name is an error, not an empty answer.
    relation : str
        ``windows``: a window matches if one of its predictions does; ``predictions``: each prediction by itself.
    alias : str
        Of the relation in the query.

    Raises
    ------
    NotFound
        If a site, deployment, recording or label is not in the store; the message offers near names.
    """
    condition = Condition()
    _place(condition, wanted, names, alias)
    _time(condition, wanted, alias)
    if wanted.asks_predictions:
        label = None if wanted.label is None else resolve_label(names.labels(), wanted.label)
        if relation == PREDICTIONS:
            _prediction(condition, wanted, label, alias)
        else:
            inner = Condition()
            _prediction(inner, wanted, label, "p")
            sites = Condition()
            _any_of(sites, "p.site", wanted.sites)  # the same sites again: DuckDB leaves out the others' files
            condition.add(
                f"EXISTS (SELECT 1 FROM predictions p WHERE p.recording_id = {alias}.recording_id "
                f"AND p.start_sample = {alias}.start_sample AND {inner.sql} AND {sites.sql})",
                *inner.parameters,
                *sites.parameters,
            )
    windows_only = Condition()
    inside = alias if relation == WINDOWS else "v"
    _sun(windows_only, wanted.sun, inside)
    if wanted.valid_min_s is not None:
        windows_only.add(f"{inside}.valid_s >= ?", wanted.valid_min_s)
    if windows_only.terms and relation == PREDICTIONS:
        condition.add(
            f"EXISTS (SELECT 1 FROM windows v WHERE v.recording_id = {alias}.recording_id "
            f"AND v.start_sample = {alias}.start_sample AND {windows_only.sql})",
            *windows_only.parameters,
        )
    elif windows_only.terms:
        condition.add(windows_only.sql, *windows_only.parameters)
    _annotations(condition, wanted, alias)
    return condition


def _place(condition: Condition, wanted: SearchFilter, names: Names, alias: str) -> None:
    for what, given, there in (
        ("site", wanted.sites, names.sites),
        ("deployment", wanted.deployments, names.deployments),
    ):
        known = set(there()) if given else set()
        for name in given:
            if name not in known:
                raise NotFound(f"there is no {what} {name!r} in the store; {did_you_mean(name, known)}")
        _any_of(condition, f"{alias}.{what}", given)
    if not wanted.recordings:
        return
    either = Condition()
    for text in wanted.recordings:
        if "*" in text or "?" in text:
            either.add(f"{alias}.path LIKE ? ESCAPE '\\'", _like(text))
        elif names.has_recording(text):
            either.add(f"{alias}.path = ?", text)
        else:
            raise NotFound(
                f"there is no recording {text!r} in the store; paths are relative, as `sonotheque sql` shows them in `recordings`, "
                "and * stands for any characters"
            )
    condition.add(" OR ".join(either.terms), *either.parameters)


def _any_of(condition: Condition, column: str, values: Sequence[str]) -> None:
    if len(values) == 1:
        condition.add(f"{column} = ?", values[0])
    elif values:
        condition.add(f"{column} IN ({', '.join('?' * len(values))})", *values)


def _like(text: str) -> str:
    for char in "\\%_":
        text = text.replace(char, f"\\{char}")
    return text.replace("*", "%").replace("?", "_")


def _time(condition: Condition, wanted: SearchFilter, alias: str) -> None:
    if wanted.date_from:
        condition.add(f"{alias}.date >= ?", wanted.date_from)
    if wanted.date_to:
        condition.add(f"{alias}.date <= ?", wanted.date_to)
    if wanted.months:
        condition.add(f"month({alias}.date) IN ({', '.join(map(str, wanted.months))})")
    if wanted.hours:
        condition.add(hours_sql(wanted.hours, alias))


def hours_sql(span: HourSpan, alias: str) -> str:
    """Return the condition of a time of day on the site's clock."""
    minute = f"(hour({alias}.local_start) * 60 + minute({alias}.local_start))"
    both = "AND" if span.from_min < span.to_min else "OR"
    return f"{minute} >= {span.from_min} {both} {minute} < {span.to_min}"


def _sun(condition: Condition, span: SunSpan | None, alias: str) -> None:
    """Add the condition of a span around sunrise and sunset.

    Columns hold minutes since the nearest event, so the time since the span began is known modulo a day, and so is its
    length; each is exact at the end of the span that is near its event, where it decides.
    """
    if span is None:
        return

    def since(event: str, minutes: int) -> str:
        return f"({alias}.minutes_since_{event}::DOUBLE - {minutes})"

    def day(value: str) -> str:
        return f"(({value} % {_DAY_MIN} + {_DAY_MIN}) % {_DAY_MIN})"

    begun = since(span.from_event, span.from_min)
    if span.from_event == span.to_event:
        condition.add(f"{day(begun)} < {min(span.to_min - span.from_min, _DAY_MIN)}")
    else:
        condition.add(f"{day(begun)} < {day(f'{begun} - {since(span.to_event, span.to_min)}')}")


def _prediction(condition: Condition, wanted: SearchFilter, label: str | None, alias: str) -> None:
    for term, value in (
        ("label = ?", label),
        ("score >= ?", wanted.score_min),
        ("score <= ?", wanted.score_max),
        ("rank <= ?", wanted.rank_max),
    ):
        if value is not None:
            condition.add(f"{alias}.{term}", value)


def _annotations(condition: Condition, wanted: SearchFilter, alias: str) -> None:
    if wanted.annotated is None:
        return
    inner = Condition()
    inner.add(overlap_sql("a", alias, "?"), wanted.overlap_min_s)
    if wanted.annotation_label is not None:
        inner.add("a.label = ?", wanted.annotation_label)
    if wanted.judgement is not None:
        inner.add("a.judgement = ?", wanted.judgement)
    negated = "" if wanted.annotated else "NOT "
    condition.add(f"{negated}EXISTS (SELECT 1 FROM annotations a WHERE {inner.sql})", *inner.parameters)
