"""The calendar of effort: a row for each site, a column for each day, coloured by the hours recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search_api.plots.dates import DateAxis
from search_api.plots.style import COLOURS, FAINT, HEIGHT_IN, MARK, picture, shortened
from search_api.plots.words import foot_of
from search_api.questions.summary import Summary
from sonotheque.core.errors import NotFound

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_IN = 0.19
_SITES_MAX = 200


def draw_summary(answer: Summary, target: str | Path) -> list[str]:
    """Draw the hours recorded by site and day. White: nothing recorded; a mark: files of that day failed.

    Parameters
    ----------
    answer : Summary
    target : path-like
        PNG, SVG or PDF.

    Returns
    -------
    list of str
        What a person should know of the picture: sites left out.

    Raises
    ------
    NotFound
        If no recording has a local time.
    """
    columns = DateAxis.of(day.date for day in answer.days)
    if not columns.columns:
        raise NotFound("there is nothing to draw: no recording that the filter means has a local time")
    dated = {day.site for day in answer.days}
    sites = [site for site in answer.sites if site.site in dated]
    shown = sites[:_SITES_MAX]
    notes = [f"{len(shown)} of {len(sites)} sites drawn"] if len(shown) < len(sites) else []
    if rest := len(answer.sites) - len(sites):
        notes.append(f"{rest} sites have no recording with a known time, and are not drawn")
    rows = {site.site: i for i, site in enumerate(shown)}
    hours = np.full((len(shown), len(columns.columns)), np.nan)
    failed: list[tuple[int, int]] = []
    at = columns.at
    for day in answer.days:
        if day.site in rows:
            if day.audio_s > 0:
                hours[rows[day.site], at[day.date]] = day.audio_s / 3600
            if day.failed:
                failed.append((at[day.date], rows[day.site]))
    total = answer.totals
    subtitle = (
        f"{total['recordings']:,} recordings, {total['audio_h']:,.1f} h of sound, {total['failed']:,} failed, {total['gaps']:,} gaps "
        f"longer than {answer.gap_min_s / 60:g} min; days are local"
    )
    marks = "white: nothing recorded" + ("; red mark: files of that day failed" if failed else "")
    foot = foot_of(answer, columns.columns[0], columns.columns[-1], marks)
    height = max(4.0 if len(shown) < 5 else HEIGHT_IN, 1.6 + _ROW_IN * len(shown))
    title = f"Recorded at {len(sites)} sites" if len(sites) != 1 else f"Recorded at {sites[0].site}"
    with picture(target, title, subtitle, foot, height_in=height) as figure:
        axis = figure.subplots()
        top = float(np.nanmax(hours)) if np.isfinite(hours).any() else 1.0
        in_minutes = top < 1
        x, y = np.arange(len(columns.columns) + 1) - 0.5, np.arange(len(shown) + 1) - 0.5
        lines = {"edgecolors": "white", "linewidth": 0.7} if len(columns.columns) <= 100 else {"rasterized": True}
        values = np.ma.masked_invalid(hours * (60 if in_minutes else 1))
        image = axis.pcolormesh(
            x, y, values, cmap=f"{COLOURS}_r", vmin=0, vmax=top * (60 if in_minutes else 1), **lines
        )
        for colour, width in (("white", 3.2), (MARK, 1.5)) if failed else ():
            columns_of, rows_of = [c for c, _ in failed], [r for _, r in failed]
            axis.scatter(columns_of, rows_of, s=24, marker="x", color=colour, linewidths=width, zorder=3)
        columns.draw(axis)
        axis.set_ylim(len(shown) - 0.5, -0.5)
        axis.set_yticks(range(len(shown)), [shortened(site.site, 24) for site in shown])
        axis.tick_params(axis="y", length=0, labelsize=9 if len(shown) <= 40 else 7.5)
        _margin(axis, answer, [site.site for site in shown])
        bar = figure.colorbar(image, ax=axis, pad=0.015, aspect=30, shrink=min(1.0, 8 / height))
        bar.outline.set_visible(False)
        bar.set_label("minutes recorded a day" if in_minutes else "hours recorded a day", fontsize=9)
    return notes


def _margin(axis: Axes, answer: Summary, sites: list[str]) -> None:
    """Write each site's hours and gaps at the right of its row."""
    gaps = dict.fromkeys(sites, 0)
    for gap in answer.gaps:
        if gap.site in gaps:
            gaps[gap.site] += 1
    audio = {site.site: site.audio_s for site in answer.sites}
    other = axis.twinx()
    other.set_ylim(axis.get_ylim())
    texts = [f"{_hours(audio[site])}, {gaps[site]} gaps" for site in sites]
    other.set_yticks(range(len(sites)), texts)
    other.tick_params(axis="y", length=0, labelsize=8 if len(sites) <= 40 else 7, labelcolor=FAINT)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
        other.spines[side].set_visible(False)


def _hours(seconds: float) -> str:
    return (
        f"{seconds / 60:.2g} min"
        if seconds < 3600
        else f"{seconds / 3600:.3g} h"
        if seconds < 3.6e6
        else f"{seconds / 3600:,.0f} h"
    )
