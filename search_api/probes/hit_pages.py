"""A probe's hits page by page, best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from probes import Probe
from search_api.browsing.pages import PLACE, Key, page_of
from search_api.browsing.wire import window_rows, with_annotations
from search_api.probes.hits import HitOptions, best_of, thresholds_of
from search_api.probes.scores import ProbeScores
from search_api.questions.values import column_values
from store import Archive

_WINDOW: Final = (
    "recording_id, start_sample, path, site, deployment, date, start_s, end_s, valid_s, utc_start, local_start"
)
_SCORE: Final = ("label", "score", "logit")
# Best first, and where scores are equal in the catalog's order. A score's opposite, since pages go upwards.
_KEYS: Final = (Key("worse", float), *PLACE, Key("start_sample", int), Key("label", str))


@dataclass(frozen=True, slots=True)
class HitPage:
    """A page of hits.

    Attributes
    ----------
    rows : list of dict
        Windows with ``label, score, logit, threshold`` and ``annotations``.
    next : str or None
        Cursor of the next page.
    notes : tuple of str
    """

    rows: list[dict[str, Any]]
    next: str | None
    notes: tuple[str, ...] = ()


def hit_page(archive: Archive, probe: Probe, options: HitOptions, *, limit: int, cursor: str | None = None) -> HitPage:
    """Return a page of what a probe found.

    Parameters
    ----------
    archive : Archive
    probe : Probe
        As stored, and applied.
    options : HitOptions
        Its ``limit`` is not looked at.
    limit : int
    cursor : str, optional

    Raises
    ------
    NotFound
        If the probe was not applied, or the filter names what is not in the store.
    Invalid
        If the probe has no such class, or a threshold is below the least score that was kept.
    Invalid, Conflict
        See :func:`search_api.browsing.pages.page_of`.
    """
    scores = ProbeScores(archive, probe)
    thresholds = thresholds_of(probe, options, scores.floor)
    columns = ", ".join(f"w.{c.strip()}" for c in _WINDOW.split(","))
    inner, parameters = scores.select(
        thresholds, options.where, f"{columns}, s.label, s.score, s.logit, -(s.score::DOUBLE) AS worse"
    )
    if options.best_per:
        inner += best_of(options.best_per)
    asked = ["hits", probe.name, probe.version, probe.digest, options.where.to_json(), thresholds, options.best_per]
    select = (f"SELECT * FROM ({inner}) w WHERE true", parameters)
    found = page_of(archive, select, _KEYS, asked, limit=limit, cursor=cursor)
    values = [column_values(found.table[name]) for name in _SCORE]
    windows = with_annotations(archive, window_rows(archive, found.table))
    rows = [
        {**window, **dict(zip(_SCORE, own, strict=True)), "threshold": thresholds[own[0]]}
        for window, *own in zip(windows, *values, strict=True)
    ]
    windows_all, scored = scores.windows(options.where)
    notes: tuple[str, ...] = ()
    if scored < windows_all:
        notes = (
            f"{windows_all - scored:,} of {windows_all:,} windows were embedded since probe {probe.name} was applied; apply it again",
        )
    return HitPage(rows, found.next, notes)
