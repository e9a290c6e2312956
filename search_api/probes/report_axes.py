"""What the report's plots are drawn with: inline SVG, axes with names, chance, and a value with its interval as a strip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from search_api.probes.markup import Markup, tag
from search_api.probes.report_words import interval, number

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 28, 36
INNER_W, INNER_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
_QUARTERS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


def picture(
    *children: object, label: str, width: float = WIDTH, height: float = HEIGHT, class_: str = "plot", **more: object
) -> Markup:
    """Return an SVG that scales with the page, and what it shows for those who do not see it."""
    return tag(
        "svg", *children, class_=class_, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, **more
    )


def text(x: float, y: float, words: object, class_: str = "tick", anchor: str = "start", **more: object) -> Markup:
    """Return words at a place."""
    return tag("text", words, x=x, y=y, class_=class_, text_anchor=anchor, **more)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def strip(value: float | None, chance: float | None, span: Any, label: str, *, width: float = 120.0) -> Markup:
    """Return a value from 0 to 1 as a dot with its interval, and chance as an upright mark."""
    middle, edge = 8.0, 4.0

    def x(v: float) -> float:
        return edge + min(max(v, 0.0), 1.0) * (width - 2 * edge)

    parts = [line(edge, middle, width - edge, middle, "rail")]
    words = f"{label} {number(value)}"
    if interval(span):
        parts.append(line(x(span[0]), middle, x(span[1]), middle, "span"))
        words += f", interval {interval(span)}"
    if chance is not None:
        parts.append(line(x(chance), 2.0, x(chance), 14.0, "chance"))
        words += f", chance {number(chance)}"
    if value is not None:
        parts.append(tag("circle", cx=x(value), cy=middle, r=3.6, class_="dot"))
    return picture(tag("title", words), *parts, label=words, width=width, height=16, class_="strip")


def frame(
    x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], x_name: str, y_name: str
) -> list[Markup]:
    """Return grid, axes, their names and their ticks."""
    floor = HEIGHT - BOTTOM
    parts = [line(LEFT, y, WIDTH - RIGHT, y, "grid") for y, _ in y_ticks]
    parts += [text(LEFT - 6, y + 3.5, words, anchor="end") for y, words in y_ticks]
    parts += [text(x, floor + 14, words, anchor="middle") for x, words in x_ticks]
    parts.append(line(LEFT, floor, WIDTH - RIGHT, floor, "axis"))
    parts.append(text(WIDTH - RIGHT, floor + 30, x_name, "axis-name", "end"))
    parts.append(text(2, 11, y_name, "axis-name"))
    return parts


def shares_x() -> list[tuple[float, str]]:
    """Return ticks of an axis from 0 to 1."""
    return [(x_of(v), f"{v:g}") for v in _QUARTERS]


def shares_y() -> list[tuple[float, str]]:
    """Return ticks of an upright axis from 0 to 1."""
    return [(y_of(v), f"{v:g}") for v in _QUARTERS]


def chance_line(chance: float | None) -> list[Markup]:
    """Return chance as a dashed line with its value; nothing if it is not known."""
    if chance is None:
        return []
    y = y_of(chance)
    above = y > TOP + 14
    return [
        line(LEFT, y, WIDTH - RIGHT, y, "chance"),
        text(LEFT + 5, y - 4 if above else y + 12, f"chance {number(chance, 2)}", "note chance-name"),
    ]


def nothing(words: str) -> Markup:
    """Return words in place of what cannot be drawn."""
    return text(LEFT + INNER_W / 2, TOP + INNER_H / 2, words, "note", "middle")


def x_of(share: float) -> float:
    """Return where a share is, from left to right."""
    return LEFT + share * INNER_W


def y_of(share: float) -> float:
    """Return where a share is, from the floor up."""
    return TOP + (1 - share) * INNER_H
