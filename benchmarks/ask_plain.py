"""The yardstick of ``ask``: plain DuckDB over the same part files, as somebody without this program would ask them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_OPTIONS = "hive_partitioning=true, hive_types={'site': 'VARCHAR', 'date': 'DATE'}, union_by_name=true"
_CELLS = "local_start::DATE AS date, hour(local_start) AS hour"


def sunrises(latitude: float, longitude: float, first: date, days: int) -> pa.Table:
    """Return the sunrises of a place, by astral: ``day`` and ``sunrise`` (UTC), from the day before the first on."""
    from astral import Observer
    from astral.sun import sunrise

    at = Observer(latitude, longitude)
    found = [first + timedelta(days=n) for n in range(-1, days + 1)]
    moments = [sunrise(at, day) for day in found]
    return pa.table({"day": pa.array(found), "sunrise": pa.array(moments, pa.timestamp("us", tz="UTC"))})


class Plain:
    """DuckDB over ``embeddings/*/*/*.parquet`` and ``predictions/*/*/*.parquet`` of a store, its zone set to UTC.

    Parameters
    ----------
    root : str
    dim : int
    """

    def __init__(self, root: str, dim: int) -> None:
        self._windows = f"read_parquet('{root}/embeddings/*/*/*.parquet', {_OPTIONS})"
        self._predictions = f"read_parquet('{root}/predictions/*/*/*.parquet', {_OPTIONS})"
        self._vector, self._dim = f"embedding::FLOAT[{dim}] AS embedding", dim
        self._db = duckdb.connect()
        self._db.execute("SET TimeZone = 'UTC'")

    def close(self) -> None:
        self._db.close()

    def _table(self, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
        return self._db.sql(query, params=list(parameters)).to_arrow_table()

    def activity(self, label: str, score_min: float) -> dict[tuple[date, int], tuple[int, int]]:
        """Return (date, hour) -> (windows recorded, windows with the species), at all sites."""
        effort = self._table(f"SELECT {_CELLS}, count(*) AS n FROM {self._windows} GROUP BY ALL")
        found = self._table(
            f"SELECT {_CELLS}, count(*) AS n FROM {self._predictions} WHERE label = ? AND score >= ? GROUP BY ALL",
            [label, score_min],
        )
        cells = {(r["date"], r["hour"]): r["n"] for r in found.to_pylist()}
        return {(r["date"], r["hour"]): (r["n"], cells.get((r["date"], r["hour"]), 0)) for r in effort.to_pylist()}

    def counts(self, label: str, score_min: float) -> pa.Table:
        """Return ``date, hour, n`` of a species, ordered."""
        return self._table(
            f"SELECT {_CELLS}, count(*) AS n FROM {self._predictions} WHERE label = ? AND score >= ? GROUP BY ALL ORDER BY ALL",
            [label, score_min],
        )

    def hours(self, site: str, hour: int, first: date, last: date) -> pa.Table:
        """Return the windows of a site and an hour of the clock, every column but the vectors, in order of time."""
        return self._table(
            f"SELECT * EXCLUDE embedding FROM {self._windows} WHERE site = ? AND hour(local_start) = ? AND date BETWEEN ? AND ? "
            "ORDER BY local_start",
            [site, hour, first, last],
        )

    def around_sunrise(self, site: str, suns: pa.Table, before_min: int, after_min: int) -> pa.Table:
        """Return the windows of a site within minutes of sunrise, given the sunrises."""
        self._db.register("suns", suns)
        return self._table(
            f"SELECT w.* EXCLUDE embedding FROM {self._windows} w WHERE site = ? AND EXISTS (SELECT 1 FROM suns s WHERE "
            f"w.utc_start >= s.sunrise - INTERVAL {before_min} MINUTE AND w.utc_start < s.sunrise + INTERVAL {after_min} MINUTE) "
            "ORDER BY local_start",
            [site],
        )

    def vectors_of_hours(
        self, site: str, hour: int, first: date, last: date
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return identities, int64 (n, 2), and vectors, float32 (n, dim), of a site and an hour of the clock."""
        return self._matrix(
            self._table(
                f"SELECT recording_id, start_sample, {self._vector} FROM {self._windows} "
                "WHERE site = ? AND hour(local_start) = ? AND date BETWEEN ? AND ?",
                [site, hour, first, last],
            )
        )

    def vectors_of_moment(self, day: date, begin: str, end: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return identities and vectors of all sites between two local times of one day."""
        low, high = (datetime.fromisoformat(f"{day}T{text}") for text in (begin, end))
        return self._matrix(
            self._table(
                f"SELECT recording_id, start_sample, {self._vector} FROM {self._windows} "
                "WHERE date = ? AND local_start >= ? AND local_start < ?",
                [day, low, high],
            )
        )

    def vectors_of_label(self, label: str, score_min: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return identities and vectors of the windows in which a species was found."""
        return self._matrix(
            self._table(
                f"SELECT recording_id, start_sample, {self._vector} FROM {self._windows} WHERE (recording_id, start_sample) IN "
                f"(SELECT (recording_id, start_sample) FROM {self._predictions} WHERE label = ? AND score >= ?)",
                [label, score_min],
            )
        )

    def species(self, score_min: float) -> pa.Table:
        """Return ``label, windows, first, last`` of best predictions with a score, most windows first."""
        return self._table(
            "SELECT label, count(*) AS windows, min(local_start) AS first, max(local_start) AS last "
            f"FROM {self._predictions} WHERE rank = 1 AND score >= ? GROUP BY label ORDER BY windows DESC, label",
            [score_min],
        )

    def effort(self) -> pa.Table:
        """Return ``site, windows, audio_s``, by site."""
        return self._table(
            f"SELECT site, count(*) AS windows, sum(valid_s) AS audio_s FROM {self._windows} GROUP BY site ORDER BY site"
        )

    def _matrix(self, table: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        ids = np.stack([table[name].to_numpy() for name in ("recording_id", "start_sample")], axis=1)
        flat = [chunk.flatten().to_numpy(zero_copy_only=True) for chunk in table["embedding"].chunks]
        vectors = flat[0] if len(flat) == 1 else np.concatenate(flat)
        return ids, vectors.reshape(-1, self._dim)
