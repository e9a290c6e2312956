"""How the report draws what was tried: numbers of examples, and penalties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search_api.probes.markup import Markup, tag
from search_api.probes.report_axes import (
    INNER_W,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    chance_line,
    frame,
    nothing,
    picture,
    shares_y,
    text,
    y_of,
)
from search_api.probes.report_words import number


def learning_plot(rows: Sequence[Mapping[str, Any]], key: str, title: str, chance: float | None) -> Markup:
    """Return a metric against the number of positives a class, with the lowest and highest repeat as a band."""
    known = [(i, row) for i, row in enumerate(rows) if row.get(key) is not None]
    step = INNER_W / max(len(rows) - 1, 1)
    xs = [LEFT + step * i if len(rows) > 1 else LEFT + INNER_W / 2 for i in range(len(rows))]
    ticks = [(x, str(row.get("shots"))) for x, row in zip(xs, rows, strict=True)]
    parts = [*frame(ticks, shares_y(), "positives a class", title), *chance_line(chance)]
    if not known:
        return picture(*parts, nothing("no value is defined"), label=f"{title}: no values")
    banded = [(xs[i], row) for i, row in known if row.get(f"{key}_low") is not None]
    if banded:
        there = [f"{x:.1f},{y_of(row[f'{key}_high']):.1f}" for x, row in banded]
        back = [f"{x:.1f},{y_of(row[f'{key}_low']):.1f}" for x, row in reversed(banded)]
        parts.append(tag("polyline", points=" ".join(there + back), class_="band"))
    parts.append(
        tag("polyline", points=" ".join(f"{xs[i]:.1f},{y_of(row[key]):.1f}" for i, row in known), class_="curve")
    )
    parts += [
        tag(
            "circle",
            tag("title", f"{row['shots']}: {number(row[key])}"),
            cx=xs[i],
            cy=y_of(row[key]),
            r=3.2,
            class_="dot",
        )
        for i, row in known
    ]
    last_i, last = known[-1]
    below = y_of(last[key]) < TOP + 16
    parts.append(text(xs[last_i], y_of(last[key]) + (16 if below else -8), number(last[key]), "note strong", "end"))
    told = ", ".join(f"{row['shots']} positives {number(row[key])}" for _, row in known)
    return picture(*parts, label=f"{title}: {told}")


def penalty_plot(tried: Sequence[Mapping[str, Any]], chosen: float | None) -> Markup:
    """Return the score of every penalty that was tried, and which one was taken."""
    rows = sorted((row for row in tried if row.get("score") is not None), key=lambda row: row["l2"])
    step = INNER_W / max(len(rows) - 1, 1)
    xs = [LEFT + step * i for i in range(len(rows))]
    ticks = [(x, f"{row['l2']:.0e}".replace("e-0", "e-")) for x, row in zip(xs, rows, strict=True)]
    parts = [*frame(ticks, shares_y(), "penalty l2", "cross-validated score")]
    parts.append(
        tag(
            "polyline",
            points=" ".join(f"{x:.1f},{y_of(row['score']):.1f}" for x, row in zip(xs, rows, strict=True)),
            class_="curve",
        )
    )
    for x, row in zip(xs, rows, strict=True):
        taken, title = row["l2"] == chosen, tag("title", f"{row['l2']:g}: {number(row['score'])}")
        shape, radius = ("chosen", 4.5) if taken else ("dot", 3.0)
        parts.append(tag("circle", title, cx=x, cy=y_of(row["score"]), r=radius, class_=shape))
        if taken:
            anchor = "start" if x < LEFT + 60 else "end" if x > WIDTH - RIGHT - 60 else "middle"
            below = y_of(row["score"]) < TOP + 20
            parts.append(
                text(
                    x,
                    y_of(row["score"]) + (19 if below else -10),
                    f"taken {number(row['score'])}",
                    "note strong",
                    anchor,
                )
            )
    return picture(*parts, label="scores of the penalties tried")
