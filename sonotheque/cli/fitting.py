"""Tables that fit a terminal: what is too wide is cut in its middle, numbers never."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from sonotheque.cli.output import table

_CELL_MAX = 60  # where there is no terminal to fit
_CELL_MIN = 8
_MIDDLE = "…"


def fitted(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return an aligned table that is as wide as the terminal at most, as far as columns of text can be cut.

    Parameters
    ----------
    headings : sequence of str
    rows : sequence of sequence of str
    right : sequence of int
        Columns set flush right; they hold numbers and are not cut.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return fitted_to(width, headings, rows, right=right)


def fitted_to(
    width: int | None, headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> str:
    """Return the table of :func:`fitted` for a terminal of ``width`` characters; None: no terminal."""
    own = [max([len(headings[i]), *(len(row[i]) for row in rows)]) for i in range(len(headings))]
    most = _widths(own, width, [i for i in range(len(own)) if i not in set(right)])
    cut = [[shortened(cell, n) for cell, n in zip(row, most, strict=True)] for row in rows]
    return table([shortened(h, n) for h, n in zip(headings, most, strict=True)], cut, right=right)


def _widths(own: Sequence[int], width: int | None, texts: Sequence[int]) -> list[int]:
    """Return how wide columns may be: the widest of the texts give way first."""
    most = list(own)
    for i in texts:
        most[i] = min(most[i], _CELL_MAX if width is None else max(width, _CELL_MIN))
    spare = 0 if width is None else sum(most) + 2 * (len(most) - 1) - width
    while spare > 0:
        widest = max(texts, key=lambda i: most[i], default=None)
        if widest is None or most[widest] <= _CELL_MIN:
            break
        second = max([_CELL_MIN, *(most[i] for i in texts if most[i] < most[widest])])
        step = min(spare, max(1, most[widest] - second))
        most[widest] -= step
        spare -= step
    return most


def shortened(text: str, most: int) -> str:
    """Return a text without its middle if it is too long: the ends of paths and names tell them apart."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    tail = most - 1 - head
    return text[:head] + _MIDDLE + text[len(text) - tail :]
