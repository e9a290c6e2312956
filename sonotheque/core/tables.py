"""CSV tables as field people have them: comma, semicolon or tab, UTF-8 with or without a mark, many spellings."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sonotheque.core.clock import ClockReading, parse_iso
from sonotheque.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Row:
    """One row: cells by their column's plain name, and where it stands, for messages.

    Attributes
    ----------
    file : str
    line : int
    cells : dict of str to str
        Stripped; the keys are the caller's names of columns, not the table's.
    titles : dict of str to str
        The table's own spelling of each column.
    decimal_comma : bool
        Whether ``52,1`` is a number here: cells are not separated by commas.
    """

    file: str
    line: int
    cells: dict[str, str]
    titles: dict[str, str]
    decimal_comma: bool

    def get(self, column: str) -> str:
        """Return a cell, empty if the table has no such column."""
        return self.cells.get(column, "")

    def refuse(self, column: str, expected: str) -> NoReturn:
        """Raise ``Invalid`` for a cell: file, line, column, value, and what was expected."""
        title = self.titles.get(column, column)
        raise Invalid(
            f"{self.file}, line {self.line}, column {title!r}: {self.get(column)!r}; expected {expected}",
            kind="invalid_table",
        )

    def degrees(self, column: str, limit: float) -> float | None:
        """Return a coordinate; None for an empty cell."""
        text = self.get(column)
        if not text:
            return None
        try:
            value = float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            value = float("nan")
        if not -limit <= value <= limit:
            self.refuse(column, f"decimal degrees between -{limit:g} and {limit:g}")
        return value

    def time(self, column: str) -> ClockReading | None:
        """Return a time; None for an empty cell."""
        text = self.get(column)
        if not text:
            return None
        reading = parse_iso(text)
        if reading is None:
            self.refuse(column, "an ISO 8601 time such as 2025-05-03T03:13:00+02:00, or a date such as 2025-05-03")
        return reading


def read_rows(path: str | os.PathLike[str], aliases: Mapping[str, tuple[str, ...]]) -> Iterator[Row]:
    """Read a CSV table.

    Parameters
    ----------
    path : path-like
    aliases : mapping
        Column name -> spellings, best first, lower case and without ``_``, ``-`` and spaces. A row has the first
        spelling whose cell is not empty.

    Yields
    ------
    Row
        Rows without any text are left out.

    Raises
    ------
    Invalid
        (``invalid_table``) If it is not UTF-8, not CSV, has no header, a column twice, or a row longer than the header.
    OSError
        If it cannot be read.
    """
    file = os.fspath(path)
    text = _decoded(file, Path(path).read_bytes())
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: dict[str, int] | None = None
    width, original = 0, []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns, width, original = _columns(file, reader.line_num, cells), len(cells), cells
                continue
            if any(cell.strip() for cell in cells[width:]):
                raise Invalid(
                    f"{file}, line {reader.line_num}: {len(cells)} cells, expected {width} as in the header "
                    f"(separator {delimiter!r}); put quotes around a cell that holds the separator",
                    kind="invalid_table",
                )
            yield _row(file, reader.line_num, cells, columns, original, aliases, delimiter)
    except csv.Error as error:
        raise Invalid(f"{file}, line {reader.line_num}: not CSV: {error}", kind="invalid_table") from None
    if columns is None:
        raise Invalid(f"{file}: is empty; expected a header line and rows", kind="invalid_table")


def _decoded(file: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Invalid(
            f"{file}, line {line}: byte {data[error.start]:#04x} is not UTF-8; save the table as 'CSV UTF-8'",
            kind="invalid_table",
        ) from None


def _plain(title: str) -> str:
    return "".join(char for char in title.lower() if char not in "_- \t")


def _columns(file: str, line: int, titles: list[str]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for at, title in enumerate(titles):
        plain = _plain(title)
        if plain and plain in columns:
            raise Invalid(f"{file}, line {line}: column {title!r} is there twice", kind="invalid_table")
        columns[plain] = at
    return columns


def _row(
    file: str,
    line: int,
    cells: list[str],
    columns: dict[str, int],
    original: list[str],
    aliases: Mapping[str, tuple[str, ...]],
    delimiter: str,
) -> Row:
    values: dict[str, str] = {}
    titles: dict[str, str] = {}
    for name, spellings in aliases.items():
        for at in (columns[spelling] for spelling in spellings if spelling in columns):
            cell = cells[at].strip() if at < len(cells) else ""
            if name not in titles or cell:
                values[name], titles[name] = cell, original[at].strip()
            if cell:
                break
    return Row(file, line, values, titles, delimiter != ",")
