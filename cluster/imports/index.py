"""Where every window of a source lies: sorted and counted on disk, so that memory does not grow with the archive.

A temporary DuckDB database holds the small columns alone. A window's *place* is a number that its source can find it by; of
two places of one window the larger was written later.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.imports import index_sql
from sonotheque.core.errors import Conflict

NAMES: Final = pa.schema([("key", pa.int64()), ("name", pa.string()), ("grp", pa.int64()), ("note", pa.string())])
ROWS: Final = pa.schema([(name, pa.int64()) for name in ("key", "start", "valid", "place", "mark")])
"""``grp``: recordings of one path must be of one group (-1 joins any). ``mark``: another number where the row was rewritten."""

_DESCRIBED: Final = pa.schema(
    [
        *((name, pa.int64()) for name in ("key", "recording")),
        *((name, pa.string()) for name in ("path", "site", "date")),
        ("audio_s", pa.float64()),
        ("stop", pa.int64()),
        ("text", pa.string()),
    ]
)
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Named:
    """A recording as its source names it: ``rows`` of it, the last one ending at sample ``stop``."""

    key: int
    name: str
    grp: int
    note: str
    rows: int
    stop: int


@dataclass(frozen=True, slots=True)
class Described:
    """A recording with its place in the archive.

    Attributes
    ----------
    recording : int
        Its id.
    path, site, date : str
        ``date`` is empty where unknown.
    audio_s : float
    stop : int or None
        Sample at which the sound ends, where that is known and the rows do not say it.
    text : str
        The ``Recording`` as JSON.
    """

    recording: int
    path: str
    site: str
    date: str
    audio_s: float
    stop: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A recording, counted.

    Attributes
    ----------
    number : int
        Its place in the order of site, date and path.
    recording, path, site, date, text
        As described.
    name : str
        What the source calls it.
    source_rows, rows, windows : int
        Rows of it in the source; those with enough sound; windows that they are of.
    stop : int
        Sample at which the last window's sound ends.
    fingerprint : str
        The same while its rows are.
    """

    number: int
    recording: int
    path: str
    site: str
    date: str
    text: str
    name: str
    source_rows: int
    rows: int
    windows: int
    stop: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Windows:
    """Rows of some recordings, in order of recording, start and place; all int64, (n,)."""

    number: NDArray[np.int64]
    start: NDArray[np.int64]
    valid: NDArray[np.int64]
    place: NDArray[np.int64]


class WindowIndex:
    """The index; a context manager, whose database is gone when it is left.

    It lies where ``TMPDIR`` says, and takes about 60 bytes a window.
    """

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="sonotheque-import-")
        self._db = duckdb.connect(f"{self._folder}/index.duckdb")
        self._db.execute("SET memory_limit = '512MB'")
        self._db.execute("SET temp_directory = $1", [f"{self._folder}/spill"])
        for query in index_sql.MAKE:
            self._db.execute(query)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_names(self, table: pa.Table) -> None:
        """Add what recordings are called, with the columns of ``NAMES``; the same again does no harm."""
        self._add("names", table)

    def add_rows(self, table: pa.Table) -> None:
        """Add rows of windows, with the columns of ``ROWS``."""
        self._add("rows", table)

    def _add(self, name: str, table: pa.Table) -> None:
        self._db.register("given", table)
        self._db.execute(f"INSERT INTO {name} SELECT * FROM given")
        self._db.unregister("given")

    def _row(self, query: str) -> tuple[Any, ...]:
        return self._db.execute(query).fetchone() or ()

    def hop_samples(self) -> int | None:
        """Return the most common distance between the starts of a recording's windows; None if none has two."""
        (found,) = self._row(index_sql.HOP)
        return None if found is None else int(found)

    def describe(self, one: Callable[[Named], Described], looked: Callable[[int, int], None]) -> None:
        """Ask for the place of every recording; ``looked`` is told how many of how many.

        Raises
        ------
        Conflict
            (``path_conflict``) If two recordings would have one path, or one id.
        """
        self._db.execute(index_sql.SUMMED)
        if clash := self._row(index_sql.SAME_KEY):
            raise Conflict(f"{clash[0]} and {clash[1]} share a key: import them into two stores", kind="path_conflict")
        (total,) = self._row("SELECT count(*) FROM summed")
        for first in range(0, total, _PAGE):
            query = "SELECT key, name, grp, note, rows, stop FROM summed WHERE n >= $1 AND n < $2 ORDER BY n"
            page = [Named(*row) for row in self._db.execute(query, [first, first + _PAGE]).fetchall()]
            described = [(named.key, one(named)) for named in page]
            values = [{"key": key, **{f: getattr(d, f) for f in Described.__slots__}} for key, d in described]
            self._add("described", pa.Table.from_pylist(values, _DESCRIBED))
            looked(first + len(page), total)
        if clash := self._row(index_sql.SAME_ID):
            raise Conflict(
                f"{clash[0]} and {clash[1]} share an id: rename one of them, or import them into two stores",
                kind="path_conflict",
            )
        if clash := self._row(index_sql.SAME_PATH):
            raise Conflict(
                f"two recordings would both be stored as {clash[0]}: {clash[1]}, and {clash[2]}. Import them one by one, each with a "
                "--prefix NAME of its own; or move one away if they are the same",
                kind="path_conflict",
            )

    def settle(self, valid_min: int) -> dict[str, int]:
        """Put recordings and windows in order, and leave out rows with less than ``valid_min`` samples of sound.

        Returns
        -------
        dict
            Rows left out: ``short``, and ``beyond_end`` of the sound.
        """
        least = str(max(1, valid_min))  # a table cannot be made from a query with parameters
        self._db.execute(index_sql.ORDERED)
        short, beyond = self._row(index_sql.LEFT_OUT.replace("$least", least))
        self._db.execute(index_sql.WINDOWS.replace("$least", least))
        self._db.execute(index_sql.PLANNED)
        return {"short": short, "beyond_end": beyond}

    def totals(self) -> tuple[int, int, int, float]:
        """Return how many recordings, windows, rows, and seconds of audio were settled."""
        recordings, windows, rows, audio_s = self._row(index_sql.TOTALS)
        return int(recordings), int(windows), int(rows), float(audio_s)

    def planned(self) -> Iterator[Planned]:
        """Yield the recordings in order of site, date and path."""
        total = self.totals()[0]
        query = f"SELECT {index_sql.PLANNED_COLUMNS} FROM planned WHERE number >= $1 AND number < $2 ORDER BY number"
        for first in range(0, total, _PAGE):
            yield from (Planned(*row) for row in self._db.execute(query, [first, first + _PAGE]).fetchall())

    def windows(self, numbers: Sequence[int]) -> Windows:
        """Return the rows of some recordings."""
        found = self._db.execute(
            "SELECT number, start, valid, place FROM windows WHERE number BETWEEN $1 AND $2 ORDER BY number, start, place",
            [min(numbers), max(numbers)],
        ).fetchnumpy()
        arrays = [np.asarray(found[name], np.int64) for name in ("number", "start", "valid", "place")]
        wanted = np.isin(arrays[0], np.asarray(numbers, np.int64))
        return Windows(*(a[wanted] for a in arrays))

    def ids(self) -> NDArray[np.int64]:
        """Return the ids of all recordings, ascending."""
        found = self._db.execute("SELECT recording FROM planned ORDER BY recording").fetchnumpy()
        return np.asarray(found["recording"], np.int64)

    def of_keys(self, keys: Sequence[int]) -> dict[int, tuple[int, str]]:
        """Return the (id, stored path) of recordings by the source's keys."""
        wanted = ", ".join(str(int(key)) for key in keys) or "NULL"
        found = self._db.execute(f"SELECT key, recording, path FROM described WHERE key IN ({wanted})").fetchall()
        return {key: (recording, path) for key, recording, path in found}
