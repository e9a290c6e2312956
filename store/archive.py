"""Archive: a store opened for reading, at one snapshot, through DuckDB and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sonotheque.core.filters import SearchFilter
from sonotheque.core.places import normal
from sonotheque.core.search import SearchAnswer, SearchQuery
from store.bitmap import RowBitmap
from store.catalog import Catalog, open_catalog
from store.config import StoreConfig, read_config
from store.connection import Connection, Parameters
from store.filtering import PREDICTIONS, WINDOWS, Names, compile_filter
from store.part_vectors import lost_told, part_blocks, read_vectors
from store.results import ids_of, shaped
from store.snapshots import Snapshot, SnapshotPart, read_snapshot

if TYPE_CHECKING:
    from store.index import SearchIndex

ORDER = "site, local_start NULLS LAST, utc_start NULLS LAST, path, start_sample"


class Archive:
    """A store at one snapshot, with place and time as they are known now.

    Parameters
    ----------
    root : str
        The store's folder or address.
    snapshot : int, optional
        Its number; the newest by default.
    skip_damaged : bool
        Leave out parts that cannot be read, and name them in ``damaged``; by default they are an error.
    progress : callable, optional
        Called with (done, all) while the catalog is built, once for a snapshot.

    Attributes
    ----------
    config : StoreConfig
    snapshot : Snapshot
    catalog : Catalog

    Raises
    ------
    NotFound, Damaged
        If it is no store, nothing was committed yet; or a part, the snapshot or the settings cannot be read.

    Examples
    --------
    >>> Archive("store").sql("SELECT count(*) AS windows FROM windows")  # doctest: +SKIP
    """

    def __init__(
        self,
        root: str,
        snapshot: int | None = None,
        *,
        skip_damaged: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.root = root
        self.config: StoreConfig = read_config(root)
        self.snapshot: Snapshot = read_snapshot(root, snapshot)
        self.catalog: Catalog = open_catalog(
            root, self.config, self.snapshot, skip_damaged=skip_damaged, progress=progress
        )
        self._connection = Connection(root, self.config, self.snapshot, self.catalog)

    @property
    def damaged(self) -> dict[str, str]:
        """Part files that were left out on request -> why."""
        return self.catalog.without

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def search(
        self, vectors: NDArray[Any], k: int = 50, where: SearchFilter | None = None, **more: Any
    ) -> SearchAnswer:
        """Return the windows most similar, by cosine, to a vector (dim,) or to the nearest of several (m, dim).

        ``more`` are other fields of :class:`sonotheque.core.search.SearchQuery`, such as ``best_per``, ``exact`` or ``without``. The
        answer has ``hits``, best first, and ``plan``: how they were found. See :meth:`store.index.SearchIndex.search` for errors.
        """
        return self.index.search(SearchQuery(vectors, k, where, **more))

    @cached_property
    def index(self) -> SearchIndex:
        """The newest index, opened; without one, a search compares everything."""
        from store.index import open_index

        return open_index(self)

    def close(self) -> None:
        """Close the connection, and the index if one was opened."""
        if "index" in self.__dict__:
            self.index.close()
        self._connection.close()

    def sql(self, query: str, parameters: Parameters = None, *, result: str = "arrow") -> Any:
        """Run SQL over the views ``recordings, windows, predictions, embeddings, annotations, sites``.

        Parameters
        ----------
        query : str
            DuckDB SQL; ``?`` or ``$name`` mark parameters. ``sonotheque schema`` describes the views.
        parameters : list or dict, optional
        result : str
            ``arrow`` (the default), ``polars`` or ``pandas``.

        Returns
        -------
        pyarrow.Table, polars.DataFrame or pandas.DataFrame
            Times with a zone are UTC; ``local_start`` is the site's clock, without a zone.

        Raises
        ------
        Invalid
            If DuckDB cannot run it; of kind ``unknown_column`` for a name that is not there, with near names.
        Damaged
            If a file it needs cannot be read.
        """
        return shaped(self._connection.table(query, parameters), result)

    def sql_with(self, tables: dict[str, pa.Table], query: str, parameters: Parameters = None) -> pa.Table:
        """Run SQL that also names tables given here; see :meth:`sql`."""
        return self._connection.table_with(tables, query, parameters)

    def keep(self, name: str, table: pa.Table) -> None:
        """Make a table known to all queries to come."""
        self._connection.keep(name, table)

    def batches(self, query: str, parameters: Parameters = None, *, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Run SQL and yield its result in blocks of ``rows``, for results that do not fit in memory; see :meth:`sql`."""
        return self._connection.batches(query, parameters, rows=rows)

    def windows(self, wanted: SearchFilter | None = None, *, result: str = "arrow", limit: int | None = None) -> Any:
        """Return the windows that a filter means.

        Parameters
        ----------
        wanted : SearchFilter, optional
            All by default.
        result : str
            ``arrow``, ``polars`` or ``pandas``.
        limit : int, optional
            At most so many.

        Returns
        -------
        table, (n,)
            The columns of the view ``windows``, ordered by site, local time, path and start.

        Raises
        ------
        NotFound
            If the filter names a site, deployment, recording or label that is not in the store.
        """
        query, parameters = self.select(wanted)
        return self.sql(f"{query} ORDER BY {ORDER}{_limit(limit)}", parameters, result=result)

    def predictions(
        self, wanted: SearchFilter | None = None, *, result: str = "arrow", limit: int | None = None
    ) -> Any:
        """Return the predictions that a filter means: those of its label, scores and rank, in its windows.

        Returns
        -------
        table, (n,)
            The columns of the view ``predictions``, ordered as :meth:`windows`, then by rank.
        """
        query, parameters = self.select(wanted, relation=PREDICTIONS)
        return self.sql(f"{query} ORDER BY {ORDER}, rank{_limit(limit)}", parameters, result=result)

    def embeddings(self, wanted: SearchFilter | None = None) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return the vectors of the windows that a filter means, reading only the parts and row groups that hold them.

        Returns
        -------
        ids : structured array, (n,)
            ``recording_id`` and ``start_sample``, int64 each, in the order of :meth:`windows`.
        vectors : float32, (n, dim)
            As the model gave them, not normalised.

        Raises
        ------
        Damaged
            If a part that holds such windows cannot be read.
        """
        columns = "recording_id, start_sample, part_id, part_row, site, local_start, utc_start, path"
        query, parameters = self.select(wanted, columns=columns)
        table = self.sql(f"{query} ORDER BY {ORDER}", parameters)
        return ids_of(table), self.vectors_of(table)

    def vectors_of(self, windows: pa.Table) -> NDArray[np.float32]:
        """Return the vectors of windows, float32 (n, dim), in their order; needs their ``part_id`` and ``part_row``."""
        with lost_told(self.root, self.snapshot):
            rows = windows["part_row"].to_numpy()
            return read_vectors(self.root, self.parts, windows["part_id"], rows, self.config.model.dim)

    def bitmap(self, wanted: SearchFilter | None = None) -> RowBitmap:
        """Return which rows of the snapshot a filter means.

        Returns
        -------
        RowBitmap
            Over all rows of the snapshot's parts, in their order; superseded rows are never set.
        """
        query, parameters = self.select(wanted, columns="part_id, part_row")
        return RowBitmap.of(self.snapshot, self.sql(query, parameters))

    def select(
        self, wanted: SearchFilter | None = None, *, relation: str = WINDOWS, columns: str = "*"
    ) -> tuple[str, list[Any]]:
        """Return the SELECT of a filter and its parameters: the filter language inside a query of one's own.

        Parameters
        ----------
        wanted : SearchFilter, optional
        relation : str
            ``windows`` or ``predictions``; ``w`` in the query.
        columns : str
            SQL.
        """
        condition = compile_filter(wanted or SearchFilter(), self.names, relation=relation)
        return f"SELECT {columns} FROM {relation} w WHERE {condition.sql}", condition.parameters

    @cached_property
    def names(self) -> Names:
        """What filters can name."""
        return Names(
            sites=lambda: self._column("SELECT site FROM sites"),
            deployments=lambda: self._column("SELECT DISTINCT deployment FROM recordings WHERE deployment IS NOT NULL"),
            labels=lambda: self.labels,
            has_recording=lambda path: bool(self._column("SELECT 1 FROM recordings WHERE path = ? LIMIT 1", [path])),
        )

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur among the predictions, in alphabetical order."""
        return tuple(self._column("SELECT label FROM _labels ORDER BY label"))

    @cached_property
    def parts(self) -> dict[str, SnapshotPart]:
        """The snapshot's parts by their ids."""
        return {p.part_id: p for p in self.snapshot.parts}

    @cached_property
    def live_parts(self) -> tuple[SnapshotPart, ...]:
        """The parts with rows that a reader sees, but for damaged ones that were left out on request."""
        out = set(self.damaged)
        return tuple(p for p in self.snapshot.parts if p.live_rows and not {p.embeddings, p.predictions} & out)

    def vectors(self) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        """Yield every live window, part by part, in blocks of at most 8,192.

        Yields
        ------
        windows : pyarrow.Table
            Every column of the part's file but ``embedding``, plus ``site`` and ``date``; as stored.
        embeddings : float32, (n, dim)
            As the model gave them, not normalised.
        """
        with lost_told(self.root, self.snapshot):
            for part in self.live_parts:
                yield from part_blocks(self.root, part, self.config.model.dim)

    def _column(self, query: str, parameters: list[Any] | None = None) -> list[Any]:
        return list(self._connection.table(query, parameters).column(0).to_pylist())


def _limit(limit: int | None) -> str:
    return "" if limit is None else f" LIMIT {int(limit)}"


def open_archive(
    root: str | Path,
    snapshot: int | None = None,
    *,
    skip_damaged: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Archive:
    """Open a store for reading; see :class:`Archive`."""
    return Archive(normal(str(root)), snapshot, skip_damaged=skip_damaged, progress=progress)
