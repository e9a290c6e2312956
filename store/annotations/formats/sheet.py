"""Text tables of annotations as programs write them: any of three separators, UTF-8 or UTF-16, with or without quotes."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean
from sonotheque.core.tables import Row

Aliases = Mapping[str, tuple[str, ...]]

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def read_text(path: str | os.PathLike[str]) -> str:
    """Return a file's text, without a byte order mark.

    Raises
    ------
    Invalid
        (``invalid_table``) If it is neither UTF-8 nor UTF-16; the message names the line.
    """
    file, data = os.fspath(path), Path(path).read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        coding = "utf-16"
    elif len(data) > 3 and data[1:4:2] == b"\0\0":
        coding = "utf-16-le"  # as some programs on Windows write it, without a mark
    else:
        coding = "utf-8-sig"
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Invalid(
            f"{file}, line {line}: byte {data[error.start]:#04x} is not {coding.upper().removesuffix('-SIG')}; save the "
            "table as UTF-8 text",
            kind="invalid_table",
        ) from None


def plain(title: str) -> str:
    """Return a column's title as it is compared: lower case, without spaces, ``_`` and ``-``."""
    return "".join(char for char in title.lower() if char not in "_- \t\ufeff")


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield line numbers, from 1, and lines that hold any text."""
    for number, line in enumerate(_LINE_END.split(text), 1):
        if line.strip():
            yield number, line


def header_of(text: str) -> tuple[str, list[str]]:
    """Return the separator and the titles of the first line that holds text."""
    first = next((line for _, line in lines_of(text)), "")
    delimiter = max("\t,;", key=first.count)
    return delimiter, [title.strip().strip('"') for title in first.split(delimiter)]


def read_sheet(path: str | os.PathLike[str], aliases: Aliases, *, tabs_quoted: bool = True) -> Iterator[Row]:
    """Read a table with a header line.

    Parameters
    ----------
    path : path-like
    aliases : mapping
        Column name -> spellings, best first, as :func:`plain` gives them. A row has the first that is not empty.
    tabs_quoted : bool
        Whether quotes around a cell mean something where tabs separate; Raven writes none and reads none.

    Yields
    ------
    Row
        Cells are stripped; rows without any text are left out.

    Raises
    ------
    Invalid
        (``invalid_table``) If it cannot be decoded, is empty, has a column twice, or a row longer than its header.
    """
    file, text = os.fspath(path), read_text(path)
    delimiter, _ = header_of(text)
    rows = _split(file, text, delimiter, quoted=delimiter != "\t" or tabs_quoted)
    titles = next(rows, None)
    if titles is None:
        raise Invalid(f"{file}: is empty; expected a header line and rows", kind="invalid_table")
    columns = _columns(file, *titles)
    for line, cells in rows:
        if any(cell.strip() for cell in cells[len(titles[1]) :]):
            raise Invalid(
                f"{file}, line {line}: {len(cells)} cells, expected {len(titles[1])} as in the header (separator {delimiter!r})",
                kind="invalid_table",
            )
        yield _row(file, line, cells, columns, titles[1], aliases, decimal_comma=delimiter != ",")


def number(row: Row, column: str, expected: str, *, needed: bool = True) -> float | None:
    """Return a cell's number; None for an empty cell that is not needed. Anything else is refused, NaN and infinity too."""
    text = row.get(column)
    if not text and not needed:
        return None
    value = text.replace(",", ".") if row.decimal_comma else text
    if not _NUMBER.fullmatch(value) or abs(float(value)) == float("inf"):
        row.refuse(column, expected)
    return float(value)


def seconds(row: Row, column: str) -> float:
    """Return a cell's time from the start of the recording, in seconds or as ``HH:MM:SS.cc``."""
    text = row.get(column)
    parts = text.split(":")
    if len(parts) == 3 and all(_NUMBER.fullmatch(p) for p in parts):
        hours, minutes, rest = (float(p) for p in parts)
        if hours >= 0 and 0 <= minutes < 60 and 0 <= rest < 60:
            return hours * 3600 + minutes * 60 + rest
        row.refuse(column, "HH:MM:SS from the recording's start")
    value = number(row, column, "seconds from the recording's start, 0 or more")
    if value is None or value < 0:
        row.refuse(column, "seconds from the recording's start, 0 or more")
    return value


def span(row: Row) -> tuple[float, float]:
    """Return the cells ``start`` and ``end`` in seconds; the end is after the start."""
    start_s, end_s = seconds(row, "start"), seconds(row, "end")
    if end_s <= start_s:
        row.refuse("end", f"a time after the start ({row.get('start')})")
    return start_s, end_s


def band(row: Row) -> tuple[float | None, float | None]:
    """Return the cells ``low`` and ``high`` in hertz, None where empty; in order and not negative."""
    edges = [number(row, column, "hertz, 0 or more", needed=False) for column in ("low", "high")]
    for column, edge in zip(("low", "high"), edges, strict=True):
        if edge is not None and edge < 0:
            row.refuse(column, "hertz, 0 or more")
    low, high = edges
    if low is not None and high is not None and high < low:
        row.refuse("high", f"a frequency above the low one ({low:g} Hz)")
    return low, high


def require_columns(path: str | os.PathLike[str], needed: Mapping[str, tuple[str, ...]], *, hint: str = "") -> None:
    """Refuse a table that has none of the spellings of a column.

    Raises
    ------
    Invalid
        (``invalid_table``) Naming the column and what the header holds.
    """
    _, titles = header_of(read_text(path))
    held = {plain(title) for title in titles}
    for name, spellings in needed.items():
        if not held & set(spellings):
            raise Invalid(
                f"{os.fspath(path)}: no column for the {name}; the header has {', '.join(t for t in titles if t) or 'nothing'}. {hint}".rstrip(),
                kind="invalid_table",
            )


def require_title(path: str | os.PathLike[str], title: str) -> str:
    """Return a column's plain name, refusing one that the table does not have.

    Raises
    ------
    Invalid
        (``unknown_column``) With near names.
    """
    _, titles = header_of(read_text(path))
    if plain(title) not in {plain(t) for t in titles}:
        raise Invalid(
            f"{os.fspath(path)} has no column {title!r}; {did_you_mean(title, [t for t in titles if t])}",
            kind="unknown_column",
        )
    return plain(title)


def _split(file: str, text: str, delimiter: str, *, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    if not quoted:
        for number_, line in lines_of(text):
            yield number_, line.split(delimiter)
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise Invalid(f"{file}, line {reader.line_num}: not CSV: {error}", kind="invalid_table") from None


def _columns(file: str, line: int, titles: list[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for at, title in enumerate(titles):
        name = plain(title)
        if name and name in columns:
            raise Invalid(f"{file}, line {line}: column {title.strip()!r} is there twice", kind="invalid_table")
        columns[name] = at
    return columns


def _row(
    file: str,
    line: int,
    cells: list[str],
    columns: dict[str, int],
    titles: list[str],
    aliases: Aliases,
    *,
    decimal_comma: bool,
) -> Row:
    values: dict[str, str] = {}
    shown: dict[str, str] = {}
    for name, spellings in aliases.items():
        for at in (columns[spelling] for spelling in spellings if spelling in columns):
            cell = cells[at].strip() if at < len(cells) else ""
            if name not in shown or cell:
                values[name], shown[name] = cell, titles[at].strip()
            if cell:
                break
    return Row(file, line, values, shown, decimal_comma)
