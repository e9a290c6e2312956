"""Which formats there are, and which one a file is of: by its content, and never by a guess between two."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean
from store.annotations.formats import audacity, birdnet, hoplite, pamdp, parquet, raven
from store.annotations.formats.raw import RawAnnotation
from store.annotations.formats.sheet import header_of, read_text

Reader = Callable[..., list[RawAnnotation]]


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of table.

    Attributes
    ----------
    name : str
    title : str
        For people.
    read : callable
        ``read(path, *, label_column=None, label=None)`` -> list of RawAnnotation.
    judgements : bool
        Whether programs that read it understand judgements: the others take every row for what is there.
    ending : str
        Of files written; empty for a folder of several files.
    one_recording : bool
        Whether a file holds one recording, and is named after it.
    """

    name: str
    title: str
    read: Reader
    judgements: bool
    ending: str
    one_recording: bool = False


FORMATS: Final = {
    f.name: f
    for f in (
        Format("raven", "Raven selection table", raven.read_raven, False, raven.ENDING, one_recording=True),
        Format("audacity", "Audacity label track", audacity.read_audacity, False, audacity.ENDING, one_recording=True),
        Format("birdnet", "BirdNET CSV", birdnet.read_birdnet, False, birdnet.ENDING),
        Format("hoplite", "hoplite annotation CSV", hoplite.read_hoplite, True, hoplite.ENDING),
        Format("pamdp", "pamDP observations", pamdp.read_pamdp, False, ""),
        Format("parquet", "Parquet", parquet.read_parquet, True, parquet.ENDING),
    )
}


def format_named(name: str) -> Format:
    """Return a format.

    Raises
    ------
    Invalid
        If there is none of this name.
    """
    if name not in FORMATS:
        raise Invalid(f"format {name!r} is not known; {did_you_mean(name, FORMATS)}")
    return FORMATS[name]


def detect(path: str | os.PathLike[str]) -> list[str]:
    """Return the names of all formats that a file can be of: none, one, or more."""
    with Path(path).open("rb") as handle:
        if handle.read(4) == parquet.MAGIC:
            return ["parquet"]
    text = read_text(path)
    if audacity.looks_like(text):
        return ["audacity"]
    _, titles = header_of(text)
    tables = {"raven": raven, "birdnet": birdnet, "hoplite": hoplite, "pamdp": pamdp}
    return [name for name, module in tables.items() if module.looks_like(titles)]


def read_table(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    label_column: str | None = None,
    label: str | None = None,
) -> tuple[Format, list[RawAnnotation]]:
    """Read a table of any format.

    Parameters
    ----------
    path : path-like
    format : str, optional
        By default, what the content says.
    label_column, label : str, optional
        See the readers.

    Returns
    -------
    Format, list of RawAnnotation

    Raises
    ------
    Invalid
        (``invalid_table``) If no format fits, or more than one; if a row cannot be right.
    """
    chosen = format_named(format) if format else _only(path)
    return chosen, chosen.read(path, label_column=label_column, label=label)


def _only(path: str | os.PathLike[str]) -> Format:
    found = detect(path)
    if len(found) == 1:
        return FORMATS[found[0]]
    file = os.fspath(path)
    if found:
        raise Invalid(
            f"{file} can be read as {' and as '.join(FORMATS[f].title for f in found)}: say which with --format {' or '.join(found)}",
            kind="invalid_table",
        )
    _, titles = header_of(read_text(path))
    raise Invalid(
        f"{file} is no table of annotations that is known: its first line has {', '.join(t for t in titles if t)[:200] or 'nothing'}. "
        f"Known are {', '.join(f'{f.title} ({f.name})' for f in FORMATS.values())}; --format says which it is",
        kind="invalid_table",
    )
