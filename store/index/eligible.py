"""Which rows a search may return: the filter language asked of the windows that lie beside the vectors."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sonotheque.core.filters import SearchFilter
from store.archive import Archive
from store.filtering import compile_filter
from store.index.columns import column, values
from store.index.reading import WindowRows
from store.index.windows import COLUMNS

SHOWN: Final = (
    "recording_id",
    "start_sample",
    "path",
    "site",
    "deployment",
    "start_s",
    "end_s",
    "valid_s",
    "utc_start",
    "local_start",
)
_KEPT = 8
_NUMBERS = itertools.count(1)  # several indexes may be open over one archive
_VALUES_MOST = 1 << 31  # of one column
_ALL = SearchFilter()


@dataclass(frozen=True, slots=True)
class Eligible:
    """Rows that may be found.

    Attributes
    ----------
    mask : bool, (n,) or None
        None: every row.
    count : int
    """

    mask: NDArray[np.bool_] | None
    count: int

    def rows(self, first: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """Return the numbers of the rows between two, ascending."""
        if self.mask is None:
            raise ValueError("every row is eligible")
        return np.flatnonzero(self.mask[first:end]) + first


class SearchedWindows:
    """The windows of every row that is searched: those of the index's segments, then those committed since.

    Parameters
    ----------
    archive : Archive
    tables : sequence of pyarrow.Table
        As :func:`store.index.windows.windows_of` returns them.
    """

    def __init__(self, archive: Archive, tables: Sequence[pa.Table]) -> None:
        self._archive = archive
        self._tables = [t for t in tables if t.num_rows]
        self.firsts = np.concatenate([[0], np.cumsum([t.num_rows for t in self._tables])]).astype(np.int64)
        self.rows = int(self.firsts[-1])
        self._kept: OrderedDict[SearchFilter, Eligible] = OrderedDict()
        self._lock = threading.Lock()
        self._groups: dict[tuple[str, ...], NDArray[np.int64]] = {}
        self._view = f"_searched_{next(_NUMBERS)}"
        self._is_known = False
        self._readers = [WindowRows(t, SHOWN) for t in self._tables]
        lives = [values(t["live"]) for t in self._tables]
        live = np.concatenate(lives) if lives else np.zeros(0, np.bool_)
        count = int(live.sum())
        self.live = Eligible(None if count == self.rows else live, count)

    def eligible(self, where: SearchFilter | None, without: Sequence[int] = ()) -> Eligible:
        """Return the live rows that a filter means, but for those of some recordings.

        Raises
        ------
        NotFound
            If the filter names what is not in the store.
        """
        found = self.live if where is None or where == _ALL else self._meant(where)
        if not without:
            return found
        mask = np.ones(self.rows, np.bool_) if found.mask is None else found.mask.copy()
        for first, table in zip(self.firsts, self._tables, strict=False):
            ids = values(table["recording_id"])
            for recording in without:
                mask[first : first + len(ids)][ids == recording] = False
        return Eligible(mask, int(mask.sum()))

    def row_of(self, recording_id: int, start_sample: int) -> int | None:
        """Return the row of a live window; None if there is none. One pass over the recordings' ids, without SQL."""
        for first, table in zip(self.firsts, self._tables, strict=False):
            own = np.flatnonzero(values(table["recording_id"]) == recording_id)
            if len(own):
                own = own[values(table["start_sample"])[own] == start_sample]
            for row in (own + first).tolist():
                if self.live.mask is None or self.live.mask[row]:
                    return int(row)
        return None

    def _meant(self, where: SearchFilter) -> Eligible:
        with self._lock:
            if where in self._kept:
                self._kept.move_to_end(where)
                return self._kept[where]
            self._make_known()
        condition = compile_filter(where, self._archive.names)
        query = f"SELECT w.place FROM {self._view} w WHERE w.live AND ({condition.sql})"
        at = values(self._archive.sql(query, condition.parameters)["place"])
        mask = np.zeros(self.rows, np.bool_)
        mask[at] = True
        found = Eligible(mask, int(mask.sum()))
        if where.annotated is None:  # annotations change under an open store
            with self._lock:
                self._kept[where] = found
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return found

    def _make_known(self) -> None:
        """Give the tables to DuckDB, under one name: the condition of a filter is the same SQL here and in the view ``windows``."""
        if self._is_known:
            return
        selects = []
        for number, (first, table) in enumerate(zip(self.firsts, self._tables, strict=False)):
            name = f"{self._view}_{number}"
            self._archive.keep(name, table)
            selects.append(f'SELECT {", ".join(COLUMNS)}, live, "row"::BIGINT + {first} AS place FROM {name}')
        self._archive.sql(f"CREATE OR REPLACE TEMP VIEW {self._view} AS {' UNION ALL '.join(selects)}")
        self._is_known = True

    def groups(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return a number for every row, the same for rows with the same values of these columns; null is a value. Kept."""
        with self._lock:
            if (kept := self._groups.get(tuple(names))) is not None:
                return kept
        numbered = np.zeros(self.rows, np.int64)
        for name in names:
            seen: dict[object, int] = {}
            for first, table in zip(self.firsts, self._tables, strict=False):
                coded = table[name].combine_chunks()
                coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
                known = [seen.setdefault(value, len(seen)) for value in (*coded.dictionary.to_pylist(), None)]
                codes = values(coded.indices, len(known) - 1)
                numbered[first : first + len(coded)] += np.array(known, np.int64)[codes]
            if name != names[-1]:
                numbered *= _VALUES_MOST
        _, dense = np.unique(numbered, return_inverse=True)
        with self._lock:
            return self._groups.setdefault(tuple(names), dense.astype(np.int64))

    def shown(self, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return what hits show of some rows, in their order."""
        found: list[dict[str, Any]] = [{}] * len(rows)
        holding = np.searchsorted(self.firsts, rows, side="right") - 1
        for number in np.unique(holding):
            own = np.flatnonzero(holding == number)
            for place, row in zip(own, self._readers[number].at(rows[own] - self.firsts[number]), strict=True):
                found[place] = row
        return found

    def columns(self, rows: NDArray[np.int64], names: Sequence[str]) -> pa.Table:
        """Return columns of some rows, in their order."""
        holding = np.searchsorted(self.firsts, rows, side="right") - 1
        pieces, order = [], []
        for number in np.unique(holding):
            own = np.flatnonzero(holding == number)
            table = self._tables[number].select(list(names))
            found = table.take(column(rows[own] - self.firsts[number]))
            pieces.append(_plain(found))
            order.append(own)
        if not pieces:
            empty = self._tables[0].select(list(names)).slice(0, 0) if self._tables else None
            return _plain(empty) if empty is not None else pa.table({name: pa.array([]) for name in names})
        if len(pieces) == 1:
            return pieces[0]
        back = np.argsort(np.concatenate(order), kind="stable")
        return pa.concat_tables(pieces).take(column(back))


def _plain(table: pa.Table) -> pa.Table:
    """Return dictionaries as what they stand for: pieces of several tables have different ones."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table[field.name].cast(field.type.value_type))
    return table
