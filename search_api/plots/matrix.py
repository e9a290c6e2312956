"""Which species where: bars for one site, a matrix of dots for several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search_api.plots.style import COLOURS, FAINT, HEIGHT_IN, bare, picture, short_name, shortened
from search_api.plots.words import foot_of, score_text
from search_api.questions.species import Species, SpeciesRow
from sonotheque.core.errors import NotFound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPECIES_MAX, SITES_MAX = 30, 60
_ROW_IN = 0.235
_DOT_MAX = 190.0  # square points
_BAR = "#2d708e"


def draw_species(answer: Species, target: str | Path, *, top: int = SPECIES_MAX) -> list[str]:
    """Draw the species with most windows: dots by site if there are rows per site, else bars.

    Parameters
    ----------
    answer : Species
    target : path-like
        PNG, SVG or PDF.
    top : int
        At most so many species.

    Returns
    -------
    list of str
        What a person should know of the picture: species and sites left out.

    Raises
    ------
    NotFound
        If there are no species in the answer.
    """
    if not answer.rows:
        raise NotFound("there is nothing to draw: no prediction reaches the score and rank that were asked for")
    totals: dict[str, int] = defaultdict(int)
    for row in answer.rows:
        totals[row.label] += row.windows
    labels = sorted(totals, key=lambda x: (-totals[x], x))[:top]
    notes = (
        [f"{len(labels)} of {len(totals)} species drawn, those with most windows"] if len(labels) < len(totals) else []
    )
    rows = [row for row in answer.rows if row.label in set(labels)]
    by_site = any(row.site is not None for row in rows)
    sites = sorted({str(row.site) for row in answer.rows}) if by_site else []
    if len(sites) > SITES_MAX:
        notes.append(f"{SITES_MAX} of {len(sites)} sites drawn, the first by name")
        sites = sites[:SITES_MAX]
    place = f"{len(answer.sites)} sites" if len(answer.sites) != 1 else next(iter(answer.sites))
    subtitle = (
        f"windows with a prediction, {score_text(answer.score_min, answer.rank_max)}, {answer.about.model}; "
        f"{len(totals)} species in {sum(answer.sites.values()) / 3600:,.1f} h of sound"
    )
    firsts, lasts = [r.first for r in rows if r.first], [r.last for r in rows if r.last]
    dates = (min(firsts).date(), max(lasts).date()) if firsts else ("no date", "no date")
    foot = foot_of(answer, *dates, *(["area of a dot: days on which it was found"] if by_site else []))
    height = max(4.0 if len(labels) < 8 else HEIGHT_IN, 1.9 + _ROW_IN * len(labels))
    with picture(target, f"Species at {place}", subtitle, foot, height_in=height) as figure:
        draw = _dots if by_site else _bars
        draw(figure, labels, sites, rows)
    return notes


def _bars(figure: Figure, labels: Sequence[str], _: Sequence[str], rows: Sequence[SpeciesRow]) -> None:
    axis = figure.subplots()
    own = {row.label: row for row in rows}
    counts = [own[label].windows for label in labels]
    axis.barh(range(len(labels)), counts, color=_BAR, height=0.72)
    for i, label in enumerate(labels):
        row = own[label]
        days = f"on {row.days} {'day' if row.days == 1 else 'days'}" if row.days else "date unknown"
        text = f"  {row.windows:,}  {days}, best {row.best_score:.2f}"
        axis.text(row.windows, i, text, va="center", fontsize=8.5, color=FAINT)
    axis.set_xlim(0, max(counts) * 1.22)
    _names(axis, labels)
    axis.set_xlabel("windows")
    axis.grid(axis="x", color="#e9e9e9", linewidth=0.7)
    axis.set_axisbelow(True)
    bare(axis)


def _dots(figure: Figure, labels: Sequence[str], sites: Sequence[str], rows: Sequence[SpeciesRow]) -> None:
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = figure.subplots()
    at_y, at_x = {x: i for i, x in enumerate(labels)}, {s: i for i, s in enumerate(sites)}
    shown = [row for row in rows if row.site in at_x]
    rates = np.array([row.per_hour or 0.0 for row in shown])
    days = np.array([max(row.days, 1) for row in shown])
    low, high = float(rates.min()), float(rates.max())
    norm = LogNorm(low, high) if low > 0 and high / low > 20 else Normalize(0, high)
    most = int(days.max())
    room = min(1.0, 26 / max(len(sites), 1))  # dots of many sites must not touch

    def area(n: float) -> float:
        return (12 + (_DOT_MAX - 12) * n / most) * room

    image = axis.scatter(
        [at_x[str(row.site)] for row in shown],
        [at_y[row.label] for row in shown],
        s=[area(n) for n in days],
        c=rates,
        cmap=COLOURS,
        norm=norm,
        edgecolors="#555555",
        linewidths=0.3,
        zorder=3,
    )
    axis.set_xlim(-0.6, len(sites) - 0.4)
    turn = 90 if len(sites) > 25 else 40 if len(sites) > 10 or max(len(s) for s in sites) > 14 else 0
    axis.set_xticks(
        range(len(sites)),
        [shortened(s, 20) for s in sites],
        rotation=turn,
        ha={0: "center", 40: "right", 90: "center"}[turn],
        rotation_mode="anchor" if turn == 40 else None,
        fontsize=8 if turn == 90 else 9,
    )
    _names(axis, labels)
    axis.grid(color="#ececec", linewidth=0.7, zorder=1)
    axis.set_axisbelow(True)
    axis.tick_params(axis="x", length=0)
    bare(axis)
    bar = figure.colorbar(image, ax=axis, pad=0.012, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label("windows per hour\nof recording", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if isinstance(norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    steps = sorted({1, -(-most // 2), most})
    keys = [axis.scatter([], [], s=area(n), color="#8a8a8a") for n in steps]
    words = [f"{n} {'day' if n == 1 else 'days'}" for n in steps]
    axis.legend(keys, words, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(steps), frameon=False, fontsize=8.5)


def _names(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_yticks(range(len(labels)), [shortened(short_name(x), 34) for x in labels])
    axis.tick_params(axis="y", length=0)
