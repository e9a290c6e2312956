"""HTML from values: every text is escaped unless it was made here, so that a class may be called ``<script>``."""

from __future__ import annotations

import html
import re

# Not allowed in HTML, or turn the reading direction of what follows; file names may hold them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_EMPTY = frozenset({"meta", "br", "hr", "circle", "rect", "line", "path", "polyline"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """Return a value as HTML text; what cannot be printed becomes a replacement character."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", str(value)), quote=True))


def joined(*children: object) -> Markup:
    """Return children one after the other; None is nothing."""
    return Markup("".join(escaped(child) for child in children if child is not None))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element.

    Parameters
    ----------
    name : str
    *children
        Texts, which are escaped, and elements.
    **attributes
        ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``; None is left out.
    """
    # A digit after the underline stays one name: x1, y2. Only SVG's viewBox has a capital, and it has no underline.
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(_attribute(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY and not children:
        return Markup(f"<{name}{pairs}/>")
    return Markup(f"<{name}{pairs}>{joined(*children)}</{name}>")


def _attribute(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
