"""Archive: a store opened for reading, at one snapshot, through DuckDB and NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sonotheque.core.errors import Damaged
from store import layout
from store.config import StoreConfig, read_config
from store.schema import HIVE_TYPES, embeddings_schema, predictions_schema
from store.snapshots import Snapshot, SnapshotPart, read_snapshot


class Archive:
    """A store at one snapshot.

    Parameters
    ----------
    root : str
        The store's folder.
    snapshot : int, optional
        Its number; the newest by default.

    Examples
    --------
    >>> archive = Archive("store")                                                  # doctest: +SKIP
    >>> archive.sql("SELECT site, count(*) AS windows FROM embeddings GROUP BY site")  # doctest: +SKIP
    """

    def __init__(self, root: str, snapshot: int | None = None) -> None:
        self.root = root
        self.config: StoreConfig = read_config(root)
        self.snapshot: Snapshot = read_snapshot(root, snapshot)
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")  # the default is the machine's zone
        self._make_views()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def sql(self, query: str, parameters: list[Any] | None = None) -> pa.Table:
        """Run SQL over the views ``embeddings`` and ``predictions``.

        Parameters
        ----------
        query : str
            DuckDB SQL; ``?`` marks parameters.
        parameters : list, optional

        Returns
        -------
        pyarrow.Table
            Times with a zone are UTC.
        """
        result = self._connection.sql(query, params=parameters or [])
        return pa.table({}) if result is None else result.to_arrow_table()

    def vectors(self) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        """Yield every live window, part by part, in blocks of at most 8,192.

        Yields
        ------
        windows : pyarrow.Table
            Every column but ``embedding``, plus ``site`` and ``date``.
        embeddings : float32, (n, dim)
            As the model gave them, not normalised.
        """
        for part in self.snapshot.parts:
            if not part.live_rows:
                continue
            yield from self._part_vectors(part)

    def _part_vectors(self, part: SnapshotPart) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        dead = pa.array(part.superseded, pa.int64())
        try:
            file = pq.ParquetFile(f"{self.root}/{part.embeddings}")
        except (OSError, pa.ArrowException) as error:
            raise Damaged(
                f"part {part.embeddings} of snapshot {self.snapshot.number} cannot be read: {error}. "
                f"`sonotheque verify --store {self.root}` lists what is wrong"
            ) from error
        with file:
            for batch in file.iter_batches(8192):
                table = pa.Table.from_batches([batch])
                if len(dead):
                    table = table.filter(pa.compute.invert(pa.compute.is_in(table["recording_id"], value_set=dead)))
                if not table.num_rows:
                    continue
                yield _named(table, part), matrix(table["embedding"], self.config.model.dim)

    def _make_views(self) -> None:
        model = self.config.model
        clean: list[SnapshotPart] = []
        dirty: list[SnapshotPart] = []
        for part in self.snapshot.parts:
            (dirty if part.superseded else clean).append(part)
        schemas = {
            layout.EMBEDDINGS: embeddings_schema(model.dim, "float32"),
            layout.PREDICTIONS: predictions_schema(),
        }
        for view, schema in schemas.items():
            selects = self._selects(view, clean, dirty)
            if not selects:
                empty = schema.append(pa.field("site", pa.string())).append(pa.field("date", pa.date32())).empty_table()
                self._connection.register(f"_no_{view}", empty)
                selects = [f"SELECT * FROM _no_{view}"]
            self._connection.execute(f"CREATE VIEW {view} AS {' UNION ALL BY NAME '.join(selects)}")

    def _selects(self, view: str, clean: list[SnapshotPart], dirty: list[SnapshotPart]) -> list[str]:
        """Return one SELECT over the parts all of whose rows are live, and one for each part with superseded rows."""

        def path(part: SnapshotPart) -> str | None:
            return part.embeddings if view == layout.EMBEDDINGS else part.predictions

        # DuckDB takes the first `key=value` of the whole path, so that a folder above the store could give the site.
        by_hand = "=" in self.root
        groups = [list(g) for _, g in groupby(clean, lambda p: (p.site, p.date))] if by_hand else [clean]
        selects = []
        for group in groups:
            if files := [p for part in group if (p := path(part))]:
                selects.append(self._select(files, group[0] if by_hand else None))
        for part in dirty:
            if file := path(part):
                gone = ", ".join(map(str, part.superseded))
                one = self._select([file], part if by_hand else None)
                selects.append(f"{one} WHERE recording_id NOT IN ({gone})")
        return selects

    def _select(self, files: list[str], place: SnapshotPart | None) -> str:
        """Return a SELECT over files; site and date come from ``place``, or from the paths where it is None."""
        quoted = ", ".join(_quoted(f"{self.root}/{f}") for f in files)
        if place is None:
            types = ", ".join(f"{key!r}: {value}" for key, value in HIVE_TYPES.items())
            return f"SELECT * FROM read_parquet([{quoted}], union_by_name=true, hive_partitioning=true, hive_types={{{types}}})"
        date = "NULL" if place.date is None else _quoted(place.date)
        columns = f"*, {_quoted(place.site)} AS site, CAST({date} AS DATE) AS date"
        return f"SELECT {columns} FROM read_parquet([{quoted}], union_by_name=true, hive_partitioning=false)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _named(table: pa.Table, part: SnapshotPart) -> pa.Table:
    n = table.num_rows
    out = table.drop_columns(["embedding"])
    out = out.append_column("site", pa.array([part.site] * n, pa.string()))
    return out.append_column("date", pa.array([part.date] * n, pa.string()).cast(pa.date32()))


def matrix(column: pa.ChunkedArray, dim: int) -> NDArray[np.float32]:
    """Return an embedding column as float32, (n, dim)."""
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).reshape(-1, dim).astype(np.float32) if flat else np.empty((0, dim), np.float32)


def open_archive(root: str | Path, snapshot: int | None = None) -> Archive:
    """Open a store for reading; see :class:`Archive`."""
    return Archive(str(root), snapshot)
