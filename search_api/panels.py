"""Windows as spectrograms on one sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from search_api.cutting import Sound, cut_spans
from search_api.locating import Locator
from search_api.pictures import above_background_db
from search_api.plots.style import COLOURS, MARK, picture
from search_api.queries import seconds_text
from sonotheque.core.errors import Damaged, Invalid, NotFound
from store import Archive

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES_MAX: Final = 24
_TOP_KHZ: Final = 12.0
_SHOWN_DB: Final = 35.0
_NOTES_MAX: Final = 5
_ROW_IN, _REST_IN = 2.3, 1.1
Words = Callable[[int], tuple[str, str, str]]  # windows drawn -> title, subtitle, foot


@dataclass(slots=True)
class SheetReport:
    """What was drawn.

    Attributes
    ----------
    file : str
    pictures : int
        Drawn; if there is none, there is no file.
    left_out : int
        Hits for which there was no room.
    missing : list of dict
        ``rank`` (0: of the query), ``path``, ``start_s`` and ``reason`` of those without sound.
    notes : list of str
    """

    file: str
    pictures: int = 0
    left_out: int = 0
    missing: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {
            "file": self.file if self.pictures else None,
            "pictures": self.pictures,
            "left_out": self.left_out,
            "missing": self.missing,
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture that is wanted.

    Attributes
    ----------
    rank : int
        0: of the query.
    path : str
    span : (float, float)
        Seconds.
    title : str
    size_bytes : int or None
        Of the recording when it was embedded.
    is_file : bool
        The path is a file of the user's, and not a stored one.
    """

    rank: int
    path: str
    span: tuple[float, float]
    title: str
    size_bytes: int | None = None
    is_file: bool = False


def draw_panels(
    archive: Archive,
    panels: Sequence[Panel],
    words: Words,
    target: str,
    locator: Locator,
    top_khz: float | None = None,
    most: int = PICTURES_MAX,
) -> SheetReport:
    """Draw windows as spectrograms, each with its title, in the order given.

    Parameters
    ----------
    archive : Archive
    panels : sequence of Panel
    words : callable
        Number of pictures drawn that are not of the query -> title, subtitle, foot.
    target : str
        A PNG, SVG or PDF file.
    locator : Locator
    top_khz : float, optional
        Highest frequency drawn; 12 kHz by default, or what the model hears if that is less.
    most : int
        Pictures at most.

    Returns
    -------
    SheetReport
        A window whose recording is missing or damaged is named there; the others are drawn.

    Raises
    ------
    Invalid
        If ``top_khz`` cannot be.
    Unavailable
        If the picture cannot be written.
    """
    if top_khz is not None and not 0.1 <= top_khz <= 500:
        raise Invalid(f"--plot-khz {top_khz:g}: expected 0.1 to 500")
    report = SheetReport(target)
    report.left_out = max(0, len(panels) - most)
    wanted = panels[:most]
    found = dict(_sounds(wanted, locator))
    drawn = [(one, sound) for one in wanted if isinstance(sound := found[one], Sound)]
    _tell_missing(report, [(one, error) for one in wanted if isinstance(error := found[one], Exception)])
    if report.left_out:
        report.notes.append(
            f"{report.left_out:,} of {sum(one.rank > 0 for one in panels):,} hits are not drawn: a sheet has {most} pictures at most"
        )
    if not drawn:
        report.notes.append(
            "no picture was drawn: there is no sound to show; say where the recordings are: --recordings DIR"
        )
        return report
    rule = archive.config.windows
    heard_khz = min(rule.sample_rate_hz * rule.rate_factor, max(sound.sample_rate_hz for _, sound in drawn)) / 2000
    _draw(
        words(sum(one.rank > 0 for one, _ in drawn)),
        drawn,
        target,
        top_khz or min(_TOP_KHZ * max(1.0, rule.rate_factor), heard_khz),
    )
    report.pictures = len(drawn)
    return report


def _sounds(wanted: Sequence[Panel], locator: Locator) -> Iterator[tuple[Panel, Sound | Exception]]:
    """Yield each wanted picture with its sound or why there is none; a recording is opened once for all of its."""
    by_path: dict[tuple[bool, str], list[Panel]] = {}
    for one in wanted:
        by_path.setdefault((one.is_file, one.path), []).append(one)
    for (is_file, path), group in by_path.items():
        left = set(group)
        try:
            where = path if is_file else locator.find(path)
            for index, sound in cut_spans(where, [one.span for one in group], size_bytes=group[0].size_bytes):
                left.discard(group[index])
                yield group[index], sound
        except (Damaged, NotFound, Invalid) as error:
            for one in left:
                yield one, error


def _tell_missing(report: SheetReport, missing: Sequence[tuple[Panel, Exception]]) -> None:
    for one, error in missing:
        report.missing.append({"rank": one.rank, "path": one.path, "start_s": one.span[0], "reason": str(error)})
        if len(report.missing) <= _NOTES_MAX:
            which = f"hit {one.rank}" if one.rank else "the query"
            report.notes.append(f"{which} is not drawn: {one.path} at {seconds_text(one.span[0])} s: {error}")
    if len(missing) > _NOTES_MAX:
        report.notes.append(f"{len(missing) - _NOTES_MAX:,} more are not drawn, for want of their sound")


def _draw(words: tuple[str, str, str], drawn: Sequence[tuple[Panel, Sound]], target: str, top_khz: float) -> None:
    columns = 3 if len(drawn) <= 12 else 4
    rows = ceil(len(drawn) / columns)
    title, subtitle, foot = words
    foot = f"0 to {_SHOWN_DB:.0f} dB above the background of each picture; seconds of the recording; {foot}"
    with picture(target, title, subtitle, foot, height_in=_REST_IN + _ROW_IN * rows) as figure:
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, (one, sound) in zip(axes.flat, drawn, strict=False):
            _panel(axis, one, sound, top_khz)
        for axis in axes.flat[len(drawn) :]:
            axis.set_visible(False)
        for row in axes:
            row[0].set_ylabel("kHz", fontsize=8)
        for axis in axes[-1]:
            axis.set_xlabel("s", fontsize=8)


def _panel(axis: Axes, one: Panel, sound: Sound, top_khz: float) -> None:
    scale = 2.0**-31 if sound.samples.dtype == np.int32 else 1.0
    mono = (sound.samples.astype(np.float64).mean(axis=1) * scale).astype(np.float32)
    extent = (sound.start_s, sound.end_s, 0.0, sound.sample_rate_hz / 2000)
    levels = above_background_db(mono, sound.sample_rate_hz)
    axis.imshow(levels, origin="lower", aspect="auto", extent=extent, cmap=COLOURS, vmin=0, vmax=_SHOWN_DB)
    axis.set_xlim(one.span[0], max(one.span[1], sound.end_s))
    axis.set_ylim(0, top_khz)
    axis.set_title(one.title, fontsize=8, loc="left")
    axis.tick_params(labelsize=7)
    if one.rank == 0:
        for side in axis.spines.values():
            side.set(color=MARK, linewidth=2)
        axis.title.set_color(MARK)
