"""The confusion matrix as a picture: rows are what is there, columns what the probe says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from search_api.probes.markup import Markup, tag
from search_api.probes.report_axes import picture, text
from search_api.probes.report_words import short_label

_NUMBERS_MAX: Final = 24  # classes; more are shaded only
_SIDE_MAX, _SIDE_MIN = 46.0, 15.0
_ROOM: Final = 640.0
_LETTERS: Final = 22
_LETTER_W: Final = 6.3


def matrix_plot(confusion: Mapping[str, Any]) -> Markup | None:
    """Return the matrix, each row shaded by its own shares; None if there is nothing in it."""
    labels, counts = confusion.get("labels") or [], confusion.get("counts") or []
    if not labels or not any(map(any, counts)):
        return None
    n = len(labels)
    side = min(_SIDE_MAX, max(_SIDE_MIN, _ROOM / n))
    numbers = n <= _NUMBERS_MAX
    short = [short_label(str(name), _LETTERS) for name in labels]
    left = max(map(len, short)) * _LETTER_W + 30
    head = max(map(len, short)) * _LETTER_W * 0.72 + 34
    parts = [text(left, 13, "the probe says →", "axis-name"), text(8, head - 8, "there is ↓", "axis-name")]
    for i, name in enumerate(short):
        middle = left + (i + 0.5) * side
        parts.append(text(middle - 2, head - 8, name, "tick", transform=f"rotate(-46 {middle - 2:.1f} {head - 8:.1f})"))
        parts.append(text(left - 8, head + (i + 0.5) * side + 4, name, "tick", "end"))
    for i, row in enumerate(counts):
        total = sum(row)
        for j, value in enumerate(row):
            parts += _cell(
                left + j * side, head + i * side, side, value, total, (i == j, numbers), f"{labels[i]} → {labels[j]}"
            )
    width = left + n * side + head * 0.9  # the names of the last columns lean out
    label = f"confusion matrix of {n} labels"
    return picture(
        *parts,
        label=label,
        width=width,
        height=head + n * side + 6,
        class_="plot matrix",
        style=f"max-width: {width:.0f}px; min-width: {min(width, 300.0):.0f}px",
    )


def _cell(x: float, y: float, side: float, value: int, total: int, kind: tuple[bool, bool], words: str) -> list[Markup]:
    right, numbers = kind
    share = value / total if total else 0.0
    ground = tag("rect", x=x + 0.75, y=y + 0.75, width=side - 1.5, height=side - 1.5, rx=2, class_="cell")
    parts = [ground]
    if value:
        class_ = "cell-right" if right else "cell-wrong"
        title = tag("title", f"{words}: {value:,} of {total:,}")
        shade = round(0.12 + 0.88 * share, 3)
        parts.append(
            tag(
                "rect",
                title,
                x=x + 0.75,
                y=y + 0.75,
                width=side - 1.5,
                height=side - 1.5,
                rx=2,
                class_=class_,
                fill_opacity=f"{shade:g}",
            )
        )
    if numbers:
        class_ = "cell-number" + (" on-dark" if share > 0.55 else " zero" if not value else "")
        size = 12 if side > 34 or value < 1000 else 10
        parts.append(
            text(x + side / 2, y + side / 2 + 4, f"{value:,}" if value else "·", class_, "middle", font_size=size)
        )
    return parts
