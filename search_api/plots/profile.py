"""Bars over the hours of the day, the days, the months, or the minutes around sunrise and sunset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_api.plots.dates import DateAxis
from search_api.plots.style import FAINT, HEIGHT_IN, NOTHING, bare, picture
from search_api.plots.words import foot_of, panel_title, shown_panels, subtitle_of, title_of
from search_api.questions.activity import Activity, By, rows_by
from search_api.questions.grids import HOURS, SUN_STEP_MIN
from sonotheque.core.errors import NotFound

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = "#2d708e"  # of viridis
_LABELS_MAX = 16
_AROUND_MIN = 120  # shown at least, before and after


def draw_profile(answer: Activity, target: str | Path, by: By, *, counts: bool = False) -> list[str]:
    """Draw an answer as bars, a row of them for each panel.

    Parameters
    ----------
    answer : Activity
        Asked for with ``sun=True`` if ``by`` is ``sun``.
    target : path-like
        PNG, SVG or PDF.
    by : By
        ``hour``, ``date``, ``month`` or ``sun``.
    counts : bool
        Bars are counts, not counts per hour of recording.

    Returns
    -------
    list of str
        What a person should know of the picture.

    Raises
    ------
    NotFound
        If there is no window to count.
    """
    panels, notes = shown_panels(answer)
    rows = {(p.label, p.site): [] for p in panels}  # type: dict[tuple[str, str | None], list[dict[str, Any]]]
    for row in rows_by(answer, by):
        rows.get((row["label"], row["site"]), []).append(row)
    keys = _keys(by, [row for own in rows.values() for row in own])
    if not keys:
        what = "the sun's times are known" if by is By.SUN else "a local time is known"
        raise NotFound(
            f"there is nothing to draw: no window that the filter means has a place or hour for which {what}"
        )
    lost = sum((p.without_sun or {}).get("windows", 0) for p in panels if p.label == panels[0].label)
    if lost:
        notes.append(f"{lost:,} windows are left out: the sun's times are not known there")
    days = [day for panel in panels for day in panel.grid.dates]
    dates = (min(days), max(days)) if days else ("no date", "no date")
    height = min(18.0, max(HEIGHT_IN if len(panels) <= 3 else 0.0, 1.6 * len(panels) + 1.4))
    foot = foot_of(answer, *dates, "grey: nothing recorded")
    with picture(target, title_of(answer, panels), subtitle_of(answer, panels, by), foot, height_in=height) as figure:
        axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
        for panel, axis in zip(panels, axes, strict=True):
            _bars(axis, keys, {_key(by, row): row for row in rows[panel.label, panel.site]}, counts=counts)
            if len(panels) > 1:
                axis.set_title(panel_title(answer, panel, 90))
        _under(axes[-1], by, keys)
        figure.supylabel(_words(counts), fontsize=9, color=FAINT)
    return notes


def _words(counts: bool) -> str:
    return "windows with the species" if counts else "windows with the species per hour of recording"


def _key(by: By, row: dict[str, Any]) -> Any:
    if by is By.SUN:
        return row["event"], row["from_min"]
    return row["hour"] if by is By.HOUR else row["date"] if by is By.DATE else row["month"]


def _keys(by: By, rows: Sequence[dict[str, Any]]) -> list[Any]:
    """Return the bars of the axis in order; hours, days and months between others are there even if they are empty."""
    there = sorted({_key(by, row) for row in rows})
    if not there:
        return []
    if by is By.HOUR:
        return list(range(HOURS))
    if by is By.MONTH:
        first, last = (int(text[:4]) * 12 + int(text[5:]) - 1 for text in (there[0], there[-1]))
        return [f"{m // 12}-{m % 12 + 1:02d}" for m in range(first, last + 1)]
    if by is By.DATE:
        first, last = (date.fromisoformat(text).toordinal() for text in (there[0], there[-1]))
        every = [date.fromordinal(n).isoformat() for n in range(first, last + 1)]
        return every if len(every) <= 4 * len(there) + 14 else there
    events = [event for event in ("sunrise", "sunset") if any(key[0] == event for key in there)]
    spans = {event: [-_AROUND_MIN, _AROUND_MIN, *(key[1] for key in there if key[0] == event)] for event in events}
    return [(e, m) for e in events for m in range(min(spans[e]), max(spans[e]) + 1, SUN_STEP_MIN)]


def _bars(axis: Axes, keys: Sequence[Any], rows: dict[Any, dict[str, Any]], *, counts: bool) -> None:
    values: NDArray[np.float64] = np.array(
        [_value(rows[key], counts=counts) if key in rows else np.nan for key in keys], np.float64
    )
    there = np.isfinite(values)
    for i in np.flatnonzero(~there):
        axis.axvspan(i - 0.5, i + 0.5, facecolor=NOTHING, linewidth=0, zorder=0)
    at = np.flatnonzero(there)
    axis.bar(at, values[at], width=0.86, color=_BAR, zorder=2)
    axis.set_xlim(-0.5, len(keys) - 0.5)
    top = float(values[at].max()) if len(at) else 0.0
    axis.set_ylim(0, top * 1.08 if top > 0 else 1)
    axis.grid(axis="y", color="#e9e9e9", linewidth=0.7, zorder=1)
    axis.set_axisbelow(True)
    bare(axis)


def _value(row: dict[str, Any], *, counts: bool) -> float:
    value = row["detections"] if counts else row["detections_per_h"]
    return float("nan") if value is None else float(value)


def _under(axis: Axes, by: By, keys: Sequence[Any]) -> None:
    step = -(-len(keys) // _LABELS_MAX)
    if by is By.HOUR:
        axis.set_xticks(np.arange(0, HOURS + 1, 2) - 0.5, [f"{h:02d}:00" for h in range(0, HOURS + 1, 2)])
        axis.set_xlabel("local time")
    elif by is By.SUN:
        at = [i for i, (_, minute) in enumerate(keys) if minute % 60 == 0]
        at = at[:: -(-len(at) // (2 * _LABELS_MAX))]
        axis.set_xticks([i - 0.5 for i in at], [_around(*keys[i]) for i in at])
        turn = next((i for i, key in enumerate(keys) if key[0] != keys[0][0]), None)
        if turn is not None:
            for other in axis.figure.axes:
                other.axvline(turn - 0.5, color="#9a9a9a", linewidth=1, linestyle=(0, (3, 2)))
        axis.set_xlabel("hours from sunrise (↑) or from sunset (↓), whichever is nearer")
    elif by is By.DATE:
        ticks = DateAxis(tuple(date.fromisoformat(key) for key in keys)).ticks()
        axis.set_xticks([i for i, _ in ticks], [text for _, text in ticks])
    else:
        axis.set_xticks(range(0, len(keys), step), [str(keys[i]) for i in range(0, len(keys), step)])


def _around(event: str, minute: int) -> str:
    mark = "↑" if event == "sunrise" else "↓"
    return mark if minute == 0 else f"{minute / 60:+.0f}"
