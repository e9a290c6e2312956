"""One text file a recording, written as the rows come: a file is open only while its rows pass."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import numpy as np
import polars as pl

from store.formats.detections import Detections, Written
from store.formats.text import names_for, write_tabbed

_LINE_END: Final = ord("\n")
Rows = Callable[[pl.DataFrame], pl.DataFrame]
"""Makes the table of a block; ``number`` counts the rows of each recording from 1."""


def write_tables(
    detections: Detections, folder: Path, ending: str, header: str, rows: Rows, *, empty: bool = False
) -> Written:
    """Write a tab-separated file for each recording that has rows.

    Parameters
    ----------
    detections : Detections
    folder : Path
        Files go into folders below it, as the recordings lie.
    ending : str
        Of the files' names.
    header : str
        First line of each file; none if empty.
    rows : callable
        See ``Rows``; its texts hold no tabs and line ends.
    empty : bool
        Also a file with the header alone for each recording without rows.
    """
    names = names_for(detections.recordings["path"], ending)
    total = 0
    with _Tables(folder, names, header, empty=empty) as tables:
        for frame in detections.frames():
            total += frame.height
            orders = frame["order"].to_numpy().astype(np.int64)
            runs = np.flatnonzero(np.diff(orders, prepend=-1, append=-1))  # where each recording begins, and the end
            before = tables.written if orders[0] == tables.order else 0
            numbers = np.arange(1, len(orders) + 1) - np.repeat(runs[:-1], np.diff(runs))
            numbers[: runs[1]] += before
            text = BytesIO()
            write_tabbed(rows(frame.with_columns(number=pl.Series(numbers))), text, header=False)
            lines = text.getbuffer()
            ends = np.concatenate([[0], np.flatnonzero(np.frombuffer(lines, np.uint8) == _LINE_END) + 1])
            for begin, end in itertools.pairwise(runs.tolist()):
                tables.add(int(orders[begin]), lines[ends[begin] : ends[end]], end - begin)
        tables.finish()
    return Written(total, tables.files)


class _Tables:
    """Files of recordings in their order; the one whose rows are passing is open."""

    def __init__(self, folder: Path, names: list[str], header: str, *, empty: bool) -> None:
        self._folder, self._names, self._empty = folder, names, empty
        self._header = (header + "\n").encode() if header else b""
        self._next = 0  # the first recording that no file was made for or left out
        self._open: IO[bytes] | None = None
        self._made: set[Path] = {folder}
        self.order = -1
        self.written = 0
        self.files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def add(self, order: int, lines: memoryview, rows: int) -> None:
        """Append rows to the file of a recording: the open one, or one that comes after it."""
        if self._open is None or order != self.order:
            self._close()
            self._leave_empty(order)
            self._open = self._create(order)
            self._next, self.order, self.written = order + 1, order, 0
        self._open.write(lines)
        self.written += rows

    def finish(self) -> None:
        """Close the last file, and make those of the recordings after it."""
        self._close()
        self._leave_empty(len(self._names))

    def _leave_empty(self, until: int) -> None:
        for order in range(self._next, until) if self._empty else ():
            self._create(order).close()
        self._next = until

    def _create(self, order: int) -> IO[bytes]:
        path = self._folder / self._names[order]
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        handle = path.open("xb")
        handle.write(self._header)
        self.files += 1
        return handle

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
