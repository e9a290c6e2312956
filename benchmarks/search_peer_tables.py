"""Peers that compare every row, or keep vectors and columns in one table: NumPy, DuckDB, LanceDB."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from benchmarks.search_layout import Choice
from benchmarks.search_measure import K, Rows
from benchmarks.search_peer_base import BATCH, Ask, Peer, Vector, best


class NumPy(Peer):
    """A product of all float32 vectors with the query: what a few lines of code do; the vectors stay in memory."""

    name, packages = "NumPy float32", ("numpy",)

    def build(self) -> None:
        with (self.data / "vectors.f32").open("wb") as file:
            for first in range(0, len(self.vectors), BATCH):
                wide = self.vectors[first : first + BATCH].astype(np.float32)
                file.write(wide / np.linalg.norm(wide, axis=1, keepdims=True))

    def open(self) -> None:
        self.held = np.fromfile(self.data / "vectors.f32", np.float32).reshape(self.vectors.shape)

    def settings(self) -> dict[str, Ask]:
        return {"exact": lambda query: best(self.held @ query)}

    def filtered(self, choice: Choice) -> dict[str, Ask]:
        rows = np.flatnonzero(choice.mask(self.layout))
        return {"eligible rows alone": lambda query: rows[best(self.held[rows] @ query)]}


class DuckDb(Peer):
    """DuckDB: a native table, every row compared."""

    name, packages = "DuckDB scan", ("duckdb",)

    def build(self) -> None:
        import duckdb
        import pyarrow as pa

        site, month, hour = self.layout.site_of(), self.layout.month_of(), self.layout.hour_of()
        dim = self.layout.dim
        with duckdb.connect(str(self.data / "windows.duckdb")) as db:
            kind = f"id BIGINT, site UTINYINT, month UTINYINT, hour UTINYINT, vector FLOAT[{dim}]"
            db.execute(f"CREATE TABLE windows ({kind})")
            for first in range(0, len(self.vectors), BATCH):
                at = slice(first, first + BATCH)
                flat = pa.array(self.vectors[at].astype(np.float32).ravel())
                some = pa.table(
                    {
                        "id": np.arange(first, first + len(self.vectors[at])),
                        "site": site[at],
                        "month": month[at],
                        "hour": hour[at],
                        "vector": pa.FixedSizeListArray.from_arrays(flat, dim),
                    }
                )
                db.register("block", some)
                db.execute("INSERT INTO windows SELECT * FROM block")
                db.unregister("block")

    def open(self) -> None:
        import duckdb

        self.db = duckdb.connect(str(self.data / "windows.duckdb"), read_only=True)
        if self.threads:
            self.db.execute(f"SET threads = {self.threads}")

    def _ask(self, query: Vector, where: str) -> Any:
        text = (
            f"SELECT id FROM windows {where} ORDER BY array_cosine_similarity(vector, $1::FLOAT[{len(query)}]) DESC "
            f"LIMIT {K}"
        )
        return self.db.execute(text, [query]).fetchnumpy()["id"]

    def settings(self) -> dict[str, Ask]:
        return {"exact": lambda query: self._ask(query, "")}

    def filtered(self, choice: Choice) -> dict[str, Ask]:
        where = f"WHERE {choice.sql()}"
        return {"WHERE": lambda query: self._ask(query, where)}


class LanceDb(Peer):
    """LanceDB: vectors and columns in one table, IVF_PQ of its own choice of size, filters before the search."""

    name, packages = "LanceDB", ("lancedb",)

    def build(self) -> None:
        import pyarrow as pa

        site, month, hour = self.layout.site_of(), self.layout.month_of(), self.layout.hour_of()
        kind = pa.list_(pa.float32(), self.layout.dim)

        def batches() -> Any:
            for first in range(0, len(self.vectors), BATCH):
                at = slice(first, first + BATCH)
                flat = pa.array(self.vectors[at].astype(np.float32).ravel())
                columns = [
                    pa.array(np.arange(first, first + len(self.vectors[at]))),
                    *map(pa.array, (site[at], month[at], hour[at])),
                ]
                vectors = pa.FixedSizeListArray.from_arrays(flat, self.layout.dim)
                yield pa.record_batch([*columns, vectors], names=["id", "site", "month", "hour", "vector"])

        numbers = [pa.field(n, pa.uint8()) for n in ("site", "month", "hour")]
        schema = pa.schema([pa.field("id", pa.int64()), *numbers, pa.field("vector", kind)])
        db = importlib.import_module("lancedb").connect(str(self.data))
        table = db.create_table("windows", pa.RecordBatchReader.from_batches(schema, batches()), mode="overwrite")
        table.create_index(metric="cosine", vector_column_name="vector", index_type="IVF_PQ")

    def open(self) -> None:
        self.table = importlib.import_module("lancedb").connect(str(self.data)).open_table("windows")

    def _ask(self, query: Vector, where: str = "") -> Any:
        asked = self.table.search(query).distance_type("cosine").limit(K).select(["id", "_distance"])
        return asked.where(where, prefilter=True) if where else asked

    def settings(self) -> dict[str, Ask]:
        ways: dict[str, Ask] = {
            "IVF_PQ, as it comes": lambda q: self._ask(q).to_arrow(),
            "IVF_PQ, refine 10": lambda q: self._ask(q).refine_factor(10).to_arrow(),
            "IVF_PQ, nprobes 64, refine 10": lambda q: self._ask(q).nprobes(64).refine_factor(10).to_arrow(),
            "IVF_PQ, nprobes 128, refine 20": lambda q: self._ask(q).nprobes(128).refine_factor(20).to_arrow(),
        }
        return {**ways, "flat (no index)": lambda q: self._ask(q).bypass_vector_index().to_arrow()}

    def filtered(self, choice: Choice) -> dict[str, Ask]:
        where = choice.sql()
        return {
            "prefilter, refine 10": lambda q: self._ask(q, where).refine_factor(10).to_arrow(),
            "prefilter, nprobes 128, refine 20": lambda q: (
                self._ask(q, where).nprobes(128).refine_factor(20).to_arrow()
            ),
            "prefilter, flat": lambda q: self._ask(q, where).bypass_vector_index().to_arrow(),
        }

    def rows(self, answer: Any) -> Rows:
        return np.asarray(answer["id"].to_numpy(), np.int64)
