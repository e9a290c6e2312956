"""Filters and options as the service takes them: in an address, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean

# Name in Python and in JSON -> name in an address.
FILTERS: Final = {
    "sites": "site",
    "deployments": "deployment",
    "recordings": "recording",
    "date_from": "date_from",
    "date_to": "date_to",
    "months": "month",
    "hours": "hours",
    "sun": "sun",
    "label": "label",
    "score_min": "score_min",
    "score_max": "score_max",
    "rank_max": "rank_max",
    "annotated": "annotated",
    "annotation_label": "annotation_label",
    "judgement": "judgement",
    "overlap_min_s": "overlap_min_s",
    "valid_min_s": "valid_min_s",
}
_LISTS: Final = ("sites", "deployments", "recordings", "months")
_ONE: Final = {"site": "sites", "deployment": "deployments", "recording": "recordings", "month": "months"}


def filter_json(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters as the service's JSON has them.

    Parameters
    ----------
    given : mapping
        Fields of :class:`sonotheque.core.filters.SearchFilter`; a list may be one value, and ``site`` is ``sites``.

    Raises
    ------
    Invalid
        If a name is no filter; the message has near ones.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        own = _ONE.get(name, name)
        if own not in FILTERS:
            raise Invalid(f"there is no filter or option {name!r}; {did_you_mean(name, [*FILTERS, *_ONE])}")
        if value is None:
            continue
        several = isinstance(value, list | tuple | set | frozenset | range)
        if own in _LISTS:
            found[own] = list(value) if several else [value]
        else:
            found[own] = value.isoformat() if isinstance(value, date) else value
    return found


def filter_params(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters as an address has them; raises as :func:`filter_json`."""
    return {FILTERS[name]: value for name, value in filter_json(given).items()}
