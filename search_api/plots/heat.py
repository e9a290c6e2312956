"""The heat map everybody knows: local date by hour of day, coloured by how often a species was heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_api.plots.dates import TICKS_MAX, DateAxis
from search_api.plots.style import COLOURS, FAINT, HEIGHT_IN, NOTHING, picture, shortened
from search_api.plots.sun_lines import common_place, draw_over_days, sun_hours
from search_api.plots.words import foot_of, panel_title, row_title, shown_panels, subtitle_of, title_of
from search_api.questions.activity import Activity, Panel, Place
from search_api.questions.grids import HOURS
from sonotheque.core.errors import NotFound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

_LABELLED_CELLS_MAX = 24 * 8
_OUTLIER = 3.0  # a cell so far above nearly all others would leave them all dark


@dataclass(frozen=True, slots=True)
class Measure:
    """What the colours show."""

    counts: bool

    @property
    def words(self) -> str:
        """For the colour bar."""
        return "windows with the species" if self.counts else "windows with the species\nper hour of recording"

    def of(self, panel: Panel) -> NDArray[np.float64]:
        """Return the values of a panel, (n_dates, 24); NaN where nothing was recorded."""
        if self.counts:
            return np.where(panel.grid.windows > 0, panel.grid.found, np.nan)
        return panel.grid.per_hour


def draw_activity(answer: Activity, target: str | Path, *, counts: bool = False) -> list[str]:
    """Draw an answer as heat maps: a panel each if there are several days, a row each if there is one.

    Parameters
    ----------
    answer : Activity
    target : path-like
        PNG, SVG or PDF.
    counts : bool
        Colours are counts, not counts per hour of recording.

    Returns
    -------
    list of str
        What a person should know of the picture: panels left out, why there is no line of the sun.

    Raises
    ------
    NotFound
        If no window of the answer has a local time.
    """
    measure = Measure(counts)
    panels, notes = shown_panels(answer)
    columns = DateAxis.of(day for panel in panels for day in panel.grid.dates)
    if not columns.columns:
        raise NotFound("there is nothing to draw: no window that the filter means has a local time")
    has_sun = any(_has_sun(_place(answer, panel), columns) for panel in panels)
    lines = ["lines: sunrise and sunset"] if has_sun else []
    foot = foot_of(answer, columns.columns[0], columns.columns[-1], *lines, "hatched: nothing recorded")
    if not has_sun:
        notes.append("no lines of sunrise and sunset: coordinates or zone are unknown, or the sites lie far apart")
    one_day = len(columns.columns) == 1
    with picture(
        target, title_of(answer, panels), subtitle_of(answer, panels), foot, height_in=_height_in(len(panels), one_day)
    ) as figure:
        draw = _day if one_day else _days
        draw(figure, answer, panels, measure, columns)
    return notes


def _height_in(panels: int, one_day: bool) -> float:
    if one_day:
        return HEIGHT_IN if 3 <= panels <= 10 else 3.4 if panels < 3 else 2.4 + 0.42 * panels
    rows = -(-panels // _across(panels))
    return HEIGHT_IN if rows <= 2 else 2.6 * rows + 1.2


def _across(n: int) -> int:
    return 1 if n == 1 else 2 if n <= 4 else 3


def _days(figure: Figure, answer: Activity, panels: Sequence[Panel], measure: Measure, columns: DateAxis) -> None:
    n, across = len(panels), _across(len(panels))
    axes = figure.subplots(-(-n // across), across, squeeze=False, sharex=True, sharey=True)
    one_scale = len({panel.label for panel in panels}) == 1
    for i, (panel, axis) in enumerate(zip(panels, axes.flat, strict=False)):
        norm, extend = _norm([measure.of(p) for p in panels if p.label == panel.label])
        values = _spread(measure.of(panel), panel, columns)
        image = _map(axis, values, norm)
        if n == 1 and values.size <= _LABELLED_CELLS_MAX:
            _figures(axis, values, norm, left=0.0, low=0.5)
        draw_over_days(axis, _place(answer, panel), columns.columns)
        columns.draw(axis, ticks=TICKS_MAX // across + 1)
        axis.tick_params(labelbottom=i + across >= n)
        axis.set_ylim(0, HOURS)
        axis.set_yticks(range(0, HOURS + 1, 3), [f"{h:02d}:00" for h in range(0, HOURS + 1, 3)])
        if i % across == 0:
            axis.set_ylabel("local time")
        if n > 1:
            axis.set_title(panel_title(answer, panel, 44 if across < 3 else 28))
        if not one_scale:
            _bar(figure, image, axis, extend, measure.words if (i + 1) % across == 0 or i == n - 1 else "")
    if one_scale:
        _bar(figure, image, list(axes.flat), extend, measure.words)
    for axis in list(axes.flat)[n:]:
        axis.set_visible(False)


def _bar(figure: Figure, image: Any, axes: Any, extend: str, words: str) -> None:
    bar = figure.colorbar(image, ax=axes, extend=extend, pad=0.012, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(words, fontsize=9)


def _day(figure: Figure, answer: Activity, panels: Sequence[Panel], measure: Measure, columns: DateAxis) -> None:
    """Draw one day: hours to the right, a row for each panel, and the figures in the cells."""
    values = np.array([_spread(measure.of(panel), panel, columns)[:, 0] for panel in panels])
    axis = figure.subplots()
    norm, extend = _norm([values])
    axis.set_facecolor("white")
    edges = np.arange(len(panels) + 1) - 0.5
    _nothing(axis, (0, HOURS, -0.5, len(panels) - 0.5))
    image = axis.pcolormesh(
        np.arange(HOURS + 1),
        edges,
        np.ma.masked_invalid(values),
        cmap=COLOURS,
        norm=norm,
        edgecolors="white",
        linewidth=0.6,
    )
    if values.size <= _LABELLED_CELLS_MAX:
        _figures(axis, values, norm)
    axis.set_ylim(len(panels) - 0.5, -0.5)
    axis.set_yticks(range(len(panels)), [shortened(row_title(answer, p), 34) for p in panels])
    axis.tick_params(axis="y", length=0)
    axis.set_xlim(0, HOURS)
    axis.set_xticks(range(0, HOURS + 1, 2), [f"{h:02d}:00" for h in range(0, HOURS + 1, 2)])
    axis.set_xlabel(f"local time on {columns.columns[0]}")
    _bar(figure, image, axis, extend, measure.words)
    place = common_place(answer.places)
    if place is None:
        return
    for name, hours in zip(("sunrise", "sunset"), sun_hours(place, columns.columns), strict=True):
        if np.isfinite(hours[0]):
            axis.axvline(hours[0], color="black", linewidth=2.6, alpha=0.55)
            axis.axvline(hours[0], color="white", linewidth=1.2)
            axis.text(hours[0], -0.53, name, ha="center", va="bottom", fontsize=8.5, color=FAINT)


def _spread(values: NDArray[np.float64], panel: Panel, columns: DateAxis) -> NDArray[np.float64]:
    """Return a panel's values over all columns, (24, n_columns); NaN where nothing was recorded."""
    out = np.full((HOURS, len(columns.columns)), np.nan)
    at = columns.at
    for row, day in enumerate(panel.grid.dates):
        out[:, at[day]] = values[row]
    return out


def _norm(all_values: Sequence[NDArray[np.float64]]) -> tuple[Normalize, str]:
    """Return a colour scale from zero, and which end it leaves open: one cell far above the rest does not set it."""
    from matplotlib.colors import Normalize

    found = np.concatenate([v[np.isfinite(v) & (v > 0)].ravel() for v in all_values])
    if not len(found):
        return Normalize(0, 1), "neither"
    high, usual = float(found.max()), float(np.quantile(found, 0.98))
    if high > _OUTLIER * usual:
        return Normalize(0, usual, clip=True), "max"
    return Normalize(0, high), "neither"


def _map(axis: Axes, values: NDArray[np.float64], norm: Normalize) -> Any:
    width = values.shape[1]
    _nothing(axis, (-0.5, width - 0.5, 0, HOURS))
    x, y = np.arange(width + 1) - 0.5, np.arange(HOURS + 1)
    lines = (
        {"edgecolors": "#ffffff55", "linewidth": 0.5} if values.size <= _LABELLED_CELLS_MAX else {"rasterized": True}
    )
    return axis.pcolormesh(x, y, np.ma.masked_invalid(values), cmap=COLOURS, norm=norm, **lines)


def _nothing(axis: Axes, box: tuple[float, float, float, float]) -> None:
    """Hatch a box: what no cell covers was not recorded."""
    from matplotlib.patches import Rectangle

    left, right, low, high = box
    axis.add_patch(
        Rectangle((left, low), right - left, high - low, facecolor=NOTHING, hatch="////", linewidth=0, zorder=0.5)
    )


def _figures(axis: Axes, values: NDArray[np.float64], norm: Normalize, *, left: float = 0.5, low: float = 0.0) -> None:
    """Write the values into their cells, whose middles lie ``left`` and ``low`` from their column and row."""
    for row, column in np.argwhere(np.isfinite(values) & (values > 0)):
        value = values[row, column]
        dark = float(norm(value)) < 0.6
        text = f"{value:.0f}" if value >= 10 else f"{value:.2g}"
        axis.text(
            column + left, row + low, text, ha="center", va="center", fontsize=8.5, color="white" if dark else "black"
        )


def _place(answer: Activity, panel: Panel) -> Place | None:
    return common_place([p for p in answer.places if panel.site in (None, p.site)])


def _has_sun(place: Place | None, columns: DateAxis) -> bool:
    return place is not None and any(np.isfinite(hours).any() for hours in sun_hours(place, columns.columns))
