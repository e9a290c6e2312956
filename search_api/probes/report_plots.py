"""The report's plots of one class as inline SVG: precision against recall, and scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from search_api.probes.markup import Markup, tag
from search_api.probes.report_axes import (
    BOTTOM,
    HEIGHT,
    INNER_H,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    chance_line,
    frame,
    line,
    nothing,
    picture,
    shares_x,
    shares_y,
    text,
    x_of,
    y_of,
)
from search_api.probes.report_words import count, number

_TICK_ROOM: Final = 12.0


def curve_plot(name: str, curve: Mapping[str, Any], row: Mapping[str, Any]) -> Markup:
    """Return a precision-recall curve with the chance level and the threshold's place on it."""
    recall, precision = curve.get("recall") or [], curve.get("precision") or []
    axes = frame(shares_x(), shares_y(), "recall", "precision")
    if not recall:
        return picture(*axes, nothing("no positives or no negatives in the test"), label=f"{name}: no curve")
    points = f"M{x_of(0):.1f} {y_of(precision[0]):.1f}" + "".join(
        f"H{x_of(r):.1f}V{y_of(later):.1f}" for r, later in zip(recall, [*precision[1:], precision[-1]], strict=True)
    )
    parts = [*chance_line(row.get("ap_chance")), tag("path", d=points, class_="curve")]
    if row.get("recall") is not None and row.get("precision") is not None:
        at_x, at_y = x_of(row["recall"]), y_of(row["precision"])
        parts += [tag("circle", cx=at_x, cy=at_y, r=4.5, class_="chosen"), *_callout(at_x, at_y, row.get("threshold"))]
    label = f"{name}: precision against recall, average precision {number(row.get('ap'))}, chance {number(row.get('ap_chance'))}"
    return picture(*axes, *parts, label=label)


def histogram_plot(name: str, histogram: Mapping[str, Any], threshold: float | None) -> Markup:
    """Return scores of positives (upwards) and of negatives (downwards), on a scale that also shows single windows."""
    edges = histogram.get("edges") or []
    up, down, weak = (list(histogram.get(side) or []) for side in ("positive", "negative", "weak"))
    below = [d + w for d, w in zip(down, weak, strict=True)]
    if not edges or not any(up + below):
        empty = frame(shares_x(), (), "score", "windows")
        return picture(*empty, nothing("no windows in the test"), label=f"{name}: no scores")
    height_up, height_down = _log(max(up, default=0)), _log(max(below, default=0))
    # A side without windows keeps a little room, so that the zero line is not the frame.
    unit = INNER_H / max(height_up + height_down, 0.1)
    zero = TOP + height_up * unit
    bars: list[Markup] = []
    for i in range(len(edges) - 1):
        left, width = x_of(edges[i]) + 0.6, x_of(edges[i + 1]) - x_of(edges[i]) - 1.2
        high, low, lowest = _log(up[i]) * unit, _log(down[i]) * unit, _log(below[i]) * unit
        bars += [
            tag("rect", x=left, y=y, width=width, height=h, class_=class_)
            for y, h, class_ in (
                (zero - high, high, "positive"),
                (zero, low, "negative"),
                (zero + low, lowest - low, "weak"),
            )
            if h > 0
        ]
    ticks = _ticks(zero, unit, max(up, default=0), max(below, default=0))
    parts = [
        *frame(shares_x(), ticks, "score", "windows, log scale"),
        *bars,
        line(LEFT, zero, WIDTH - RIGHT, zero, "axis"),
    ]
    if threshold is not None:
        x, right = x_of(min(max(threshold, 0.0), 1.0)), threshold < 0.7
        parts.append(line(x, TOP, x, HEIGHT - BOTTOM, "threshold"))
        parts.append(
            text(
                x + (4 if right else -4),
                TOP - 4,
                f"threshold {number(threshold, 2)}",
                "note",
                "start" if right else "end",
            )
        )
    words = f"{name}: scores of {count(sum(up))} positives, {count(sum(down))} negatives and {count(sum(weak))} weak negatives"
    return picture(*parts, label=words)


def _callout(x: float, y: float, threshold: float | None) -> list[Markup]:
    """Write beside the point, on the side where the curve, which falls, is not."""
    if threshold is None:
        return []
    words, edge = f"threshold {number(threshold, 2)}", float(WIDTH - RIGHT)
    if y < TOP + 18:
        return [text(max(x - 8, LEFT + 86.0), y + 19, words, "note", "end")]
    return [text(x + 8, y - 8, words, "note") if x + 94 < edge else text(edge, y - 11, words, "note", "end")]


def _log(n: float) -> float:
    return math.log10(1 + n)


def _ticks(zero: float, unit: float, up: float, down: float) -> list[tuple[float, str]]:
    """Return 1, 10, 100 ... upwards and downwards of the zero line, as far as there is room for them."""
    kept = [(zero, "0")]
    for most, sign in ((up, -1), (down, 1)):
        for k in reversed(range(7)):  # the largest first: small ones give way
            y = zero + sign * _log(10**k) * unit
            if 10**k <= most and all(abs(y - other) >= _TICK_ROOM for other, _ in kept):
                kept.append((y, count(10**k)))
    return kept
