"""How all pictures look: size, type, colours, the note at the foot; and how they are saved."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sonotheque.core.errors import Invalid, NotFound
from store.formats.whole import whole_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS: Final = (".png", ".svg", ".pdf")
WIDTH_IN, HEIGHT_IN, DPI = 12.0, 7.0, 100  # 1200 x 700 points on a screen
INK, FAINT, NOTHING, MARK = "#222222", "#6b6b6b", "#e3e3e3", "#d1495b"
COLOURS: Final = "viridis"  # read by people of any colour vision, and in grey
_SETTINGS: Final[dict[str, Any]] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": "#9a9a9a",
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a site's name is a $
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "hatch.linewidth": 0.6,
    "hatch.color": "#bdbdbd",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


def require_picture(target: str | Path) -> Path:
    """Look at where a picture is to go, before the work.

    Raises
    ------
    Invalid
        If its ending names no format.
    NotFound
        If its folder is not there.
    """
    path = Path(target)
    if path.suffix.lower() not in ENDINGS:
        raise Invalid(f"--plot {path}: the ending says the format, and must be {', '.join(ENDINGS)}")
    if not path.absolute().parent.is_dir():
        raise NotFound(f"--plot {path}: there is no folder {path.parent}; make it, or choose another")
    if path.is_dir():
        raise Invalid(f"--plot {path} is a folder; name a file")
    return path


@contextlib.contextmanager
def picture(
    target: str | Path, title: str, subtitle: str, foot: str, *, height_in: float = HEIGHT_IN
) -> Iterator[Figure]:
    """Give a figure with its title, line below and foot; afterwards it is saved, whole or not at all.

    Parameters
    ----------
    target : path-like
        PNG, SVG or PDF by its ending.
    title, subtitle, foot : str
    height_in : float
        In inches of 100 points; the width is always 12.

    Raises
    ------
    Unavailable
        If the disk is full or cannot be written to.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    path = require_picture(target)
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        top, bottom = 0.62 / height_in, 0.28 / height_in
        room = ConstrainedLayoutEngine(rect=(0.008, bottom, 0.984, 1 - top - bottom - 0.012), h_pad=0.06, w_pad=0.06)
        figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, layout=room)
        yield figure
        figure.text(0.012, 1 - 0.12 / height_in, _cut(title, 110), fontsize=14, fontweight="bold", va="top")
        figure.text(0.012, 1 - 0.42 / height_in, _cut(subtitle, 175), fontsize=9.5, color=FAINT, va="top")
        figure.text(0.012, 0.09 / height_in, _cut(foot, 200), fontsize=7.5, color=FAINT, va="bottom")
        with whole_files(path, overwrite=True) as (temporary,):
            figure.savefig(temporary, format=path.suffix.lower()[1:], dpi=DPI)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def bare(axis: Axes) -> None:
    """Take the frame's upper and right side away."""
    axis.spines[["top", "right"]].set_visible(False)


def shortened(name: str, most: int = 26) -> str:
    """Return a name for an axis: the middle of a long one is left out, since both ends tell names apart."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[-(most - 1 - head) :]}"


def species_name(label: str) -> str:
    """Return a label for a title: ``Tawny Owl (Strix aluco)``."""
    scientific, mark, common = label.partition("_")
    return f"{common} ({scientific})" if mark and common and common != scientific else scientific


def short_name(label: str) -> str:
    """Return a label for an axis: the common name, or the only one it has."""
    scientific, mark, common = label.partition("_")
    return common if mark and common else scientific
